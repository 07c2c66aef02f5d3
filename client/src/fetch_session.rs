//! The fetching side of an incremental fetch session (KIP-227): what the next request has to
//! list so that the leader's copy of the session is what we want. For followers and consumers alike.
//!
//! Pure. The leader remembers what was asked; a request lists only what differs from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::wire::Str;
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// [`Uuid::ZERO`]: the topic is asked for by name.
    pub topic_id: Uuid,
    /// The epoch that the leader is believed to be in.
    pub leader_epoch: LeaderEpoch,
    pub offset: Offset,
    /// [`LeaderEpoch::NONE`]: the leader does not compare.
    pub last_fetched_epoch: LeaderEpoch,
    /// Of a follower's own log; −1 from consumers.
    pub log_start: Offset,
    pub max_bytes: i32,
}

/// The session part of the next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextFetch {
    pub session_id: i32,
    pub session_epoch: i32,
    pub listed: Vec<(TopicPartition, Ask)>,
    pub forgotten: Vec<(TopicPartition, Uuid)>,
    /// False if a partition has no topic id: then all are named, at a version before 13.
    pub by_topic_id: bool,
}

impl NextFetch {
    /// What [`listed`](NextFetch::listed) is in a request.
    pub fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut current: Option<(&Arc<str>, Uuid)> = None;
        for (id, ask) in &self.listed {
            if current != Some((&id.topic, ask.topic_id)) {
                current = Some((&id.topic, ask.topic_id));
                let (topic, topic_id) = self.named(&id.topic, ask.topic_id);
                topics.push(FetchTopic { topic, topic_id, partitions: Vec::new() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(FetchPartition {
                    partition: id.partition,
                    current_leader_epoch: ask.leader_epoch.0,
                    fetch_offset: ask.offset.0,
                    last_fetched_epoch: ask.last_fetched_epoch.0,
                    log_start_offset: ask.log_start.0,
                    partition_max_bytes: ask.max_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        topics
    }

    /// What [`forgotten`](NextFetch::forgotten) is in a request.
    pub fn forgotten_topics(&self) -> Vec<ForgottenTopic> {
        let mut topics: Vec<ForgottenTopic> = Vec::new();
        let mut current: Option<(&Arc<str>, Uuid)> = None;
        for (id, topic_id) in &self.forgotten {
            if current != Some((&id.topic, *topic_id)) {
                current = Some((&id.topic, *topic_id));
                let (topic, topic_id) = self.named(&id.topic, *topic_id);
                topics.push(ForgottenTopic { topic, topic_id, partitions: Vec::new() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(id.partition);
            }
        }
        topics
    }

    /// A topic as the request's version names it.
    fn named(&self, topic: &Arc<str>, topic_id: Uuid) -> (Str, Uuid) {
        match self.by_topic_id {
            true => (Str::new(), topic_id),
            false => (Str::from(&**topic), Uuid::ZERO),
        }
    }
}

/// One session with one leader.
#[derive(Debug, Default)]
pub struct FetchSession {
    /// 0: the leader holds no session for us.
    id: i32,
    /// 0: the next request is full, closes the session named by `id` and asks for a new one.
    epoch: i32,
    by_topic_id: bool,
    asked: BTreeMap<TopicPartition, Ask>,
    /// The names of the topics in `asked`.
    topics: BTreeMap<Uuid, Arc<str>>,
}

impl FetchSession {
    /// Says what to send so that the leader reads exactly `wanted`.
    pub fn next(&mut self, wanted: BTreeMap<TopicPartition, Ask>) -> NextFetch {
        let by_topic_id = wanted.values().all(|ask| !ask.topic_id.is_zero());
        if by_topic_id != self.by_topic_id {
            self.epoch = 0;
        }
        self.by_topic_id = by_topic_id;
        let (listed, forgotten) = if self.epoch == 0 {
            (wanted.iter().map(|(partition, ask)| (partition.clone(), *ask)).collect(), Vec::new())
        } else {
            (self.changed(&wanted), self.gone(&wanted))
        };
        self.topics = wanted.iter().map(|(id, ask)| (ask.topic_id, Arc::clone(&id.topic))).collect();
        self.asked = wanted;
        NextFetch { session_id: self.id, session_epoch: self.epoch, listed, forgotten, by_topic_id }
    }

    /// What the leader read by, for the partitions it may answer about.
    pub fn asked(&self, partition: &TopicPartition) -> Option<&Ask> {
        self.asked.get(partition)
    }

    /// The topic that an id in an answer means.
    pub fn topic(&self, topic_id: Uuid) -> Option<&Arc<str>> {
        self.topics.get(&topic_id)
    }

    /// The leader answered, with this session id (0: it keeps none, ask in full again).
    pub fn answered(&mut self, session_id: i32) {
        self.epoch = match self.epoch {
            _ if session_id == 0 => 0,
            i32::MAX => 1,
            epoch => epoch + 1,
        };
        self.id = session_id;
    }

    /// The leader does not know the session, so there is nothing to close.
    pub fn lost(&mut self) {
        self.id = 0;
        self.epoch = 0;
    }

    /// Nobody knows what the leader's copy is like: close it and begin anew.
    pub fn doubtful(&mut self) {
        self.epoch = 0;
    }

    fn changed(&self, wanted: &BTreeMap<TopicPartition, Ask>) -> Vec<(TopicPartition, Ask)> {
        wanted
            .iter()
            .filter(|(partition, ask)| self.asked.get(*partition) != Some(*ask))
            .map(|(partition, ask)| (partition.clone(), *ask))
            .collect()
    }

    /// Partitions no longer wanted, and those whose topic was made anew under its name.
    fn gone(&self, wanted: &BTreeMap<TopicPartition, Ask>) -> Vec<(TopicPartition, Uuid)> {
        self.asked
            .iter()
            .filter(|(partition, was)| wanted.get(*partition).is_none_or(|now| now.topic_id != was.topic_id))
            .map(|(partition, was)| (partition.clone(), was.topic_id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(topic: u8, offset: i64) -> Ask {
        Ask {
            topic_id: Uuid([topic; 16]),
            leader_epoch: LeaderEpoch(1),
            offset: Offset(offset),
            last_fetched_epoch: LeaderEpoch(1),
            log_start: Offset(0),
            max_bytes: 100,
        }
    }

    fn t(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn wanted(asks: &[(i32, Ask)]) -> BTreeMap<TopicPartition, Ask> {
        asks.iter().map(|(partition, ask)| (t(*partition), *ask)).collect()
    }

    /// A session of partitions 0 and 1 at offset 5, that the leader knows as 77.
    fn established() -> FetchSession {
        let mut session = FetchSession::default();
        let first = session.next(wanted(&[(0, ask(1, 5)), (1, ask(1, 5))]));
        assert_eq!((first.session_id, first.session_epoch, first.listed.len()), (0, 0, 2));
        session.answered(77);
        session
    }

    #[test]
    fn lists_only_what_changed() {
        let mut session = established();
        let next = session.next(wanted(&[(0, ask(1, 6)), (1, ask(1, 5))]));
        assert_eq!(
            next,
            NextFetch {
                session_id: 77,
                session_epoch: 1,
                listed: vec![(t(0), ask(1, 6))],
                forgotten: vec![],
                by_topic_id: true,
            }
        );
        session.answered(77);
        let next = session.next(wanted(&[(1, ask(1, 5)), (2, ask(1, 0))]));
        assert_eq!(next.session_epoch, 2);
        assert_eq!(next.listed, [(t(2), ask(1, 0))]);
        assert_eq!(next.forgotten, [(t(0), Uuid([1; 16]))]);
    }

    #[test]
    fn a_topic_made_anew_is_forgotten_and_listed() {
        let mut session = established();
        let next = session.next(wanted(&[(0, ask(2, 5)), (1, ask(1, 5))]));
        assert_eq!(next.listed, [(t(0), ask(2, 5))]);
        assert_eq!(next.forgotten, [(t(0), Uuid([1; 16]))]);
    }

    #[test]
    fn begins_anew_in_full() {
        let both = [(0, ask(1, 5)), (1, ask(1, 5))];
        let mut refused = established();
        refused.next(wanted(&both));
        refused.answered(0);
        let mut lost = established();
        lost.lost();
        let mut doubtful = established();
        doubtful.doubtful();
        for (mut session, id) in [(refused, 0), (lost, 0), (doubtful, 77)] {
            let next = session.next(wanted(&both));
            assert_eq!((next.session_id, next.session_epoch, next.listed.len()), (id, 0, 2));
        }
    }

    #[test]
    fn losing_a_topic_id_closes_the_session() {
        let mut session = established();
        let next = session.next(wanted(&[(0, ask(0, 5)), (1, ask(1, 5))]));
        assert_eq!((next.session_id, next.session_epoch, next.listed.len()), (77, 0, 2));
        assert!(!next.by_topic_id);
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        let mut session = established();
        session.epoch = i32::MAX;
        session.answered(77);
        assert_eq!(session.epoch, 1);
    }

    #[test]
    fn knows_its_topics_by_id() {
        let session = established();
        assert_eq!(session.topic(Uuid([1; 16])).map(|name| &**name), Some("t"));
        assert_eq!(session.topic(Uuid([2; 16])), None);
    }
}
