//! Whether a leader's wish to change its ISR is granted: the checks of `AlterPartition` (KIP-497,
//! KIP-704, KIP-841, KIP-903), as `KafkaController.tryProcessAlterPartition` makes them and in its order.
//!
//! Three things Kafka 3.9 accepts and writes are refused here, since no correct leader asks for
//! them and each would break the partition: a sender that does not lead it, an ISR that lacks the
//! leader or is empty, and one with repeated members or brokers outside the assignment.

use std::collections::BTreeSet;

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, ZkVersion};

use crate::cluster::{ClusterState, Leadership, Recovery};

/// What a leader asks for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    pub sender: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// Members with the registration the leader fetched them under, −1 if it does not say.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
    pub recovery: Recovery,
    pub partition_epoch: ZkVersion,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is so already: a repeated request, answered with the current state.
    Unchanged(Leadership),
    /// To be written at the version it names.
    Write(Leadership),
}

/// Why an ISR stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the partition is not known or never had a leader")]
    UnknownPartition,
    #[error(
        "the leader knows leader epoch {leader_epoch} and version {partition_epoch}, later than this controller does"
    )]
    ControllerBehind { leader_epoch: LeaderEpoch, partition_epoch: ZkVersion },
    #[error("leader epoch {asked} is over, it is {current} now")]
    Fenced { asked: LeaderEpoch, current: LeaderEpoch },
    #[error("broker {sender} does not lead it, {leader} does")]
    NotLeader { sender: BrokerId, leader: BrokerId },
    #[error("the ISR asked for lacks its leader {leader}")]
    LeaderLeftOut { leader: BrokerId },
    #[error("the ISR asked for names broker {0} twice")]
    Repeated(BrokerId),
    #[error("the ISR asked for names broker {0}, which holds no replica")]
    NotAssigned(BrokerId),
    #[error("it is based on version {asked}, the state is at {current}")]
    OldVersion { asked: ZkVersion, current: ZkVersion },
    #[error("a recovering leader has to be alone in the ISR, and cannot go back to recovering")]
    Recovery,
    #[error("broker {0} is not there, or about to leave, or registered again since")]
    Ineligible(BrokerId),
}

/// Decides on one partition. The state to write names `controller` as its writer and keeps the
/// leader epoch: an ISR change is not a change of leader.
pub fn judge(
    cluster: &ClusterState,
    partition: &TopicPartition,
    change: &IsrChange,
    controller: ControllerEpoch,
) -> Result<Verdict, Refusal> {
    let current = cluster.leadership(partition).ok_or(Refusal::UnknownPartition)?;
    let &IsrChange { leader_epoch, partition_epoch, sender, recovery, .. } = change;
    if partition_epoch > current.partition_epoch || leader_epoch > current.leader_epoch {
        return Err(Refusal::ControllerBehind { leader_epoch, partition_epoch });
    }
    if leader_epoch < current.leader_epoch {
        return Err(Refusal::Fenced { asked: leader_epoch, current: current.leader_epoch });
    }
    check_shape(cluster, partition, change, current)?;
    let isr: Vec<BrokerId> = change.isr.iter().map(|&(id, _)| id).collect();
    if isr == current.isr && recovery == current.recovery {
        return Ok(Verdict::Unchanged(current.clone()));
    }
    if partition_epoch < current.partition_epoch {
        return Err(Refusal::OldVersion { asked: partition_epoch, current: current.partition_epoch });
    }
    let goes_back = recovery == Recovery::Recovering && current.recovery == Recovery::Recovered;
    if goes_back || (recovery == Recovery::Recovering && isr.len() > 1) {
        return Err(Refusal::Recovery);
    }
    for &(id, epoch) in &change.isr {
        let registered = cluster.brokers().get(&id).map(|broker| broker.epoch);
        if !cluster.is_live(id) || (epoch.0 >= 0 && registered != Some(epoch)) {
            return Err(Refusal::Ineligible(id));
        }
    }
    Ok(Verdict::Write(Leadership {
        leader: sender,
        isr,
        recovery,
        controller_epoch: controller,
        ..current.clone()
    }))
}

