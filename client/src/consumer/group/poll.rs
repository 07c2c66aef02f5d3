//! One poll: the group's duties, commits, places, and then records.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::commits::PendingCommit;
use super::error::ConsumerError;
use super::listener::Rebalance;
use super::member::Member;
use super::membership::Duty;
use super::placing::{Found, Placing};
use super::positions::Wanted;
use super::{GroupConsumer, OffsetsError};
use crate::consumer::{ConsumerRecord, Fetched};
use crate::ids::TopicPartition;

/// What a listener is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Assigned,
    Revoked,
    Lost,
}

/// What a poll waited for.
enum Woken {
    TimeUp,
    /// The membership changed, or it is time to commit.
    Look,
    Found(Found),
    Fetched(Fetched),
}

/// From here to its end the consumer polls.
struct Polling(Option<Arc<Member>>);

impl Polling {
    fn begin(member: Option<Arc<Member>>) -> Polling {
        if let Some(member) = &member {
            member.update_if_changed(|m| m.polled(std::time::Instant::now()));
        }
        Polling(member)
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if let Some(member) = &self.0 {
            member.look(|m| m.poll_ended(std::time::Instant::now()));
        }
    }
}

impl GroupConsumer {
    pub(super) async fn poll_up_to(
        &mut self,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        let deadline = Instant::now().checked_add(wait);
        let _polling = Polling::begin(self.member.clone());
        for partition in self.positions.take_troubled() {
            self.fetcher.retry(&partition);
        }
        let mut changes = self.member.as_ref().map(|member| member.changes());
        loop {
            if let Some(changes) = &mut changes {
                changes.mark_unchanged();
            }
            self.do_duties().await?;
            self.auto_commit();
            while !self.positions.is_full(most)
                && let Some(fetched) = self.fetcher.try_next()
            {
                self.take(fetched)?;
            }
            let records = self.positions.deliver(most);
            if !records.is_empty() {
                return Ok(records);
            }
            self.find_places();
            let commit_due = self.auto_commit_due();
            let woken = tokio::select! {
                biased;
                () = changed(&mut changes) => Woken::Look,
                found = found(&mut self.placing) => Woken::Found(found),
                fetched = self.fetcher.next() => Woken::Fetched(fetched),
                () = at(commit_due) => Woken::Look,
                () = at(deadline) => Woken::TimeUp,
            };
            match woken {
                Woken::TimeUp => return Ok(Vec::new()),
                Woken::Look => {}
                Woken::Found(found) => self.place(found)?,
                Woken::Fetched(fetched) => self.take(fetched)?,
            }
        }
    }

    /// What the group wants of this consumer now.
    async fn do_duties(&mut self) -> Result<(), ConsumerError> {
        let Some(member) = self.member.clone() else { return Ok(()) };
        while let Some(duty) = member.look(|m| m.duty()) {
            match duty {
                Duty::GiveUp { partitions, lost } => {
                    self.give_up(&partitions, if lost { Told::Lost } else { Told::Revoked }).await;
                    member.update(|m| m.given_up(&partitions));
                }
                Duty::Take { added, revoked } => {
                    // What a call that was cut off has given up already is not given up again.
                    let revoked: BTreeSet<TopicPartition> =
                        revoked.into_iter().filter(|p| self.positions.contains(p)).collect();
                    if !revoked.is_empty() {
                        self.give_up(&revoked, Told::Revoked).await;
                    }
                    for partition in &added {
                        self.positions.add(partition.clone(), Wanted::Committed);
                    }
                    self.tell(Told::Assigned, &added).await;
                    member.update(|m| m.taken());
                }
                Duty::Fail(refusal) => {
                    member.update(|m| m.failure_told());
                    return Err(refusal.into());
                }
            }
        }
        Ok(())
    }

    /// Stops reading. What was polled is committed first, if it is still this consumer's to commit.
    pub(super) async fn give_up(&mut self, partitions: &BTreeSet<TopicPartition>, told: Told) {
        if told == Told::Revoked && self.options.auto_commit.is_some() {
            let within = self.options.api_timeout.min(self.options.max_poll_interval / 2);
            if let Err(error) = self.commit_known_within(within).await {
                tracing::warn!(%error, "the offsets of partitions that are given up were not committed");
            }
        }
        self.tell(told, partitions).await;
        self.forget(partitions);
    }

    pub(super) fn forget(&mut self, partitions: &BTreeSet<TopicPartition>) {
        for partition in partitions {
            self.positions.remove(partition);
            self.fetcher.remove(partition);
        }
        // What it finds may be out of date when one of them comes back.
        self.placing = None;
    }

