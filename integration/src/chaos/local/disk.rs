//! A small disk for each broker, in memory, which can be filled and made slow.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::chaos::arena::ArenaError;
use crate::chaos::preload::SLOW_DISK;
use crate::chaos::system::{failed, system, write};

/// Of each disk. What is not used takes no memory.
const SIZE: &str = "256m";
/// At filling a disk that its broker writes to, and deletes from, at the same time.
const ATTEMPTS: usize = 100;

pub(super) fn disk(home: &Path) -> PathBuf {
    home.join("disk")
}

pub(super) fn log_dir(home: &Path) -> PathBuf {
    disk(home).join("data")
}

pub(super) fn mount(home: &Path) -> Result<(), ArenaError> {
    let disk = disk(home);
    fs::create_dir_all(&disk).map_err(|error| failed(disk.display().to_string(), &error))?;
    system(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(disk))
        .map(|_| ())
}

/// Takes all that is left, and once more what came free meanwhile.
pub(super) fn fill(home: &Path) -> Result<(), ArenaError> {
    let path = disk(home).join("filler");
    let what = || path.display().to_string();
    let file = File::create(&path).map_err(|error| failed(what(), &error))?;
    let mut taken = 0;
    for _ in 0..ATTEMPTS {
        let stat = fstatvfs(&file).map_err(|error| failed(what(), &error.into()))?;
        if stat.f_bavail == 0 {
            return Ok(());
        }
        let more = stat.f_bavail * stat.f_frsize;
        match fallocate(&file, FallocateFlags::empty(), taken, more) {
            Ok(()) => taken += more,
            // The broker was faster: what is left is asked for again.
            Err(rustix::io::Errno::NOSPC) => {}
            Err(error) => return Err(failed(what(), &error.into())),
        }
    }
    Err(ArenaError { what: what(), why: String::from("there is always some room left") })
}

pub(super) fn free(home: &Path) -> Result<(), ArenaError> {
    let path = disk(home).join("filler");
    fs::remove_file(&path).map_err(|error| failed(path.display().to_string(), &error))
}

pub(super) fn compile_shim(folder: &Path) -> Result<PathBuf, ArenaError> {
    let (source, library) = (folder.join("slow_disk.c"), folder.join("slow_disk.so"));
    write(&source, SLOW_DISK)?;
    system(
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl"),
    )?;
    Ok(library)
}
