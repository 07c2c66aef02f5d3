//! Creating one topic: the checks in Kafka's order, the placement, and the write to ZooKeeper
//! (`ZkAdminManager.scala`). Used by CreateTopics, and by Metadata for topics that do not exist.

use std::collections::BTreeMap;

use client::ids::{BrokerId, Uuid};
use client::wire::ErrorCode;
use client::wire::messages::create_topics_request::CreatableTopic;
use client::zk::Session;
use client::znode::config::Overrides;
use controller::placement::{self, Candidate, Replicas, Start};
use controller::topics::{self, ConfigGuard, NewTopic, draw_topic_id};

use super::failure::Failure;
use crate::admin::Admin;
use crate::config::topic;
use crate::metadata::ClusterMetadata;

/// Asks for the broker's own number of partitions or replicas.
pub(super) const DEFAULT_COUNT: i32 = -1;

/// A topic as a client wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication_factor: i16,
    /// Replicas given by hand; empty if they are to be placed.
    pub(super) replicas: Replicas,
    pub(super) overrides: Overrides,
}

/// A topic that was created, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Created {
    /// Zero if nothing was written.
    pub(super) id: Uuid,
    pub(super) replicas: Replicas,
    pub(super) overrides: Overrides,
    /// Its partitions had no leaders in time.
    pub(super) late: bool,
}

impl Wanted {
    /// Of entries that name the same partition or key the last one counts. Kafka looks at values
    /// that are null before it looks at anything else but the topic's existence.
    pub(super) fn read(topic: &CreatableTopic) -> Result<Wanted, Failure> {
        let null: Vec<&str> = topic
            .configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| &*config.name)
            .collect();
        if !null.is_empty() {
            let message = format!("Null value not supported for topic configs: {}", null.join(","));
            return Err(Failure::new(ErrorCode::InvalidConfig, message));
        }
        let counts_given =
            topic.num_partitions != DEFAULT_COUNT || i32::from(topic.replication_factor) != DEFAULT_COUNT;
        if counts_given && !topic.assignments.is_empty() {
            let message = "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.";
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
        let replicas = topic.assignments.iter().map(|assignment| {
            (assignment.partition_index, assignment.broker_ids.iter().copied().map(BrokerId).collect())
        });
        let overrides = topic.configs.iter().filter_map(|config| {
            let value = config.value.as_deref()?;
            Some((String::from(&*config.name), String::from(value)))
        });
        Ok(Wanted {
            name: String::from(&*topic.name),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            replicas: replicas.collect(),
            overrides: overrides.collect(),
        })
    }

    /// The replicas: those given, or placed on the live brokers from `start` on.
    fn place(
        &self,
        cluster: &ClusterMetadata,
        defaults: Defaults,
        start: Start,
    ) -> Result<Replicas, Failure> {
        if !self.replicas.is_empty() {
            return Ok(self.replicas.clone());
        }
        let partitions = if self.partitions == DEFAULT_COUNT { defaults.partitions } else { self.partitions };
        let factor = match i32::from(self.replication_factor) {
            DEFAULT_COUNT => defaults.replication_factor,
            _ => self.replication_factor,
        };
        let candidates: Vec<Candidate> = cluster
            .brokers()
            .values()
            .map(|broker| Candidate { id: broker.id, rack: broker.rack.as_deref().map(String::from) })
            .collect();
        Ok(placement::place(&candidates, partitions, factor, start)?)
    }
}

/// What the broker's configuration says for topics that do not say it.
#[derive(Debug, Clone, Copy)]
struct Defaults {
    partitions: i32,
    replication_factor: i16,
}

/// Fails at once for a topic that this broker knows to exist.
pub(super) fn check_unknown(cluster: &ClusterMetadata, name: &str) -> Result<(), Failure> {
    match cluster.topic(name) {
        Some(_) => {
            Err(Failure::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")))
        }
        None => Ok(()),
    }
}

/// Checks and, unless `validate_only`, writes the topic. The controller does the rest when it sees
/// the node.
pub(super) async fn create(
    admin: &Admin,
    session: &Session,
    wanted: Wanted,
    validate_only: bool,
) -> Result<Created, Failure> {
    let config = admin.config.broker();
    let defaults = Defaults {
        partitions: config.topics.partitions_default,
        replication_factor: config.topics.replication_factor_default,
    };
    let start =
        Start { index: usize::from(rand::random::<u16>()), shift: usize::from(rand::random::<u16>()) };
    let replicas = wanted.place(&admin.metadata.snapshot(), defaults, start)?;
    topics::check_new_topic(session, &wanted.name).await?;
    placement::check_new(&replicas)?;
    topic::validate(&config.layers, &wanted.overrides)?;
    let Wanted { name, overrides, .. } = wanted;
    if validate_only {
        return Ok(Created { id: Uuid::ZERO, replicas, overrides, late: false });
    }
    let id = draw_topic_id();
    let new = NewTopic { name, replicas, overrides, id, guard: ConfigGuard::Controller };
    topics::create(session, &new).await?;
    Ok(Created { id, replicas: new.replicas, overrides: new.overrides, late: false })
}

/// Whether each of these partitions has a leader, as far as this broker knows.
pub(super) fn all_led<'a>(
    cluster: &ClusterMetadata,
    topic: &str,
    partitions: impl IntoIterator<Item = &'a i32>,
) -> bool {
    let mut partitions = partitions.into_iter();
    partitions.all(|&partition| cluster.partition(topic, partition).is_some_and(|one| one.leader.is_some()))
}

