//! The leader's side of a partition: how far each follower is, which replicas are in sync, and
//! how far the high watermark may move.
//!
//! Pure: time and the set of live brokers come with each event. Nothing here reads or writes a
//! log; the caller passes the log's end in and applies the high watermark that comes out.
//! It never proposes a second ISR change while one is unanswered, and never takes an unanswered
//! removal for granted (KIP-497, Kafka's `Partition.scala`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, ZkVersion};

/// A follower whose position is not known yet.
const UNKNOWN: Offset = Offset(-1);

/// What the leader cannot know by itself at the moment of an event.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub now: Instant,
    /// `replica.lag.time.max.ms`
    pub lag_max: Duration,
    /// Whether the metadata cache knows a broker to be alive.
    pub is_alive: &'a dyn Fn(BrokerId) -> bool,
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("now", &self.now)
            .field("lag_max", &self.lag_max)
            .finish_non_exhaustive()
    }
}

/// The in-sync set, or the question put to the controller about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Isr {
    Committed(Vec<BrokerId>),
    /// The controller may have written either; both are counted until it answers.
    Pending {
        committed: Vec<BrokerId>,
        proposed: Vec<BrokerId>,
    },
}

impl Isr {
    /// What the controller is known to have written.
    pub fn committed(&self) -> &[BrokerId] {
        match self {
            Isr::Committed(isr) => isr,
            Isr::Pending { committed, .. } => committed,
        }
    }

    /// True if `id` is in sync under any outcome of the pending question: Kafka's "maximal ISR".
    pub fn may_contain(&self, id: BrokerId) -> bool {
        match self {
            Isr::Committed(isr) => isr.contains(&id),
            Isr::Pending { proposed, .. } if crate::mutants::lacks("isr-union") => proposed.contains(&id),
            Isr::Pending { committed, proposed } => committed.contains(&id) || proposed.contains(&id),
        }
    }

    /// The size of the maximal ISR.
    pub fn maximal_len(&self) -> usize {
        match self {
            Isr::Committed(isr) => isr.len(),
            Isr::Pending { committed, proposed } => {
                committed.len() + proposed.iter().filter(|id| !committed.contains(id)).count()
            }
        }
    }

    pub fn is_pending(&self) -> bool {
        matches!(self, Isr::Pending { .. })
    }
}

/// An ISR change to put to the controller (AlterPartition).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IsrProposal {
    pub leader_epoch: LeaderEpoch,
    /// The version of the state this change was decided on.
    pub partition_epoch: ZkVersion,
    pub isr: Vec<BrokerId>,
    pub why: IsrChange,
}

/// Which replicas a proposal adds or removes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IsrChange {
    /// Who joins, and the registration under which it fetched, −1 if it did not say: the controller
    /// refuses one that is not the present one (KIP-903).
    Expand(BrokerId, BrokerEpoch),
    Shrink(Vec<BrokerId>),
}

/// What a LeaderAndIsr request says about a partition, apart from who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: ZkVersion,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

/// What the leader knows of one follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Remote {
    /// The registration under which it fetched last, −1 if it did not say.
    registration: BrokerEpoch,
    end: Offset,
    log_start: Offset,
    /// The leader's end, and the time, when this follower fetched last.
    last_fetch: Option<(Offset, Instant)>,
    /// The last time at which this follower had everything the leader had.
    caught_up_at: Option<Instant>,
}

impl Remote {
    const NEW: Remote = Remote {
        registration: BrokerEpoch(-1),
        end: UNKNOWN,
        log_start: UNKNOWN,
        last_fetch: None,
        caught_up_at: None,
    };

    /// Whether a fetch under `registration` was sent before one that is known: since then its log may
    /// have lost its end with the machine's power.
    fn is_past(&self, registration: BrokerEpoch) -> bool {
        registration.0 >= 0 && registration < self.registration
    }

    fn fetched(&mut self, end: Offset, log_start: Offset, leader_end: Offset, now: Instant) {
        let had_all_at = match self.last_fetch {
            _ if end >= leader_end => Some(now),
            Some((leader_end_then, then)) if end >= leader_end_then => Some(then),
            _ => None,
        };
        self.caught_up_at = self.caught_up_at.max(had_all_at);
        self.end = end;
        self.log_start = log_start;
        let seen = self.last_fetch.map_or(leader_end, |(then, _)| then.max(leader_end));
        self.last_fetch = Some((seen, now));
    }