fn check_shape(
    cluster: &ClusterState,
    partition: &TopicPartition,
    change: &IsrChange,
    current: &Leadership,
) -> Result<(), Refusal> {
    if change.sender != current.leader {
        return Err(Refusal::NotLeader { sender: change.sender, leader: current.leader });
    }
    let mut seen = BTreeSet::new();
    for &(id, _) in &change.isr {
        if !seen.insert(id) {
            return Err(Refusal::Repeated(id));
        }
        if !cluster.replicas(partition).contains(&id) {
            return Err(Refusal::NotAssigned(id));
        }
    }
    match seen.contains(&current.leader) {
        true => Ok(()),
        false => Err(Refusal::LeaderLeftOut { leader: current.leader }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Assignment, Broker};

    const ME: ControllerEpoch = ControllerEpoch(5);

    /// Partition t-0 on brokers 1 to 4, led by 1 with ISR 1 2, leader epoch 3, version 6.
    /// Broker 3 is in controlled shutdown, 4 is not registered, 5 is live without a replica.
    fn cluster(recovery: Recovery) -> ClusterState {
        let mut cluster = ClusterState::default();
        for id in [1, 2, 3, 5] {
            let epoch = BrokerEpoch(100 + i64::from(id));
            cluster.put_broker(BrokerId(id), Broker { epoch, endpoints: Vec::new(), rack: None });
        }
        cluster.begin_shutdown(BrokerId(3));
        cluster.put_topic("t".into(), None);
        cluster.put_assignment(partition(), Assignment::of((1..=4).map(BrokerId).collect()));
        cluster.put_leadership(&partition(), current(recovery));
        cluster
    }

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn current(recovery: Recovery) -> Leadership {
        Leadership {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(3),
            isr: vec![BrokerId(1), BrokerId(2)],
            recovery,
            partition_epoch: ZkVersion(6),
            controller_epoch: ControllerEpoch(4),
        }
    }

    fn change(sender: i32, leader_epoch: i32, version: i32, isr: &[i32]) -> IsrChange {
        IsrChange {
            sender: BrokerId(sender),
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: isr.iter().map(|&id| (BrokerId(id), BrokerEpoch(-1))).collect(),
            recovery: Recovery::Recovered,
            partition_epoch: ZkVersion(version),
        }
    }

    #[test]
    fn each_check_has_its_place() {
        let behind = |leader_epoch, partition_epoch| Refusal::ControllerBehind {
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: ZkVersion(partition_epoch),
        };
        let written = |isr: &[i32]| {
            let isr = isr.iter().map(|&id| BrokerId(id)).collect();
            Ok(Verdict::Write(Leadership { isr, controller_epoch: ME, ..current(Recovery::Recovered) }))
        };
        let unchanged = Ok(Verdict::Unchanged(current(Recovery::Recovered)));
        let fenced = Refusal::Fenced { asked: LeaderEpoch(2), current: LeaderEpoch(3) };
        let not_leader = Refusal::NotLeader { sender: BrokerId(2), leader: BrokerId(1) };
        let old = Refusal::OldVersion { asked: ZkVersion(5), current: ZkVersion(6) };
        let left_out = Refusal::LeaderLeftOut { leader: BrokerId(1) };
        let table = [
            (change(1, 3, 6, &[1]), written(&[1])),
            (change(1, 3, 6, &[2, 1]), written(&[2, 1])),
            (change(1, 4, 6, &[1]), Err(behind(4, 6))),
            (change(1, 3, 7, &[1]), Err(behind(3, 7))),
            (change(1, 2, 7, &[1]), Err(behind(2, 7))),
            (change(1, 2, 6, &[1]), Err(fenced.clone())),
            // A deposed leader is told that its epoch is over, not that it does not lead.
            (change(2, 2, 6, &[2]), Err(fenced)),
            (change(2, 3, 6, &[1, 2]), Err(not_leader)),
            (change(1, 3, 6, &[]), Err(left_out.clone())),
            (change(1, 3, 6, &[2]), Err(left_out)),
            (change(1, 3, 6, &[1, 1]), Err(Refusal::Repeated(BrokerId(1)))),
            (change(1, 3, 6, &[1, 5]), Err(Refusal::NotAssigned(BrokerId(5)))),
            // Asked again after the answer was lost: the version it is based on does not matter.
            (change(1, 3, 5, &[1, 2]), unchanged.clone()),
            (change(1, 3, 6, &[1, 2]), unchanged),
            (change(1, 3, 5, &[1]), Err(old)),
            (change(1, 3, 6, &[1, 2, 3]), Err(Refusal::Ineligible(BrokerId(3)))),
            (change(1, 3, 6, &[1, 2, 4]), Err(Refusal::Ineligible(BrokerId(4)))),
        ];
        let cluster = cluster(Recovery::Recovered);
        for (change, expected) in table {
            assert_eq!(judge(&cluster, &partition(), &change, ME), expected, "{change:?}");
        }
        let unknown = TopicPartition::new("t", 1);
        assert_eq!(judge(&cluster, &unknown, &change(1, 3, 6, &[1]), ME), Err(Refusal::UnknownPartition));
    }

    #[test]
    fn a_member_that_registered_again_is_not_eligible() {
        let cluster = cluster(Recovery::Recovered);
        let with_epoch = |epoch| IsrChange {
            isr: vec![(BrokerId(2), BrokerEpoch(epoch)), (BrokerId(1), BrokerEpoch(101))],
            ..change(1, 3, 6, &[])
        };
        assert!(matches!(judge(&cluster, &partition(), &with_epoch(102), ME), Ok(Verdict::Write(_))));
        assert_eq!(judge(&cluster, &partition(), &with_epoch(99), ME), Err(Refusal::Ineligible(BrokerId(2))));
    }

    #[test]
    fn recovery_only_ends() {
        let ask = |now, isr: &[i32], recovery| {
            judge(&cluster(now), &partition(), &IsrChange { recovery, ..change(1, 3, 6, isr) }, ME)
        };
        assert_eq!(ask(Recovery::Recovered, &[1], Recovery::Recovering), Err(Refusal::Recovery));
        assert_eq!(ask(Recovery::Recovering, &[2, 1], Recovery::Recovering), Err(Refusal::Recovery));
        let ended = Leadership { controller_epoch: ME, ..current(Recovery::Recovered) };
        assert_eq!(ask(Recovery::Recovering, &[1, 2], Recovery::Recovered), Ok(Verdict::Write(ended)));
    }
}