    async fn tell(&mut self, told: Told, partitions: &BTreeSet<TopicPartition>) {
        let Some(commits) = self.commits.clone() else { return };
        let rebalance = Rebalance {
            partitions: partitions.clone(),
            positions: self.positions.known(),
            commits,
            sought: Mutex::default(),
        };
        let Some(listener) = &mut self.listener else { return };
        match told {
            Told::Assigned => listener.assigned(&rebalance).await,
            Told::Revoked => listener.revoked(&rebalance).await,
            Told::Lost => listener.lost(&rebalance).await,
        }
        let sought = rebalance.sought.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (partition, position) in sought {
            self.go_to(&partition, position);
        }
    }

    fn take(&mut self, fetched: Fetched) -> Result<(), ConsumerError> {
        let reset = self.options.auto_offset_reset.spec();
        match fetched {
            Fetched::Records(records) => self.positions.fetched(records),
            Fetched::OutOfRange { partition, position } => {
                let Some(spec) = reset else { return Err(ConsumerError::OutOfRange { partition, position }) };
                let offset = position.offset;
                tracing::warn!(%partition, %offset, ?spec, "the log does not reach to this offset; it is reset");
                self.look_for(&partition, Wanted::At(spec));
            }
            Fetched::Truncated { partition, position, diverged } => match (reset, diverged) {
                (Some(_), Some(diverged)) => {
                    let (from, to) = (position.offset, diverged.offset);
                    tracing::warn!(%partition, %from, %to, "the log was cut back; reading goes on where it was");
                    self.go_to(&partition, diverged);
                }
                (Some(spec), None) => self.look_for(&partition, Wanted::At(spec)),
                (None, _) => return Err(ConsumerError::Truncated { partition, position, diverged }),
            },
            Fetched::Corrupt { partition, position, cause } => {
                self.positions.failed(&partition);
                return Err(ConsumerError::Corrupt { partition, position, cause });
            }
            Fetched::Refused { partition, error: code } => {
                self.positions.failed(&partition);
                return Err(ConsumerError::Refused { partition, code });
            }
        }
        Ok(())
    }

    fn find_places(&mut self) {
        if self.placing.is_some() {
            return;
        }
        let unplaced = self.positions.unplaced();
        if !unplaced.is_empty() {
            self.placing = Some(Placing::begin(self.finder.clone(), unplaced));
        }
    }

    fn place(&mut self, found: Found) -> Result<(), ConsumerError> {
        self.placing = None;
        for (partition, (wanted, position)) in found.placed {
            if self.positions.place(&partition, wanted, position) {
                self.read_from(&partition, position);
            }
        }
        found.error.map_or(Ok(()), Err)
    }

    fn auto_commit_due(&self) -> Option<Instant> {
        self.options.auto_commit.filter(|_| !self.positions.known().is_empty())?;
        Some(self.next_auto_commit)
    }

    /// Everything that was polled before counts as done now.
    fn auto_commit(&mut self) {
        if let Some(pending) = &mut self.auto_committing {
            match pending.try_result() {
                None => {}
                Some(result) => {
                    self.auto_committing = None;
                    if let Err(error) = result {
                        tracing::warn!(%error, "an automatic commit failed; the next one follows");
                    }
                }
            }
        }
        let Some(interval) = self.options.auto_commit else { return };
        if Instant::now() < self.next_auto_commit {
            return;
        }
        self.next_auto_commit = Instant::now() + interval;
        if self.auto_committing.is_none()
            && let Some(pending) = self.begin_known()
        {
            self.auto_committing = Some(pending);
        }
    }

    fn begin_known(&self) -> Option<PendingCommit> {
        let known = self.positions.known().into_iter().map(|(partition, at)| (partition, at.into()));
        let known: BTreeMap<_, _> = known.collect();
        if known.is_empty() { None } else { self.commits.as_ref().map(|commits| commits.begin(known)) }
    }

    pub(super) async fn commit_known_within(&self, within: Duration) -> Result<(), OffsetsError> {
        let Some(pending) = self.begin_known() else { return Ok(()) };
        let cause = || "earlier commits wait for the coordinator".to_owned();
        timeout(within, pending)
            .await
            .unwrap_or_else(|_| Err(OffsetsError::TimedOut { within, cause: cause() }))
    }
}

async fn changed(changes: &mut Option<tokio::sync::watch::Receiver<()>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    // No group, or no member any more, which the consumer holds.
    pending().await
}

async fn found(placing: &mut Option<Placing>) -> Found {
    match placing {
        Some(placing) => placing.found().await,
        None => pending().await,
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
