//! A shard of the session cache: which sessions there are, and which gives way to a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::session::Session;
use super::{Answer, Ask, IDS_PER_SHARD, PartitionRef};

/// After so long without a request a session may be evicted by any other
/// (`KafkaServer.scala`, `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// The most partitions all sessions of a shard hold together. Kafka has no limit here; a client
/// that adds invented partitions to its session with every request must not exhaust the memory.
const PARTITIONS_PER_SHARD: usize = 500_000;

#[derive(Debug)]
pub(super) struct Shard {
    first_id: i32,
    slots: usize,
    sessions: BTreeMap<i32, Slot>,
    partitions: usize,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    from_follower: bool,
    created: Instant,
    used: Instant,
    /// Partitions of the session when it was last used.
    size: usize,
}

impl Slot {
    /// Whether the session had already lived through the idle limit when it was last used.
    fn was_old_in_use(&self) -> bool {
        self.used.duration_since(self.created) > IDLE_LIMIT
    }
}

impl Shard {
    pub(super) fn new(first_id: i32, slots: usize) -> Shard {
        Shard { first_id, slots, sessions: BTreeMap::new(), partitions: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn find(&self, id: i32) -> Option<Arc<Mutex<Session>>> {
        self.sessions.get(&id).map(|slot| Arc::clone(&slot.session))
    }

    pub(super) fn remove(&mut self, id: i32) {
        if let Some(slot) = self.sessions.remove(&id) {
            self.partitions -= slot.size;
        }
    }

    /// Notes that the session was used and how large it is now.
    /// False if it made the shard too large; it is gone then.
    pub(super) fn touch(&mut self, id: i32, size: usize, now: Instant) -> bool {
        let Some(slot) = self.sessions.get_mut(&id) else { return false };
        self.partitions = self.partitions - slot.size + size;
        slot.size = size;
        slot.used = now;
        if self.partitions > PARTITIONS_PER_SHARD {
            self.remove(id);
            return false;
        }
        true
    }

    /// Makes a session of partitions just answered and returns its id; 0 if there is no room.
    pub(super) fn create<'a>(
        &mut self,
        by_topic_id: bool,
        from_follower: bool,
        answered: impl Iterator<Item = (&'a PartitionRef, Ask, Answer)>,
        now: Instant,
        random: u32,
    ) -> i32 {
        let answered: Vec<_> = answered.collect();
        let size = answered.len();
        if !self.make_room(from_follower, size, now) || self.partitions + size > PARTITIONS_PER_SHARD {
            return 0;
        }
        let id = self.free_id(random);
        let mut session = Session::new(id, by_topic_id);
        for (partition, ask, answer) in answered {
            session.add_answered(partition, ask, answer);
        }
        let session = Arc::new(Mutex::new(session));
        self.sessions.insert(id, Slot { session, from_follower, created: now, used: now, size });
        self.partitions += size;
        id
    }

    /// Sees to it that a slot is free for a session of `size` partitions.
    fn make_room(&mut self, from_follower: bool, size: usize, now: Instant) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let least_used = self.sessions.iter().min_by_key(|(id, slot)| (slot.used, **id));
        let Some((&least_used, slot)) = least_used else { return false };
        if now.duration_since(slot.used) > IDLE_LIMIT {
            self.remove(least_used);
            return true;
        }
        // A follower's session is worth more than a consumer's, then the larger one is worth more.
        // A session's young age protects it, except a consumer's from a follower's.
        let least_valuable = self
            .sessions
            .iter()
            .filter(|(_, slot)| slot.was_old_in_use() || (from_follower && !slot.from_follower))
            .map(|(id, slot)| (slot.from_follower, slot.size, *id))
            .min();
        match least_valuable {
            Some((follower, least_size, id)) if (follower, least_size) < (from_follower, size) => {
                self.remove(id);
                true
            }
            _ => false,
        }
    }

    /// A free id of this shard's range. Ids are never 0.
    fn free_id(&self, random: u32) -> i32 {
        let mut step = i32::try_from(random % IDS_PER_SHARD.unsigned_abs()).unwrap_or(0);
        loop {
            let id = self.first_id + step;
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
            step = (step + 1) % IDS_PER_SHARD;
        }
    }
}
