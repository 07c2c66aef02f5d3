use std::time::{Duration, Instant};

use bytes::Bytes;
use client::wire::Str;

use super::Ticket;
use super::record::MemberMetadata;

/// How long a member that never completed a rebalance may wait in JoinGroup, whatever its session
/// timeout: its client may be gone without our knowing.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// A way to divide the work that a member knows of, and what it says to the leader about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: Str,
    pub metadata: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: Str,
    pub(super) instance_id: Option<Str>,
    pub(super) client_id: Str,
    pub(super) client_host: Str,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    /// Most wanted first.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Its JoinGroup that waits.
    pub(super) joining: Option<Ticket>,
    /// Its SyncGroup that waits.
    pub(super) syncing: Option<Ticket>,
    /// Whether no rebalance was completed with it yet.
    pub(super) is_new: bool,
    /// When it last showed signs of life, or when it was answered.
    pub(super) seen: Instant,
}

impl Member {
    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|own| own.name == protocol)
    }

    /// What the member says to the leader if `protocol` is chosen.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|own| own.name == protocol);
        own.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    /// When the member counts as gone if nothing is heard of it. Who waits for an answer is alive.
    pub(super) fn session_deadline(&self) -> Option<Instant> {
        if self.is_new {
            return Some(self.seen + NEW_MEMBER_JOIN_TIMEOUT);
        }
        let waits = self.joining.is_some() || self.syncing.is_some();
        (!waits).then(|| self.seen + self.session_timeout)
    }

    /// The member's part of the group's record.
    pub(super) fn stored(&self, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: millis(self.rebalance_timeout),
            session_timeout: millis(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// The member as the record of a group whose protocol is `protocol` describes it.
    pub(super) fn loaded(stored: MemberMetadata, protocol: &Str, now: Instant) -> Member {
        let session_timeout = duration(stored.session_timeout);
        Member {
            id: stored.member_id,
            instance_id: stored.group_instance_id,
            client_id: stored.client_id,
            client_host: stored.client_host,
            // Before version 1 there was only one timeout.
            rebalance_timeout: match stored.rebalance_timeout {
                -1 => session_timeout,
                timeout => duration(timeout),
            },
            session_timeout,
            protocols: vec![Protocol { name: protocol.clone(), metadata: stored.subscription }],
            assignment: stored.assignment,
            joining: None,
            syncing: None,
            is_new: false,
            seen: now,
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
