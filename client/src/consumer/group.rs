//! Reading as a member of a group: Kafka's modern consumer (the classic group protocol of KIP-62, with static
//! members of KIP-345 and cooperative rebalances of KIP-429).
//!
//! The members of a group share the partitions of the topics they subscribe to, and the cluster keeps for
//! the group how far it got. Members may be of other clients too: names, bytes and rules are Kafka's.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use client::consumer::group::{AutoOffsetReset, GroupConsumer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut consumer = GroupConsumer::builder()
//!     .bootstrap_servers("one:9092,two:9092")
//!     .group_id("billing")
//!     .auto_offset_reset(AutoOffsetReset::Earliest)
//!     .connect()
//!     .await?;
//! consumer.subscribe(["orders"])?;
//! for _ in 0..100 {
//!     for record in consumer.poll(Duration::from_secs(1)).await? {
//!         println!("{} {}: {:?}", record.topic_partition(), record.offset, record.value);
//!     }
//! }
//! consumer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or as a stream, with commits by hand:
//!
//! ```no_run
//! use client::consumer::group::GroupConsumer;
//! use futures::TryStreamExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut consumer =
//!     GroupConsumer::builder().zookeeper("zk:2181").group_id("audit").commit_by_hand().connect().await?;
//! // Every topic whose name begins so, those made later too.
//! consumer.subscribe_where(|topic| topic.starts_with("audit."))?;
//! loop {
//!     {
//!         let mut records = std::pin::pin!(consumer.records());
//!         while let Some(record) = records.try_next().await? {
//!             if record.key.is_none() {
//!                 break;
//!             }
//!         }
//!     }
//!     consumer.commit().await?;
//! }
//! # }
//! ```
//!
//! # What runs when
//! Two tasks keep the membership: one joins, one sends heartbeats on a connection of its own, so that they never
//! wait behind a request that the coordinator holds. Partitions change hands only within
//! [`poll`](GroupConsumer::poll): who does not poll for `max.poll.interval.ms` leaves the group. A coordinator's
//! death is no rebalance: the next one is found, and the generation goes on.

mod builder;
mod commits;
mod committed;
mod coordinator;
mod error;
mod listener;
mod member;
mod membership;
mod options;
mod placing;
mod poll;
mod positions;
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{ConsumerRecord, Fetcher, ListedOffset, OffsetSpec, Position, list_offsets};
use crate::cluster::Cluster;
use crate::ids::TopicPartition;
pub use crate::producer::PropertyError;
use crate::wire::Str;
pub use builder::{ConnectError, GroupConsumerBuilder};
pub use commits::PendingCommit;
pub(super) use committed::{Committed, Committer};
pub use committed::{OffsetAndMetadata, OffsetsError};
pub(super) use coordinator::Coordinator;
pub use coordinator::CoordinatorError;
pub use error::ConsumerError;
pub use listener::{Rebalance, RebalanceListener};
pub use membership::Refusal;
pub use options::{AutoOffsetReset, GroupConsumerOptions, OptionsError};

use commits::Commits;
use member::{Member, Tasks};
use membership::Settings;
use placing::{Finder, Placing};
use poll::Told;
use positions::{Positions, Wanted};

/// For how long [`GroupConsumer::close`] tries to commit and to tell the group.
const CLOSING: Duration = Duration::from_secs(30);
/// Topics of the brokers' own.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// A consumer, in a group or with partitions assigned by hand.
///
/// It is not shared between tasks: whoever has it polls it. Dropped without [`close`](GroupConsumer::close), it
/// commits nothing and the group waits for its session to end.
pub struct GroupConsumer {
    options: GroupConsumerOptions,
    cluster: Cluster,
    fetcher: Fetcher,
    positions: Positions,
    placing: Option<Placing>,
    finder: Finder,
    committed: Option<Arc<Committed>>,
    commits: Option<Commits>,
    /// `None`: there is no group, or partitions are assigned by hand.
    member: Option<Arc<Member>>,
    tasks: Option<Tasks>,
    /// Looks for topics that the predicate takes.
    watching: Option<AbortOnDrop>,
    mode: Mode,
    listener: Option<Box<dyn RebalanceListener>>,
    next_auto_commit: Instant,
    auto_committing: Option<PendingCommit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Idle,
    Subscribed,
    ByHand,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("GroupConsumer");
        shown.field("group_id", &self.options.group_id).field("positions", &self.positions);
        shown.finish_non_exhaustive()
    }
}

