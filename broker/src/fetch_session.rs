//! Incremental fetch sessions (KIP-227): what a fetcher asked for before, so that it need only
//! name what changed, and what it was last told, so that it is only told what changed.
//!
//! Never reads a clock, draws a random number or reads a log: time and randomness are arguments,
//! and the caller reads the partitions between [`FetchSessions::open`] and
//! [`FetchSessions::conclude`].

mod cache;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use client::ids::{Offset, Uuid};
use thiserror::Error;

use cache::Shard;
use session::Session;

/// Kafka divides the cache in 8; a session's shard follows from its id.
const SHARDS: usize = 8;

/// How many session ids a shard has: `Integer.MAX_VALUE / 8` (`FetchSession.scala`).
const IDS_PER_SHARD: i32 = i32::MAX / SHARDS as i32;

/// The epoch that ends a session, or asks for none.
const FINAL_EPOCH: i32 = -1;
/// The epoch that lists everything and asks for a new session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as the request names it: by id from version 13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicRef {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    pub topic: TopicRef,
    pub partition: i32,
}

/// What a fetcher wants of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub fetch_offset: Offset,
    pub max_bytes: i32,
    /// −1: not to be checked.
    pub current_leader_epoch: i32,
    /// The epoch of the last record the fetcher has; −1: not to be checked.
    pub last_fetched_epoch: i32,
    /// A follower's own log start; −1 from consumers.
    pub log_start_offset: i64,
}

/// What the session keeps of the answer about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub high_watermark: i64,
    pub log_start_offset: i64,
    /// There are records in it.
    pub has_records: bool,
    /// It carries an error.
    pub is_error: bool,
    /// It sends the fetcher elsewhere: a diverging epoch or a preferred replica.
    pub redirects: bool,
}

/// The part of a Fetch request that concerns the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    pub id: i32,
    pub epoch: i32,
    /// Topics are named by id (version 13 and later).
    pub by_topic_id: bool,
    pub from_follower: bool,
    pub partitions: Vec<(PartitionRef, Ask)>,
    pub forgotten: Vec<PartitionRef>,
}

/// Why the whole request is refused. The session, if there is one, stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionError {
    #[error("no fetch session {id} is cached; start one with a full fetch")]
    NotFound { id: i32 },
    #[error("fetch session {id} expects epoch {expected}, the request has {got}")]
    Epoch { id: i32, expected: i32, got: i32 },
    #[error("fetch session {id} mixes topic names and topic ids")]
    TopicIds { id: i32 },
}

/// What to read for a request, in this order, and how to answer it.
#[derive(Debug)]
pub struct FetchScope {
    pub partitions: Vec<(PartitionRef, Ask)>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Everything is answered and nothing kept.
    Sessionless,
    /// Everything is answered; a session is made if the cache has room.
    Full { by_topic_id: bool, from_follower: bool },
    /// Only what changed is answered.
    Incremental { session: Arc<Mutex<Session>>, id: i32, next_epoch: i32 },
}

/// How to answer a request whose partitions were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// 0: no session.
    pub session_id: i32,
    /// For each answer given, in its order: whether it goes into the response.
    pub included: Vec<bool>,
}

/// All sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    shards: Vec<Mutex<Shard>>,
    next_shard: AtomicUsize,
}

impl FetchSessions {
    /// A cache of `max.incremental.fetch.session.cache.slots` sessions; fewer than 8 means none,
    /// as each shard has an eighth.
    pub fn new(slots: usize) -> FetchSessions {
        let shard = |n: i32| Mutex::new(Shard::new(n * IDS_PER_SHARD, slots / SHARDS));
        FetchSessions { shards: (0..SHARDS as i32).map(shard).collect(), next_shard: AtomicUsize::new(0) }
    }

