//! What happens to a log while it is compacted.

use std::ops::ControlFlow;

use client::ids::Offset;

use super::compacting::*;
use super::support::*;
use crate::log::compaction::{CleaningError, clean};
use crate::log::{LogConfig, LogError};

#[test]
fn a_cut_takes_the_checkpoint_back_and_ends_a_compaction() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    let segment = || [plain(&[("a", Some("1")), ("b", Some("2"))])];
    log.look(|log| fill_segments(log, &[&segment(), &segment(), &segment()]));
    let mut cut = false;
    let outcome = clean(&log, LIMITS, NOW, &mut |_| {
        if !std::mem::replace(&mut cut, true) {
            log.look(|log| log.truncate_to(Offset(5), NOW).unwrap());
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(CleaningError::Superseded)), "{outcome:?}");
    assert!(
        bench.names().iter().all(|name| !name.contains("cleaned")),
        "nothing is left: {:?}",
        bench.names()
    );
    log.look(|log| fill_segments(log, &[&segment()]));
    assert_eq!(log.clean(NOW).unwrap().unwrap().offsets, Offset(0)..Offset(7));
    assert_eq!(checkpoint(&bench), "0 1 t 0 7 ");
    log.look(|log| log.truncate_to(Offset(5), NOW).unwrap());
    assert_eq!(checkpoint(&bench), "0 1 t 0 0 ", "the base of the segment that was cut");
}

#[test]
fn retention_may_take_segments_away_meanwhile() {
    let bench = Bench::real(LogConfig { segment_bytes: 200, ..compacted() });
    let log = Unlocked::new(bench.open());
    let one = |key, value| plain(&[(key, Some(value))]);
    let segments = [
        [one("a", "1")],
        [one("b", "1")],
        [one("c", "1")],
        [one("a", "2")],
        [one("b", "2")],
        [one("c", "2")],
    ];
    log.look(|log| fill_segments(log, &segments.each_ref().map(|segment| &segment[..])));
    let mut paces = 0;
    let cleaned = clean(&log, LIMITS, NOW, &mut |_| {
        paces += 1;
        // While the first group is copied: six batches were read for their keys.
        if paces == 7 {
            log.look(|log| {
                log.advance_start_offset(Offset(1)).unwrap();
                assert_eq!(log.delete_expired(NOW).unwrap(), 1);
            });
        }
        ControlFlow::Continue(())
    });
    assert_eq!(cleaned.unwrap().unwrap().offsets, Offset(0)..Offset(6));
    log.look(|log| {
        assert_eq!(brief(log), ["3 a=2", "4 b=2", "5 c=2"]);
        assert_eq!(log.start_offset(), Offset(1));
    });
    assert!(bench.names().iter().all(|name| !name.contains("cleaned")), "{:?}", bench.names());
}

#[test]
fn a_log_that_goes_away_is_not_compacted() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1")), ("a", Some("2"))])]]));
    let mut gone = None;
    let outcome = clean(&log, LIMITS, NOW, &mut |_| {
        gone = gone.take().or_else(|| {
            std::fs::rename(bench.path(), bench.dir.path().join("t-0.x-delete")).unwrap();
            log.0.borrow_mut().take()
        });
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(CleaningError::Superseded)), "{outcome:?}");
    assert!(!bench.dir.is_offline(), "missing files are no failure of the disk");
}

#[test]
fn a_log_no_longer_to_be_compacted_is_left_alone() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1")), ("a", Some("2"))])]]));
    let outcome = clean(&log, LIMITS, NOW, &mut |_| {
        log.look(|log| log.set_config(LogConfig { cleanup_policy_compact: false, ..compacted() }));
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(CleaningError::Superseded)), "{outcome:?}");
    log.look(|log| assert_eq!(log.cleanable(NOW).unwrap(), None));
    log.look(|log| assert_eq!(brief(log).len(), 2));
}

#[test]
fn damage_is_said_and_nothing_is_lost() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1"))]), plain(&[("a", Some("2"))])]]));
    let path = bench.file("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let outcome = log.clean(NOW);
    assert!(
        matches!(&outcome, Err(CleaningError::Log(LogError::Damaged { position: 70, .. }))),
        "{outcome:?}"
    );
    assert!(!bench.dir.is_offline());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let bench = Bench::real(compacted());
    let log = Unlocked::new(bench.open());
    log.look(|log| fill_segments(log, &[&[plain(&[("a", Some("1"))]), plain(&[("a", Some("2"))])]]));
    let before = bench.names();
    for stop_at in 1..=5 {
        let mut paces = 0;
        let outcome = clean(&log, LIMITS, NOW, &mut |_| {
            paces += 1;
            if paces == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(outcome, Err(CleaningError::Stopped)), "{outcome:?}");
        assert_eq!(bench.names(), before, "{stop_at}");
    }
}