    fn is_caught_up(&self, leader_end: Offset, at: &Moment<'_>) -> bool {
        self.end == leader_end
            || self.caught_up_at.is_some_and(|then| at.now.saturating_duration_since(then) <= at.lag_max)
    }
}

/// How far a follower is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp {
    pub id: BrokerId,
    /// Where its log ends.
    pub end: Offset,
    /// The last time at which it had everything the leader had.
    pub at: Option<Instant>,
}

/// The role of a broker that leads a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leader {
    me: BrokerId,
    epoch: LeaderEpoch,
    /// The first epoch of this uninterrupted term: appends made since then are still in the log.
    since: LeaderEpoch,
    term: Term,
    /// The log's end when `epoch` began.
    epoch_start: Offset,
    partition_epoch: ZkVersion,
    isr: Isr,
    followers: BTreeMap<BrokerId, Remote>,
    end: Offset,
    high_watermark: Offset,
    min_insync: usize,
}

/// When and where in the log an uninterrupted term began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Term {
    start: Offset,
    began_at: Instant,
}

/// How long a batch that was sent to the former leader may take to be refused there and to come here.
const HANDOVER: Duration = Duration::from_secs(5);

/// The answer to an ISR proposal does not settle it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated;

impl Leader {
    /// Takes over with a log that ends at `end` and is known to be replicated up to
    /// `high_watermark`. `min_insync` is the topic's `min.insync.replicas`.
    pub fn new(
        me: BrokerId,
        assignment: &Assignment,
        end: Offset,
        high_watermark: Offset,
        min_insync: usize,
        at: &Moment<'_>,
    ) -> Leader {
        assert!(high_watermark <= end, "high watermark {high_watermark} is beyond the log's end {end}");
        let mut leader = Leader {
            me,
            epoch: assignment.leader_epoch,
            since: assignment.leader_epoch,
            term: Term { start: end, began_at: at.now },
            epoch_start: end,
            partition_epoch: assignment.partition_epoch,
            isr: Isr::Committed(assignment.isr.clone()),
            followers: BTreeMap::new(),
            end,
            high_watermark,
            min_insync,
        };
        leader.adopt_replicas(&assignment.replicas);
        let isr = &leader.isr;
        for (id, remote) in &mut leader.followers {
            remote.caught_up_at = isr.may_contain(*id).then_some(at.now);
        }
        leader.advance(at);
        leader
    }

    /// The controller confirms this broker as leader, perhaps in a new epoch. A pending proposal
    /// is void: what the controller says now is newer. `false`, and nothing is changed, if it is
    /// older than what is known already.
    pub fn reassign(&mut self, assignment: &Assignment, at: &Moment<'_>) -> bool {
        if assignment.partition_epoch < self.partition_epoch || assignment.leader_epoch < self.epoch {
            return false;
        }
        self.isr = Isr::Committed(assignment.isr.clone());
        self.partition_epoch = assignment.partition_epoch;
        self.adopt_replicas(&assignment.replicas);
        if assignment.leader_epoch > self.epoch {
            if assignment.leader_epoch.0 > self.epoch.0.saturating_add(1) {
                self.forget_ends();
            }
            self.epoch = assignment.leader_epoch;
            self.epoch_start = self.end;
            let isr = &self.isr;
            for (id, remote) in &mut self.followers {
                let in_sync_at = isr.may_contain(*id).then_some(at.now);
                remote.last_fetch = in_sync_at.map(|now| (self.end, now));
                remote.caught_up_at = in_sync_at;
            }
        }
        self.advance(at);
        true
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The first epoch of this uninterrupted term.
    pub fn since(&self) -> LeaderEpoch {
        self.since
    }

    /// Whether a batch of a producer may still come by way of the former leader: there is one, the term has just
    /// begun, and the producer, whose newest batch ends at `last_offset`, has written nothing in it.
    pub fn may_precede(&self, last_offset: Option<Offset>, at: &Moment<'_>) -> bool {
        !self.followers.is_empty()
            && last_offset.is_none_or(|offset| offset < self.term.start)
            && at.now.saturating_duration_since(self.term.began_at) <= HANDOVER
    }

    /// Where in the log the current epoch began.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    pub fn partition_epoch(&self) -> ZkVersion {
        self.partition_epoch
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn isr(&self) -> &Isr {
        &self.isr
    }

    /// Other replicas that are in sync, by what the controller is known to have written, and hold
    /// the record at `offset`, or will hold it next.
    pub fn in_sync_with(&self, offset: Offset) -> impl Iterator<Item = CaughtUp> + '_ {
        let holds = move |remote: &Remote| remote.end >= offset && remote.log_start <= offset;
        self.followers
            .iter()
            .filter(move |(id, remote)| self.isr.committed().contains(id) && holds(remote))
            .map(|(id, remote)| CaughtUp { id: *id, end: remote.end, at: remote.caught_up_at })
    }

