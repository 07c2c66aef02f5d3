//! What `--describe` shows of a topic, wherever it was learnt.

use std::collections::BTreeSet;

use client::ids::{BrokerId, Uuid};

use super::Dialect;
use super::options::Arguments;
use crate::tools::console::Console;

/// A topic to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) name: String,
    /// `None`: it has none, or it is not known.
    pub(super) id: Option<Uuid>,
    pub(super) replication_factor: usize,
    /// What is set beyond the defaults, in the order in which it is shown.
    pub(super) configs: Vec<(String, String)>,
    /// `min.insync.replicas`, where known.
    pub(super) min_isr: Option<usize>,
    pub(super) is_marked_for_deletion: bool,
    pub(super) partitions: Vec<Partition>,
}

/// A partition to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: i32,
    pub(super) leader: Option<BrokerId>,
    pub(super) replicas: Vec<BrokerId>,
    pub(super) isr: Vec<BrokerId>,
    pub(super) move_: Option<Move>,
}

/// A reassignment under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) adding: Vec<BrokerId>,
    pub(super) removing: Vec<BrokerId>,
    /// How many replicas there are without those being added.
    pub(super) replication_factor: usize,
}

impl Partition {
    /// A reassignment may have ended between two answers: it counts only while its replicas are there.
    pub(super) fn replication_factor(&self) -> usize {
        let is_changing = |changing: &Move| {
            self.replicas.iter().any(|id| changing.adding.contains(id) || changing.removing.contains(id))
        };
        match &self.move_ {
            Some(move_) if is_changing(move_) => move_.replication_factor,
            _ => self.replicas.len(),
        }
    }
}

/// Which topics and partitions are shown.
#[derive(Debug)]
pub(super) struct Report {
    is_under_replicated: bool,
    is_unavailable: bool,
    is_under_min_isr: bool,
    is_at_min_isr: bool,
    is_of_overrides: bool,
    live_brokers: BTreeSet<BrokerId>,
}

impl Report {
    pub(super) fn new(arguments: &Arguments, live_brokers: BTreeSet<BrokerId>) -> Report {
        Report {
            is_under_replicated: arguments.has("under-replicated-partitions"),
            is_unavailable: arguments.has("unavailable-partitions"),
            is_under_min_isr: arguments.has("under-min-isr-partitions"),
            is_at_min_isr: arguments.has("at-min-isr-partitions"),
            is_of_overrides: arguments.has("topics-with-overrides"),
            live_brokers,
        }
    }

    /// All partitions, and the topics' own lines above them.
    fn is_of_everything(&self) -> bool {
        !(self.is_under_replicated || self.is_unavailable || self.is_under_min_isr || self.is_at_min_isr)
    }

    pub(super) fn shows_topic(&self, topic: &Topic) -> bool {
        self.is_of_everything() && (!self.is_of_overrides || !topic.configs.is_empty())
    }

    pub(super) fn shows_partitions(&self) -> bool {
        !self.is_of_overrides
    }

    /// The partitions of a topic that are shown.
    pub(super) fn partitions<'a>(&self, topic: &'a Topic) -> Vec<&'a Partition> {
        if !self.shows_partitions() {
            return Vec::new();
        }
        topic.partitions.iter().filter(|partition| self.shows_partition(topic, partition)).collect()
    }

    fn shows_partition(&self, topic: &Topic, partition: &Partition) -> bool {
        let in_sync = partition.isr.len();
        let is_under_min_isr =
            || partition.leader.is_none() || topic.min_isr.is_some_and(|min| in_sync < min);
        let is_led = || partition.leader.is_some_and(|leader| self.live_brokers.contains(&leader));
        self.is_of_everything()
            || (self.is_under_replicated && partition.replication_factor() > in_sync)
            || (self.is_unavailable && !is_led())
            || (self.is_under_min_isr && is_under_min_isr())
            || (self.is_at_min_isr && topic.min_isr == Some(in_sync))
    }
}

