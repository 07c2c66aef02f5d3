//! The groups that a broker's process coordinates: the real [`Group`]s, their log replayed by the real
//! [`Replay`], their records appended by the real partition. What `broker::coordinator` does around them with
//! tasks and timers is written once more, with `offsets.storage=kafka`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker::coordinator::{Loaded, Standing};
use broker::group::record::{self, Content, Encoded};
use broker::group::replay::{OffsetOf, Replay};
use broker::group::{
    Commit, CommittedOffset, Description, Effect, Group, GroupError, Identity, Leaving, Limits, StoreId,
    Ticket, partition_of,
};
use broker::partition::{Partition, PartitionError, Reader};
use client::ids::{LeaderEpoch, Offset};
use client::wire::{ErrorCode, Str};

use super::append::{Appended, append, told_to_committers, told_to_members};
use super::message::{Answer, Ask, Told};
use super::note::{CommitOf, Note};
use super::{PARTITIONS, READ};
use crate::sim::message::{MS, Message, Place, SECOND, Stored, Tick, Time};
use crate::sim::process::{Out, Roles};
use crate::sim::promises::{Batch, held};

/// `offsets.commit.timeout.ms`
const APPEND_TIMEOUT: Time = 2 * SECOND;

fn limits() -> Limits {
    Limits {
        session_timeout_min: std::time::Duration::from_millis(100),
        session_timeout_max: std::time::Duration::from_secs(60),
        initial_rebalance_delay: std::time::Duration::from_millis(300),
        size_max: 10,
    }
}

/// Who waits for an answer: where, and to which request.
type Asker = (Place, u64);

#[derive(Debug)]
struct Hosted {
    group: Group,
    waiting: BTreeMap<Ticket, Asker>,
    next_ticket: u64,
}

/// An offset as the log has it.
#[derive(Debug)]
struct Logged {
    end: Offset,
    value: CommittedOffset,
}

/// A term of leadership, and the groups in it.
#[derive(Debug)]
struct Led {
    partition: Arc<Partition>,
    since: LeaderEpoch,
    /// Until it may be told.
    read: Option<Read>,
    is_loaded: bool,
    groups: BTreeMap<Str, Hosted>,
    offsets: BTreeMap<OffsetOf, Logged>,
}

impl Led {
    fn leads(&self) -> bool {
        self.partition.status().leads_since(self.since)
    }
}

/// What was read of a log.
#[derive(Debug)]
struct Read {
    loaded: Loaded,
    replay: Replay,
    /// By base offset.
    batches: BTreeMap<Offset, Batch>,
}

/// What follows once records are replicated.
#[derive(Debug)]
enum Then {
    Stored { group: Str, id: StoreId },
    Committed { asker: Asker, commit: CommitOf, written: Vec<(OffsetOf, CommittedOffset)> },
}

/// Records that are in this broker's log and may not be on other replicas yet.
#[derive(Debug)]
struct Appending {
    partition: Arc<Partition>,
    since: LeaderEpoch,
    stored: Stored,
    batch: Batch,
    required: Offset,
    until: Time,
    then: Then,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(in crate::sim) struct Coordinator {
    led: BTreeMap<i32, Led>,
    appending: Vec<Appending>,
    /// Something was asked or appended since the last look.
    is_new: bool,
    has_appended: bool,
    /// When the next deadline is looked at.
    due: Option<Time>,
}

impl Coordinator {
    pub(in crate::sim) fn describe(&self, group: &str) -> Option<(i32, Description)> {
        let led = self.led.get(&partition_of(group, PARTITIONS)).filter(|led| led.is_loaded)?;
        let group = &led.groups.get(group)?.group;
        Some((group.generation(), group.describe()))
    }

