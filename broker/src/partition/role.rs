//! How a partition takes the role that a controller gives it (LeaderAndIsr).

use client::ids::{BrokerId, LeaderEpoch, Uuid};

use super::follower::Follower;
use super::leader::{Assignment, Leader};
use super::{Partition, PartitionError, Role};
use crate::clock::Now;
use crate::log::Log;

/// One partition's state as a LeaderAndIsr request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderAndIsr {
    pub leader: BrokerId,
    /// All zero if the controller gave none.
    pub topic_id: Uuid,
    pub assignment: Assignment,
    /// Whether the partition was made just now, so that no replica can have records yet.
    pub is_new: bool,
}

/// What a LeaderAndIsr request may do to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Its leader epoch is newer than ours.
    Adopt,
    /// Nothing new, but it brings the topic id that the log lacks.
    AssignTopicId,
    /// Nothing new, and the controller no longer knows topic ids: a follower fetches by name.
    DropTopicId,
    /// It is of the past, or repeats the present.
    Stale,
    InconsistentTopicId {
        ours: Uuid,
    },
    Offline,
}

/// The role a partition has after a LeaderAndIsr request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    Leads,
    Follows {
        leader: BrokerId,
        epoch: LeaderEpoch,
    },
    /// The request's partition epoch was older than what an AlterPartition answer told us.
    Unchanged,
}

impl Partition {
    /// Says what `state` means to the partition as it is, without changing it.
    pub fn judge(&self, state: &LeaderAndIsr) -> Judgement {
        let inner = self.lock();
        let (asked, ours) = (state.topic_id, inner.topic_id);
        let epoch = state.assignment.leader_epoch;
        if matches!(inner.role, Role::Offline) {
            Judgement::Offline
        } else if !asked.is_zero() && !ours.is_zero() && asked != ours {
            Judgement::InconsistentTopicId { ours }
        } else if epoch > inner.leader_epoch {
            Judgement::Adopt
        } else if epoch < inner.leader_epoch {
            Judgement::Stale
        } else if ours.is_zero() && !asked.is_zero() {
            Judgement::AssignTopicId
        } else if asked.is_zero() && !ours.is_zero() && matches!(inner.role, Role::Follower(_)) {
            Judgement::DropTopicId
        } else {
            Judgement::Stale
        }
    }

    pub fn has_log(&self) -> bool {
        self.lock().log.is_some()
    }

    /// Gives the partition its log, before its first role.
    pub fn attach(&self, log: Log, now: Now) {
        let attached = self.change(now, |inner, _| {
            if inner.topic_id.is_zero() {
                inner.topic_id = log.topic_id().unwrap_or(Uuid::ZERO);
            }
            inner.log = Some(log);
            Ok(())
        });
        debug_assert!(attached.is_ok(), "attaching cannot fail");
    }

    /// Records the topic's id with the log, for good.
    pub fn assign_topic_id(&self, topic_id: Uuid, now: Now) -> Result<(), PartitionError> {
        self.change(now, |inner, _| {
            inner.log_mut()?.set_topic_id(topic_id)?;
            inner.topic_id = topic_id;
            Ok(())
        })
    }

    /// Takes the lead, or goes on leading in a newer epoch.
    pub fn become_leader(&self, state: &LeaderAndIsr, now: Now) -> Result<Assigned, PartitionError> {
        let me = self.around.me;
        self.change(now, |inner, moment| {
            let assignment = &state.assignment;
            if assignment.partition_epoch < inner.partition_epoch {
                return Ok(Assigned::Unchanged);
            }
            inner.settle_on_disk(now)?;
            let min_insync = inner.config.min_insync_replicas;
            let log = inner.log_mut()?;
            log.assign_epoch(assignment.leader_epoch, log.end_offset())?;
            let (end, high_watermark) = (log.end_offset(), log.high_watermark());
            match &mut inner.role {
                Role::Leader(leader) => {
                    let adopted = leader.reassign(assignment, moment);
                    assert!(adopted, "both epochs were compared before");
                }
                role => {
                    *role =
                        Role::Leader(Leader::new(me, assignment, end, high_watermark, min_insync, moment));
                }
            }
            inner.adopt(state);
            tracing::info!(
                partition = %self.id, epoch = %assignment.leader_epoch, isr = ?assignment.isr,
                epoch_start = %end, %high_watermark, "leading"
            );
            Ok(Assigned::Leads)
        })
    }

    /// Follows another broker. The log is cut, where it has to be, on that leader's first answer.
    pub fn become_follower(&self, state: &LeaderAndIsr, now: Now) -> Result<Assigned, PartitionError> {
        self.change(now, |inner, _| {
            let assignment = &state.assignment;
            if assignment.partition_epoch < inner.partition_epoch {
                return Ok(Assigned::Unchanged);
            }
            inner.settle_on_disk(now)?;
            let log = inner.log_mut()?;
            if log.latest_epoch().is_none() {
                // Without a history nothing can be compared: only what is known to be replicated stays.
                log.truncate_to(log.high_watermark(), now.unix_ms)?;
            }
            tracing::info!(
                partition = %self.id, leader = %state.leader, epoch = %assignment.leader_epoch,
                end = %log.end_offset(), high_watermark = %log.high_watermark(), "following"
            );
            inner.role = Role::Follower(Follower::new(state.leader, assignment.leader_epoch));
            inner.adopt(state);
            Ok(Assigned::Follows { leader: state.leader, epoch: assignment.leader_epoch })
        })
    }

    /// Stops serving (StopReplica): the log stays, requests hear NOT_LEADER_OR_FOLLOWER.
    pub fn stop(&self, now: Now) {
        let stopped = self.change(now, |inner, _| {
            if !matches!(inner.role, Role::Offline) {
                inner.role = Role::Idle;
            }
            Ok(())
        });
        debug_assert!(stopped.is_ok(), "stopping cannot fail");
    }

    /// Stops for good and hands out the log, to be deleted or closed.
    pub fn take_log(&self, now: Now) -> Option<Log> {
        let mut taken = None;
        let stopped = self.change(now, |inner, _| {
            inner.role = Role::Idle;
            taken = inner.log.take();
            Ok(())
        });
        debug_assert!(stopped.is_ok(), "stopping cannot fail");
        taken
    }
}

impl super::Inner {
    fn adopt(&mut self, state: &LeaderAndIsr) {
        assert!(
            state.assignment.leader_epoch >= self.leader_epoch,
            "leader epochs rise: {} after {}",
            state.assignment.leader_epoch,
            self.leader_epoch
        );
        self.leader_epoch = state.assignment.leader_epoch;
        self.partition_epoch = state.assignment.partition_epoch;
    }
}
