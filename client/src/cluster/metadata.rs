//! Finding leaders by asking brokers: Metadata requests, one question at a time for all that is in use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::interest::Subject;
use super::{BrokerInfo, ClusterError, Leadership, PartitionInfo, Shared, TopicState};
use crate::connection::Connection;
use crate::ids::{BrokerId, LeaderEpoch, TopicPartition, Uuid};
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::wire::messages::{MetadataRequest, MetadataResponse};
use crate::wire::{ErrorCode, Request, Str};

/// Topics asked for at once; the answer holds every partition of each.
const TOPICS_A_REQUEST: usize = 1_000;

/// Asks any broker until one answers, or the time is up.
pub(super) async fn find_brokers(shared: &Shared) -> Result<(), ClusterError> {
    shared.until_timeout(|| async { ask(shared, Some(&[]), false).await.map(drop) }).await
}

pub(super) async fn topics(shared: &Shared) -> Result<Vec<String>, ClusterError> {
    let response = shared.until_timeout(|| ask(shared, None, false)).await?;
    let mut names: Vec<String> =
        response.topics.into_iter().filter_map(|topic| topic.name).map(String::from).collect();
    names.sort_unstable();
    Ok(names)
}

pub(super) async fn partitions(shared: &Shared, topic: &str) -> Result<Vec<PartitionInfo>, ClusterError> {
    let names = [topic.into()];
    let create = shared.options.allow_auto_create_topics;
    let asked = || async {
        let response = ask(shared, Some(&names), create).await?;
        let found = response.topics.into_iter().find(|found| found.name.as_deref() == Some(topic));
        let found = found.ok_or_else(|| ClusterError::UnknownTopic { topic: topic.to_owned() })?;
        match ErrorCode::from_code(found.error_code) {
            ErrorCode::None => Ok(found.partitions),
            ErrorCode::UnknownTopicOrPartition => Err(ClusterError::UnknownTopic { topic: topic.to_owned() }),
            code => Err(ClusterError::Refused { topic: topic.to_owned(), code }),
        }
    };
    let found = shared.until_timeout(asked).await?;
    let mut partitions: Vec<PartitionInfo> = found.into_iter().map(info).collect();
    partitions.sort_unstable_by_key(|partition| partition.partition);
    Ok(partitions)
}

/// Questions before the pauses between them grow: an election is over in a fraction of a second.
const QUESTIONS_IN_AN_ELECTION: u32 = 10;

/// Runs as long as the cluster is in use.
pub(super) async fn keep_fresh(shared: Arc<Shared>) {
    let mut schedule = Schedule::new(Instant::now());
    let mut known = Known::default();
    loop {
        schedule.new_interest |= !shared.interests.take_fresh().is_empty();
        schedule.doubt |= !shared.interests.take_doubted().is_empty();
        let due = schedule.due(&shared, rand::random());
        tokio::select! {
            () = shared.interests.changed() => continue,
            () = shared.links.doubted.notified() => {
                schedule.doubt = true;
                continue;
            }
            () = sleep_until(due) => {}
        }
        let settled = refresh(&shared, &mut known).await;
        schedule.asked(Instant::now(), settled);
    }
}

/// When to ask next.
#[derive(Debug)]
struct Schedule {
    last: Instant,
    /// Questions in a row after which something was still missing.
    unsettled: u32,
    new_interest: bool,
    doubt: bool,
}

impl Schedule {
    fn new(now: Instant) -> Schedule {
        Schedule { last: now, unsettled: 0, new_interest: false, doubt: false }
    }

    fn due(&self, shared: &Shared, chance: f64) -> Instant {
        let pause = if self.new_interest {
            Duration::ZERO
        } else if self.doubt {
            shared.options.retry_backoff.pause(1, chance)
        } else if self.unsettled > 0 {
            let grown = self.unsettled.saturating_sub(QUESTIONS_IN_AN_ELECTION).max(1);
            shared.options.retry_backoff.pause(grown, chance)
        } else {
            shared.options.metadata_max_age
        };
        self.last + pause
    }

    fn asked(&mut self, now: Instant, settled: bool) {
        let unsettled = if settled { 0 } else { self.unsettled.saturating_add(1) };
        *self = Schedule { last: now, unsettled, new_interest: false, doubt: false };
    }
}

/// Which incarnation of each topic was told of.
#[derive(Debug, Default)]
struct Known {
    topics: BTreeMap<Arc<str>, Uuid>,
}

/// Asks for what is in use. `false`: something of it has no leader yet, or there was no answer.
async fn refresh(shared: &Shared, known: &mut Known) -> bool {
    let wanted = shared.interests.wanted();
    let mut by_topic: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for subject in &wanted {
        match subject {
            Subject::Leader(at) => by_topic.entry(at.topic.clone()).or_default().push(at.partition),
            Subject::Topic(topic) => drop(by_topic.entry(topic.clone()).or_default()),
        }
    }
    known.topics.retain(|topic, _| by_topic.contains_key(topic));
    let names: Vec<Arc<str>> = by_topic.keys().cloned().collect();
    if names.is_empty() {
        return answered(ask(shared, Some(&[]), false).await).is_some();
    }
    let mut settled = true;
    for names in names.chunks(TOPICS_A_REQUEST) {
        let create = shared.options.allow_auto_create_topics;
        let Some(response) = answered(ask(shared, Some(names), create).await) else { return false };
        let found: BTreeMap<&str, &MetadataResponseTopic> =
            response.topics.iter().filter_map(|topic| Some((topic.name.as_deref()?, topic))).collect();
        for name in names {
            let wanted = by_topic.get(name).map(Vec::as_slice).unwrap_or_default();
            settled &= learn_topic(shared, known, name, found.get(&**name).copied(), wanted);
        }
    }
    settled
}