impl GroupConsumer {
    pub fn builder() -> GroupConsumerBuilder {
        GroupConsumerBuilder::default()
    }

    fn new(
        cluster: Cluster,
        options: GroupConsumerOptions,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> GroupConsumer {
        let committed = options.group_id.clone().map(|group_id| {
            let coordinator = Arc::new(Coordinator::new(cluster.clone(), group_id.clone()));
            Arc::new(Committed { coordinator, group_id })
        });
        let finder = Finder {
            cluster: cluster.clone(),
            committed: committed.clone(),
            reset: options.auto_offset_reset,
            isolation: options.isolation,
            within: options.api_timeout,
        };
        GroupConsumer {
            fetcher: Fetcher::new(cluster.clone(), options.fetch()),
            positions: Positions::default(),
            placing: None,
            finder,
            committed,
            commits: None,
            member: None,
            tasks: None,
            watching: None,
            mode: Mode::Idle,
            listener,
            next_auto_commit: Instant::now() + options.auto_commit.unwrap_or_default(),
            auto_committing: None,
            cluster,
            options,
        }
    }

    /// Reads these topics with the group, instead of those before. Joining begins now, and records come with
    /// [`poll`](GroupConsumer::poll).
    pub fn subscribe<T: Into<Arc<str>>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), ConsumerError> {
        let member = self.join_mode()?;
        self.watching = None;
        let topics = topics.into_iter().map(Into::into).collect();
        member.update(|m| m.subscribe(topics, std::time::Instant::now()));
        Ok(())
    }

    /// Reads all topics whose names the predicate takes. New ones are noticed within `metadata.max.age.ms`.
    pub fn subscribe_where(
        &mut self,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<(), ConsumerError> {
        let member = self.join_mode()?;
        let (cluster, every) = (self.cluster.clone(), self.options.metadata_max_age);
        let (retry, excludes) = (self.options.retry_backoff, self.options.exclude_internal_topics);
        let watching = async move {
            let mut failures = 0_u32;
            loop {
                match cluster.topics().await {
                    Ok(topics) => {
                        failures = 0;
                        let taken = topics.into_iter().filter(|topic| {
                            !(excludes && INTERNAL.contains(&topic.as_str())) && wanted(topic)
                        });
                        let topics = taken.map(Arc::from).collect();
                        member.update(|m| m.subscribe(topics, std::time::Instant::now()));
                        sleep(every).await;
                    }
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        tracing::warn!(%error, "the topics to subscribe to cannot be listed; it is tried again");
                        sleep(retry.pause(failures, rand::random())).await;
                    }
                }
            }
        };
        self.watching = Some(AbortOnDrop(tokio::spawn(watching).abort_handle()));
        Ok(())
    }

    /// Reads nothing any more, and leaves the group. What was polled is committed first, if that is automatic.
    pub async fn unsubscribe(&mut self) {
        self.watching = None;
        let assigned = self.positions.assigned();
        if self.mode == Mode::Subscribed && !assigned.is_empty() {
            self.give_up(&assigned, Told::Revoked).await;
        }
        self.forget(&assigned);
        if let Some(member) = &self.member {
            member.update(|m| m.leave());
        }
        self.mode = Mode::Idle;
    }