    /// What a fetch of all offsets of the group would give, by partition.
    pub(in crate::sim) fn numbers(&self, group: &str, partitions: &[i32]) -> Option<(LeaderEpoch, Numbers)> {
        let led = self.led.get(&partition_of(group, PARTITIONS)).filter(|led| led.is_loaded)?;
        Some((led.partition.status().epoch, led.numbers(group, partitions)))
    }

    pub(in crate::sim) fn take(
        &mut self,
        asker: Asker,
        group: &Str,
        ask: Ask,
        roles: &Roles,
        out: &mut Out<'_>,
    ) {
        self.is_new = true;
        let number = partition_of(group, PARTITIONS);
        let Some(led) = self.led.get_mut(&number).filter(|led| led.leads()) else {
            let hosted = roles.get(&super::partition(number));
            let leads = hosted.is_some_and(|hosted| hosted.status().is_leader());
            let error = if leads { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::NotCoordinator };
            return refuse(asker, LeaderEpoch::NONE, error, out);
        };
        let epoch = led.partition.status().epoch;
        if !led.is_loaded {
            out.counts.add("group request while loading");
            out.counts.add_if(led.read.is_some(), "group request while what was loaded is replicated");
            out.counts.add_if(matches!(ask, Ask::Join(_)), "join while loading");
            return match ask {
                // Nothing is known of the member yet, so nothing is wrong with it.
                Ask::Heartbeat(_) => answer(asker, epoch, Told::Done, out),
                _ => refuse(asker, epoch, ErrorCode::CoordinatorLoadInProgress, out),
            };
        }
        let now = out.clock;
        let outcome: Result<Option<Told>, GroupError> = match ask {
            Ask::Join(mut join) => {
                *out.ids += 1;
                join.new_member_id = Str::from(&*format!("{}-{}", &*join.client_id, out.ids));
                let is_known = led.groups.contains_key(group);
                if !is_known && !join.member_id.is_empty() {
                    Err(GroupError::UnknownMember)
                } else {
                    let new = || Hosted::new(Group::new(group.clone(), limits(), now));
                    let hosted = led.groups.entry(group.clone()).or_insert_with(new);
                    let effects = hosted.park(asker, |group, ticket| group.join(join, ticket, now));
                    self.carry_out(number, group, effects, out);
                    Ok(None)
                }
            }
            Ask::Sync(sync) => match led.groups.get_mut(group) {
                None => Err(GroupError::UnknownMember),
                Some(hosted) => {
                    let effects = hosted.park(asker, |group, ticket| group.sync(sync, ticket, now));
                    self.carry_out(number, group, effects, out);
                    Ok(None)
                }
            },
            Ask::Heartbeat(who) => match led.groups.get_mut(group) {
                None => Err(GroupError::UnknownMember),
                Some(hosted) => {
                    let instance = who.instance_id.as_deref();
                    let beat = hosted.group.heartbeat(&who.member_id, instance, who.generation, now);
                    beat.map(|()| Some(Told::Done))
                }
            },
            Ask::Leave(who) => match led.groups.get_mut(group) {
                None => Err(GroupError::UnknownMember),
                Some(hosted) => {
                    let leaving = Leaving { member_id: who.member_id, instance_id: who.instance_id };
                    let (outcome, effects) = hosted.group.leave(&[leaving], now);
                    self.carry_out(number, group, effects, out);
                    outcome.and_then(|each| each.into_iter().collect()).map(|()| Some(Told::Done))
                }
            },
            Ask::Commit { who, number: of_commit, offsets } => match led.groups.get_mut(group) {
                None => Err(GroupError::IllegalGeneration),
                Some(hosted) => {
                    let (member_id, generation) = (&*who.member_id, who.generation);
                    let who = Identity { member_id, instance_id: who.instance_id.as_deref(), generation };
                    let checked = hosted.group.check_commit(who, Commit::Plain, now);
                    out.counts.add_if(
                        checked == Err(GroupError::IllegalGeneration),
                        "commit of another generation",
                    );
                    out.counts
                        .add_if(checked == Err(GroupError::UnknownMember), "commit of one that is no member");
                    out.counts.add_if(
                        checked == Err(GroupError::FencedInstance),
                        "commit of a replaced static member",
                    );
                    match checked {
                        Ok(()) => {
                            let group = group.clone();
                            let partitions = offsets.iter().map(|(partition, _)| *partition).collect();
                            let commit = CommitOf { group, generation, number: of_commit, partitions };
                            self.commit(number, asker, commit, &offsets, out);
                            Ok(None)
                        }
                        Err(error) => Err(error),
                    }
                }
            },
            Ask::FetchOffsets(partitions) => {
                let found = led.numbers(group, &partitions);
                let offsets = partitions.iter().map(|partition| (*partition, led.offset(group, *partition)));
                let told = Told::Offsets(offsets.collect());
                let partition = led.partition.id().clone();
                out.notes.push(Note::Fetched { partition, epoch, group: group.clone(), found });
                Ok(Some(told))
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(told)) => answer(asker, epoch, told, out),
            Err(error) => refuse(asker, epoch, ErrorCode::from(error), out),
        }
    }

