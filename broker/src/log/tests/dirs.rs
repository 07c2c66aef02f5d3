use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use client::ids::{Offset, TopicPartition, Uuid};

use super::support::*;
use crate::log::checkpoint::write_offsets;
use crate::log::disk::{Fault, SimulatedDisk};
use crate::log::{CreateLogError, Disk, LastStop, Log, LogConfig, LogDirs, LogDirsError, LogDirsOptions};

struct Broker {
    simulated: SimulatedDisk,
    failures: Arc<Mutex<Vec<String>>>,
    paths: Vec<PathBuf>,
}

impl Broker {
    fn with_dirs(paths: &[&str]) -> Broker {
        Broker {
            simulated: SimulatedDisk::new(),
            failures: Arc::default(),
            paths: paths.iter().map(PathBuf::from).collect(),
        }
    }

    fn disk(&self) -> Disk {
        Disk::Simulated(self.simulated.clone())
    }

    fn open(&self) -> Result<LogDirs, LogDirsError> {
        let options = LogDirsOptions {
            disk: self.disk(),
            paths: self.paths.clone(),
            recovery_threads: 2,
            delete_delay_ms: 1_000,
        };
        let failures = Arc::clone(&self.failures);
        LogDirs::open(
            options,
            Arc::new(move |path, _| failures.lock().unwrap().push(path.display().to_string())),
        )
    }

    fn start(&self) -> LogDirs {
        let dirs = self.open().unwrap();
        dirs.load(&|_| LogConfig::default(), 0, NOW).unwrap();
        dirs
    }

    fn names(&self, dir: &str) -> Vec<String> {
        self.disk().list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.disk().read(Path::new(path)).unwrap()).unwrap()
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }
}

fn tp(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

fn create(dirs: &LogDirs, n: i32) -> Log {
    dirs.create(&tp(n), LogConfig::default(), Some(Uuid([7; 16])), true, 0, NOW).unwrap()
}

fn dir_of(log: &Log) -> &str {
    log.dir().path().to_str().unwrap()
}

#[test]
fn logs_are_spread_closed_and_found_again() {
    let broker = Broker::with_dirs(&["/a", "/b"]);
    let dirs = broker.start();
    let mut logs: Vec<Log> = (0..4).map(|n| create(&dirs, n)).collect();
    assert_eq!(logs.iter().map(dir_of).collect::<Vec<_>>(), ["/a", "/b", "/a", "/b"]);
    for log in &mut logs {
        fill(log, 3);
        log.set_high_watermark(Offset(2));
    }
    logs[0].advance_start_offset(Offset(1)).unwrap();
    dirs.close(logs);
    let expected = [
        ".kafka_cleanshutdown",
        "t-0",
        "t-2",
        "cleaner-offset-checkpoint",
        "log-start-offset-checkpoint",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(broker.names("/a"), expected);
    assert_eq!(broker.text("/a/log-start-offset-checkpoint"), "0\n1\nt 0 1\n");
    assert_eq!(broker.text("/b/log-start-offset-checkpoint"), "0\n0\n");
    assert_eq!(broker.text("/a/replication-offset-checkpoint"), "0\n2\nt 0 2\nt 2 2\n");
    assert_eq!(broker.text("/b/recovery-point-offset-checkpoint"), "0\n2\nt 1 3\nt 3 3\n");
    assert_eq!(broker.text("/a/cleaner-offset-checkpoint"), "");
    drop(dirs);

    let dirs = broker.start();
    assert_eq!(broker.names("/a").first().map(String::as_str), Some(".lock"), "the mark is gone at once");
    assert_eq!(dirs.waiting(), [tp(0), tp(1), tp(2), tp(3)]);
    let log = dirs.take(&tp(0)).unwrap();
    assert!(dirs.take(&tp(0)).is_none());
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(1), Offset(3)));
    assert_eq!((log.high_watermark(), log.recovery_point()), (Offset(2), Offset(3)));
    assert_eq!(log.topic_id(), Some(Uuid([7; 16])));
    assert_eq!(broker.failures(), [""; 0]);
}

