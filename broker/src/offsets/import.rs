//! Whether what the log of a coordinating partition says of an offset is newer than what ZooKeeper
//! says. Pure.
//!
//! A coordinator writes with each commit where its log ended, and in which epoch, so its own commits are put
//! in order with the log's records without a clock. Only where somebody else wrote the offset, times decide.

use client::ids::LeaderEpoch;
use client::znode::commit::LogEnd;

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

/// `stored`: what ZooKeeper has; `epoch`: the leader epoch that is loaded.
pub(super) fn decide(record: &LoggedOffset, stored: Option<&Stored>, epoch: LeaderEpoch) -> Import {
    match (&record.value, stored) {
        (None, None) => Import::Nothing,
        (Some(value), None) => Import::Write(value.clone().into()),
        (_, Some(stored)) if !is_newer(record, stored, epoch) => Import::Nothing,
        (Some(value), Some(stored)) if stored.commit.is_some() && stored.committed() == *value => {
            Import::Nothing
        }
        (Some(value), Some(_)) => Import::Write(value.clone().into()),
        // What a classic consumer wrote is not for a coordinator to delete.
        (None, Some(stored)) if stored.commit.is_none() => Import::Nothing,
        (None, Some(_)) => Import::Delete,
    }
}

fn is_newer(record: &LoggedOffset, stored: &Stored, epoch: LeaderEpoch) -> bool {
    match &stored.commit {
        Some(commit) if commit.log_end.epoch <= epoch => {
            LogEnd { epoch: record.log_epoch, offset: record.log_offset } >= commit.log_end
        }
        // It names an epoch that is yet to come, so it speaks of another log.
        Some(_) | None => record.time_ms > stored.written_ms,
    }
}

#[cfg(test)]
mod tests {
    use client::ids::{Offset, ZkVersion};
    use client::znode::commit::Commit;

    use super::*;
    use crate::group::CommittedOffset;

    const EPOCH: LeaderEpoch = LeaderEpoch(5);
    const LATER: LeaderEpoch = LeaderEpoch(6);

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
        LoggedOffset { log_epoch: EPOCH, log_offset: Offset(log_offset), time_ms, value: offset.map(value) }
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
            log_end: LogEnd { epoch: EPOCH, offset: Offset(log_end) },
            commit_time_ms: Some(1000),
            expire_time_ms: None,
        };
        Stored { commit: Some(commit), commit_version: Some(ZkVersion(0)), ..classic(offset, 500) }
    }

    #[test]
    fn what_zookeeper_lacks_is_imported() {
        assert_eq!(decide(&record(7, 1000, Some(5)), None, LATER), Import::Write(value(5).into()));
        assert_eq!(decide(&record(7, 1000, None), None, LATER), Import::Nothing);
    }

    #[test]
    fn a_commit_is_older_than_the_records_behind_the_end_it_names() {
        let write = Import::Write(value(5).into());
        for (log_offset, log_end, expected) in
            [(7, 8, Import::Nothing), (8, 8, write.clone()), (9, 8, write.clone()), (9, 100, Import::Nothing)]
        {
            // Whatever the clocks say.
            for time in [1, 1_000_000] {
                let decided =
                    decide(&record(log_offset, time, Some(5)), Some(&coordinated(6, log_end)), LATER);
                assert_eq!(decided, expected, "{log_offset} {log_end} {time}");
            }
        }
        assert_eq!(decide(&record(9, 1, None), Some(&coordinated(6, 9)), LATER), Import::Delete);
        assert_eq!(decide(&record(8, 1, None), Some(&coordinated(6, 9)), LATER), Import::Nothing);
    }

    #[test]
    fn times_decide_where_the_commit_is_of_another_log() {
        let of_another_log = coordinated(6, 1);
        let stored = [classic(6, 500), of_another_log];
        for stored in &stored {
            assert_eq!(decide(&record(9, 500, Some(5)), Some(stored), LeaderEpoch(4)), Import::Nothing);
            assert_eq!(
                decide(&record(9, 501, Some(5)), Some(stored), LeaderEpoch(4)),
                Import::Write(value(5).into())
            );
        }
        assert_eq!(decide(&record(9, 501, None), Some(&stored[0]), LeaderEpoch(4)), Import::Nothing);
        assert_eq!(decide(&record(9, 501, None), Some(&stored[1]), LeaderEpoch(4)), Import::Delete);
    }

    /// A leader dies with a tail that nobody else has; what the next one appends in its place is newer.
    #[test]
    fn a_later_epoch_is_newer_however_long_the_log_was() {
        let later = LoggedOffset { log_epoch: LATER, ..record(95, 1, Some(5)) };
        assert_eq!(decide(&later, Some(&coordinated(6, 100)), LATER), Import::Write(value(5).into()));
        let mut stored = coordinated(6, 90);
        let epoch = LATER;
        if let Some(commit) = &mut stored.commit {
            commit.log_end.epoch = epoch;
        }
        assert_eq!(decide(&record(95, i64::MAX, Some(5)), Some(&stored), LATER), Import::Nothing);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        assert_eq!(decide(&record(9, 1, Some(6)), Some(&coordinated(6, 9)), LATER), Import::Nothing);
    }
}