    /// Appends offsets, and answers once they are replicated (`coordinator::offsets`).
    fn commit(
        &mut self,
        number: i32,
        asker: Asker,
        commit: CommitOf,
        offsets: &[(i32, i64)],
        out: &mut Out<'_>,
    ) {
        let Some(led) = self.led.get(&number) else { return };
        let committed = |offset: i64| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: Str::from(&*commit.number.to_string()),
            commit_time_ms: out.clock.unix_ms,
            expire_time_ms: None,
        };
        let of = |partition: i32| OffsetOf { group: commit.group.clone(), topic: Str::from(READ), partition };
        let written: Vec<(OffsetOf, CommittedOffset)> =
            offsets.iter().map(|(partition, offset)| (of(*partition), committed(*offset))).collect();
        let records: Result<Vec<Encoded>, _> = written
            .iter()
            .map(|(of, value)| record::offset_record(&of.group, &of.topic, of.partition, Some(value)))
            .collect();
        let appended = match records {
            Ok(records) => append(&led.partition, led.since, &records, Content::Commits, out.clock),
            Err(_) => Err(ErrorCode::UnknownServerError),
        };
        match appended {
            Ok(appended) => {
                let then = Then::Committed { asker, commit, written };
                self.appending.push(appended.then(led, then, out.now));
                self.has_appended = true;
            }
            Err(code) => refuse(asker, led.partition.status().epoch, told_to_committers(code), out),
        }
    }

