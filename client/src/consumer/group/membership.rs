//! What a member of a group does next: pure, with time as an argument.
//!
//! Three parties drive it. The consumer says what it wants ([`subscribe`](Membership::subscribe)) and does its
//! [`Duty`]: giving partitions up before joining, taking those that were assigned. One task of the shell asks
//! for the next [`Step`] towards a generation, another for the next [`Beat`]. Each answer names the attempt or
//! the identity that it belongs to, so one that comes too late changes nothing.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::consumer::assignor::{self, Assignor, RebalanceProtocol, Subscription};
use crate::ids::TopicPartition;
use crate::wire::messages::{
    HeartbeatRequest, JoinGroupRequest, SyncGroupRequest, join_group_request, sync_group_request,
};
use crate::wire::{EncodeError, ErrorCode, Str};

/// The protocol type of groups of consumers.
const PROTOCOL_TYPE: &str = "consumer";
/// The generation of who is in none.
pub(super) const NO_GENERATION: i32 = -1;

/// What does not change while a consumer lives.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group_id: Str,
    pub(super) instance_id: Option<Str>,
    pub(super) assignors: Vec<Assignor>,
    pub(super) rack: Option<Str>,
    pub(super) session_timeout: Duration,
    /// `max.poll.interval.ms`: how long the group waits for this member to join again.
    pub(super) rebalance_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
}

/// By which the coordinator knows a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) member_id: Str,
    pub(super) generation: i32,
}

impl Identity {
    fn none() -> Identity {
        Identity { member_id: Str::new(), generation: NO_GENERATION }
    }
}

/// What the consumer must do before the group goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Duty {
    /// Stop reading these. `lost`: others may read them already, so nothing can be committed for them.
    GiveUp { partitions: BTreeSet<TopicPartition>, lost: bool },
    /// A generation began: of what the member has now, `added` is new, and `revoked` it must stop reading.
    Take { added: BTreeSet<TopicPartition>, revoked: BTreeSet<TopicPartition> },
    /// The group refuses this member.
    Fail(Refusal),
}

/// Why a member cannot be in its group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another consumer with this `group.instance.id` took its place.
    #[error("another consumer joined group {group} with group.instance.id {instance}; only one may")]
    Fenced { group: String, instance: String },
    /// The coordinator's final word.
    #[error("group {group} does not take this consumer: {code}: {}", code.message())]
    Refused { group: String, code: ErrorCode },
    /// The coordinator chose what was not offered.
    #[error("group {group} divides its partitions by `{protocol}`, which this consumer did not offer")]
    UnknownProtocol { group: String, protocol: String },
    /// What the leader of the group assigned cannot be read.
    #[error("group {group}: {cause}")]
    Unreadable {
        group: String,
        #[source]
        cause: assignor::ProtocolError,
    },
    /// What this consumer says cannot be said to the coordinator.
    #[error("group {group}: cannot write a request: {cause}")]
    Unwritable { group: String, cause: String },
}

/// What comes next on the way to a generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Join {
        attempt: u64,
        request: JoinGroupRequest,
    },
    /// This member leads: it divides the partitions of the members' topics. `skip`: the division stands.
    Divide {
        attempt: u64,
        assignor: Assignor,
        members: Vec<assignor::Member>,
        skip: bool,
    },
    Sync {
        attempt: u64,
        request: SyncGroupRequest,
    },
    /// Nothing until something else happens.
    Wait,
}

/// What comes next to stay in the generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Beat {
    Send {
        identity: Identity,
        request: HeartbeatRequest,
    },
    /// Nothing to say before this time, or before something else happens.
    Wait {
        until: Option<Instant>,
    },
}

/// How the shell goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Go,
    /// The same may succeed a little later.
    Pause,
    /// Somebody else coordinates the group.
    FindCoordinator,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// In no group, and not on the way into one.
    Out,
    /// About to join, once what must be given up was.
    Preparing,
    Joining,
    Dividing {
        assignor: Assignor,
        members: Vec<assignor::Member>,
        skip: bool,
    },
    Syncing {
        assignments: Vec<sync_group_request::SyncGroupRequestAssignment>,
    },
    /// The consumer has not taken its assignment yet.
    Installing {
        assigned: BTreeSet<TopicPartition>,
    },
    Stable,
    /// `told`: the consumer knows; it tries again when it polls next, unless it was fenced.
    Failed {
        refusal: Refusal,
        told: bool,
    },
}

/// A consumer's part in a group.
#[derive(Debug)]
pub(super) struct Membership {
    settings: Settings,
    protocol: RebalanceProtocol,
    phase: Phase,
    identity: Identity,
    /// Rises with each phase; answers to an earlier one are not for us.
    attempt: u64,
    /// `None`: not subscribed.
    topics: Option<BTreeSet<Arc<str>>>,
    owned: BTreeSet<TopicPartition>,
    /// What the last generation assigned; `sticky` tells it though it was given up.
    owned_before: BTreeSet<TopicPartition>,
    /// In which that was.
    owned_since: i32,
    /// The group went on without this member: what it owns may be others' now.
    lost: bool,
    /// There is a reason to join again as soon as the present generation was taken.
    rejoin: bool,
    leads: bool,
    /// By which the present generation divides its partitions.
    protocol_name: Option<Str>,
    next_beat: Option<Instant>,
    polling: bool,
    last_poll: Instant,
    /// Who is to be taken off the group.
    leaving: Option<Identity>,
}