    /// Whether `id` is one of the other replicas.
    pub fn is_follower(&self, id: BrokerId) -> bool {
        self.followers.contains_key(&id)
    }

    /// How many replicas must be in sync: `min.insync.replicas`, but never more than there are.
    pub fn effective_min_isr(&self) -> usize {
        self.min_insync.min(self.followers.len() + 1)
    }

    /// Whether acks=all may be accepted: by what the controller is known to have written.
    pub fn has_enough_in_sync(&self) -> bool {
        self.isr.committed().len() >= self.effective_min_isr()
    }

    /// Whether acks=all may be confirmed: by the maximal ISR.
    pub fn may_confirm(&self) -> bool {
        self.isr.maximal_len() >= self.effective_min_isr()
    }

    /// The least log start among the leader, whose own is given, and its live followers.
    pub fn low_watermark(&self, own_log_start: Offset, is_alive: &dyn Fn(BrokerId) -> bool) -> Offset {
        self.followers
            .iter()
            .filter(|(id, _)| is_alive(**id))
            .map(|(_, remote)| remote.log_start)
            .fold(own_log_start, Offset::min)
    }

    /// The log grew.
    pub fn appended(&mut self, end: Offset, at: &Moment<'_>) {
        assert!(end >= self.end, "a leader's log never shrinks: {} to {end}", self.end);
        self.end = end;
        self.advance(at);
    }

    /// Records below `start` are gone; the watermark cannot be below what exists.
    pub fn start_moved(&mut self, start: Offset) {
        assert!(start <= self.end, "log start {start} is beyond the log's end {}", self.end);
        self.high_watermark = self.high_watermark.max(start);
    }

    /// `min.insync.replicas` of the topic changed.
    pub fn min_insync_changed(&mut self, min_insync: usize, at: &Moment<'_>) {
        self.min_insync = min_insync;
        self.advance(at);
    }

    /// Some brokers are alive no longer.
    pub fn brokers_gone(&mut self, at: &Moment<'_>) {
        self.advance(at);
    }

    /// A follower fetched from `end`, so it holds all before. `None` also if `from` is no replica.
    /// What it sent under a registration before its newest, and comes late, says nothing of its log.
    pub fn follower_fetched(
        &mut self,
        from: (BrokerId, BrokerEpoch),
        end: Offset,
        log_start: Offset,
        at: &Moment<'_>,
    ) -> Option<IsrProposal> {
        let leader_end = self.end;
        let (id, registration) = from;
        let remote = self.followers.get_mut(&id).filter(|remote| !remote.is_past(registration))?;
        remote.registration = registration;
        remote.fetched(end, log_start, leader_end, at.now);
        let proposal = self.propose_expansion(from, end, at);
        self.advance(at);
        proposal
    }

    /// Proposes to go on without the followers that have been behind for longer than
    /// `replica.lag.time.max.ms`.
    pub fn check_lag(&mut self, at: &Moment<'_>) -> Option<IsrProposal> {
        let Isr::Committed(isr) = &self.isr else { return None };
        let (kept, behind): (Vec<BrokerId>, Vec<BrokerId>) = isr.iter().copied().partition(|id| {
            *id == self.me || self.followers.get(id).is_some_and(|remote| remote.is_caught_up(self.end, at))
        });
        if behind.is_empty() {
            return None;
        }
        Some(self.propose(kept, IsrChange::Shrink(behind)))
    }

