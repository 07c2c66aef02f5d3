//! The writes that a coordinator owes ZooKeeper, and those who wait for them.
//!
//! - The last value wins: while a key's write has not been sent, a newer one takes its place, and
//!   everybody who waited for the older one waits for the newer.
//! - Order: a key has at most one unresolved write. As long as it is not known what became of it,
//!   nothing newer is sent for that key.
//! - Everybody who waits is answered exactly once; a waiter is a value that is moved in and out.
//! - Nothing lands late: a write that nobody waits for any more, because all were told that it failed, is
//!   withdrawn unless it was sent; who reads waits for those that came before ([`Pending::owed`]).
//!
//! Says what is to be done next ([`Pending::next`]) and is told what came of it. Never reads a clock,
//! never talks to anyone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::ZkVersion;

use super::OffsetKey;
use super::check::Check;
use super::fence::{Attached, Deposed, Fence, Leads, Rights};

/// Names one multi.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Batch(u64);

/// What becomes of a write that nobody waits for any more and that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It is withdrawn: whoever asked for it was told that it failed.
    Withdrawn,
    /// It is done all the same, since it is written elsewhere too.
    Done,
}

/// Keys whose writes came before somebody's reading and may yet be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    before: Place,
    keys: Vec<OffsetKey>,
}

/// A place in the order of all that was ever pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64);

impl Owed {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What is to be done in ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job<V> {
    /// Make a barrier and read the coordinating partition's state: [`Pending::looked`].
    Look,
    /// Write, all or nothing, if these are still so.
    Flush { batch: Batch, rights: Rights, writes: Vec<(OffsetKey, V)> },
    /// Make a barrier, and see which of these writes were done: [`Pending::resolved`].
    Resolve { batch: Batch, writes: Vec<(OffsetKey, V)> },
}

/// What became of a multi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    Landed,
    /// It was not done, and may be sent again.
    NotDone,
    /// It was not done, because the state or the stamp has another version.
    Fenced,
    /// Nobody knows.
    Lost,
}

/// What [`Job::Resolve`] found.
pub(crate) struct Found<'a> {
    /// Made by its barrier.
    pub(crate) stamp: ZkVersion,
    /// Whether a key is as the batch would have made it.
    pub(crate) is_done: &'a dyn Fn(&OffsetKey) -> bool,
}

/// How much one multi may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) keys: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Entry<V, T> {
    write: V,
    /// Of the first push whose waiters wait for this.
    place: Place,
    /// What it takes in a request.
    bytes: usize,
    waiters: Vec<T>,
}

#[derive(Debug)]
struct Sent<V, T> {
    rights: Rights,
    writes: BTreeMap<OffsetKey, Entry<V, T>>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    InFlight,
    Unknown,
    Resolving,
}

/// `V`: a write of one key. `T`: somebody who waits.
#[derive(Debug)]
pub(crate) struct Pending<V, T> {
    fence: Fence,
    late: Late,
    looking: bool,
    /// Keys of `queued`, first come first.
    order: BTreeMap<Place, OffsetKey>,
    queued: BTreeMap<OffsetKey, Entry<V, T>>,
    sent: BTreeMap<Batch, Sent<V, T>>,
    /// Keys in `sent`.
    unresolved: BTreeSet<OffsetKey>,
    /// Keys that nothing is sent for until they are released, and how often they are held.
    held: BTreeMap<OffsetKey, usize>,
    next_batch: u64,
    next_place: Place,
}

impl<V: Clone, T> Pending<V, T> {
    pub(crate) fn new(fence: Fence, late: Late) -> Pending<V, T> {
        Pending {
            fence,
            late,
            looking: false,
            order: BTreeMap::new(),
            queued: BTreeMap::new(),
            sent: BTreeMap::new(),
            unresolved: BTreeSet::new(),
            held: BTreeMap::new(),
            next_batch: 0,
            next_place: Place(0),
        }
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    /// A write found that these are not so any more.
    pub(crate) fn doubt(&mut self, rights: Rights) {
        self.fence.doubt(rights);
    }

    /// Keys that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Whether a write of the key waits to be sent.
    pub(crate) fn is_queued(&self, key: &OffsetKey) -> bool {
        self.queued.contains_key(key)
    }

    /// Whether a write of the key was sent, and it is not known yet what became of it.
    pub(crate) fn is_unresolved(&self, key: &OffsetKey) -> bool {
        self.unresolved.contains(key)
    }

    /// Those of the keys that have a write which may yet be done. Who reads them only when nothing of that is
    /// [owed any more](Self::still_owes) sees everything that was pushed before, and nothing of it is done later.
    pub(crate) fn owed<'a>(&self, keys: impl IntoIterator<Item = &'a OffsetKey>) -> Owed {
        let owes_nothing = self.queued.is_empty() && self.sent.is_empty();
        let keys = keys.into_iter().filter(|key| !owes_nothing && self.owes(key, self.next_place));
        Owed { before: self.next_place, keys: keys.cloned().collect() }
    }

