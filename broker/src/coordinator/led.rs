//! One partition of `__consumer_offsets` while this broker leads it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::ids::LeaderEpoch;
use client::wire::{ErrorCode, Str};
use tokio::sync::watch;

use super::cell::Cell;
use super::loaded::{Loaded, Standing};
use super::offsets::Offsets;
use super::timers::Timers;
use crate::clock::Now;
use crate::config::GroupsConfig;
use crate::group::{Group, GroupError};
use crate::offsets::OffsetStore;
use crate::partition::Partition;
use crate::spell::Spell;

/// A term of leadership, and the groups in it.
#[derive(Debug)]
pub struct Led {
    partition: Arc<Partition>,
    /// The first epoch of this broker's uninterrupted term.
    since: LeaderEpoch,
    /// The present one: a term goes on when the controller only changes who follows.
    epoch: AtomicI32,
    config: GroupsConfig,
    /// Partitions of the topic, which never change.
    partition_count: i32,
    loaded: AtomicBool,
    closed: watch::Sender<bool>,
    groups: Mutex<BTreeMap<Str, Arc<Cell>>>,
    pub(super) timers: Timers,
    pub(super) offsets: Offsets,
    /// Records of groups cannot be stored.
    unstored: Spell,
}

/// What the terms of one broker have in common.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) config: GroupsConfig,
    pub(super) offsets: Arc<OffsetStore>,
}

impl Led {
    pub(super) fn new(
        partition: Arc<Partition>,
        since: LeaderEpoch,
        epoch: LeaderEpoch,
        partition_count: i32,
        means: &Means,
    ) -> Arc<Led> {
        Arc::new(Led {
            partition,
            since,
            epoch: AtomicI32::new(epoch.0),
            config: means.config.clone(),
            partition_count,
            loaded: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            groups: Mutex::default(),
            timers: Timers::default(),
            offsets: Offsets::new(&means.offsets),
            unstored: Spell::default(),
        })
    }

    /// The partition's number.
    pub fn number(&self) -> i32 {
        self.partition.id().partition
    }

    /// The leader epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// The epoch in which the term began.
    pub(super) fn since(&self) -> LeaderEpoch {
        self.since
    }

    /// Whether the partition is still led, in the same term.
    pub fn leads(&self) -> bool {
        self.partition.status().leads_since(self.since) && !self.is_closed()
    }

    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    pub(super) fn config(&self) -> &GroupsConfig {
        &self.config
    }

    pub(super) fn partition_count(&self) -> i32 {
        self.partition_count
    }

    /// The term goes on in a newer epoch: followers came or went.
    pub(super) fn goes_on(self: &Arc<Self>, epoch: LeaderEpoch) {
        if self.epoch.fetch_max(epoch.0, Ordering::AcqRel) < epoch.0 {
            self.offsets_go_on();
        }
    }

    /// Waits until the term is in a newer epoch than this one.
    pub(super) async fn newer_epoch(&self, than: LeaderEpoch) {
        let mut facts = self.partition.watch();
        // The sender lives as long as the partition, which is ours.
        let newer = facts.wait_for(|status| status.epoch > than).await.map(|status| status.epoch);
        if let Ok(newer) = newer {
            self.epoch.fetch_max(newer.0, Ordering::AcqRel);
        }
    }

    pub(super) async fn no_longer_leads(&self) {
        let mut facts = self.partition.watch();
        // The sender lives as long as the partition, which is ours.
        let _ = facts.wait_for(|status| !status.leads_since(self.since)).await;
    }

    /// Waits until every replica in sync has what was read, or the term is over.
    pub(super) async fn replicated(&self, loaded: Loaded) {
        if loaded.standing(&self.partition.status()) == Standing::Awaited {
            tracing::info!(
                partition = self.number(), end = %loaded.end, "waiting for other replicas to have the end of the groups' log"
            );
        }
        let mut facts = self.partition.watch();
        // The sender lives as long as the partition, which is ours.
        let _ = facts.wait_for(|status| loaded.standing(status) != Standing::Awaited).await;
    }

    pub(super) async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Tells all that wait to go elsewhere. False if that was done before.
    pub(super) fn close(self: &Arc<Self>) -> bool {
        if self.closed.send_replace(true) {
            return false;
        }
        self.close_offsets();
        let groups = std::mem::take(&mut *self.lock());
        let now = Now::read();
        for cell in groups.into_values() {
            cell.update(self, |group| ((), group.end(GroupError::Moved, now)));
        }
        true
    }

    /// Takes the groups that were loaded, and begins to serve.
    pub(super) fn begin(self: &Arc<Self>, loaded: Vec<Group>) {
        let now = Now::read();
        let cells: Vec<Arc<Cell>> = loaded.into_iter().map(|group| Arc::new(Cell::new(group))).collect();
        let mut groups = self.lock();
        // Closing empties the groups under this lock, so none is put into a closed one.
        if self.is_closed() {
            return;
        }
        groups.extend(cells.iter().map(|cell| (cell.id().clone(), Arc::clone(cell))));
        drop(groups);
        for cell in cells {
            cell.update(self, |group| ((), group.resume(now)));
        }
        self.loaded.store(true, Ordering::Release);
    }

    pub(super) fn find(&self, group: &str) -> Option<Arc<Cell>> {
        self.lock().get(group).cloned()
    }

    pub(super) fn find_or_create(&self, group: &Str) -> Result<Arc<Cell>, ErrorCode> {
        let mut groups = self.lock();
        if self.is_closed() {
            return Err(ErrorCode::NotCoordinator);
        }
        if let Some(cell) = groups.get(group) {
            return Ok(Arc::clone(cell));
        }
        let cell = Arc::new(Cell::new(Group::new(group.clone(), self.config.limits, Now::read())));
        groups.insert(group.clone(), Arc::clone(&cell));
        Ok(cell)
    }

    /// All groups, in order.
    pub(super) fn all(&self) -> Vec<Arc<Cell>> {
        self.lock().values().cloned().collect()
    }

    /// What became of a group's record. Members ask again at once, so that each failure would be many lines.
    pub(super) fn note_stored(&self, group: &str, outcome: Result<(), ErrorCode>) {
        let partition = self.number();
        match outcome {
            Ok(()) => {
                if let Some(failures) = self.unstored.ends() {
                    tracing::info!(partition, failures, "records of groups are stored again");
                }
            }
            Err(code) if self.unstored.begins() => tracing::warn!(
                partition,
                group,
                code = code.name(),
                "the group's record cannot be stored; nothing more is said until one can"
            ),
            Err(_) => {}
        }
    }

    /// Takes out a group that has ended.
    pub(super) fn remove(&self, cell: &Arc<Cell>) {
        let mut groups = self.lock();
        if groups.get(cell.id()).is_some_and(|known| Arc::ptr_eq(known, cell)) {
            groups.remove(cell.id());
        }
    }

    /// Lets a group that was to be deleted go on, empty.
    pub(super) fn revive(self: &Arc<Self>, cell: &Arc<Cell>) {
        // Closing takes the groups out under this lock, and ends them afterwards.
        let groups = self.lock();
        if groups.get(cell.id()).is_some_and(|known| Arc::ptr_eq(known, cell)) {
            cell.update(self, |group| (group.revive(Now::read()), Vec::new()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Str, Arc<Cell>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
