//! A group driven by hand: time passes when told, tickets are numbered, appends succeed when told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::wire::{ErrorCode, Str};

use crate::clock::Now;
use crate::group::*;

pub(super) const LIMITS: Limits = Limits {
    session_timeout_min: Duration::from_secs(6),
    session_timeout_max: Duration::from_secs(1800),
    initial_rebalance_delay: Duration::from_secs(3),
    size_max: 10,
};

pub(super) const SESSION: Duration = Duration::from_secs(10);
pub(super) const REBALANCE: Duration = Duration::from_secs(60);

/// What a request came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Joined(JoinAnswer),
    Synced(SyncAnswer),
}

pub(super) struct Driven {
    pub(super) group: Group,
    start: Instant,
    pub(super) passed: Duration,
    next_ticket: u64,
    next_member: u64,
    pub(super) answers: BTreeMap<Ticket, Answer>,
    /// Not yet told to the group.
    pub(super) stores: Vec<Store>,
}

impl Driven {
    pub(super) fn new() -> Driven {
        Driven::with_limits(LIMITS)
    }

    pub(super) fn with_limits(limits: Limits) -> Driven {
        let start = Instant::now();
        let now = Now { monotonic: start, unix_ms: 0 };
        Driven::of(Group::new(Str::from("g"), limits, now), start)
    }

    pub(super) fn of(group: Group, start: Instant) -> Driven {
        Driven {
            group,
            start,
            passed: Duration::ZERO,
            next_ticket: 0,
            next_member: 0,
            answers: BTreeMap::new(),
            stores: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        let unix_ms = i64::try_from(self.passed.as_millis()).unwrap();
        Now { monotonic: self.start + self.passed, unix_ms }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// All that was asked, in order.
    pub(super) fn asked(&self) -> Vec<Ticket> {
        (1..=self.next_ticket).map(Ticket).collect()
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (ticket, answer) = match effect {
                Effect::Joined(ticket, answer) => (ticket, Answer::Joined(answer)),
                Effect::Synced(ticket, answer) => (ticket, Answer::Synced(answer)),
                Effect::Store(store) => {
                    self.stores.push(store);
                    continue;
                }
            };
            assert!(ticket.0 <= self.next_ticket, "an answer to nobody");
            assert_eq!(self.answers.insert(ticket, answer), None, "{ticket:?} is answered twice");
        }
    }

    /// A dynamic member that supports `range`, under a member id of its own if it has none.
    pub(super) fn request(&mut self, member_id: &str) -> Join {
        self.next_member += 1;
        Join {
            member_id: member_id.into(),
            instance_id: None,
            new_member_id: format!("new{}", self.next_member).into(),
            must_know_id: false,
            can_skip_assignment: true,
            client_id: "client".into(),
            client_host: "/host".into(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: protocols(&["range"], "meta"),
        }
    }

    pub(super) fn join(&mut self, join: Join) -> Ticket {
        let ticket = self.ticket();
        let effects = self.group.join(join, ticket, self.now());
        self.take(effects);
        ticket
    }

    /// A new member joins by this id, as one does that was given it.
    pub(super) fn join_as(&mut self, id: &str) -> Ticket {
        let join = Join { new_member_id: id.into(), ..self.request("") };
        self.join(join)
    }

    pub(super) fn sync(&mut self, member_id: &str, assignments: &[(&str, &str)]) -> Ticket {
        let sync = self.sync_request(member_id, assignments);
        self.sync_by(sync)
    }

    pub(super) fn sync_request(&self, member_id: &str, assignments: &[(&str, &str)]) -> Sync {
        let own = |(id, part): &(&str, &str)| (Str::from(*id), Bytes::copy_from_slice(part.as_bytes()));
        Sync {
            generation: self.group.generation(),
            member_id: member_id.into(),
            instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments.iter().map(own).collect(),
        }
    }

    pub(super) fn sync_by(&mut self, sync: Sync) -> Ticket {
        let ticket = self.ticket();
        let effects = self.group.sync(sync, ticket, self.now());
        self.take(effects);
        ticket
    }

    pub(super) fn heartbeat(&mut self, member_id: &str) -> Result<(), GroupError> {
        let (generation, now) = (self.group.generation(), self.now());
        self.group.heartbeat(member_id, None, generation, now)
    }

    pub(super) fn leave(&mut self, member_id: &str) -> Result<(), GroupError> {
        let leaving = Leaving { member_id: member_id.into(), instance_id: None };
        let (outcome, effects) = self.group.leave(&[leaving], self.now());
        self.take(effects);
        outcome.and_then(|outcomes| outcomes[0])
    }

    /// All appends succeed, or fail with this code.
    pub(super) fn stored(&mut self, outcome: Result<(), ErrorCode>) {
        for store in std::mem::take(&mut self.stores) {
            let effects = self.group.stored(store.id, outcome, self.now());
            self.take(effects);
        }
    }

    /// Time passes, and what is due happens when it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.passed + time;
        while let Some(due) = self.group.next_deadline().map(|due| due - self.start)
            && due <= end
        {
            self.passed = self.passed.max(due);
            let effects = self.group.expire(self.now());
            self.take(effects);
        }
        self.passed = end;
    }

    pub(super) fn joined(&self, ticket: Ticket) -> &Joined {
        match self.answers.get(&ticket) {
            Some(Answer::Joined(Ok(joined))) => joined,
            other => panic!("{ticket:?} has not joined: {other:?}"),
        }
    }

    pub(super) fn join_error(&self, ticket: Ticket) -> GroupError {
        match self.answers.get(&ticket) {
            Some(Answer::Joined(Err(refused))) => refused.error,
            other => panic!("{ticket:?} is not refused: {other:?}"),
        }
    }

    pub(super) fn synced(&self, ticket: Ticket) -> Result<&[u8], GroupError> {
        match self.answers.get(&ticket) {
            Some(Answer::Synced(Ok(synced))) => Ok(&synced.assignment),
            Some(Answer::Synced(Err(error))) => Err(*error),
            other => panic!("{ticket:?} is not synced: {other:?}"),
        }
    }

    pub(super) fn waits(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    /// Members with ids `a`, `b` and so on, `a` first, at generation 1, all stable.
    pub(super) fn stable(ids: &[&str]) -> Driven {
        let mut driven = Driven::completing(ids);
        let parts: Vec<(&str, &str)> = ids.iter().map(|id| (*id, *id)).collect();
        for id in ids {
            driven.sync(id, &parts);
        }
        driven.stored(Ok(()));
        assert_eq!(driven.group.state(), State::Stable);
        driven
    }

    /// The same, before anybody has synced.
    pub(super) fn completing(ids: &[&str]) -> Driven {
        let mut driven = Driven::new();
        for id in ids {
            driven.join_as(id);
        }
        driven.pass(LIMITS.initial_rebalance_delay * 2);
        assert_eq!(driven.group.state(), State::CompletingRebalance);
        driven
    }
}

pub(super) fn protocols(names: &[&str], metadata: &'static str) -> Vec<Protocol> {
    let protocol =
        |name: &&str| Protocol { name: Str::from(*name), metadata: Bytes::from_static(metadata.as_bytes()) };
    names.iter().map(protocol).collect()
}
