//! Whether what the log of a coordinating partition says of an offset is newer than what ZooKeeper
//! says. Pure.
//!
//! A coordinator writes with each commit where its log ended, so its own commits are put in order with
//! the log's records without a clock. Only where somebody else wrote the offset, times decide.

use client::ids::Offset;

use super::NewCommit;
use super::stored::Stored;
use crate::group::replay::LoggedOffset;

/// What loading a partition makes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Import {
    /// ZooKeeper knows as much, or better.
    Nothing,
    Write(NewCommit),
    Delete,
}

/// `stored`: what ZooKeeper has; `log_end`: where the log ends.
pub(super) fn decide(record: &LoggedOffset, stored: Option<&Stored>, log_end: Offset) -> Import {
    match (&record.value, stored) {
        (None, None) => Import::Nothing,
        (Some(value), None) => Import::Write(value.clone().into()),
        (_, Some(stored)) if !is_newer(record, stored, log_end) => Import::Nothing,
        (Some(value), Some(stored)) if stored.commit.is_some() && stored.committed() == *value => {
            Import::Nothing
        }
        (Some(value), Some(_)) => Import::Write(value.clone().into()),
        // What a classic consumer wrote is not for a coordinator to delete.
        (None, Some(stored)) if stored.commit.is_none() => Import::Nothing,
        (None, Some(_)) => Import::Delete,
    }
}

fn is_newer(record: &LoggedOffset, stored: &Stored, log_end: Offset) -> bool {
    match &stored.commit {
        Some(commit) if commit.log_end <= log_end => record.log_offset >= commit.log_end,
        // It names an end that this log never had, so it speaks of another log.
        Some(_) | None => record.time_ms > stored.written_ms,
    }
}

#[cfg(test)]
mod tests {
    use client::ids::{LeaderEpoch, ZkVersion};
    use client::znode::commit::Commit;

    use super::*;
    use crate::group::CommittedOffset;

    const END: Offset = Offset(100);

    fn value(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: 1,
            metadata: "m".into(),
            commit_time_ms: 1000,
            expire_time_ms: None,
        }
    }

    fn record(log_offset: i64, time_ms: i64, offset: Option<i64>) -> LoggedOffset {
        LoggedOffset { log_offset: Offset(log_offset), time_ms, value: offset.map(value) }
    }

    fn classic(offset: i64, written_ms: i64) -> Stored {
        Stored {
            offset: Offset(offset),
            offset_version: ZkVersion(0),
            written_ms,
            commit: None,
            commit_version: None,
        }
    }

    fn coordinated(offset: i64, log_end: i64) -> Stored {
        let commit = Commit {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(1),
            metadata: String::from("m"),
            log_end: Offset(log_end),
            commit_time_ms: Some(1000),
            expire_time_ms: None,
        };
        Stored { commit: Some(commit), commit_version: Some(ZkVersion(0)), ..classic(offset, 500) }
    }

    #[test]
    fn what_zookeeper_lacks_is_imported() {
        assert_eq!(decide(&record(7, 1000, Some(5)), None, END), Import::Write(value(5).into()));
        assert_eq!(decide(&record(7, 1000, None), None, END), Import::Nothing);
    }

    #[test]
    fn a_commit_is_older_than_the_records_behind_the_end_it_names() {
        let write = Import::Write(value(5).into());
        for (log_offset, log_end, expected) in
            [(7, 8, Import::Nothing), (8, 8, write.clone()), (9, 8, write.clone()), (9, 100, Import::Nothing)]
        {
            // Whatever the clocks say.
            for time in [1, 1_000_000] {
                let decided = decide(&record(log_offset, time, Some(5)), Some(&coordinated(6, log_end)), END);
                assert_eq!(decided, expected, "{log_offset} {log_end} {time}");
            }
        }
        assert_eq!(decide(&record(9, 1, None), Some(&coordinated(6, 9)), END), Import::Delete);
        assert_eq!(decide(&record(8, 1, None), Some(&coordinated(6, 9)), END), Import::Nothing);
    }

    #[test]
    fn times_decide_where_the_commit_names_no_end_of_this_log() {
        let stored = [classic(6, 500), coordinated(6, 101)];
        for stored in &stored {
            assert_eq!(decide(&record(9, 500, Some(5)), Some(stored), END), Import::Nothing);
            assert_eq!(decide(&record(9, 501, Some(5)), Some(stored), END), Import::Write(value(5).into()));
        }
        assert_eq!(decide(&record(9, 501, None), Some(&stored[0]), END), Import::Nothing);
        assert_eq!(decide(&record(9, 501, None), Some(&stored[1]), END), Import::Delete);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        assert_eq!(decide(&record(9, 1, Some(6)), Some(&coordinated(6, 9)), END), Import::Nothing);
    }
}