fn answered(result: Result<MetadataResponse, ClusterError>) -> Option<MetadataResponse> {
    result.inspect_err(|error| tracing::debug!(%error, "no broker tells the leaders at present")).ok()
}

fn learn_topic(
    shared: &Shared,
    known: &mut Known,
    name: &Arc<str>,
    found: Option<&MetadataResponseTopic>,
    wanted: &[i32],
) -> bool {
    let code =
        found.map_or(ErrorCode::UnknownTopicOrPartition, |found| ErrorCode::from_code(found.error_code));
    let interests = &shared.interests;
    match (code, found) {
        (ErrorCode::None, Some(found)) => {
            let before = known.topics.insert(name.clone(), found.topic_id);
            let is_another = before.is_some_and(|before| before != found.topic_id);
            let count = found.partitions.iter().map(|partition| partition.partition_index + 1).max();
            interests.publish_topic(name, TopicState::Partitions(count.unwrap_or(0)));
            let told: BTreeMap<i32, &MetadataResponsePartition> =
                found.partitions.iter().map(|partition| (partition.partition_index, partition)).collect();
            wanted.iter().fold(true, |settled, &partition| {
                let at = TopicPartition::new(name.clone(), partition);
                settled & learn_leader(shared, &at, told.get(&partition).copied(), is_another)
            })
        }
        (ErrorCode::UnknownTopicOrPartition, _) | (_, None) => {
            known.topics.remove(name);
            interests.publish_topic(name, TopicState::Absent);
            wanted.iter().for_each(|&index| {
                interests.publish_leader(&TopicPartition::new(name.clone(), index), None);
            });
            false
        }
        // Being created, for example.
        (code, Some(_)) if code.is_retriable() => false,
        (code, Some(_)) => {
            interests.publish_topic(name, TopicState::Refused(code));
            false
        }
    }
}

/// Brokers learn of an election at different times: one that tells of an older leader than the known one, or that
/// nobody led before it, lags. `false`: there is no leader, or only one that cannot be reached, whose successor is
/// being elected.
fn learn_leader(
    shared: &Shared,
    at: &TopicPartition,
    told: Option<&MetadataResponsePartition>,
    is_another: bool,
) -> bool {
    let known = shared.interests.known_leader(at).flatten();
    let epoch = told.map_or(LeaderEpoch::NONE, |told| LeaderEpoch(told.leader_epoch));
    let lags = !is_another && epoch != LeaderEpoch::NONE && known.is_some_and(|known| epoch < known.epoch);
    let leader = told.and_then(leads);
    if !lags {
        shared.interests.publish_leader(at, leader);
    }
    !lags && leader.is_some_and(|leader| !shared.links.is_out_of_reach(leader.broker))
}

fn leads(partition: &MetadataResponsePartition) -> Option<Leadership> {
    let broker = BrokerId(partition.leader_id);
    let epoch = LeaderEpoch(partition.leader_epoch);
    (broker.0 >= 0).then_some(Leadership { broker, epoch })
}

fn info(partition: MetadataResponsePartition) -> PartitionInfo {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    PartitionInfo {
        partition: partition.partition_index,
        leader: leads(&partition).map(|leads| leads.broker),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: ids(partition.replica_nodes),
        isr: ids(partition.isr_nodes),
    }
}

/// One question to whichever broker answers. `None`: all topics.
async fn ask(
    shared: &Shared,
    topics: Option<&[Arc<str>]>,
    create: bool,
) -> Result<MetadataResponse, ClusterError> {
    let named =
        |name: &Arc<str>| MetadataRequestTopic { name: Some(Str::from(&**name)), topic_id: Uuid::ZERO };
    let request = MetadataRequest {
        topics: topics.map(|topics| topics.iter().map(named).collect()),
        allow_auto_topic_creation: create,
        ..Default::default()
    };
    let question = |connection: Connection| {
        let mut request = request.clone();
        async move {
            let version = connection.negotiate().await?.latest(MetadataRequest::KEY);
            // Version 0 asks for all topics with an empty list and cannot ask for none; before version 4 asking
            // creates.
            if version == Some(0) && request.topics.is_none() {
                request.topics = Some(Vec::new());
            }
            if version.is_some_and(|version| version < 4) {
                request.allow_auto_topic_creation = true;
            }
            connection.send_negotiated(&request).await
        }
    };
    let response = shared.links.answer_of_any(&shared.options, question).await?;
    let brokers = response.brokers.iter().map(|broker| {
        (BrokerId(broker.node_id), BrokerInfo::told(&broker.host, broker.port, broker.rack.as_deref()))
    });
    let brokers: BTreeMap<BrokerId, BrokerInfo> = brokers.collect();
    // A broker that has just started may know of none yet, not even itself.
    if !brokers.is_empty() {
        shared.links.learn(brokers);
    }
    Ok(response)
}

/// Asks for a topic so that a broker creates it if it is set to; what the broker says of the topic now.
pub(super) async fn create(shared: &Shared, topic: &Arc<str>) -> Result<ErrorCode, ClusterError> {
    let response = ask(shared, Some(std::slice::from_ref(topic)), true).await?;
    let code = response.topics.first().map(|topic| topic.error_code);
    Ok(code.map_or(ErrorCode::UnknownTopicOrPartition, ErrorCode::from_code))
}
