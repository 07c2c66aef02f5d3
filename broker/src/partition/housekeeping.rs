//! What happens to a partition from time to time: lag checks, answers about the in-sync set,
//! retention, flushes, checkpoints, changed configuration, a failing directory.

use std::path::Path;
use std::sync::Arc;

use client::ids::{BrokerId, LeaderEpoch, ZkVersion};

use super::leader::IsrProposal;
use super::{Partition, PartitionError, Role, TopicConfig};
use crate::clock::Now;
use crate::log::{Log, LogError, LogMarks};

/// The controller's answer to a proposal, as far as the partition is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsrAnswer {
    Written {
        leader_epoch: LeaderEpoch,
        isr: Vec<BrokerId>,
        partition_epoch: ZkVersion,
    },
    /// Not written and not going to be.
    Refused,
}

impl Partition {
    /// Proposes to drop followers that lag too long.
    pub fn check_lag(&self, now: Now) {
        let proposed = self.change(now, |inner, moment| {
            let topic_id = inner.topic_id;
            let (leader, _) = inner.leading()?;
            Ok(leader.check_lag(moment).map(|proposal| (topic_id, proposal)))
        });
        if let Ok(Some((topic_id, proposal))) = proposed {
            self.propose(topic_id, Some(proposal));
        }
    }

    /// Whether the controller's answer to `proposal` is still wanted.
    pub fn awaits(&self, proposal: &IsrProposal) -> bool {
        matches!(&self.lock().role, Role::Leader(leader) if leader.is_pending_for(proposal))
    }

    /// Settles `proposal`, unless the controller's LeaderAndIsr did so before.
    pub fn isr_answered(&self, proposal: &IsrProposal, answer: &IsrAnswer, now: Now) {
        let settled = self.change(now, |inner, moment| {
            let (leader, _) = inner.leading()?;
            if !leader.is_pending_for(proposal) {
                return Ok(None);
            }
            let settled = match answer {
                IsrAnswer::Written { leader_epoch, isr, partition_epoch } => {
                    leader.isr_written(*leader_epoch, isr, *partition_epoch, moment)
                }
                IsrAnswer::Refused => leader.isr_refused(proposal, moment),
            };
            if settled.is_err() {
                return Ok(None);
            }
            let settled = (leader.isr().committed().to_vec(), leader.partition_epoch());
            inner.partition_epoch = settled.1;
            Ok(Some(settled))
        });
        match settled {
            Ok(Some((isr, partition_epoch))) => tracing::info!(
                partition = %self.id, ?isr, %partition_epoch, ?answer, "the in-sync set is settled"
            ),
            Ok(None) | Err(_) => tracing::debug!(
                partition = %self.id, ?proposal, ?answer, "an answer about the in-sync set came too late"
            ),
        }
    }

    /// Some brokers are alive no longer: a replica that was about to join the in-sync set may hold back the high
    /// watermark, and with it producers.
    pub fn brokers_gone(&self, now: Now) {
        // A follower has nothing to look at again.
        let _ = self.change(now, |inner, moment| {
            let (leader, _) = inner.leading()?;
            leader.brokers_gone(moment);
            Ok(())
        });
    }

    /// What the checkpoints keep; `None` without a log.
    pub fn marks(&self) -> Option<LogMarks> {
        self.lock().log.as_ref().map(Log::marks)
    }

    /// Takes the topic's changed configuration over.
    pub fn configure(&self, config: Arc<TopicConfig>, now: Now) {
        let configured = self.change(now, |inner, moment| {
            inner.config = Arc::clone(&config);
            if let Some(log) = &mut inner.log {
                log.set_config(config.log.clone());
            }
            if let Role::Leader(leader) = &mut inner.role {
                leader.min_insync_changed(config.min_insync_replicas, moment);
            }
            Ok(())
        });
        debug_assert!(configured.is_ok(), "configuring cannot fail");
    }

    /// Forgets producers that went silent (`producer.id.expiration.ms`).
    pub fn expire_producers(&self, now: Now) -> Result<(), PartitionError> {
        let expired = self.change(now, |inner, _| Ok(inner.log_mut()?.expire_producers(now.unix_ms)))?;
        if expired > 0 {
            tracing::debug!(partition = %self.id, expired, "forgot silent producers");
        }
        Ok(())
    }

    /// Deletes what retention no longer keeps.
    pub fn clean_up(&self, now: Now) -> Result<usize, PartitionError> {
        self.change(now, |inner, _| {
            let log = inner.log_mut()?;
            let deleted = log.delete_expired(now.unix_ms)?;
            let start = log.start_offset();
            if let Role::Leader(leader) = &mut inner.role {
                leader.start_moved(start);
            }
            Ok(deleted)
        })
    }

    /// Runs `work` on the log, under the lock. `None` without a log.
    pub fn with_log<T>(
        &self,
        now: Now,
        work: impl FnOnce(&mut Log) -> Result<T, LogError>,
    ) -> Option<Result<T, LogError>> {
        match self.change(now, |inner, _| Ok(work(inner.log_mut()?)?)) {
            Ok(done) => Some(Ok(done)),
            Err(PartitionError::Log(error)) => Some(Err(error)),
            Err(_) => None,
        }
    }

    /// Writes the epochs that began, and syncs what is due, without holding up reads and appends meanwhile.
    pub fn flush(&self, now: Now) -> Result<(), PartitionError> {
        let (epochs, job) = self.change(now, |inner, _| {
            let log = inner.log()?;
            Ok((log.epochs_due(), log.flush_due(now.unix_ms)?))
        })?;
        if let Some(epochs) = epochs {
            let outcome = epochs.run();
            self.change(now, |inner, _| Ok(inner.log_mut()?.epochs_written(outcome)?))?;
        }
        let Some(job) = job else { return Ok(()) };
        let outcome = job.run();
        self.change(now, |inner, _| Ok(inner.log_mut()?.flushed(outcome)?))
    }

    /// Goes offline if the log lies in `dir`, which failed. True if it does.
    pub fn dir_failed(&self, dir: &Path, now: Now) -> bool {
        let mut here = false;
        let changed = self.change(now, |inner, _| {
            here = inner.log.as_ref().is_some_and(|log| log.dir().path() == dir);
            if here {
                inner.go_offline();
            }
            Ok(())
        });
        debug_assert!(changed.is_ok(), "going offline cannot fail");
        here
    }
}
