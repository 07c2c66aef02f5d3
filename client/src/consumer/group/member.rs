//! The tasks that keep a consumer in its group: one asks for generations, one sends heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::select_all;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::coordinator::{Coordinator, CoordinatorError, Purpose};
use super::membership::{After, Beat, Identity, Membership, Settings, Step};
use crate::cluster::TopicState;
use crate::consumer::assignor::{Assigned, Assignor, Member as GroupMember};
use crate::wire::messages::{LeaveGroupRequest, leave_group_request};
use crate::wire::{ErrorCode, Str};

/// JoinGroup is answered when the group is complete, at the latest after the rebalance timeout.
const JOIN_SLACK: Duration = Duration::from_secs(5);
/// How long a leader waits to learn how large the members' topics are.
const TOPICS_WAIT: Duration = Duration::from_secs(5);

/// A consumer's membership, as its tasks and the consumer share it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) coordinator: Arc<Coordinator>,
    settings: Settings,
    request_timeout: Duration,
    membership: Mutex<Membership>,
    changed: watch::Sender<()>,
}

/// Ends the tasks when it is dropped.
#[derive(Debug)]
pub(super) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Member {
    pub(super) fn new(coordinator: Arc<Coordinator>, settings: Settings) -> Arc<Member> {
        let request_timeout = coordinator.cluster().options().connection.request_timeout;
        let membership = Mutex::new(Membership::new(settings.clone(), Instant::now()));
        Arc::new(Member {
            coordinator,
            settings,
            request_timeout,
            membership,
            changed: watch::Sender::new(()),
        })
    }

    pub(super) fn start(self: &Arc<Member>) -> Tasks {
        let joining = tokio::spawn(join(Arc::clone(self)));
        let beating = tokio::spawn(beat(Arc::clone(self)));
        Tasks(vec![joining.abort_handle(), beating.abort_handle()])
    }

    /// Changes the membership, and lets the others look again.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Membership) -> T) -> T {
        let result = self.look(change);
        self.changed.send_replace(());
        result
    }

    /// For what seldom changes anything.
    pub(super) fn update_if_changed(&self, change: impl FnOnce(&mut Membership)) {
        let changed = self.look(|m| {
            let before = m.attempt();
            change(m);
            m.attempt() != before
        });
        if changed {
            self.changed.send_replace(());
        }
    }

    /// For what changes nothing that others wait for.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Membership) -> T) -> T {
        // Nothing panics while it holds the lock; were it so, the membership is still whole.
        look(&mut self.membership.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn instance_id(&self) -> Option<Str> {
        self.settings.instance_id.clone()
    }

    async fn pause(&self, failures: &mut u32) {
        *failures = failures.saturating_add(1);
        sleep(self.coordinator.cluster().options().retry_backoff.pause(*failures, rand::random())).await;
    }

    /// What follows from an answer, in the shell.
    async fn go_on(&self, after: After, failures: &mut u32) {
        match after {
            After::Go => *failures = 0,
            After::Pause => self.pause(failures).await,
            After::FindCoordinator => {
                self.coordinator.moved();
                self.pause(failures).await;
            }
        }
    }

    /// Takes a member off the group, so that the others need not wait for its session to end.
    pub(super) async fn leave(&self, identity: &Identity) {
        let told = self.coordinator.ask(Purpose::Beating, self.request_timeout, |version| {
            let member_id = identity.member_id.clone();
            let group_id = self.settings.group_id.clone();
            if version < 3 {
                return LeaveGroupRequest { group_id, member_id, ..Default::default() };
            }
            let member = leave_group_request::MemberIdentity { member_id, ..Default::default() };
            LeaveGroupRequest { group_id, members: vec![member], ..Default::default() }
        });
        if let Err(cause) = told.await {
            let group = &self.settings.group_id;
            tracing::warn!(%group, %cause, "the group was not told that a member leaves; its session will end");
        }
    }
}

/// Asks for one generation after the other.
async fn join(member: Arc<Member>) {
    let mut changes = member.changes();
    let mut led = Led::default();
    let mut failures = 0;
    loop {
        changes.mark_unchanged();
        let within = member.settings.rebalance_timeout.saturating_add(JOIN_SLACK);
        match member.look(Membership::next_step) {
            Step::Wait => tokio::select! {
                // An error would mean that the sender is gone, which `member` holds.
                _ = changes.changed() => {}
                () = led.changed() => member.update(Membership::topics_changed),
            },
            Step::Join { attempt, request } => {
                let asked = member.coordinator.ask(Purpose::Joining, within, |_| request);
                let Some(answer) = unless_changed(&member, attempt, asked).await else { continue };
                let after = match answer {
                    Ok(answer) => member.update(|m| m.joined(attempt, answer, Instant::now())),
                    Err(error) => failed(&member, attempt, &error),
                };
                member.go_on(after, &mut failures).await;
            }
            Step::Divide { attempt, assignor, members, skip } => {
                let assigned = led.divide(&member, assignor, &members, skip).await;
                member.update(|m| m.divided(attempt, &assigned));
            }
            Step::Sync { attempt, request } => {
                let asked = member.coordinator.ask(Purpose::Joining, within, |_| request);
                let Some(answer) = unless_changed(&member, attempt, asked).await else { continue };
                let after = match answer {
                    Ok(answer) => member.update(|m| m.synced(attempt, answer)),
                    Err(error) => failed(&member, attempt, &error),
                };
                member.go_on(after, &mut failures).await;
            }
        }
    }
}

