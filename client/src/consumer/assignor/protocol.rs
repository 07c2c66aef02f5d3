//! The bytes of the protocol type `consumer`: what a member subscribes to, and what it is given.
//!
//! Both begin with a version. A later version than ours is read as ours (what it adds comes behind), so that
//! members of different ages understand one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::TopicPartition;
use crate::wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
use crate::wire::{DecodeError, EncodeError, Message, Reader, Str, Writer};

/// The latest version of both.
const LATEST: i16 = 3;

/// What a member of a group wants and has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    pub topics: BTreeSet<Arc<str>>,
    /// What the assignor adds of its own.
    pub user_data: Option<Bytes>,
    /// What the member has while it joins (version 1 on; nothing if it gave everything up).
    pub owned: BTreeSet<TopicPartition>,
    /// In which generation it was given that (version 2 on).
    pub generation: Option<i32>,
    /// `client.rack` (version 3).
    pub rack: Option<Str>,
}

/// What a member is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    pub partitions: BTreeSet<TopicPartition>,
    pub user_data: Option<Bytes>,
}

/// Why bytes are no subscription or assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("version {version} of a {what} is not known; versions begin with 0")]
    Version { what: &'static str, version: i16 },
    #[error("cannot read a {what}: {cause}")]
    Unreadable {
        what: &'static str,
        #[source]
        cause: DecodeError,
    },
}

impl Subscription {
    /// In the latest version.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        self.encode_version(LATEST)
    }

    /// In version 0 to 3; what a version has no place for is left out.
    pub fn encode_version(&self, version: i16) -> Result<Bytes, EncodeError> {
        type Wire = consumer_protocol_subscription::TopicPartition;
        let message = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(|topic| Str::from(&**topic)).collect(),
            user_data: self.user_data.clone(),
            owned_partitions: by_topic(&self.owned)
                .into_iter()
                .map(|(topic, partitions)| Wire { topic, partitions })
                .collect(),
            generation_id: self.generation.unwrap_or(-1),
            rack_id: self.rack.clone(),
        };
        versioned(&message, version)
    }

    pub fn decode(bytes: Bytes) -> Result<Subscription, ProtocolError> {
        let message: ConsumerProtocolSubscription = read("subscription", bytes)?;
        let topics = message.topics.iter().map(|topic| Arc::from(&**topic)).collect();
        let owned = message.owned_partitions.iter();
        Ok(Subscription {
            topics,
            user_data: message.user_data,
            owned: joined(owned.map(|topic| (&topic.topic, topic.partitions.as_slice()))),
            generation: Some(message.generation_id).filter(|generation| *generation >= 0),
            rack: message.rack_id.filter(|rack| !rack.is_empty()),
        })
    }
}

impl Assignment {
    /// In the latest version.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        self.encode_version(LATEST)
    }

    /// In version 0 to 3, which differ in nothing but their number.
    pub fn encode_version(&self, version: i16) -> Result<Bytes, EncodeError> {
        type Wire = consumer_protocol_assignment::TopicPartition;
        let message = ConsumerProtocolAssignment {
            assigned_partitions: by_topic(&self.partitions)
                .into_iter()
                .map(|(topic, partitions)| Wire { topic, partitions })
                .collect(),
            user_data: self.user_data.clone(),
        };
        versioned(&message, version)
    }

    /// No bytes at all are an assignment of nothing: the leader did not mention this member.
    pub fn decode(bytes: Bytes) -> Result<Assignment, ProtocolError> {
        if bytes.is_empty() {
            return Ok(Assignment::default());
        }
        let message: ConsumerProtocolAssignment = read("assignment", bytes)?;
        let partitions = message.assigned_partitions.iter();
        Ok(Assignment {
            partitions: joined(partitions.map(|topic| (&topic.topic, topic.partitions.as_slice()))),
            user_data: message.user_data,
        })
    }
}

/// What a member tells `sticky`: what it had, and since which generation. `None`: it had nothing yet.
pub(super) fn sticky_user_data(owned: &BTreeSet<TopicPartition>, generation: i32) -> Option<Bytes> {
    if generation < 0 {
        return None;
    }
    let topics = by_topic(owned);
    let mut writer = Writer::new();
    writer.i32(i32::try_from(topics.len()).ok()?);
    for (topic, partitions) in topics {
        writer.string(false, &topic).ok()?;
        writer.i32(i32::try_from(partitions.len()).ok()?);
        partitions.iter().for_each(|partition| writer.i32(*partition));
    }
    writer.i32(generation);
    writer.finish().into_bytes().ok()
}

/// The reverse. Version 0 had no generation. Bytes that are not that claim nothing.
pub(super) fn read_sticky_user_data(bytes: &Bytes) -> (BTreeSet<TopicPartition>, Option<i32>) {
    let mut reader = Reader::new(bytes.clone());
    let mut read = || -> Result<BTreeSet<TopicPartition>, DecodeError> {
        let mut owned = BTreeSet::new();
        for _ in 0..reader.i32()?.max(0) {
            let topic: Arc<str> = Arc::from(&*reader.string(false)?);
            for _ in 0..reader.i32()?.max(0) {
                owned.insert(TopicPartition::new(topic.clone(), reader.i32()?));
            }
        }
        Ok(owned)
    };
    match read() {
        Ok(owned) => (owned, reader.i32().ok()),
        Err(_) => (BTreeSet::new(), None),
    }
}

/// What a member tells `cooperative-sticky`: since which generation it has what it has.
pub(super) fn cooperative_user_data(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

pub(super) fn read_cooperative_user_data(bytes: &Bytes) -> Option<i32> {
    Reader::new(bytes.clone()).i32().ok().filter(|generation| *generation >= 0)
}

fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    writer.finish().into_bytes().map_err(EncodeError::File)
}

fn read<M: Message>(what: &'static str, bytes: Bytes) -> Result<M, ProtocolError> {
    let mut reader = Reader::new(bytes);
    let unreadable = |cause| ProtocolError::Unreadable { what, cause };
    let version = reader.i16().map_err(unreadable)?;
    if version < 0 {
        return Err(ProtocolError::Version { what, version });
    }
    M::decode(&mut reader, version.min(LATEST)).map_err(unreadable)
}

fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> BTreeMap<Str, Vec<i32>> {
    let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(Str::from(&**topic)).or_default().push(*partition);
    }
    topics
}

fn joined<'a>(topics: impl Iterator<Item = (&'a Str, &'a [i32])>) -> BTreeSet<TopicPartition> {
    let mut all = BTreeSet::new();
    for (topic, partitions) in topics {
        let topic: Arc<str> = Arc::from(&**topic);
        all.extend(partitions.iter().map(|partition| TopicPartition::new(topic.clone(), *partition)));
    }
    all
}