/// How often a name appears.
pub(super) fn count_names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use client::wire::Str;
    use client::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};

    use super::*;
    use crate::api::admin_testing::cluster;

    fn topic(
        partitions: i32,
        factor: i16,
        assignments: &[(i32, &[i32])],
        configs: &[(&str, Option<&str>)],
    ) -> CreatableTopic {
        let assignment = |(partition_index, ids): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: ids.to_vec(),
        };
        let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
            name: Str::from(*name),
            value: value.map(Str::from),
        };
        CreatableTopic {
            name: Str::from("new"),
            num_partitions: partitions,
            replication_factor: factor,
            assignments: assignments.iter().map(assignment).collect(),
            configs: configs.iter().map(config).collect(),
        }
    }

    /// Replicas and overrides as text, or code and message.
    fn planned(topic: &CreatableTopic) -> Result<String, (i16, String)> {
        let defaults = Defaults { partitions: 2, replication_factor: 1 };
        let planned = Wanted::read(topic).and_then(|wanted| {
            let replicas = wanted.place(&cluster().snapshot(), defaults, Start::default())?;
            placement::check_new(&replicas)?;
            Ok(format!("{replicas:?} {:?}", wanted.overrides))
        });
        planned.map_err(|failure| (failure.code.code(), failure.message.unwrap_or_default()))
    }

    #[test]
    fn plans_or_refuses_in_kafkas_words() {
        for (topic, expected) in [
            (topic(-1, -1, &[], &[]), Ok("{0: [1], 1: [2]} {}")),
            (topic(1, 2, &[], &[]), Ok("{0: [1, 2]} {}")),
            (topic(-1, -1, &[(1, &[9]), (0, &[1])], &[]), Ok("{0: [1], 1: [9]} {}")),
            (topic(-1, -1, &[(0, &[1]), (0, &[2])], &[]), Ok("{0: [2]} {}")),
            // Kafka takes this one, and its controller cannot go on then.
            (
                topic(-1, -1, &[(0, &[])], &[]),
                Err((39, "Cannot have replication factor of 0 for partition id 0.")),
            ),
            (topic(1, 1, &[], &[("a", Some("1")), ("a", Some("2"))]), Ok(r#"{0: [1]} {"a": "2"}"#)),
            (
                topic(1, 1, &[], &[("x", None), ("ok", Some("")), ("y", None)]),
                Err((40, "Null value not supported for topic configs: x,y")),
            ),
            (
                topic(1, -1, &[(0, &[1])], &[]),
                Err((
                    42,
                    "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.",
                )),
            ),
            (
                topic(-1, 1, &[(0, &[1])], &[]),
                Err((
                    42,
                    "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.",
                )),
            ),
            (topic(0, 1, &[], &[]), Err((37, "Number of partitions must be larger than 0."))),
            (topic(1, 0, &[], &[]), Err((38, "Replication factor must be larger than 0."))),
            (topic(1, 9, &[], &[]), Err((38, "Replication factor: 9 larger than available brokers: 2."))),
            (
                topic(-1, -1, &[(0, &[1]), (1, &[1, 2])], &[]),
                Err((39, "All partitions should have the same number of replicas")),
            ),
            (
                topic(-1, -1, &[(0, &[1]), (2, &[9])], &[]),
                Err((39, "partitions should be a consecutive 0-based integer sequence")),
            ),
            (
                topic(-1, -1, &[(0, &[1, 1]), (1, &[1, 2])], &[]),
                Err((
                    39,
                    "Duplicate replica assignment found: HashMap(0 -> ArrayBuffer(1, 1), 1 -> ArrayBuffer(1, 2))",
                )),
            ),
        ] {
            let expected = expected
                .map(String::from)
                .map_err(|(code, message): (i16, &str)| (code, String::from(message)));
            assert_eq!(planned(&topic), expected);
        }
    }

    #[test]
    fn what_this_broker_knows_exists() {
        let snapshot = cluster().snapshot();
        assert_eq!(check_unknown(&snapshot, "new"), Ok(()));
        let exists = Failure::new(ErrorCode::TopicAlreadyExists, "Topic 't' already exists.");
        assert_eq!(check_unknown(&snapshot, "t"), Err(exists));
        assert!(all_led(&snapshot, "t", &[0, 2]));
        assert!(!all_led(&snapshot, "t", &[0, 1]));
        assert!(!all_led(&snapshot, "t", &[0, 3]));
        assert!(!all_led(&snapshot, "new", &[0]));
    }
}