#[test]
fn a_machine_that_stopped_is_told_from_a_process_that_died() {
    let broker = Broker::with_dirs(&["/a", "/b"]);
    let starts = |boot: &str| {
        let dirs = broker.open().unwrap();
        let stop = dirs.last_stop(boot);
        dirs.note_boot(boot).unwrap();
        dirs.load(&|_| LogConfig::default(), 0, NOW).unwrap();
        (dirs, stop)
    };
    let (dirs, stop) = starts("first");
    assert_eq!(stop, LastStop::Untold);
    drop(dirs);
    let (dirs, stop) = starts("first");
    assert_eq!(stop, LastStop::Harmless, "the process died");
    drop(dirs);
    let (dirs, stop) = starts("second");
    assert_eq!(stop, LastStop::OfTheMachine);
    dirs.close(Vec::new());
    drop(dirs);
    let (dirs, stop) = starts("third");
    assert_eq!(stop, LastStop::Harmless, "it was shut down before");
    drop(dirs);
    broker.disk().remove_file(Path::new("/b/.ottla_boot")).unwrap();
    assert_eq!(starts("third").1, LastStop::Untold, "one directory is another one");
}

#[test]
fn checkpoints_cover_waiting_logs_too() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut logs: Vec<Log> = (0..2).map(|n| create(&dirs, n)).collect();
    logs.iter_mut().for_each(|log| fill(log, 3));
    logs.iter_mut().for_each(|log| log.set_high_watermark(Offset(3)));
    dirs.close(logs);
    drop(dirs);
    let dirs = broker.start();
    let mut log = dirs.take(&tp(1)).unwrap();
    fill(&mut log, 2);
    log.set_high_watermark(Offset(4));
    dirs.checkpoint_high_watermarks(&[log.marks()]);
    assert_eq!(broker.text("/a/replication-offset-checkpoint"), "0\n2\nt 0 3\nt 1 4\n");
}

#[test]
fn what_a_log_lost_is_not_taken_for_confirmed_when_other_records_lie_there() {
    const FILE: &str = "/a/replication-offset-checkpoint";
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut log = create(&dirs, 0);
    fill(&mut log, 3);
    log.set_high_watermark(Offset(3));
    let taken = [log.marks()];
    dirs.checkpoint_high_watermarks(&taken);
    assert_eq!(broker.text(FILE), "0\n1\nt 0 3\n");
    log.truncate_to(Offset(1), NOW).unwrap();
    assert_eq!(broker.text(FILE), "0\n1\nt 0 1\n", "at once");
    dirs.checkpoint_high_watermarks(&taken);
    assert_eq!(broker.text(FILE), "0\n1\nt 0 1\n", "those marks are from before");

    // It ends, and its machine lost the end of the log.
    drop((log, dirs));
    write_offsets(&broker.disk(), Path::new(FILE), &BTreeMap::from([(tp(0), Offset(77))])).unwrap();
    let dirs = broker.start();
    assert_eq!(broker.text(FILE), "0\n1\nt 0 1\n", "before anybody appends");
    assert_eq!(dirs.take(&tp(0)).unwrap().high_watermark(), Offset(1));
}

#[test]
fn what_a_log_lost_is_not_taken_for_flushed_when_other_records_lie_there() {
    const FILE: &str = "/a/recovery-point-offset-checkpoint";
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut log = create(&dirs, 0);
    fill(&mut log, 3);
    log.flush(NOW).unwrap();
    // It ends in the middle of a cut, which the file does not tell.
    log.truncate_to(Offset(1), NOW).unwrap();
    drop((log, dirs));
    write_offsets(&broker.disk(), Path::new(FILE), &BTreeMap::from([(tp(0), Offset(3))])).unwrap();
    let dirs = broker.start();
    assert_eq!(broker.text(FILE), "0\n1\nt 0 1\n", "before anybody appends");
    assert_eq!(dirs.take(&tp(0)).unwrap().recovery_point(), Offset(1));
}

