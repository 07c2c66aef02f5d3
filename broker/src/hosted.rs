//! The partitions of this broker, by topic and number.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use client::ids::TopicPartition;

use crate::partition::Partition;

type Topics = BTreeMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;

/// Looked up by every request, changed only by the controller's.
#[derive(Debug, Default)]
pub(crate) struct Hosted {
    topics: RwLock<Topics>,
}

impl Hosted {
    pub(crate) fn get(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.find(&id.topic, id.partition)
    }

    pub(crate) fn find(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.read(|topics| topics.get(topic)?.get(&partition).cloned())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.read(|topics| topics.values().flat_map(BTreeMap::values).cloned().collect())
    }

    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.read(|topics| topics.get(topic).into_iter().flat_map(BTreeMap::values).cloned().collect())
    }

    /// The partition under its id; `new` makes it if it is not there yet.
    pub(crate) fn get_or_insert(
        &self,
        id: &TopicPartition,
        new: impl FnOnce() -> Arc<Partition>,
    ) -> Arc<Partition> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let partitions = topics.entry(Arc::clone(&id.topic)).or_default();
        Arc::clone(partitions.entry(id.partition).or_insert_with(new))
    }

    pub(crate) fn remove(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let partitions = topics.get_mut(&id.topic)?;
        let removed = partitions.remove(&id.partition);
        if partitions.is_empty() {
            topics.remove(&id.topic);
        }
        removed
    }

    fn read<T>(&self, look: impl FnOnce(&Topics) -> T) -> T {
        look(&self.topics.read().unwrap_or_else(PoisonError::into_inner))
    }
}