    /// The effects of something that happened to a group, in their order.
    fn carry_out(&mut self, number: i32, group: &Str, effects: Vec<Effect>, out: &mut Out<'_>) {
        self.is_new = true;
        let Some(led) = self.led.get_mut(&number) else { return };
        let epoch = led.partition.status().epoch;
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let Some(hosted) = led.groups.get_mut(group) else { return };
            match effect {
                Effect::Joined(ticket, joined) => {
                    let Some(asker) = hosted.waiting.remove(&ticket) else { continue };
                    match joined {
                        Ok(joined) => answer(asker, epoch, Told::Joined(joined), out),
                        Err(refused) => {
                            let told = Told::Refused(ErrorCode::from(refused.error), Some(refused.member_id));
                            answer(asker, epoch, told, out);
                        }
                    }
                }
                Effect::Synced(ticket, synced) => {
                    let Some(asker) = hosted.waiting.remove(&ticket) else { continue };
                    match synced {
                        Ok(synced) => answer(asker, epoch, Told::Synced(synced), out),
                        Err(error) => refuse(asker, epoch, ErrorCode::from(error), out),
                    }
                }
                Effect::Store(store) => {
                    let appended = match record::group_record(group, Some(&store.value)) {
                        Ok(record) => {
                            append(&led.partition, led.since, &[record], Content::Groups, out.clock)
                        }
                        Err(_) => Err(ErrorCode::UnknownServerError),
                    };
                    match appended {
                        Ok(appended) => {
                            let then = Then::Stored { group: group.clone(), id: store.id };
                            self.appending.push(appended.then(led, then, out.now));
                            self.has_appended = true;
                        }
                        Err(code) => {
                            out.counts.add("group's record refused");
                            let Some(hosted) = led.groups.get_mut(group) else { return };
                            let outcome = Err(told_to_members(code));
                            effects.extend(hosted.group.stored(store.id, outcome, out.clock));
                        }
                    }
                }
            }
        }
    }

    /// What follows from whatever happened. `true`: something was appended since the last time.
    pub(in crate::sim) fn settle(
        &mut self,
        roles: &Roles,
        anything_changed: bool,
        out: &mut Out<'_>,
    ) -> bool {
        if !(anything_changed || std::mem::take(&mut self.is_new)) {
            return false;
        }
        if anything_changed {
            self.follow_roles(roles, out);
            for number in 0..PARTITIONS {
                self.serve(number, out);
            }
        }
        self.hear_of_appends(out);
        self.is_new = false;
        self.schedule(out);
        std::mem::take(&mut self.has_appended)
    }

    /// Compares what is led with what is coordinated, takes over and gives up (`coordinator::roles`).
    fn follow_roles(&mut self, roles: &Roles, out: &mut Out<'_>) {
        let lost: Vec<i32> =
            self.led.iter().filter(|(_, led)| !led.leads()).map(|(number, _)| *number).collect();
        for number in lost {
            self.unload(number, out);
        }
        for number in 0..PARTITIONS {
            let Some(partition) = roles.get(&super::partition(number)) else { continue };
            let status = partition.status();
            let (Some(since), false) = (status.leading_since, status.offline) else { continue };
            if self.led.contains_key(&number) {
                continue;
            }
            let (groups, offsets) = (BTreeMap::new(), BTreeMap::new());
            self.led.insert(number, Led { partition, since, read: None, is_loaded: false, groups, offsets });
            *out.ids += 1;
            let takes = if out.ids.is_multiple_of(5) { 1_500 * MS } else { *out.ids % 40 * MS };
            out.ticks.push((out.now + takes, Tick::LoadGroups(number, since)));
        }
    }

    /// Another broker coordinates its groups: whoever waits is told.
    fn unload(&mut self, number: i32, out: &mut Out<'_>) {
        let Some(led) = self.led.get_mut(&number) else { return };
        out.counts.add_if(led.is_loaded, "coordinator moved");
        let of_it = |appending: &&Appending| appending.partition.id().partition == number;
        for appending in self.appending.iter().filter(of_it) {
            out.counts.add(match appending.then {
                Then::Stored { .. } => "coordinator moved while a group was stored",
                Then::Committed { .. } => "coordinator moved while a commit was stored",
            });
        }
        let ended: Vec<(Str, Vec<Effect>)> = led
            .groups
            .iter_mut()
            .map(|(id, hosted)| (id.clone(), hosted.group.end(GroupError::Moved, out.clock)))
            .collect();
        for (group, effects) in ended {
            self.carry_out(number, &group, effects, out);
        }
        self.led.remove(&number);
    }

    /// The broker stops.
    pub(in crate::sim) fn stop(&mut self, out: &mut Out<'_>) {
        for number in self.led.keys().copied().collect::<Vec<_>>() {
            self.unload(number, out);
        }
    }

    /// The log is read: its groups are served once it may be told (`coordinator::load`).
    pub(in crate::sim) fn load(&mut self, number: i32, since: LeaderEpoch, roles: &Roles, out: &mut Out<'_>) {
        let awaits =
            |led: &&mut Led| led.since == since && led.read.is_none() && !led.is_loaded && led.leads();
        let Some(led) = self.led.get_mut(&number).filter(awaits) else { return };
        let log = roles.log_of(led.partition.id(), Reader::Coordinator, out.clock).unwrap_or_default();
        let mut replay = Replay::default();
        let status = led.partition.status();
        // What cannot be read is passed over with all that follows, as the broker does.
        let end = replay.take(&log).ok().flatten().unwrap_or(status.log_start);
        out.counts.add("groups loaded");
        out.counts
            .add_if(status.high_watermark < status.end, "groups loaded from what is not replicated yet");
        let mut batches = held(&log);
        batches.split_off(&end);
        led.read = Some(Read { loaded: Loaded { since, end }, replay, batches });
        self.serve(number, out);
    }

    /// Begins to serve the groups of a partition if what was read of them may be told.
    fn serve(&mut self, number: i32, out: &mut Out<'_>) {
        let Some(led) = self.led.get_mut(&number) else { return };
        let status = led.partition.status();
        let may_be_told = |read: &mut Read| read.loaded.standing(&status) == Standing::Replicated;
        let Some(Read { replay, batches, .. }) = led.read.take_if(may_be_told) else { return };
        out.notes.push(Note::Loaded { partition: led.partition.id().clone(), epoch: status.epoch, batches });
        let now = out.clock;
        let groups = replay.groups.into_iter();
        led.groups = groups
            .map(|(id, value)| (id.clone(), Hosted::new(Group::load(id, value, limits(), now))))
            .collect();
        for (of, logged) in replay.offsets {
            let Some(value) = logged.value else { continue };
            let new = || Hosted::new(Group::new(of.group.clone(), limits(), now));
            led.groups.entry(of.group.clone()).or_insert_with(new);
            led.offsets.insert(of, Logged { end: logged.log_offset + 1, value });
        }
        led.is_loaded = true;
        self.is_new = true;
        let resumed: Vec<(Str, Vec<Effect>)> =
            led.groups.iter_mut().map(|(id, hosted)| (id.clone(), hosted.group.resume(now))).collect();
        for (group, effects) in resumed {
            self.carry_out(number, &group, effects, out);
        }
    }

    /// Deadlines that have come.
    pub(in crate::sim) fn expire(&mut self, out: &mut Out<'_>) {
        self.due = self.due.filter(|due| *due > out.now);
        self.is_new = true;
        let mut expired = Vec::new();
        for (number, led) in &mut self.led {
            for (id, hosted) in &mut led.groups {
                if hosted.group.next_deadline().is_some_and(|deadline| deadline <= out.clock.monotonic) {
                    expired.push((*number, id.clone(), hosted.group.expire(out.clock)));
                }
            }
        }
        for (number, group, effects) in expired {
            self.carry_out(number, &group, effects, out);
        }
    }

    fn schedule(&mut self, out: &mut Out<'_>) {
        let groups = self.led.values().flat_map(|led| led.groups.values());
        let deadlines = groups.filter_map(|hosted| hosted.group.next_deadline()).map(|deadline| {
            let wait = deadline.saturating_duration_since(out.clock.monotonic).as_micros();
            out.now + Time::try_from(wait).unwrap_or(SECOND)
        });
        let Some(next) = deadlines.chain(self.appending.iter().map(|appending| appending.until)).min() else {
            return;
        };
        if self.due.is_none_or(|due| next < due) {
            self.due = Some(next);
            out.ticks.push((next, Tick::Groups));
        }
    }

    /// Lets those go on whose records are replicated, or will not be in time.
    fn hear_of_appends(&mut self, out: &mut Out<'_>) {
        loop {
            let outcome = |appending: &Appending| {
                let stored = appending.stored;
                match appending.partition.status().acks(stored.epoch, appending.required) {
                    None if out.now < appending.until => None,
                    None => Some(Err(ErrorCode::RequestTimedOut)),
                    Some(verdict) => Some(verdict.map_err(|error: PartitionError| error.code())),
                }
            };
            let heard = self.appending.iter().enumerate().find_map(|(at, one)| Some((at, outcome(one)?)));
            let Some((at, outcome)) = heard else { return };
            let done = self.appending.remove(at);
            self.appended(done, outcome, out);
        }
    }

    fn appended(&mut self, done: Appending, outcome: Result<(), ErrorCode>, out: &mut Out<'_>) {
        let Appending { partition, since, stored, batch, required, then, .. } = done;
        let (id, number) = (partition.id().clone(), partition.id().partition);
        out.counts.add_if(outcome == Err(ErrorCode::RequestTimedOut), "group's append timed out");
        if outcome.is_ok() {
            let commit = match &then {
                Then::Stored { .. } => None,
                Then::Committed { commit, .. } => Some(commit.clone()),
            };
            out.notes.push(Note::Acknowledged { partition: id, stored, batch, commit });
        }
        let led = self.led.get_mut(&number).filter(|led| led.since == since);
        match then {
            Then::Stored { group, id } => {
                let Some(hosted) = led.and_then(|led| led.groups.get_mut(&group)) else { return };
                let outcome = outcome.map_err(told_to_members);
                let effects = hosted.group.stored(id, outcome, out.clock);
                self.carry_out(number, &group, effects, out);
            }
            Then::Committed { asker, written, .. } => match outcome {
                Ok(()) => {
                    if let Some(led) = led {
                        for (of, value) in written {
                            let is_newer = led.offsets.get(&of).is_none_or(|known| known.end < required);
                            if is_newer {
                                led.offsets.insert(of, Logged { end: required, value });
                            }
                        }
                    }
                    answer(asker, stored.epoch, Told::Done, out);
                }
                Err(code) => refuse(asker, stored.epoch, told_to_committers(code), out),
            },
        }
    }
}