    /// The controller wrote (or already had) this state.
    /// [`Outdated`] if the answer is to a question of another epoch, or older than what is known.
    pub fn isr_written(
        &mut self,
        leader_epoch: LeaderEpoch,
        isr: &[BrokerId],
        partition_epoch: ZkVersion,
        at: &Moment<'_>,
    ) -> Result<(), Outdated> {
        let current =
            self.isr.is_pending() && leader_epoch == self.epoch && partition_epoch >= self.partition_epoch;
        if !current {
            return Err(Outdated);
        }
        self.isr = Isr::Committed(isr.to_vec());
        self.partition_epoch = partition_epoch;
        self.advance(at);
        Ok(())
    }

    /// The controller did not and will not write the proposal: back to what is committed. Who was to
    /// join holds the high watermark back no longer.
    pub fn isr_refused(&mut self, proposal: &IsrProposal, at: &Moment<'_>) -> Result<(), Outdated> {
        match &self.isr {
            Isr::Pending { committed, .. } if self.is_pending_for(proposal) => {
                self.isr = Isr::Committed(committed.clone());
                self.advance(at);
                Ok(())
            }
            _ => Err(Outdated),
        }
    }

    /// Whether `proposal` is still the open question.
    pub fn is_pending_for(&self, proposal: &IsrProposal) -> bool {
        let Isr::Pending { proposed, .. } = &self.isr else { return false };
        proposal.leader_epoch == self.epoch
            && proposal.partition_epoch == self.partition_epoch
            && proposal.isr == *proposed
    }

    fn adopt_replicas(&mut self, replicas: &[BrokerId]) {
        let others = || replicas.iter().filter(|id| **id != self.me);
        self.followers.retain(|id, _| replicas.contains(id));
        for id in others() {
            self.followers.entry(*id).or_insert(Remote::NEW);
        }
    }

    /// Another may have led in the epochs between, without our hearing of it, and followers may have cut off what
    /// they had of ours. Kafka's leader goes on counting on it (`Replica.resetReplicaState`).
    fn forget_ends(&mut self) {
        for remote in self.followers.values_mut() {
            *remote = Remote { registration: remote.registration, ..Remote::NEW };
        }
    }

    /// A follower may join once it holds all that consumers may have seen, and has reached the
    /// present epoch (KIP-279's window: before that it may hold records the leader does not).
    fn propose_expansion(
        &mut self,
        (id, registration): (BrokerId, BrokerEpoch),
        end: Offset,
        at: &Moment<'_>,
    ) -> Option<IsrProposal> {
        let Isr::Committed(isr) = &self.isr else { return None };
        let in_sync = end >= self.high_watermark && end >= self.epoch_start;
        if !in_sync || isr.contains(&id) || !(at.is_alive)(id) {
            return None;
        }
        let mut proposed = isr.clone();
        proposed.push(id);
        Some(self.propose(proposed, IsrChange::Expand(id, registration)))
    }

    fn propose(&mut self, proposed: Vec<BrokerId>, why: IsrChange) -> IsrProposal {
        let committed = self.isr.committed().to_vec();
        self.isr = Isr::Pending { committed, proposed: proposed.clone() };
        IsrProposal { leader_epoch: self.epoch, partition_epoch: self.partition_epoch, isr: proposed, why }
    }

    /// Moves the high watermark to the least end of the counted replicas: the maximal ISR, and
    /// those caught up and alive that are about to join it. It stays while fewer replicas are in
    /// sync than the topic asks for (KIP-966's rule, since Kafka 3.7).
    fn advance(&mut self, at: &Moment<'_>) {
        if !self.has_enough_in_sync() {
            return;
        }
        let reached = self
            .followers
            .iter()
            .filter(|(id, remote)| {
                self.isr.may_contain(**id) || ((at.is_alive)(**id) && remote.is_caught_up(self.end, at))
            })
            .map(|(_, remote)| remote.end)
            .fold(self.end, Offset::min);
        self.high_watermark = self.high_watermark.max(reached);
        assert!(
            self.high_watermark <= self.end,
            "high watermark {} is beyond the log's end {}",
            self.high_watermark,
            self.end
        );
    }
}

#[cfg(test)]
mod tests;
