//! Which replica a consumer should read from instead of the leader (KIP-392, Kafka's
//! `RackAwareReplicaSelector`): one in the consumer's own rack.

use std::sync::Arc;

use client::ids::BrokerId;
use client::wire::Str;

use crate::api::lookup;
use crate::fetch_session::Ask;
use crate::metadata::ClusterMetadata;
use crate::partition::{CaughtUp, Partition};

/// A consumer that may be sent to another replica.
#[derive(Debug)]
pub(super) struct Closest {
    /// The consumer's; not empty.
    rack: Str,
    /// By which it came; a replica without it cannot be reached.
    listener: Arc<str>,
    cluster: Arc<ClusterMetadata>,
}

impl Closest {
    /// `None` if the consumer does not say where it is.
    pub(super) fn to(rack: Str, listener: &Arc<str>, cluster: &Arc<ClusterMetadata>) -> Option<Closest> {
        let known = !rack.is_empty();
        known.then(|| Closest { rack, listener: Arc::clone(listener), cluster: Arc::clone(cluster) })
    }

    /// `None`: this broker answers itself, as leader or as follower.
    pub(super) fn replica(&self, partition: &Partition, ask: &Ask) -> Option<BrokerId> {
        let (leader, followers) = partition.in_sync_followers_with(ask.fetch_offset)?;
        if self.is_near(leader) {
            return None;
        }
        furthest(followers.into_iter().filter(|follower| self.is_near(follower.id)))
    }

    /// Dead brokers are not in the metadata.
    fn is_near(&self, id: BrokerId) -> bool {
        lookup::node(&self.cluster, id, &self.listener)
            .is_some_and(|node| node.rack.as_deref() == Some(&*self.rack))
    }
}

/// The one that has most, was complete last, or has the greatest id.
fn furthest(followers: impl Iterator<Item = CaughtUp>) -> Option<BrokerId> {
    followers.max_by_key(|follower| (follower.end, follower.at, follower.id)).map(|follower| follower.id)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use client::ids::Offset;

    use super::*;

    #[test]
    fn the_furthest_is_chosen() {
        let start = Instant::now();
        let follower = |id, end, seconds: Option<u64>| CaughtUp {
            id: BrokerId(id),
            end: Offset(end),
            at: seconds.map(|seconds| start + Duration::from_secs(seconds)),
        };
        let chosen = |followers: &[CaughtUp]| furthest(followers.iter().copied()).map(|id| id.0);
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[follower(3, 4, Some(9)), follower(2, 5, None)]), Some(2));
        assert_eq!(
            chosen(&[follower(3, 5, Some(1)), follower(2, 5, Some(2)), follower(4, 5, None)]),
            Some(2)
        );
        assert_eq!(chosen(&[follower(2, 5, Some(2)), follower(3, 5, Some(2))]), Some(3));
    }
}
