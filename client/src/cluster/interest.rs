//! What the users of a cluster want to be told of, and what they were told last.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::{Leadership, TopicState};
use crate::ids::TopicPartition;

/// One thing to be told of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Leader(TopicPartition),
    Topic(Arc<str>),
}

/// Interest begins with a receiver, and ends when all receivers of the same subject are dropped and
/// whoever follows it has noticed.
#[derive(Debug, Default)]
pub(super) struct Interests {
    told: Mutex<Told>,
    /// Something is new in `fresh` or `doubted`.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Told {
    leaders: HashMap<TopicPartition, watch::Sender<Option<Leadership>>>,
    topics: HashMap<Arc<str>, watch::Sender<TopicState>>,
    fresh: HashSet<Subject>,
    doubted: HashSet<Subject>,
}

impl Interests {
    pub(super) fn leader(&self, partition: &TopicPartition) -> watch::Receiver<Option<Leadership>> {
        let mut told = self.told();
        let told = &mut *told;
        let (receiver, is_new) = subscribe(&mut told.leaders, partition);
        if is_new {
            told.fresh.insert(Subject::Leader(partition.clone()));
            self.changed.notify_one();
        }
        receiver
    }

    pub(super) fn topic(&self, topic: &str) -> watch::Receiver<TopicState> {
        let mut told = self.told();
        let told = &mut *told;
        let topic: Arc<str> = topic.into();
        let (receiver, is_new) = subscribe(&mut told.topics, &topic);
        if is_new {
            told.fresh.insert(Subject::Topic(topic));
            self.changed.notify_one();
        }
        receiver
    }

    /// Marks a leader as doubtful, unless another than the one `seen` is known already.
    pub(super) fn doubt_leader(&self, partition: &TopicPartition, seen: Option<Leadership>) {
        let mut told = self.told();
        let known = told.leaders.get(partition).map(|sender| *sender.borrow());
        if known == Some(seen) && told.doubted.insert(Subject::Leader(partition.clone())) {
            self.changed.notify_one();
        }
    }

    pub(super) fn doubt_topic(&self, topic: &str) {
        let mut told = self.told();
        if told.topics.contains_key(topic) && told.doubted.insert(Subject::Topic(topic.into())) {
            self.changed.notify_one();
        }
    }