#[test]
fn a_topics_id_is_found_in_logs_that_wait() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut log = create(&dirs, 1);
    log.set_topic_id(Uuid([7; 16])).unwrap();
    dirs.close(vec![log]);
    drop(dirs);
    let dirs = broker.start();
    assert_eq!(dirs.waiting_topic_id("t"), Some(Uuid([7; 16])));
    assert_eq!(dirs.waiting_topic_id("s"), None);
    assert_eq!(dirs.waiting_topic_id("tt"), None);
}

#[test]
fn marks_of_a_deleted_log_do_not_speak_for_its_successor() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut former = create(&dirs, 0);
    fill(&mut former, 3);
    former.set_high_watermark(Offset(3));
    let taken = [former.marks()];
    dirs.delete(former, Uuid([9; 16]), 0).unwrap();
    let _successor = create(&dirs, 0);
    dirs.checkpoint_high_watermarks(&taken);
    assert_eq!(broker.text("/a/replication-offset-checkpoint"), "0\n0\n");
}

#[test]
fn a_directory_with_a_log_missing_at_the_end_was_not_cleanly_stopped() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let (kept, lost) = (create(&dirs, 0), create(&dirs, 1));
    drop(lost);
    dirs.close(vec![kept]);
    assert!(!broker.names("/a").contains(&".kafka_cleanshutdown".to_owned()));
}

#[test]
fn one_process_has_a_directory() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let error = broker.open().unwrap_err();
    assert!(matches!(&error, LogDirsError::Locked { dir } if dir == Path::new("/a")), "{error}");
    drop(dirs);
    broker.open().unwrap();
    let real = tempfile::tempdir().unwrap();
    let options = LogDirsOptions {
        disk: Disk::Real,
        paths: vec![real.path().to_path_buf()],
        recovery_threads: 1,
        delete_delay_ms: 0,
    };
    let open = || LogDirs::open(options.clone(), Arc::new(|_, _| {}));
    let first = open().unwrap();
    assert!(matches!(open(), Err(LogDirsError::Locked { .. })));
    drop(first);
    open().unwrap();
}

#[test]
fn a_malformed_file_takes_its_directory_offline_and_the_others_go_on() {
    let damages = [
        "/b/recovery-point-offset-checkpoint",
        "/b/replication-offset-checkpoint",
        "/b/t-1/leader-epoch-checkpoint",
        "/b/t-1/partition.metadata",
        "/b/meta.properties",
    ];
    for damaged in damages {
        let broker = Broker::with_dirs(&["/a", "/b"]);
        let dirs = broker.start();
        dirs.write_identity("c", 1, NOW).unwrap();
        let logs = (0..2).map(|n| create(&dirs, n)).collect();
        dirs.close(logs);
        drop(dirs);
        broker.simulated.tamper(Path::new(damaged), |bytes| *bytes = b"version=9\n".to_vec());
        let dirs = broker.start();
        assert_eq!(dirs.offline(), ["/b"], "{damaged}");
        assert_eq!(broker.failures(), ["/b"], "{damaged}");
        assert_eq!(dirs.waiting(), [tp(0)], "{damaged}");
        let error = dirs.create(&tp(1), LogConfig::default(), None, false, 0, NOW).unwrap_err();
        assert!(
            matches!(&error, CreateLogError::DirsOffline { offline, .. } if offline == &["/b"]),
            "{error}"
        );
        assert_eq!(dir_of(&create(&dirs, 5)), "/a");
    }
}

#[test]
fn the_last_directory_lost_ends_the_start() {
    let broker = Broker::with_dirs(&["/a", "/b"]);
    broker.simulated.inject(Fault::Write("/a".into()));
    assert_eq!(broker.start().offline(), ["/a"]);
    broker.simulated.inject(Fault::Write("/b".into()));
    let error = broker.open().unwrap_err();
    assert!(matches!(&error, LogDirsError::NoneLeft { dirs } if dirs == &["/a", "/b"]), "{error}");
}

