//! A group, its waiting requests, and how its effects come about.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::wire::Str;
use tokio::sync::oneshot;

use super::Led;
use super::append::told_to_members;
use super::timers::Slot;
use crate::clock::Now;
use crate::group::record::{self, Content};
use crate::group::{Effect, Group, JoinAnswer, Store, StoreId, SyncAnswer, Ticket};

/// One group as requests and timers reach it.
#[derive(Debug)]
pub(super) struct Cell {
    id: Str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    group: Group,
    waiting: BTreeMap<Ticket, Waiter>,
    next_ticket: u64,
    /// The one deadline that the timers know of.
    scheduled: Option<Slot>,
}

/// Who waits. If nobody does any more, the answer is dropped.
#[derive(Debug)]
pub(super) enum Waiter {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

impl Cell {
    pub(super) fn new(group: Group) -> Cell {
        let id = group.id().clone();
        let inner = Inner { group, waiting: BTreeMap::new(), next_ticket: 0, scheduled: None };
        Cell { id, inner: Mutex::new(inner) }
    }

    pub(super) fn id(&self) -> &Str {
        &self.id
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Group) -> T) -> T {
        look(&self.lock().group)
    }

    /// Lets `event` happen to the group and carries its effects out.
    pub(super) fn update<T>(
        self: &Arc<Self>,
        led: &Arc<Led>,
        event: impl FnOnce(&mut Group) -> (T, Vec<Effect>),
    ) -> T {
        let mut inner = self.lock();
        let (outcome, effects) = event(&mut inner.group);
        self.carry_out(led, &mut inner, effects);
        outcome
    }

    /// The same for a request that may wait: `event` gets a ticket, `waiter` its answer.
    pub(super) fn park(
        self: &Arc<Self>,
        led: &Arc<Led>,
        waiter: Waiter,
        event: impl FnOnce(&mut Group, Ticket) -> Vec<Effect>,
    ) {
        let mut inner = self.lock();
        let ticket = Ticket(inner.next_ticket);
        inner.next_ticket += 1;
        inner.waiting.insert(ticket, waiter);
        let effects = event(&mut inner.group, ticket);
        self.carry_out(led, &mut inner, effects);
    }

    /// A deadline that was scheduled has come.
    pub(super) fn expire(self: &Arc<Self>, led: &Arc<Led>, slot: Slot, now: Now) {
        let mut inner = self.lock();
        // Else an earlier one was set while this was on its way.
        if inner.scheduled == Some(slot) {
            inner.scheduled = None;
        }
        let effects = inner.group.expire(now);
        self.carry_out(led, &mut inner, effects);
    }

    fn stored(self: &Arc<Self>, led: &Arc<Led>, id: StoreId, outcome: Result<(), client::wire::ErrorCode>) {
        let outcome = outcome.map_err(told_to_members);
        self.update(led, |group| ((), group.stored(id, outcome, Now::read())));
    }

    fn carry_out(self: &Arc<Self>, led: &Arc<Led>, inner: &mut Inner, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Joined(ticket, answer) => {
                    if let Some(Waiter::Join(waiter)) = inner.waiting.remove(&ticket) {
                        // The connection may be gone.
                        let _ = waiter.send(answer);
                    }
                }
                Effect::Synced(ticket, answer) => {
                    if let Some(Waiter::Sync(waiter)) = inner.waiting.remove(&ticket) {
                        let _ = waiter.send(answer);
                    }
                }
                Effect::Store(store) => effects.extend(self.store(led, inner, store)),
            }
        }
        self.schedule(led, inner);
    }

    /// Appends under the group's lock, so that the log has a group's states in their order; waits
    /// for the replicas outside of it.
    fn store(self: &Arc<Self>, led: &Arc<Led>, inner: &mut Inner, store: Store) -> Vec<Effect> {
        let Store { id, value } = store;
        let appended = match record::group_record(&self.id, Some(&value)) {
            Ok(record) => led.append(&[record], Content::Groups),
            Err(error) => {
                tracing::error!(group = %self.id, %error, "the group's record cannot be written");
                Err(client::wire::ErrorCode::UnknownServerError)
            }
        };
        match appended {
            Ok(appending) => {
                let (cell, led) = (Arc::clone(self), Arc::clone(led));
                tokio::spawn(async move {
                    let outcome = appending.done().await;
                    led.note_stored(&cell.id, outcome);
                    cell.stored(&led, id, outcome);
                });
                Vec::new()
            }
            Err(code) => {
                led.note_stored(&self.id, Err(code));
                inner.group.stored(id, Err(told_to_members(code)), Now::read())
            }
        }
    }

    /// Tells the timers of a deadline that is earlier than what they know.
    fn schedule(self: &Arc<Self>, led: &Arc<Led>, inner: &mut Inner) {
        let Some(next) = inner.group.next_deadline() else { return };
        if inner.scheduled.is_none_or(|known| next < known.deadline()) {
            inner.scheduled = Some(led.timers.set(inner.scheduled, next, Arc::clone(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a group asserts about holds before it changes anything.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