    /// The same for all keys of a group.
    pub(crate) fn owed_of_group(&self, group: &Arc<str>) -> Owed {
        let first = OffsetKey::new(Arc::clone(group), "", i32::MIN);
        let is_of_group = |key: &&OffsetKey| key.group == *group;
        let queued = self.queued.range(&first..).map(|(key, _)| key).take_while(is_of_group);
        let keys: BTreeSet<&OffsetKey> =
            self.unresolved.range(&first..).take_while(is_of_group).chain(queued).collect();
        self.owed(keys)
    }

    /// Whether something of it may still be done. What was pushed since does not count, or readers of keys
    /// that are written without a pause would wait for ever.
    pub(crate) fn still_owes(&self, owed: &mut Owed) -> bool {
        owed.keys.retain(|key| self.owes(key, owed.before));
        !owed.is_empty()
    }

    fn owes(&self, key: &OffsetKey, before: Place) -> bool {
        let sent = self.sent.values().filter_map(|sent| sent.writes.get(key));
        let mut entries = self.queued.get(key).into_iter().chain(sent);
        Check::Wait.is_made() && entries.any(|entry| entry.place < before)
    }

    /// Owes a write. The waiter comes back at once if the right to write is gone.
    pub(crate) fn push(&mut self, key: OffsetKey, write: V, bytes: usize, waiter: T) -> Result<(), T> {
        if self.fence.deposed().is_some() {
            return Err(waiter);
        }
        match self.queued.get_mut(&key) {
            Some(entry) => {
                entry.write = write;
                entry.bytes = bytes;
                entry.waiters.push(waiter);
            }
            None => {
                let place = self.next_place;
                self.next_place = Place(place.0 + 1);
                self.enqueue(key, Entry { write, place, bytes, waiters: vec![waiter] });
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, key: OffsetKey, entry: Entry<V, T>) {
        self.order.insert(entry.place, key.clone());
        self.queued.insert(key, entry);
    }

    /// Lets go of those who do not wait for this key any more, because they were told that it failed.
    pub(crate) fn forget_waiters(&mut self, key: &OffsetKey, is_gone: impl Fn(&T) -> bool) {
        let sent = self.sent.values_mut().filter_map(|sent| sent.writes.get_mut(key));
        for entry in self.queued.get_mut(key).into_iter().chain(sent) {
            entry.waiters.retain(|waiter| !is_gone(waiter));
        }
        if let Some(place) = self.queued.get(key).filter(|entry| self.is_late(entry)).map(|entry| entry.place)
        {
            self.order.remove(&place);
            self.queued.remove(key);
        }
    }

    /// Whether a write is to be done no more, if it is known not to have been.
    fn is_late(&self, entry: &Entry<V, T>) -> bool {
        self.late == Late::Withdrawn && entry.waiters.is_empty()
    }

    /// Sends nothing more for these keys until [`Pending::release`].
    pub(crate) fn hold(&mut self, keys: &[OffsetKey]) {
        for key in keys {
            *self.held.entry(key.clone()).or_default() += 1;
        }
    }

    pub(crate) fn release(&mut self, keys: &[OffsetKey]) {
        for key in keys {
            if let Some(holds) = self.held.get_mut(key) {
                *holds -= 1;
                if *holds == 0 {
                    self.held.remove(key);
                }
            }
        }
    }

    /// What can be done now; each job must be reported on once.
    pub(crate) fn next(&mut self, on: Attached, limits: Limits) -> Option<Job<V>> {
        if self.fence.deposed().is_some() {
            return None;
        }
        if !self.looking && self.fence.must_look(on) {
            self.looking = true;
            return Some(Job::Look);
        }
        self.resolve().or_else(|| self.flush(on, limits))
    }

    fn resolve(&mut self) -> Option<Job<V>> {
        let (batch, sent) = self.sent.iter_mut().find(|(_, sent)| sent.stage == Stage::Unknown)?;
        sent.stage = Stage::Resolving;
        Some(Job::Resolve { batch: *batch, writes: sent.copies() })
    }

    fn flush(&mut self, on: Attached, limits: Limits) -> Option<Job<V>> {
        // Behind the barrier of a look the stamp that is known here holds no more.
        let rights = self.fence.rights().filter(|_| !self.fence.must_look(on))?;
        let mut sent = Sent { rights, writes: BTreeMap::new(), stage: Stage::InFlight };
        let mut bytes = 0;
        let mut chosen = Vec::new();
        for (place, key) in &self.order {
            let size = self.queued.get(key).map_or(0, |entry| entry.bytes);
            let full = chosen.len() >= limits.keys || bytes + size > limits.bytes;
            if full && !chosen.is_empty() {
                break;
            }
            if !self.held.contains_key(key) && !self.has_unresolved_write(key) {
                bytes += size;
                chosen.push(*place);
            }
        }
        for place in chosen {
            let Some(key) = self.order.remove(&place) else { continue };
            if let Some(entry) = self.queued.remove(&key) {
                self.unresolved.insert(key.clone());
                sent.writes.insert(key, entry);
            }
        }
        if sent.writes.is_empty() {
            return None;
        }
        let batch = Batch(self.next_batch);
        self.next_batch += 1;
        let writes = sent.copies();
        self.sent.insert(batch, sent);
        Some(Job::Flush { batch, rights, writes })
    }

    /// The order rule: while this is so, nothing newer is sent for the key.
    fn has_unresolved_write(&self, key: &OffsetKey) -> bool {
        Check::Order.is_made() && self.unresolved.contains(key)
    }

    /// A barrier made this stamp, and the state was read behind it; `None`: the node is not there. Gives those
    /// who wait in vain, if the right to write is gone.
    pub(crate) fn looked(&mut self, on: Attached, stamp: ZkVersion, state: Option<Leads>) -> Vec<T> {
        self.looking = false;
        self.fence.saw(on, stamp, state);
        match self.fence.deposed() {
            Some(_) => self.clear(),
            None => Vec::new(),
        }
    }

    /// The state could not be read.
    pub(crate) fn look_failed(&mut self) {
        self.looking = false;
    }

    /// What came of [`Job::Flush`]. Gives those whose write was done.
    pub(crate) fn flushed(&mut self, batch: Batch, outcome: Flushed) -> Vec<T> {
        match outcome {
            Flushed::Lost => {
                if let Some(sent) = self.sent.get_mut(&batch) {
                    sent.stage = Stage::Unknown;
                }
                Vec::new()
            }
            Flushed::NotDone => self.take_back(batch, |_| false),
            Flushed::Fenced => {
                if let Some(sent) = self.sent.get(&batch) {
                    self.fence.doubt(sent.rights);
                }
                self.take_back(batch, |_| false)
            }
            Flushed::Landed => self.take_back(batch, |_| true),
        }
    }

    /// ZooKeeper will not do the batch because of these keys, however often it is asked. Gives those
    /// who wait for them.
    pub(crate) fn refused(&mut self, batch: Batch, is_culprit: impl Fn(&OffsetKey) -> bool) -> Vec<T> {
        self.take_back(batch, is_culprit)
    }

    /// What came of [`Job::Resolve`]; `None`: it could not be found out. Gives those whose write was done.
    pub(crate) fn resolved(&mut self, batch: Batch, found: Option<Found<'_>>) -> Vec<T> {
        match found {
            Some(Found { stamp, is_done }) => {
                self.fence.renewed(stamp);
                self.take_back(batch, is_done)
            }
            None => self.flushed(batch, Flushed::Lost),
        }
    }

    /// The right to write is gone by the controller's word. Gives everybody who still waits.
    pub(crate) fn close(&mut self, why: Deposed) -> Vec<T> {
        self.fence.depose(why);
        self.clear()
    }

    fn clear(&mut self) -> Vec<T> {
        self.order.clear();
        self.unresolved.clear();
        let sent = std::mem::take(&mut self.sent).into_values().flat_map(|sent| sent.writes);
        let all = sent.chain(std::mem::take(&mut self.queued));
        all.flat_map(|(_, entry)| entry.waiters).collect()
    }

    /// Ends a batch: those who wait for a write that is over are given back, the others wait on,
    /// for the same value or for a newer one.
    fn take_back(&mut self, batch: Batch, is_over: impl Fn(&OffsetKey) -> bool) -> Vec<T> {
        let mut done = Vec::new();
        for (key, mut entry) in self.sent.remove(&batch).map(|sent| sent.writes).unwrap_or_default() {
            self.unresolved.remove(&key);
            if is_over(&key) {
                done.append(&mut entry.waiters);
                continue;
            }
            if self.is_late(&entry) {
                continue;
            }
            if let Some(mut newer) = self.queued.remove(&key) {
                self.order.remove(&newer.place);
                entry.write = newer.write;
                entry.bytes = newer.bytes;
                entry.waiters.append(&mut newer.waiters);
            }
            self.enqueue(key, entry);
        }
        done
    }
}

impl<V: Clone, T> Sent<V, T> {
    fn copies(&self) -> Vec<(OffsetKey, V)> {
        self.writes.iter().map(|(key, entry)| (key.clone(), entry.write.clone())).collect()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