/// Prints one topic as Kafka's tool does.
pub(super) fn print(dialect: Dialect, report: &Report, topic: &Topic, console: &mut Console) {
    let mark = if topic.is_marked_for_deletion { "\tMarkedForDeletion: true" } else { "" };
    if report.shows_topic(topic) {
        let Topic { name, replication_factor, .. } = topic;
        let id = topic.id.map(|id| format!("\tTopicId: {id}")).unwrap_or_default();
        let count = topic.partitions.len();
        let configs: Vec<String> =
            topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let configs = configs.join(",");
        console.line(format!(
            "Topic: {name}{id}\tPartitionCount: {count}\tReplicationFactor: {replication_factor}\tConfigs: {configs}{mark}"
        ));
    }
    // Eligible leader replicas (KIP-966) are of KRaft clusters.
    let elr = match dialect {
        Dialect::Brokers => "\tElr: N/A\tLastKnownElr: N/A",
        Dialect::ZooKeeper => "",
    };
    for partition in report.partitions(topic) {
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let moving = partition.move_.as_ref().map(|move_| {
            format!(
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                list(&move_.adding),
                list(&move_.removing)
            )
        });
        console.line(format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}{}{elr}{mark}",
            topic.name,
            partition.number,
            list(&partition.replicas),
            list(&partition.isr),
            moving.unwrap_or_default(),
        ));
    }
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    fn partition(number: i32, leader: Option<i32>, replicas: &[i32], isr: &[i32]) -> Partition {
        let leader = leader.map(BrokerId);
        Partition { number, leader, replicas: ids(replicas), isr: ids(isr), move_: None }
    }

    fn topic(partitions: Vec<Partition>) -> Topic {
        Topic {
            name: "t".into(),
            id: None,
            replication_factor: 2,
            configs: Vec::new(),
            min_isr: Some(2),
            is_marked_for_deletion: false,
            partitions,
        }
    }

    fn report() -> Report {
        Report {
            is_under_replicated: false,
            is_unavailable: false,
            is_under_min_isr: false,
            is_at_min_isr: false,
            is_of_overrides: false,
            live_brokers: ids(&[1, 2]).into_iter().collect(),
        }
    }

    #[test]
    fn reports_choose_partitions() {
        let partitions = vec![
            partition(0, Some(1), &[1, 2], &[1, 2]),
            partition(1, Some(1), &[1, 2, 3], &[1, 2]),
            partition(2, Some(1), &[1, 3], &[1]),
            partition(3, None, &[3], &[3]),
            // Led by a broker that has gone.
            partition(4, Some(3), &[3], &[3]),
        ];
        let topic = topic(partitions);
        let chosen = |report: Report| {
            report.partitions(&topic).iter().map(|partition| partition.number).collect::<Vec<_>>()
        };
        assert_eq!(chosen(report()), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(Report { is_under_replicated: true, ..report() }), [1, 2]);
        assert_eq!(chosen(Report { is_unavailable: true, ..report() }), [3, 4]);
        assert_eq!(chosen(Report { is_under_min_isr: true, ..report() }), [2, 3, 4]);
        assert_eq!(chosen(Report { is_at_min_isr: true, ..report() }), [0, 1]);
        assert_eq!(chosen(Report { is_at_min_isr: true, is_unavailable: true, ..report() }), [0, 1, 3, 4]);
        assert_eq!(chosen(Report { is_of_overrides: true, ..report() }), Vec::<i32>::new());
        assert!(!Report { is_of_overrides: true, ..report() }.shows_topic(&topic));
        assert!(!Report { is_unavailable: true, ..report() }.shows_topic(&topic));
        assert!(report().shows_topic(&topic));
    }

    /// A reassignment from 1,2 to 1,3 (`TopicCommand.java`).
    #[test]
    fn replicas_being_added_do_not_count() {
        let move_ = Move { adding: ids(&[3]), removing: ids(&[2]), replication_factor: 2 };
        let moving = Partition { move_: Some(move_), ..partition(0, Some(1), &[3, 1, 2], &[1, 2]) };
        assert_eq!(moving.replication_factor(), 2);
        let over = Partition { replicas: ids(&[1, 4, 5]), ..moving.clone() };
        assert_eq!(over.replication_factor(), 3);

        let topic = topic(vec![moving]);
        let lacking = Report { is_under_replicated: true, ..report() };
        assert!(lacking.partitions(&topic).is_empty());
        let mut console = Console::default();
        print(Dialect::Brokers, &report(), &topic, &mut console);
        assert_eq!(
            console.written().0,
            "Topic: t\tPartitionCount: 1\tReplicationFactor: 2\tConfigs: \n\
             \tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 3,1,2\tIsr: 1,2\tAdding Replicas: 3\
             \tRemoving Replicas: 2\tElr: N/A\tLastKnownElr: N/A\n"
        );
    }
}
