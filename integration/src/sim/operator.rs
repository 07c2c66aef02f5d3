//! Somebody who makes a topic, writes to it, deletes it, and makes another one of that name.

use std::collections::BTreeMap;

use client::ids::{BrokerId, TopicPartition, Uuid};
use client::record::batches;
use client::znode::admin;
use client::znode::topic::{self, PartitionAssignment, TopicAssignment};
use rand::Rng;

use super::message::{MS, SECOND, Time};
use super::run::{Event, Simulation};

const NAME: &str = "fleeting";

/// Whether this is a topic that nobody deletes.
pub(super) fn stays(topic: &str) -> bool {
    topic != NAME
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Away { until: Time },
    There { until: Time },
    Leaving,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) partition: TopicPartition,
    stage: Stage,
    /// Counts the topics of the name.
    made: u8,
}

impl Default for Operator {
    fn default() -> Operator {
        let partition = TopicPartition::new(NAME, 0);
        Operator { partition, stage: Stage::Away { until: 2 * SECOND }, made: 0 }
    }
}

impl Operator {
    pub(super) fn is_leaving(&self) -> bool {
        self.stage == Stage::Leaving
    }

    pub(super) fn is_there(&self) -> bool {
        matches!(self.stage, Stage::There { .. })
    }
}

impl Simulation {
    /// All partitions that there should be.
    pub(super) fn partitions_now(&self) -> impl Iterator<Item = &TopicPartition> {
        let of_groups = self.groups.iter().flat_map(|groups| &groups.partitions);
        let fleeting = self.operator.is_there().then_some(&self.operator.partition);
        self.partitions.iter().chain(of_groups).chain(fleeting)
    }

    /// The next step, if it is due.
    pub(super) fn operate(&mut self) {
        if self.zookeeper.down {
            return;
        }
        match self.operator.stage {
            Stage::Away { until } if self.now >= until && self.healed_at.is_none() => self.make_topic(),
            Stage::There { until } if self.now >= until && self.healed_at.is_none() => self.delete_topic(),
            Stage::Leaving => self.look_whether_it_is_gone(),
            Stage::Away { .. } | Stage::There { .. } => {}
        }
    }

    fn make_topic(&mut self) {
        let brokers: Vec<BrokerId> = self.machines.keys().copied().collect();
        self.operator.made = self.operator.made.wrapping_add(1);
        let made = self.operator.made;
        let replicas = brokers.iter().cycle().skip(usize::from(made)).take(3).copied().collect();
        let node = TopicAssignment {
            // Tools older than 2.8 leave the id to the controller.
            topic_id: (!made.is_multiple_of(3)).then_some(Uuid([0x80 | made; 16])),
            partitions: BTreeMap::from([(0, PartitionAssignment::of(replicas))]),
        };
        self.promises.forget(&self.operator.partition);
        self.zookeeper.put(topic::path(NAME), node.encode());
        self.trace.note(self.now, &[11], || format!("topic {NAME} is made, the {made}th of its name"));
        self.tell_of_changes();
        self.operator.stage =
            Stage::There { until: self.now + self.random.random_range(SECOND..10 * SECOND) };
        let wake = self.clients.begin_anew(&self.operator.partition);
        if let Some(wake) = wake {
            self.at(self.now + 100 * MS, Event::Client(wake));
        }
    }

    fn delete_topic(&mut self) {
        self.clients.give_up(&self.operator.partition);
        self.promises.forget(&self.operator.partition);
        self.zookeeper.put(admin::delete_topic_path(NAME), Vec::new());
        self.trace.note(self.now, &[12], || format!("topic {NAME} is to be deleted"));
        self.counts.add("topic deletion requested");
        self.tell_of_changes();
        self.operator.stage = Stage::Leaving;
    }

    /// When the topic leaves ZooKeeper no replica of it is left anywhere.
    fn look_whether_it_is_gone(&mut self) {
        let is_there = |path: &str| self.zookeeper.data(path).is_some();
        match (is_there(&topic::path(NAME)), is_there(&admin::delete_topic_path(NAME))) {
            (_, true) => return,
            (true, false) => {
                // The controller had not heard of the topic yet, and drops such requests, as Kafka's does.
                self.counts.add("topic deletion requested again");
                self.zookeeper.put(admin::delete_topic_path(NAME), Vec::new());
                self.tell_of_changes();
                return;
            }
            (false, false) => {}
        }
        let mut left = Vec::new();
        for (id, machine) in &self.machines {
            let is_of_it =
                |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == "fleeting-0");
            if machine.disk.files().iter().any(is_of_it) {
                left.push(*id);
            }
        }
        if !left.is_empty() {
            self.promises.broke(format!("topic {NAME} is deleted, but {left:?} have logs of it"));
        }
        self.counts.add("topic deleted");
        self.trace.note(self.now, &[13], || format!("topic {NAME} is gone"));
        let until = self.now + self.random.random_range(100 * MS..3 * SECOND);
        self.operator.stage = Stage::Away { until };
    }

    /// At the end: nothing of a topic of the same name that was deleted before.
    pub(super) fn check_former_topics(&mut self, broker: BrokerId, log: &[u8]) {
        let ids = batches(log).filter_map(|batch| batch.header().map(|header| header.producer_id));
        if let Some(id) = ids.into_iter().find(|id| !self.clients.is_of(&self.operator.partition, *id)) {
            self.promises
                .broke(format!("{broker} has records of producer {id} in a topic made after it ended"));
        }
    }
}
