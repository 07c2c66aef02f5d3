//! What is preloaded into a broker, to stand between it and its files and its clock.

/// The source of the library that makes writes slower.
pub(super) const SLOW_DISK: &str = include_str!("slow_disk.c");

/// A library, and the file that tells it what to do.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) path: String,
    pub(super) told_by: String,
}

/// Variables, as `name=value`, for a broker's environment.
pub(super) fn variables(slow_disk: Option<Library>, clock: Option<Library>) -> Vec<String> {
    let mut variables = Vec::new();
    let mut paths = Vec::new();
    if let Some(Library { path, told_by }) = slow_disk {
        paths.push(path);
        variables.push(format!("OTTLA_SLOW_DISK={told_by}"));
    }
    if let Some(Library { path, told_by }) = clock {
        paths.push(path);
        variables.push(format!("FAKETIME_TIMESTAMP_FILE={told_by}"));
        // Looked at once a second; only the realtime clock is shifted.
        let rest = ["FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"];
        variables.extend(rest.map(String::from));
    }
    if !paths.is_empty() {
        variables.push(format!("LD_PRELOAD={}", paths.join(":")));
    }
    variables
}