impl Membership {
    pub(super) fn new(settings: Settings, now: Instant) -> Membership {
        Membership {
            protocol: Assignor::common_protocol(&settings.assignors),
            settings,
            phase: Phase::Out,
            identity: Identity::none(),
            attempt: 0,
            topics: None,
            owned: BTreeSet::new(),
            owned_before: BTreeSet::new(),
            owned_since: NO_GENERATION,
            lost: false,
            rejoin: false,
            leads: false,
            protocol_name: None,
            next_beat: None,
            polling: false,
            last_poll: now,
            leaving: None,
        }
    }

    /// The consumer wants to read these topics with the group.
    pub(super) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>, now: Instant) {
        if self.topics.as_ref() == Some(&topics) {
            return;
        }
        self.topics = Some(topics);
        match self.phase {
            Phase::Out => {
                self.last_poll = now;
                self.enter(Phase::Preparing);
                self.advance();
            }
            _ => self.want_rejoin(),
        }
    }

    /// The consumer wants nothing from the group any more, and has given up what it had. A member with an
    /// instance id stays in the group until its session ends, so that it may come back.
    pub(super) fn leave(&mut self) {
        if self.settings.instance_id.is_none() && !self.identity.member_id.is_empty() {
            self.leaving = Some(self.identity.clone());
        }
        self.topics = None;
        self.owned.clear();
        self.reset();
        self.lost = false;
        self.enter(Phase::Out);
    }

    /// Who to take off the group. Told once.
    pub(super) fn take_leaving(&mut self) -> Option<Identity> {
        self.leaving.take()
    }

    /// The consumer asks for records.
    pub(super) fn polled(&mut self, now: Instant) {
        self.polling = true;
        self.last_poll = now;
        let fenced = matches!(self.phase, Phase::Failed { refusal: Refusal::Fenced { .. }, .. });
        if matches!(self.phase, Phase::Failed { told: true, .. }) && !fenced && self.topics.is_some() {
            self.enter(Phase::Preparing);
        }
        self.advance();
    }

    /// The consumer works on what it got.
    pub(super) fn poll_ended(&mut self, now: Instant) {
        self.polling = false;
        self.last_poll = now;
    }

    /// What the consumer must do now. It stays due until it is said to be done.
    pub(super) fn duty(&self) -> Option<Duty> {
        if self.lost && !self.owned.is_empty() {
            return Some(Duty::GiveUp { partitions: self.owned.clone(), lost: true });
        }
        match &self.phase {
            Phase::Preparing => {
                let partitions = self.to_give_up();
                (!partitions.is_empty()).then_some(Duty::GiveUp { partitions, lost: false })
            }
            Phase::Installing { assigned } => Some(Duty::Take {
                added: assigned.difference(&self.owned).cloned().collect(),
                revoked: self.owned.difference(assigned).cloned().collect(),
            }),
            Phase::Failed { refusal, told } if !told || self.is_fenced() => Some(Duty::Fail(refusal.clone())),
            _ => None,
        }
    }

    /// [`Duty::GiveUp`] is done.
    pub(super) fn given_up(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        self.lost &= !self.owned.is_empty();
        self.advance();
    }

    /// [`Duty::Take`] is done. With a cooperative protocol, what was revoked is free for others only after
    /// another round.
    pub(super) fn taken(&mut self) {
        let Phase::Installing { assigned } = &mut self.phase else { return };
        let assigned = std::mem::take(assigned);
        self.rejoin |= !self.owned.is_subset(&assigned);
        self.owned_before = assigned.clone();
        self.owned = assigned;
        self.owned_since = self.identity.generation;
        self.enter(Phase::Stable);
        self.advance();
    }

    /// [`Duty::Fail`] was told.
    pub(super) fn failure_told(&mut self) {
        if let Phase::Failed { told, .. } = &mut self.phase {
            *told = true;
        }
    }

    /// The topics of the group are not what they were when this member divided them.
    pub(super) fn topics_changed(&mut self) {
        if self.leads {
            self.want_rejoin();
        }
    }

    /// As whom offsets are committed. `None`: the consumer is not in the group, so they are not its to commit.
    pub(super) fn committer(&self) -> Option<Identity> {
        let member = self.identity.generation >= 0 && !self.lost;
        member.then(|| self.identity.clone())
    }

    /// Which phase this is, counted from the beginning.
    pub(super) fn attempt(&self) -> u64 {
        self.attempt
    }

    pub(super) fn next_step(&mut self) -> Step {
        let attempt = self.attempt;
        match &self.phase {
            Phase::Joining => match self.join_request() {
                Ok(request) => Step::Join { attempt, request },
                Err(cause) => {
                    self.unsendable(attempt, cause.to_string());
                    Step::Wait
                }
            },
            Phase::Dividing { assignor, members, skip } => {
                Step::Divide { attempt, assignor: *assignor, members: members.clone(), skip: *skip }
            }
            Phase::Syncing { assignments } => {
                let assignments = assignments.clone();
                Step::Sync { attempt, request: self.sync_request(assignments) }
            }
            _ => Step::Wait,
        }
    }

    /// Also notices that the consumer has not polled for too long: then the group must not wait for it.
    pub(super) fn next_beat(&mut self, now: Instant) -> Beat {
        let in_group = self.identity.generation >= 0 && !matches!(self.phase, Phase::Out | Phase::Joining);
        if !in_group || matches!(self.phase, Phase::Failed { .. }) {
            return Beat::Wait { until: None };
        }
        let poll_due = (!self.polling).then(|| self.last_poll + self.settings.rebalance_timeout);
        if poll_due.is_some_and(|due| due <= now) {
            self.expire();
            return Beat::Wait { until: None };
        }
        let due = self.next_beat.unwrap_or(now);
        if now < due {
            return Beat::Wait { until: Some(poll_due.map_or(due, |poll| poll.min(due))) };
        }
        let request = HeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            generation_id: self.identity.generation,
            member_id: self.identity.member_id.clone(),
            group_instance_id: self.settings.instance_id.clone(),
        };
        Beat::Send { identity: self.identity.clone(), request }
    }

    /// The consumer polls too seldom. It leaves, and comes back when it polls again.
    fn expire(&mut self) {
        tracing::warn!(
            group = %self.settings.group_id,
            max_poll_interval = ?self.settings.rebalance_timeout,
            "the consumer has not polled for longer than max.poll.interval.ms and leaves its group; \
             it comes back when it polls. Raise max.poll.interval.ms or lower max.poll.records"
        );
        if self.settings.instance_id.is_none() {
            self.leaving = Some(self.identity.clone());
        }
        self.reset();
        let refusal =
            Refusal::Refused { group: self.settings.group_id.to_string(), code: ErrorCode::UnknownMemberId };
        self.enter(Phase::Failed { refusal, told: true });
    }

    fn is_fenced(&self) -> bool {
        matches!(self.phase, Phase::Failed { refusal: Refusal::Fenced { .. }, .. })
    }

    fn want_rejoin(&mut self) {
        self.rejoin = true;
        self.advance();
    }

    /// Goes on to what needs nobody.
    fn advance(&mut self) {
        if self.phase == Phase::Stable && self.rejoin {
            self.enter(Phase::Preparing);
        }
        if self.phase == Phase::Preparing && self.duty().is_none() {
            self.rejoin = false;
            self.enter(Phase::Joining);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.attempt += 1;
        self.phase = phase;
    }

    /// The coordinator does not know this member, or not in this generation.
    fn reset(&mut self) {
        self.identity = Identity::none();
        self.lost = !self.owned.is_empty();
        self.rejoin = false;
        self.leads = false;
        self.next_beat = None;
    }

    /// Eager members give up everything before they join, cooperative ones what they want no more.
    fn to_give_up(&self) -> BTreeSet<TopicPartition> {
        let wanted = |partition: &TopicPartition| {
            self.topics.as_ref().is_some_and(|topics| topics.contains(&partition.topic))
        };
        let eager = self.protocol == RebalanceProtocol::Eager;
        self.owned.iter().filter(|partition| eager || !wanted(partition)).cloned().collect()
    }

    fn join_request(&self) -> Result<JoinGroupRequest, EncodeError> {
        let mut protocols = Vec::new();
        for assignor in &self.settings.assignors {
            let owned_since = self.owned_since;
            let subscription = Subscription {
                topics: self.topics.clone().unwrap_or_default(),
                user_data: assignor.user_data(&self.told_as_owned(*assignor), owned_since),
                owned: self.owned.clone(),
                generation: (owned_since >= 0).then_some(owned_since),
                rack: self.settings.rack.clone(),
            };
            protocols.push(join_group_request::JoinGroupRequestProtocol {
                name: Str::from_static(assignor.name()),
                metadata: subscription.encode()?,
            });
        }
        Ok(JoinGroupRequest {
            group_id: self.settings.group_id.clone(),
            session_timeout_ms: millis(self.settings.session_timeout),
            rebalance_timeout_ms: millis(self.settings.rebalance_timeout),
            member_id: self.identity.member_id.clone(),
            group_instance_id: self.settings.instance_id.clone(),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols,
            reason: None,
        })
    }

    /// `sticky` is eager: it tells what the member had.
    fn told_as_owned(&self, assignor: Assignor) -> BTreeSet<TopicPartition> {
        match assignor {
            Assignor::Sticky => self.owned_before.clone(),
            _ => self.owned.clone(),
        }
    }

    fn sync_request(
        &self,
        assignments: Vec<sync_group_request::SyncGroupRequestAssignment>,
    ) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.settings.group_id.clone(),
            generation_id: self.identity.generation,
            member_id: self.identity.member_id.clone(),
            group_instance_id: self.settings.instance_id.clone(),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: self.protocol_name.clone(),
            assignments,
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