/// Gives up waiting for an answer that nobody wants any more.
async fn unless_changed<T>(
    member: &Member,
    attempt: u64,
    asked: impl Future<Output = Result<T, CoordinatorError>>,
) -> Option<Result<T, CoordinatorError>> {
    let mut changes = member.changes();
    let changed = async {
        while member.look(|m| m.attempt()) == attempt {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    };
    tokio::select! {
        answer = asked => Some(answer),
        () = changed => None,
    }
}

fn failed(member: &Member, attempt: u64, error: &CoordinatorError) -> After {
    tracing::debug!(group = %member.settings.group_id, %error, "no answer from the coordinator");
    if error.is_retriable() {
        return member.look(|m| m.unanswered());
    }
    member.update(|m| m.unsendable(attempt, error.to_string()));
    After::Go
}

/// Heartbeats, which no other request delays, and the word that a member leaves.
async fn beat(member: Arc<Member>) {
    let mut changes = member.changes();
    let mut failures = 0;
    loop {
        changes.mark_unchanged();
        let (leaving, beat, expired) = member.look(|m| {
            let before = m.attempt();
            let beat = m.next_beat(Instant::now());
            (m.take_leaving(), beat, m.attempt() != before)
        });
        if expired {
            member.update(|_| ());
        }
        if let Some(identity) = leaving {
            member.leave(&identity).await;
            continue;
        }
        match beat {
            Beat::Wait { until } => tokio::select! {
                _ = changes.changed() => {}
                () = at(until) => {}
            },
            Beat::Send { identity, request } => {
                let within = member.settings.session_timeout.min(member.request_timeout);
                let after = match member.coordinator.ask(Purpose::Beating, within, |_| request).await {
                    Ok(answer) => {
                        let error = ErrorCode::from_code(answer.error_code);
                        member.update(|m| m.beat_answered(&identity, error, Instant::now()))
                    }
                    Err(error) if error.is_retriable() => After::FindCoordinator,
                    Err(_) => After::Pause,
                };
                member.go_on(after, &mut failures).await;
            }
        }
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}

/// What a leader knows of the topics that it divided.
#[derive(Debug, Default)]
struct Led {
    topics: Vec<(watch::Receiver<TopicState>, TopicState)>,
}

impl Led {
    /// Divides the partitions, as many as there are now, and follows the topics from here on.
    async fn divide(
        &mut self,
        member: &Member,
        assignor: Assignor,
        members: &[GroupMember],
        skip: bool,
    ) -> Assigned {
        let names: BTreeSet<_> = members.iter().flat_map(|m| m.subscription.topics.iter().cloned()).collect();
        let cluster = member.coordinator.cluster();
        let mut receivers: BTreeMap<_, _> =
            names.into_iter().map(|name| (name.clone(), cluster.topic(&name))).collect();
        let known = async {
            for receiver in receivers.values_mut() {
                // An error would mean that the cluster is gone, which `member` holds.
                let _ = receiver.wait_for(|state| *state != TopicState::Unknown).await;
            }
        };
        if timeout(TOPICS_WAIT, known).await.is_err() {
            tracing::warn!(group = %member.settings.group_id, "not all topics of the group are known yet");
        }
        let mut counts = BTreeMap::new();
        self.topics.clear();
        for (name, mut receiver) in receivers {
            let state = *receiver.borrow_and_update();
            if let TopicState::Partitions(count) = state {
                counts.insert(name, count);
            }
            self.topics.push((receiver, state));
        }
        if skip { Assigned::new() } else { assignor.assign(members, &counts) }
    }

    /// Waits until a topic is not what it was. Topics that exist are not taken for gone on one's word: a leader
    /// divides again when they are back.
    async fn changed(&mut self) {
        if self.topics.is_empty() {
            return pending().await;
        }
        loop {
            let changes = self.topics.iter_mut().map(|(receiver, _)| receiver.changed().boxed());
            let _ = select_all(changes).await;
            let mut differs = false;
            for (receiver, divided) in &mut self.topics {
                let now = *receiver.borrow_and_update();
                if now != TopicState::Unknown && now != *divided {
                    *divided = now;
                    differs = true;
                }
            }
            if differs {
                return;
            }
        }
    }
}
