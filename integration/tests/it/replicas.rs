//! Whether replicas hold the same batches, judged by their files.

use std::fs;
use std::path::{Path, PathBuf};

/// The batches of every replica, segment boundaries aside, are the same bytes.
/// To be called when the brokers have stopped in sync: then everything is below the high watermark.
pub(crate) fn assert_identical_replicas(folders: &[PathBuf]) {
    let (first, rest) = folders.split_first().expect("there are replicas");
    let expected = batches(first);
    for other in rest {
        let found = batches(other);
        let shared = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
        assert!(
            expected == found,
            "{} holds {} bytes and {} holds {}; they differ from byte {shared} on",
            first.display(),
            expected.len(),
            other.display(),
            found.len(),
        );
    }
}

fn batches(folder: &Path) -> Vec<u8> {
    let mut segments: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    segments.sort();
    segments.iter().flat_map(|path| fs::read(path).expect("a segment can be read")).collect()
}
