//! A failing or full disk takes its directory offline, and nothing more.

use client::ids::Offset;

use super::support::*;
use crate::log::disk::Fault;
use crate::log::{LogConfig, LogError};

#[test]
fn a_full_disk_takes_the_directory_offline_and_loses_nothing_before() {
    let needed = batch(1).len() as u64;
    for room in 0..needed {
        let config = LogConfig { segment_index_bytes: 600, ..LogConfig::default() };
        let (simulated, mut bench) = Bench::simulated(config);
        let mut log = bench.open();
        fill(&mut log, 3);
        simulated.set_room(Some(room));
        let error = lead(&mut log, batch(1)).unwrap_err();
        let LogError::Storage(error) = error else { panic!("{error}") };
        assert_eq!(error.source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(log.end_offset(), Offset(3));
        assert!(bench.dir.is_offline());
        assert!(
            bench.dir.failure().unwrap().starts_with("cannot write to /logs/t-0/00000000000000000000.log")
        );
        let error = lead(&mut log, batch(1)).unwrap_err();
        assert!(matches!(error, LogError::DirOffline { .. }), "{error}");
        let error = log.read(Offset(0), 1, Offset(3), true).unwrap_err();
        assert!(matches!(error, LogError::DirOffline { .. }), "{error}");
        drop(log);

        simulated.set_room(None);
        bench.restart();
        let mut log = bench.open_unclean();
        assert_eq!(log.end_offset(), Offset(3), "{room} bytes of the batch were written");
        fill(&mut log, 1);
        assert_eq!(spans(&log).len(), 4);
    }
}

#[test]
fn any_failing_operation_takes_the_directory_offline() {
    type Try = fn(&mut crate::log::Log) -> Result<(), LogError>;
    let cases: [(Fault, Try); 6] = [
        (Fault::Write(".log".into()), |log| lead(log, batch(1)).map(drop)),
        (Fault::Read(".log".into()), |log| log.read(Offset(0), 1, Offset(3), true).map(drop)),
        (Fault::Sync(".log".into()), |log| log.flush(NOW)),
        (Fault::Write("leader-epoch".into()), |log| {
            log.assign_epoch(client::ids::LeaderEpoch(9), Offset(3))?;
            let written = log.epochs_due().map_or(Ok(()), |epochs| epochs.run());
            log.epochs_written(written)
        }),
        (Fault::Write(".log".into()), |log| log.truncate_to(Offset(1), NOW).map(drop)),
        (Fault::Write("index".into()), |log| log.truncate_fully_and_start_at(Offset(9), NOW)),
    ];
    for (fault, operation) in cases {
        let (simulated, bench) = Bench::simulated(LogConfig::default());
        let mut log = bench.open();
        fill(&mut log, 3);
        simulated.inject(fault.clone());
        let error = operation(&mut log).unwrap_err();
        assert!(matches!(error, LogError::Storage(_)), "{fault:?}: {error}");
        assert!(bench.dir.is_offline(), "{fault:?}");
        simulated.heal();
        let error = operation(&mut log).unwrap_err();
        assert!(matches!(error, LogError::DirOffline { .. }), "{fault:?}: {error}");
        assert!(log.flush_due(NOW).unwrap().is_none() && log.epochs_due().is_none());
        let _ = (log.marks(), log.size(), log.delete_expired(NOW).unwrap_err());
    }
}

#[test]
fn rolled_segments_are_flushed_from_outside() {
    let (_, bench) = Bench::simulated(LogConfig { segment_bytes: 100, ..LogConfig::default() });
    let mut log = bench.open();
    fill(&mut log, 2);
    assert!(log.flush_due(NOW).unwrap().is_some());
    assert_eq!(log.recovery_point(), Offset(0));
    let job = log.flush_due(NOW).unwrap().unwrap();
    log.flushed(job.run()).unwrap();
    assert_eq!(log.recovery_point(), Offset(1));
    assert!(log.flush_due(NOW).unwrap().is_none(), "the active segment is not flushed by default");
    log.set_config(LogConfig { flush_ms: 1_000, ..log.config().clone() });
    let job = log.flush_due(NOW + 1_000).unwrap().unwrap();
    log.truncate_to(Offset(1), NOW).unwrap();
    fill(&mut log, 1);
    log.flushed(job.run()).unwrap();
    assert_eq!(log.recovery_point(), Offset(1), "what was synced before the cut is not what is there now");
    log.set_config(LogConfig { flush_messages: 2, ..log.config().clone() });
    fill(&mut log, 1);
    assert_eq!(log.recovery_point(), Offset(3));
}