/// Which commit an offset is from, and where its record ends in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Known {
    pub number: u64,
    pub end: Offset,
}

/// Of each partition.
pub(in crate::sim) type Numbers = Vec<(i32, Option<Known>)>;

impl Led {
    fn logged(&self, group: &str, partition: i32) -> Option<&Logged> {
        let of = OffsetOf { group: Str::from(group), topic: Str::from(READ), partition };
        self.offsets.get(&of)
    }

    fn offset(&self, group: &str, partition: i32) -> Option<i64> {
        self.logged(group, partition).map(|logged| logged.value.offset)
    }

    fn numbers(&self, group: &str, partitions: &[i32]) -> Numbers {
        let known = |partition| {
            let logged = self.logged(group, partition)?;
            Some(Known { number: logged.value.metadata.parse().ok()?, end: logged.end })
        };
        partitions.iter().map(|partition| (*partition, known(*partition))).collect()
    }
}

impl Hosted {
    fn new(group: Group) -> Hosted {
        Hosted { group, waiting: BTreeMap::new(), next_ticket: 0 }
    }

    fn park(&mut self, asker: Asker, event: impl FnOnce(&mut Group, Ticket) -> Vec<Effect>) -> Vec<Effect> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, asker);
        event(&mut self.group, ticket)
    }
}

impl Appended {
    fn then(self, led: &Led, then: Then, now: Time) -> Appending {
        let Appended { stored, batch, required } = self;
        let (partition, since) = (Arc::clone(&led.partition), led.since);
        Appending { partition, since, stored, batch, required, until: now + APPEND_TIMEOUT, then }
    }
}

fn answer((to, id): Asker, epoch: LeaderEpoch, told: Told, out: &mut Out<'_>) {
    let answer = Box::new(Answer { told, epoch, at: out.now });
    out.sent.push((to, Message::GroupAnswered { id, answer }));
}

fn refuse(asker: Asker, epoch: LeaderEpoch, error: ErrorCode, out: &mut Out<'_>) {
    answer(asker, epoch, Told::Refused(error, None), out);
}