    /// Reads these partitions, and no others, without the other members of the group. With a `group.id` they
    /// begin where the group left off, and offsets can be committed for it.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ConsumerError> {
        if self.mode == Mode::Subscribed {
            return Err(ConsumerError::OtherMode { present: "subscribed to topics" });
        }
        if self.mode == Mode::Idle {
            self.mode = Mode::ByHand;
            self.member = None;
            self.tasks = None;
            self.commits = self.start_commits();
        }
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let unwanted = self.positions.assigned().difference(&wanted).cloned().collect();
        self.forget(&unwanted);
        for partition in wanted {
            self.positions.add(partition, Wanted::Committed);
        }
        Ok(())
    }

    /// The partitions that this consumer reads now.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.positions.assigned()
    }

    /// Records, `max.poll.records` at the most, as soon as there are any, or none when the time is up. It also
    /// does what the group asks for, and takes longer if the group waits for that. An error tells of one
    /// partition or request; polling again goes on.
    ///
    /// Records that this returned count as worked on when it is called again, for automatic commits. Nothing is
    /// lost if the future is dropped.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        self.poll_up_to(self.options.max_poll_records, wait).await
    }

    /// The records, one after the other, without end. Each counts as worked on when the next is asked for.
    pub fn records(&mut self) -> impl Stream<Item = Result<ConsumerRecord, ConsumerError>> + '_ {
        futures::stream::unfold(self, async |consumer| {
            loop {
                match consumer.poll_up_to(1, consumer.options.max_poll_interval).await {
                    Ok(mut records) => {
                        if let Some(record) = records.pop() {
                            return Some((Ok(record), consumer));
                        }
                    }
                    Err(error) => return Some((Err(error), consumer)),
                }
            }
        })
    }

    /// Goes on at another place.
    pub fn seek(
        &mut self,
        partition: &TopicPartition,
        position: impl Into<Position>,
    ) -> Result<(), ConsumerError> {
        self.assigned(partition)?;
        self.go_to(partition, position.into());
        Ok(())
    }

    /// Goes on at the first records that there are, which is looked up with the next poll.
    pub fn seek_to_beginning<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        self.seek_all(partitions, OffsetSpec::Earliest)
    }

    /// Goes on behind the last records that there are when the next poll looks that up.
    pub fn seek_to_end<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        self.seek_all(partitions, OffsetSpec::Latest)
    }

    /// Gives nothing of these partitions until they are resumed. A partition that goes and comes back in a
    /// rebalance is not paused any more.
    pub fn pause<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        for partition in partitions {
            self.assigned(partition)?;
            self.positions.pause(partition, true);
            self.fetcher.pause(partition);
        }
        Ok(())
    }

    pub fn resume<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        for partition in partitions {
            self.assigned(partition)?;
            self.positions.pause(partition, false);
            self.fetcher.resume(partition);
        }
        Ok(())
    }

    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.positions.paused()
    }

    /// Of the next record that [`poll`](GroupConsumer::poll) gives. `None`: the partition is not assigned, or its place
    /// has not been looked up yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.positions.position(partition)
    }

    /// What the group committed last for these partitions; those without a commit are left out.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, OffsetsError> {
        let committed = self.committed.as_ref().ok_or(OffsetsError::NoGroup)?;
        committed.fetch(&partitions.into_iter().collect(), self.options.api_timeout).await
    }

    /// Commits the positions of all assigned partitions, and waits until it is done.
    pub async fn commit(&self) -> Result<(), OffsetsError> {
        self.begin_commit().await
    }

    /// Commits these offsets, and waits until it is done.
    pub async fn commit_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), OffsetsError> {
        self.begin_commit_offsets(offsets).await
    }

    /// Begins to commit the positions of all assigned partitions, which goes on while the consumer polls.
    /// Commits are made in the order in which they were begun.
    pub fn begin_commit(&self) -> PendingCommit {
        let known = self.positions.known().into_iter();
        self.begin_commit_offsets(known.map(|(partition, position)| (partition, position.into())).collect())
    }

    /// Begins to commit these offsets.
    pub fn begin_commit_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> PendingCommit {
        match (&self.commits, &self.committed) {
            (Some(commits), _) => commits.begin(offsets),
            (None, Some(_)) => PendingCommit::settled(Err(OffsetsError::NotMember)),
            (None, None) => PendingCommit::settled(Err(OffsetsError::NoGroup)),
        }
    }

    /// The first record of each partition with this timestamp, in milliseconds since 1970, or a later one.
    /// `None`: there is none.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, ConsumerError> {
        let wanted = times.into_iter().map(|(partition, time)| (partition, OffsetSpec::Since(time)));
        self.list(wanted.collect()).await
    }

    /// The offset of the first record that is there.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, ConsumerError> {
        self.list(partitions.into_iter().map(|partition| (partition, OffsetSpec::Earliest)).collect()).await
    }

    /// The offset behind the last record that a consumer may read.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, ConsumerError> {
        self.list(partitions.into_iter().map(|partition| (partition, OffsetSpec::Latest)).collect()).await
    }

    /// The id that the coordinator gave this member, and the generation it is in. `None`: it is in none.
    pub fn membership(&self) -> Option<(Str, i32)> {
        let identity = self.member.as_ref()?.look(|m| m.committer())?;
        Some((identity.member_id, identity.generation))
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Commits what was polled, if that is automatic, gives everything up and leaves the group; a static
    /// member stays in it until its session ends. The error is that of the commit.
    pub async fn close(mut self) -> Result<(), OffsetsError> {
        let mut result = Ok(());
        if self.options.auto_commit.is_some() && self.mode != Mode::Idle && self.committed.is_some() {
            result = self.commit_known_within(CLOSING.min(self.options.api_timeout)).await;
        }
        let assigned = self.positions.assigned();
        self.options.auto_commit = None;
        if self.mode == Mode::Subscribed && !assigned.is_empty() {
            self.give_up(&assigned, Told::Revoked).await;
        }
        self.watching = None;
        self.tasks = None;
        if let Some(member) = self.member.take()
            && let Some(identity) = member.look(|m| {
                m.leave();
                m.take_leaving()
            })
        {
            // If it does not arrive, the session ends by itself.
            let _ = timeout(CLOSING, member.leave(&identity)).await;
        }
        result
    }

    /// The membership for a subscription, with its tasks running.
    fn join_mode(&mut self) -> Result<Arc<Member>, ConsumerError> {
        if self.mode == Mode::ByHand {
            return Err(ConsumerError::OtherMode { present: "partitions assigned by hand" });
        }
        let committed = self.committed.as_ref().ok_or(ConsumerError::NoGroup)?;
        let member = match &self.member {
            Some(member) => Arc::clone(member),
            None => {
                let member = Member::new(Arc::clone(&committed.coordinator), self.settings());
                self.tasks = Some(member.start());
                self.member = Some(Arc::clone(&member));
                member
            }
        };
        if self.mode == Mode::Idle {
            self.mode = Mode::Subscribed;
            self.commits = self.start_commits();
        }
        Ok(member)
    }

    fn start_commits(&self) -> Option<Commits> {
        let committed = Arc::clone(self.committed.as_ref()?);
        Some(Commits::start(committed, self.member.clone(), self.options.api_timeout))
    }

    fn settings(&self) -> Settings {
        let options = &self.options;
        Settings {
            group_id: options.group_id.clone().unwrap_or_default(),
            instance_id: options.group_instance_id.clone(),
            assignors: options.assignors.clone(),
            rack: Some(options.client_rack.clone()).filter(|rack| !rack.is_empty()),
            session_timeout: options.session_timeout,
            rebalance_timeout: options.max_poll_interval,
            heartbeat_interval: options.heartbeat_interval,
        }
    }

    fn assigned(&self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        match self.positions.contains(partition) {
            true => Ok(()),
            false => Err(ConsumerError::NotAssigned { partition: partition.clone() }),
        }
    }

    fn seek_all<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<(), ConsumerError> {
        for partition in partitions {
            self.assigned(partition)?;
            self.look_for(partition, Wanted::At(spec));
        }
        Ok(())
    }

    fn go_to(&mut self, partition: &TopicPartition, position: Position) {
        if self.positions.seek(partition, position) {
            self.read_from(partition, position);
        }
    }

    fn read_from(&self, partition: &TopicPartition, position: Position) {
        self.fetcher.assign(partition, position);
        if self.positions.is_paused(partition) {
            self.fetcher.pause(partition);
        }
    }

    fn look_for(&mut self, partition: &TopicPartition, wanted: Wanted) {
        if self.positions.seek_to(partition, wanted) {
            self.fetcher.remove(partition);
        }
    }

    async fn list(
        &self,
        wanted: BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>, ConsumerError> {
        let within = self.options.api_timeout;
        let listed = list_offsets(&self.cluster, &wanted, self.options.isolation, within).await;
        listed.into_iter().map(|(partition, offset)| Ok((partition, offset?))).collect()
    }
}
