use super::super::Disk;
use super::*;

fn disk() -> (SimulatedDisk, Disk) {
    let simulated = SimulatedDisk::new();
    let disk = Disk::Simulated(simulated.clone());
    disk.create_dir_all(Path::new("/d")).unwrap();
    (simulated, disk)
}

#[test]
fn a_crash_forgets_what_was_not_synced() {
    let (simulated, disk) = disk();
    let file = disk.open_or_create(Path::new("/d/a")).unwrap();
    file.write_at(0, b"synced").unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_at(6, b" and lost").unwrap();
    disk.write(Path::new("/d/never-synced"), b"x").unwrap();

    simulated.crash(|_, appended| appended.min(4) * usize::from(appended > 1));

    assert_eq!(disk.read(Path::new("/d/a")).unwrap(), b"synced and");
    assert!(!disk.exists(Path::new("/d/never-synced")).unwrap());
}

#[test]
fn a_disk_that_nobody_uses_is_freed() {
    let (simulated, disk) = disk();
    let file = disk.open_or_create(Path::new("/d/a")).unwrap();
    file.sync().unwrap();
    let state = Arc::downgrade(&simulated.state);
    drop((simulated, disk));
    assert!(state.upgrade().is_some(), "the file is open yet");
    drop(file);
    assert!(state.upgrade().is_none());
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (simulated, disk) = disk();
    simulated.set_room(Some(3));
    let error = disk.write(Path::new("/d/a"), b"12345").unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(Path::new("/d/a")).unwrap(), b"123");
}

#[test]
fn renaming_a_directory_moves_what_is_in_it() {
    let (_, disk) = disk();
    disk.create_dir_all(Path::new("/d/t-0")).unwrap();
    disk.write(Path::new("/d/t-0/x"), b"x").unwrap();
    disk.rename(Path::new("/d/t-0"), Path::new("/d/gone")).unwrap();
    assert_eq!(disk.list(Path::new("/d")).unwrap(), [DirEntry { name: "gone".into(), is_dir: true }]);
    assert_eq!(disk.read(Path::new("/d/gone/x")).unwrap(), b"x");
}
