//! What must be true once everything has healed.

use client::ids::{BrokerId, TopicPartition};

use super::process::Process;
use super::run::Simulation;

impl Simulation {
    /// What keeps the cluster from being whole; `None`: nothing.
    pub(super) fn what_is_missing(&self) -> Option<String> {
        self.who_is_missing()
            .or_else(|| self.partitions_now().find_map(|partition| self.what_differs(partition)))
            .or_else(|| self.what_groups_miss())
    }

    /// Who is not there, not in sync, or does not know it; `None`: nobody.
    pub(super) fn who_is_missing(&self) -> Option<String> {
        let registered = self.zookeeper.registrations();
        for (id, machine) in &self.machines {
            if machine.process.is_none() {
                return Some(format!("{id} does not run"));
            }
            if registered.get(id) != machine.process.as_ref().map(Process::registration).as_ref() {
                return Some(format!("{id} is not registered"));
            }
        }
        let controllers =
            self.machines.values().filter_map(|m| m.process.as_ref()).filter(|p| p.is_controller()).count();
        if controllers != 1 {
            return Some(format!("{controllers} controllers reign"));
        }
        if self.operator.is_leaving() {
            return Some(format!("{} is being deleted", self.operator.partition));
        }
        self.partitions_now().find_map(|partition| self.what_is_missing_of(partition))
    }

    fn what_is_missing_of(&self, partition: &TopicPartition) -> Option<String> {
        let Some(state) = self.state(partition) else { return Some(format!("{partition} has no state")) };
        if state.isr.len() < 3 || state.leader == BrokerId::NONE {
            return Some(format!("{partition}: leader {}, in sync only {:?}", state.leader, state.isr));
        }
        for id in &state.isr {
            let process = self.machines.get(id)?.process.as_ref()?;
            let Some(hosted) = process.roles().get(partition) else {
                return Some(format!("{id} does not host {partition}"));
            };
            let status = hosted.status();
            if status.epoch != state.leader_epoch || status.is_leader() != (*id == state.leader) {
                return Some(format!("{partition}: ZooKeeper has {state:?}, broker {id} {status:?}"));
            }
        }
        for (id, machine) in &self.machines {
            let cluster = machine.process.as_ref()?.cache().snapshot();
            let known = cluster.partition(&partition.topic, partition.partition);
            let agrees = known.is_some_and(|known| {
                known.leader == Some(state.leader)
                    && known.leader_epoch == state.leader_epoch
                    && *known.isr == *state.isr
            });
            if !agrees {
                return Some(format!("{partition}: ZooKeeper has {state:?}, the metadata of {id} {known:?}"));
            }
        }
        None
    }

    /// Replicas that end, or know to end, elsewhere than the others.
    fn what_differs(&self, partition: &TopicPartition) -> Option<String> {
        let mut ends = Vec::new();
        for machine in self.machines.values() {
            let hosted = machine.process.as_ref()?.roles().get(partition);
            ends.extend(
                hosted.map(|hosted| hosted.status()).map(|status| (status.end, status.high_watermark)),
            );
        }
        let (end, _) = *ends.first()?;
        let differ = ends.iter().any(|here| *here != (end, end));
        differ.then(|| format!("{partition}: ends and high watermarks differ: {ends:?}"))
    }

    /// All replicas hold the same, and everything that was acknowledged.
    pub(super) fn check_replicas(&mut self) {
        for partition in self.partitions_now().cloned().collect::<Vec<_>>() {
            let replicas = self.state(&partition).map(|state| state.isr).unwrap_or_default();
            let mut first: Option<(BrokerId, Vec<u8>)> = None;
            for id in replicas {
                let Some(log) = self.log_of(id, &partition) else {
                    self.promises.broke(format!("{partition}: the log of {id} cannot be read"));
                    continue;
                };
                self.promises.holds(&partition, id, &log);
                if partition == self.operator.partition {
                    self.check_former_topics(id, &log);
                }
                match &first {
                    None => first = Some((id, log)),
                    Some((other, held)) if *held != log => {
                        let other = *other;
                        self.promises.broke(format!("{partition}: the logs of {other} and {id} differ"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
