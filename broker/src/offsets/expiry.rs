//! When a committed offset has lasted long enough (`GroupMetadata.removeExpiredOffsets`). Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::group::CommittedOffset;

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

/// `retention_ms`: the broker's `offsets.retention.minutes`.
pub fn is_expired(
    topic: &str,
    committed: &CommittedOffset,
    retention: &Retention,
    now_ms: i64,
    retention_ms: i64,
) -> bool {
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
    use super::*;

    fn committed(expire_time_ms: Option<i64>) -> CommittedOffset {
        let metadata = Default::default();
        CommittedOffset { offset: 5, leader_epoch: 1, metadata, commit_time_ms: 1000, expire_time_ms }
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
            let expired = |now| is_expired("t", &committed(expire), retention, now, 100);
            let at = expires_at.unwrap_or(1_000_000);
            assert_eq!(
                (expired(at - 1), expired(at)),
                (false, expires_at.is_some()),
                "{retention:?} {expire:?}"
            );
        }
    }
}