#[test]
fn strange_and_double_directories_end_the_start() {
    let broker = Broker::with_dirs(&["/a", "/b"]);
    broker.disk().create_dir_all(Path::new("/a/lost+found")).unwrap();
    let load = || broker.open().unwrap().load(&|_| LogConfig::default(), 0, NOW);
    let error = load().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Found directory /a/lost+found, 'lost+found' is not in the form of topic-partition")
    );
    broker.disk().remove_dir_all(Path::new("/a/lost+found")).unwrap();
    for dir in ["/a/t-0", "/b/t-0"] {
        broker.disk().create_dir_all(Path::new(dir)).unwrap();
    }
    assert!(matches!(load().unwrap_err(), LogDirsError::Duplicate { partition, .. } if partition == tp(0)));
}

#[test]
fn a_deleted_log_goes_after_the_delay_and_leaves_no_trace_for_its_successor() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut log = create(&dirs, 0);
    fill(&mut log, 9);
    log.set_high_watermark(Offset(9));
    log.advance_start_offset(Offset(5)).unwrap();
    let marks = [log.marks()];
    dirs.checkpoint_log_starts(&marks);
    dirs.checkpoint_high_watermarks(&marks);
    dirs.delete(log, Uuid([0xcd; 16]), NOW).unwrap();
    let doomed = "t-0.cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd-delete".to_owned();
    assert!(broker.names("/a").contains(&doomed));

    let successor = create(&dirs, 0);
    assert_eq!((successor.start_offset(), successor.end_offset()), (Offset(0), Offset(0)));
    assert_eq!(broker.text("/a/log-start-offset-checkpoint"), "0\n0\n");
    assert_eq!(broker.text("/a/replication-offset-checkpoint"), "0\n0\n");
    assert_eq!(dirs.tick(NOW + 999), 0);
    drop((successor, dirs));

    // The next start goes on with the removal.
    let dirs = broker.start();
    assert_eq!(dirs.waiting(), [tp(0)]);
    assert_eq!(dirs.tick(NOW + 1_000), 1);
    assert!(!broker.names("/a").contains(&doomed));
}

#[test]
fn a_truncation_takes_the_checkpoints_back_at_once() {
    let broker = Broker::with_dirs(&["/a"]);
    let dirs = broker.start();
    let mut log = create(&dirs, 0);
    fill(&mut log, 9);
    log.flush(NOW).unwrap();
    let marks = [log.marks()];
    dirs.checkpoint_recovery_points(&marks);
    assert_eq!(broker.text("/a/recovery-point-offset-checkpoint"), "0\n1\nt 0 9\n");
    log.truncate_to(Offset(4), NOW).unwrap();
    assert_eq!(broker.text("/a/recovery-point-offset-checkpoint"), "0\n1\nt 0 4\n");
    dirs.checkpoint_recovery_points(&marks);
    assert_eq!(
        broker.text("/a/recovery-point-offset-checkpoint"),
        "0\n1\nt 0 4\n",
        "older marks are outdated"
    );
    fill(&mut log, 3);
    log.flush(NOW).unwrap();
    dirs.checkpoint_recovery_points(&[log.marks()]);
    assert_eq!(broker.text("/a/recovery-point-offset-checkpoint"), "0\n1\nt 0 7\n");
    log.truncate_fully_and_start_at(Offset(2), NOW).unwrap();
    assert_eq!(broker.text("/a/recovery-point-offset-checkpoint"), "0\n1\nt 0 2\n");
}

#[test]
fn logs_made_at_the_same_time_are_spread_over_the_directories() {
    let broker = Broker::with_dirs(&["/a", "/b"]);
    let dirs = broker.start();
    let together = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (dirs, together) = (&dirs, &together);
            scope.spawn(move || {
                together.wait();
                create(dirs, n)
            });
        }
    });
    let partitions = |dir| broker.names(dir).iter().filter(|name| name.starts_with("t-")).count();
    assert_eq!((partitions("/a"), partitions("/b")), (4, 4));
}
