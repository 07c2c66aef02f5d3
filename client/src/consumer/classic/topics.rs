//! The topics of the cluster as a classic group needs them, kept by watches.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::error::RebalanceError;
use crate::zk::{WatchPool, ZkError};
use crate::znode::broker;
use crate::znode::topic::{self, TopicAssignment};

/// Topics read at the same time.
const AT_ONCE: usize = 64;

/// What was read stands until its watch fires.
#[derive(Debug)]
pub(super) struct Topics {
    pool: WatchPool,
    names: Option<Vec<String>>,
    partitions: BTreeMap<String, Vec<i32>>,
    watches: FuturesUnordered<BoxFuture<'static, Subject>>,
}

/// What a watch was for.
#[derive(Debug, Clone)]
enum Subject {
    Names,
    Topic(String),
    Brokers,
}

impl Topics {
    pub(super) fn new(pool: WatchPool) -> Topics {
        Topics { pool, names: None, partitions: BTreeMap::new(), watches: FuturesUnordered::new() }
    }

    /// Waits until something is no longer as it was read.
    pub(super) async fn changed(&mut self) {
        match self.watches.next().await {
            Some(Subject::Names) => self.names = None,
            Some(Subject::Topic(name)) => drop(self.partitions.remove(&name)),
            Some(Subject::Brokers) => {}
            None => std::future::pending().await,
        }
    }

    /// All names.
    pub(super) async fn names(&mut self) -> Result<Vec<String>, RebalanceError> {
        if let Some(names) = &self.names {
            return Ok(names.clone());
        }
        let (names, watch) = match self.pool.children_watch(topic::TOPICS).await {
            Err(ZkError::NoNode { .. }) => {
                let (_, watch) = self.pool.exists_watch(topic::TOPICS).await?;
                (Vec::new(), watch)
            }
            read => read?,
        };
        self.watches.push(watch.map(|_| Subject::Names).boxed());
        self.names = Some(names.clone());
        Ok(names)
    }

    /// The partitions of some topics by rising number; none of a topic that does not exist.
    pub(super) async fn partitions(
        &mut self,
        topics: impl Iterator<Item = String>,
    ) -> Result<BTreeMap<String, Vec<i32>>, RebalanceError> {
        let wanted: Vec<String> = topics.collect();
        let missing: Vec<String> =
            wanted.iter().filter(|name| !self.partitions.contains_key(*name)).cloned().collect();
        for some in missing.chunks(AT_ONCE) {
            let paths: Vec<String> = some.iter().map(|name| topic::path(name)).collect();
            let reads = join_all(paths.iter().map(|path| self.pool.get_watch(path))).await;
            for (name, read) in some.iter().zip(reads) {
                let (node, watch) = read?;
                let partitions = match node {
                    Some(node) => TopicAssignment::decode(&node.data)?.partitions.into_keys().collect(),
                    None => Vec::new(),
                };
                let subject = Subject::Topic(name.clone());
                self.watches.push(watch.map(|_| subject).boxed());
                self.partitions.insert(name.clone(), partitions);
            }
        }
        let known = |name: String| {
            let partitions = self.partitions.get(&name).cloned().unwrap_or_default();
            (name, partitions)
        };
        Ok(wanted.into_iter().map(known).collect())
    }

    /// Whether there is any broker; if not, one that comes is a change.
    pub(super) async fn has_brokers(&mut self) -> Result<bool, RebalanceError> {
        let (brokers, watch) = match self.pool.children_watch(broker::IDS).await {
            Err(ZkError::NoNode { .. }) => {
                let (_, watch) = self.pool.exists_watch(broker::IDS).await?;
                (Vec::new(), watch)
            }
            read => read?,
        };
        if brokers.is_empty() {
            self.watches.push(watch.map(|_| Subject::Brokers).boxed());
        }
        Ok(!brokers.is_empty())
    }

    pub(super) async fn close(self) {
        self.pool.close().await;
    }
}