    /// Finds what a request wants read. Advances the session's epoch.
    pub fn open(&self, request: SessionRequest, now: Instant) -> Result<FetchScope, SessionError> {
        let SessionRequest { id, epoch, by_topic_id, from_follower, partitions, forgotten } = request;
        let partitions = last_values_first_places(partitions);
        match epoch {
            FINAL_EPOCH => {
                self.close(id);
                Ok(FetchScope { partitions, kind: Kind::Sessionless })
            }
            INITIAL_EPOCH => {
                self.close(id);
                Ok(FetchScope { partitions, kind: Kind::Full { by_topic_id, from_follower } })
            }
            _ => self.open_incremental(id, epoch, by_topic_id, partitions, &forgotten, now),
        }
    }

    fn open_incremental(
        &self,
        id: i32,
        epoch: i32,
        by_topic_id: bool,
        partitions: Vec<(PartitionRef, Ask)>,
        forgotten: &[PartitionRef],
        now: Instant,
    ) -> Result<FetchScope, SessionError> {
        let mut shard = self.shard(id).ok_or(SessionError::NotFound { id })?;
        let cell = shard.find(id).ok_or(SessionError::NotFound { id })?;
        let mut session = lock(&cell);
        session.expect(epoch, by_topic_id)?;
        session.update(&partitions, forgotten);
        if session.is_empty() {
            shard.remove(id);
            return Ok(FetchScope { partitions, kind: Kind::Sessionless });
        }
        if !shard.touch(id, session.len(), now) {
            // It outgrew the cache: the fetcher starts over, as after an eviction.
            return Err(SessionError::NotFound { id });
        }
        drop(shard);
        let next_epoch = session.advance_epoch();
        let partitions = session.partitions();
        drop(session);
        Ok(FetchScope { partitions, kind: Kind::Incremental { session: cell, id, next_epoch } })
    }

    /// Decides what of the `answers` is sent. Each is given with its index in
    /// [`FetchScope::partitions`], in the order in which it would be sent.
    /// `random` makes the id of a new session hard to guess.
    pub fn conclude(
        &self,
        scope: &FetchScope,
        answers: &[(usize, Answer)],
        now: Instant,
        random: u32,
    ) -> Result<Conclusion, SessionError> {
        let answered = answers.iter().filter_map(|(index, answer)| {
            scope.partitions.get(*index).map(|(partition, ask)| (partition, *ask, *answer))
        });
        match &scope.kind {
            Kind::Sessionless => Ok(Conclusion { session_id: 0, included: vec![true; answers.len()] }),
            Kind::Full { by_topic_id, from_follower } => {
                let turn = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
                let mut shard = lock(&self.shards[turn]);
                let session_id = shard.create(*by_topic_id, *from_follower, answered, now, random);
                Ok(Conclusion { session_id, included: vec![true; answers.len()] })
            }
            Kind::Incremental { session, id, next_epoch } => {
                let mut session = lock(session);
                // Two requests of one epoch may not both be answered.
                session.expect_epoch(*next_epoch)?;
                let included =
                    answered.map(|(partition, _, answer)| session.answer(partition, answer)).collect();
                Ok(Conclusion { session_id: *id, included })
            }
        }
    }

    /// How many sessions are cached.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn close(&self, id: i32) {
        if let Some(mut shard) = self.shard(id) {
            shard.remove(id);
        }
    }

    /// `None` if no session can have that id.
    fn shard(&self, id: i32) -> Option<MutexGuard<'_, Shard>> {
        if id <= 0 {
            return None;
        }
        let index = usize::try_from(id / IDS_PER_SHARD).ok()?;
        self.shards.get(index).map(lock)
    }
}

/// Nothing in this module leaves a value half changed, so a lock is usable after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A partition listed twice is read once: where it was first listed, with what was last asked.
fn last_values_first_places(partitions: Vec<(PartitionRef, Ask)>) -> Vec<(PartitionRef, Ask)> {
    let mut places: HashMap<PartitionRef, usize> = HashMap::with_capacity(partitions.len());
    let mut unique: Vec<(PartitionRef, Ask)> = Vec::with_capacity(partitions.len());
    for (partition, ask) in partitions {
        match places.get(&partition) {
            Some(&place) => unique[place].1 = ask,
            None => {
                places.insert(partition.clone(), unique.len());
                unique.push((partition, ask));
            }
        }
    }
    unique
}

#[cfg(test)]
mod tests;
