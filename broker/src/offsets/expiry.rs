//! When a committed offset has lasted long enough (`GroupMetadata.removeExpiredOffsets`). Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stored::Stored;

/// What the retention of a group's offsets counts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// The group is in use in a way that keeps all of them.
    Keep,
    /// From when the group lost its last member, in milliseconds since 1970; −1: from each commit.
    SinceEmpty { since_ms: i64 },
    /// From each commit, but for the topics that the members subscribe to.
    SinceCommit { subscribed: BTreeSet<Arc<str>> },
}

/// Only what a coordinator wrote expires: who writes the offset alone is a classic consumer.
pub(super) fn is_expired(
    topic: &str,
    stored: &Stored,
    retention: &Retention,
    now_ms: i64,
    retention_ms: i64,
) -> bool {
    if stored.commit.is_none() {
        return false;
    }
    let committed = stored.committed();
    let base = match retention {
        Retention::Keep => return false,
        Retention::SinceCommit { subscribed } if subscribed.contains(topic) => return false,
        Retention::SinceEmpty { since_ms } if *since_ms >= 0 => *since_ms,
        Retention::SinceEmpty { .. } | Retention::SinceCommit { .. } => committed.commit_time_ms,
    };
    match committed.expire_time_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(base) >= retention_ms,
    }
}

#[cfg(test)]
mod tests {
    use client::ids::{LeaderEpoch, Offset, ZkVersion};
    use client::znode::commit::Commit;

    use super::*;

    fn stored(expire_time_ms: Option<i64>) -> Stored {
        let commit = Commit {
            offset: Offset(5),
            leader_epoch: LeaderEpoch(1),
            metadata: String::new(),
            log_end: Offset(0),
            commit_time_ms: None,
            expire_time_ms,
        };
        Stored {
            offset: Offset(5),
            offset_version: ZkVersion(0),
            written_ms: 1000,
            commit: Some(commit),
            commit_version: Some(ZkVersion(0)),
        }
    }

    #[test]
    fn retention_counts_from_the_commit_or_from_the_last_member() {
        let none = Retention::SinceCommit { subscribed: BTreeSet::new() };
        let subscribed = Retention::SinceCommit { subscribed: BTreeSet::from([Arc::from("t")]) };
        let empty = |since_ms| Retention::SinceEmpty { since_ms };
        for (retention, expire, expires_at) in [
            (&none, None, Some(1100)),
            (&none, Some(1050), Some(1050)),
            (&subscribed, None, None),
            (&subscribed, Some(1), None),
            (&empty(2000), None, Some(2100)),
            (&empty(2000), Some(1500), Some(1500)),
            (&empty(-1), None, Some(1100)),
            (&Retention::Keep, Some(1), None),
        ] {
            let expired = |now| is_expired("t", &stored(expire), retention, now, 100);
            let at = expires_at.unwrap_or(1_000_000);
            assert_eq!(
                (expired(at - 1), expired(at)),
                (false, expires_at.is_some()),
                "{retention:?} {expire:?}"
            );
        }
    }

    #[test]
    fn what_a_classic_consumer_wrote_never_expires() {
        let classic = Stored { commit: None, ..stored(None) };
        let retention = Retention::SinceCommit { subscribed: BTreeSet::new() };
        assert!(!is_expired("t", &classic, &retention, i64::MAX, 0));
    }
}
