//! Finding where partitions begin: where the group left off, or else where `auto.offset.reset` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::committed::Committed;
use super::error::ConsumerError;
use super::options::AutoOffsetReset;
use super::positions::Wanted;
use crate::cluster::Cluster;
use crate::consumer::{Isolation, OffsetSpec, Position, list_offsets};
use crate::ids::TopicPartition;

type Placed = BTreeMap<TopicPartition, (Wanted, Position)>;

/// How places are found.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    pub(super) cluster: Cluster,
    /// `None`: there is no group.
    pub(super) committed: Option<Arc<Committed>>,
    pub(super) reset: AutoOffsetReset,
    pub(super) isolation: Isolation,
    pub(super) within: Duration,
}

/// Places that are being looked for. Dropped, the search ends.
#[derive(Debug)]
pub(super) struct Placing {
    done: oneshot::Receiver<Found>,
    task: AbortHandle,
}

/// What was found, and what went wrong with others.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) placed: Placed,
    pub(super) error: Option<ConsumerError>,
}

impl Drop for Placing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Placing {
    pub(super) fn begin(finder: Finder, wanted: BTreeMap<TopicPartition, Wanted>) -> Placing {
        let (tell, done) = oneshot::channel();
        let search = async move {
            // Who asked may have lost interest.
            let _ = tell.send(finder.find(wanted).await);
        };
        Placing { done, task: tokio::spawn(search).abort_handle() }
    }

    /// Nothing is lost if the future is dropped.
    pub(super) async fn found(&mut self) -> Found {
        (&mut self.done).await.unwrap_or_default()
    }
}

impl Finder {
    async fn find(&self, wanted: BTreeMap<TopicPartition, Wanted>) -> Found {
        let mut found = Found::default();
        let mut listed = BTreeMap::new();
        let by_commit: BTreeSet<TopicPartition> =
            wanted.iter().filter(|(_, w)| **w == Wanted::Committed).map(|(p, _)| p.clone()).collect();
        let committed = match &self.committed {
            Some(committed) if !by_commit.is_empty() => {
                match committed.fetch(&by_commit, self.within).await {
                    Ok(committed) => Some(committed),
                    Err(error) => {
                        found.error = Some(error.into());
                        None
                    }
                }
            }
            _ => Some(BTreeMap::new()),
        };
        for (partition, wanted) in wanted {
            match (wanted, &committed) {
                (Wanted::At(spec), _) => {
                    listed.insert(partition, spec);
                }
                (Wanted::Committed, Some(committed)) => {
                    if let Some(at) = committed.get(&partition) {
                        found.placed.insert(partition, (wanted, at.position()));
                    } else if let Some(spec) = self.reset.spec() {
                        listed.insert(partition, spec);
                    } else {
                        found.error = Some(ConsumerError::NoOffset { partition });
                    }
                }
                (Wanted::Committed, None) => {}
            }
        }
        self.list(&listed, &by_commit, &mut found).await;
        found
    }

    async fn list(
        &self,
        listed: &BTreeMap<TopicPartition, OffsetSpec>,
        by_commit: &BTreeSet<TopicPartition>,
        found: &mut Found,
    ) {
        if listed.is_empty() {
            return;
        }
        for (partition, offset) in list_offsets(&self.cluster, listed, self.isolation, self.within).await {
            match offset {
                Ok(Some(offset)) => {
                    let spec = listed.get(&partition).copied().unwrap_or(OffsetSpec::Latest);
                    let wanted = match by_commit.contains(&partition) {
                        true => Wanted::Committed,
                        false => Wanted::At(spec),
                    };
                    found.placed.insert(partition, (wanted, Position::from(offset.offset)));
                }
                // The ends of a log are always there.
                Ok(None) => {}
                Err(error) => found.error = Some(error.into()),
            }
        }
    }
}