    /// Completes when something became fresh or doubted since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn take_fresh(&self) -> Vec<Subject> {
        self.told().fresh.drain().collect()
    }

    pub(super) fn take_doubted(&self) -> Vec<Subject> {
        self.told().doubted.drain().collect()
    }

    pub(super) fn publish_leader(&self, partition: &TopicPartition, leader: Option<Leadership>) {
        if let Some(sender) = self.told().leaders.get(partition) {
            publish(sender, leader);
        }
    }

    /// Publishes a leader of a later election than the one told last. Where nobody leads it is not known which is
    /// later.
    pub(super) fn hear_of_leader(&self, partition: &TopicPartition, told: Leadership) {
        if let Some(sender) = self.told().leaders.get(partition) {
            sender.send_if_modified(|last| {
                let is_news = last.is_some_and(|last| last.epoch < told.epoch);
                if is_news {
                    *last = Some(told);
                }
                is_news
            });
        }
    }

    pub(super) fn publish_topic(&self, topic: &str, state: TopicState) {
        if let Some(sender) = self.told().topics.get(topic) {
            publish(sender, state);
        }
    }

    /// What was told last of a leader somebody wants to know.
    pub(super) fn known_leader(&self, partition: &TopicPartition) -> Option<Option<Leadership>> {
        self.told().leaders.get(partition).map(|sender| *sender.borrow())
    }

    pub(super) fn known_topic(&self, topic: &str) -> Option<TopicState> {
        self.told().topics.get(topic).map(|sender| *sender.borrow())
    }

    /// Every subject that somebody wants to know; the others are forgotten.
    pub(super) fn wanted(&self) -> Vec<Subject> {
        let mut told = self.told();
        told.leaders.retain(|_, sender| sender.receiver_count() > 0);
        told.topics.retain(|_, sender| sender.receiver_count() > 0);
        let leaders = told.leaders.keys().cloned().map(Subject::Leader);
        leaders.chain(told.topics.keys().cloned().map(Subject::Topic)).collect()
    }

    /// Forgets a subject if nobody wants to know it any more; says whether it did.
    pub(super) fn forget(&self, subject: &Subject) -> bool {
        let mut told = self.told();
        let unwanted = match subject {
            Subject::Leader(partition) => remove_unwanted(&mut told.leaders, partition),
            Subject::Topic(topic) => remove_unwanted(&mut told.topics, topic),
        };
        if unwanted {
            told.doubted.remove(subject);
        }
        unwanted
    }

    /// Completes when nobody has wanted the subject for a moment: [`forget`](Interests::forget) says whether
    /// it is so still.
    pub(super) async fn unwanted(&self, subject: &Subject) {
        match subject {
            Subject::Leader(partition) => {
                let sender = self.told().leaders.get(partition).cloned();
                closed(sender).await;
            }
            Subject::Topic(topic) => {
                let sender = self.told().topics.get(topic).cloned();
                closed(sender).await;
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing panics while it holds the lock; were it so, the maps are still whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subscribe<K: Hash + Eq + Clone, T: Default>(
    map: &mut HashMap<K, watch::Sender<T>>,
    key: &K,
) -> (watch::Receiver<T>, bool) {
    match map.get(key) {
        Some(sender) => (sender.subscribe(), false),
        None => {
            let (sender, receiver) = watch::channel(T::default());
            map.insert(key.clone(), sender);
            (receiver, true)
        }
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|last| {
        let changed = *last != value;
        *last = value;
        changed
    });
}

fn remove_unwanted<K: Hash + Eq, T>(map: &mut HashMap<K, watch::Sender<T>>, key: &K) -> bool {
    let unwanted = map.get(key).is_none_or(|sender| sender.receiver_count() == 0);
    if unwanted {
        map.remove(key);
    }
    unwanted
}

async fn closed<T>(sender: Option<watch::Sender<T>>) {
    if let Some(sender) = sender {
        sender.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BrokerId, LeaderEpoch};

    fn leads(broker: i32, epoch: i32) -> Option<Leadership> {
        Some(Leadership { broker: BrokerId(broker), epoch: LeaderEpoch(epoch) })
    }

    #[test]
    fn a_subject_is_fresh_once_and_forgotten_with_its_last_receiver() {
        let interests = Interests::default();
        let partition = TopicPartition::new("t", 0);
        let subject = Subject::Leader(partition.clone());
        let first = interests.leader(&partition);
        let second = interests.leader(&partition);
        assert_eq!(interests.take_fresh(), vec![subject.clone()]);
        assert_eq!(interests.take_fresh(), []);
        drop(first);
        assert!(!interests.forget(&subject));
        drop(second);
        assert!(interests.forget(&subject));
        assert_eq!(interests.wanted(), []);
    }

    #[test]
    fn only_what_is_still_believed_is_doubted() {
        let interests = Interests::default();
        let partition = TopicPartition::new("t", 0);
        let leader = interests.leader(&partition);
        interests.publish_leader(&partition, leads(2, 5));
        assert_eq!(*leader.borrow(), leads(2, 5));
        interests.doubt_leader(&partition, leads(1, 4));
        assert_eq!(interests.take_doubted(), []);
        interests.doubt_leader(&partition, leads(2, 5));
        assert_eq!(interests.take_doubted(), [Subject::Leader(partition)]);
    }

    #[test]
    fn hearsay_counts_only_if_it_is_of_a_later_election() {
        let interests = Interests::default();
        let partition = TopicPartition::new("t", 0);
        let leader = interests.leader(&partition);
        let hear = |told: Option<Leadership>| interests.hear_of_leader(&partition, told.unwrap());
        hear(leads(1, 4));
        assert_eq!(*leader.borrow(), None);
        interests.publish_leader(&partition, leads(2, 5));
        hear(leads(3, 5));
        hear(leads(1, 4));
        assert_eq!(*leader.borrow(), leads(2, 5));
        hear(leads(3, 6));
        assert_eq!(*leader.borrow(), leads(3, 6));
    }

    #[test]
    fn the_same_news_wakes_nobody() {
        let interests = Interests::default();
        let partition = TopicPartition::new("t", 0);
        let mut leader = interests.leader(&partition);
        interests.publish_leader(&partition, leads(1, 0));
        assert!(leader.has_changed().unwrap());
        leader.mark_unchanged();
        interests.publish_leader(&partition, leads(1, 0));
        assert!(!leader.has_changed().unwrap());
    }
}
