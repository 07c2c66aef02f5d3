//! A member of a classic group at work: registered, taking what falls to it, committing, over one session
//! after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::assignment::{Assignment, GroupTopic, Strategy, ThreadId};
use super::config::{AutoOffsetReset, ClassicConfig};
use super::error::{ClassicError, RebalanceError, StorageError};
use super::registry::{Members, Registry};
use super::session::{self, Guard};
use super::stored::Stored;
use super::stream::{LostPosition, StreamShared};
use super::subscription::Subscription;
use super::topics::Topics;
use crate::cluster::Cluster;
use crate::consumer::offsets::{OffsetSpec, list_offsets};
use crate::consumer::record::Isolation;
use crate::ids::{Offset, TopicPartition};
use crate::zk::Watch;

/// What the consumer's handle asks.
#[derive(Debug)]
pub(super) enum Command {
    Commit(oneshot::Sender<Result<(), ClassicError>>),
    Close(oneshot::Sender<Result<(), ClassicError>>),
}

/// A stream as declared: for one topic or for all that are meant.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) topic: Option<String>,
    pub(super) number: usize,
    pub(super) shared: Arc<StreamShared>,
}

pub(super) struct Member {
    pub(super) config: ClassicConfig,
    pub(super) subscription: Subscription,
    pub(super) cluster: Cluster,
    pub(super) topics: Topics,
    pub(super) threads: Vec<Thread>,
    pub(super) registry: Registry,
    pub(super) stored: Stored,
    pub(super) guard: Guard,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) lost: mpsc::UnboundedReceiver<LostPosition>,
    /// What belongs to this member, and for which of its threads.
    pub(super) owned: BTreeMap<TopicPartition, ThreadId>,
    /// What this member does not use (any more) and may still have a claim on; with what is to be committed of
    /// it before it is let go.
    pub(super) leaving: BTreeMap<TopicPartition, Option<Offset>>,
    /// What the group's offset nodes hold, as last read or written.
    pub(super) committed: BTreeMap<TopicPartition, Offset>,
    pub(super) last_generation: u64,
    /// Told how the first rebalance ended.
    pub(super) started: Option<oneshot::Sender<Result<(), ClassicError>>>,
}

/// Where a partition begins whose position was lost.
struct Found {
    lost: LostPosition,
    /// `None`: not known yet.
    offset: Option<Offset>,
}

/// Why a session is worked in no longer.
enum End {
    /// The server ended it.
    Expired,
    Closed(Option<oneshot::Sender<Result<(), ClassicError>>>),
}

impl Member {
    pub(super) async fn run(mut self) {
        loop {
            match self.serve().await {
                End::Expired => {
                    if !self.begin_anew().await {
                        return;
                    }
                }
                End::Closed(told) => {
                    let result = self.leave().await;
                    if let Some(told) = told {
                        let _ = told.send(result);
                    }
                    return;
                }
            }
        }
    }

    /// Works in the present session until it is over.
    async fn serve(&mut self) -> End {
        let mut members: Option<Watch> = None;
        let mut next_attempt = Some(Instant::now());
        let mut failures = 0;
        let mut searches: FuturesUnordered<BoxFuture<'static, Found>> = FuturesUnordered::new();
        let every = self.config.auto_commit_interval.max(Duration::from_millis(1));
        let mut commits = interval_at(Instant::now() + every, every);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let session = self.registry.session.clone();
        loop {
            let members_changed: OptionFuture<_> = members.as_mut().into();
            let attempt: OptionFuture<_> = next_attempt.map(sleep_until).into();
            tokio::select! {
                biased;
                _ = session.over() => return End::Expired,
                command = self.commands.recv() => match command {
                    Some(Command::Commit(told)) => {
                        let _ = told.send(self.commit_consumed().await);
                    }
                    Some(Command::Close(told)) => return End::Closed(Some(told)),
                    None => return End::Closed(None),
                },
                Some(lost) = self.lost.recv() => searches.push(self.search(lost)),
                Some(found) = searches.next() => match found.offset {
                    Some(offset) => self.found(&found.lost, offset),
                    None => searches.push(self.search(found.lost)),
                },
                Some(_) = members_changed => {
                    members = None;
                    next_attempt = Some(Instant::now());
                }
                () = self.topics.changed() => next_attempt = Some(Instant::now()),
                Some(()) = attempt => {
                    next_attempt = None;
                    match self.rebalance(&mut members).await {
                        Ok(()) => {
                            failures = 0;
                            self.tell_started(Ok(()));
                        }
                        Err(error) if error.is_session_over() => return End::Expired,
                        Err(error) => {
                            failures += 1;
                            next_attempt = Some(Instant::now() + self.config.rebalance_backoff);
                            if !self.rebalance_failed(failures, error) {
                                return End::Closed(None);
                            }
                        }
                    }
                }
                _ = commits.tick(), if self.config.auto_commit => {
                    if let Err(error) = self.commit_consumed().await {
                        tracing::warn!(consumer = self.registry.consumer, %error, "offsets were not committed; trying again at the next interval");
                    }
                }
            }
        }
    }

    /// False: the consumer could not even start.
    fn rebalance_failed(&mut self, failures: u32, error: RebalanceError) -> bool {
        let consumer = &self.registry.consumer;
        if failures < self.config.rebalance_max_retries {
            tracing::info!(consumer, failures, %error, "partitions could not be taken; trying again");
            return true;
        }
        if self.started.is_none() {
            tracing::error!(consumer, failures, %error, "partitions could not be taken; trying on");
            return true;
        }
        let (consumer, cause) = (consumer.clone(), Box::new(error));
        self.tell_started(Err(ClassicError::RebalanceFailed { consumer, attempts: failures, cause }));
        false
    }

    fn tell_started(&mut self, result: Result<(), ClassicError>) {
        if let Some(started) = self.started.take() {
            // Who does not wait for it is not told.
            let _ = started.send(result);
        }
    }

    /// Gives up what falls to others now, then takes what falls to this member.
    async fn rebalance(&mut self, watch: &mut Option<Watch>) -> Result<(), RebalanceError> {
        // Read again even if its watch has not fired: an attempt should decide by what is there now.
        let (members, members_watch) = self.registry.members().await?;
        *watch = Some(members_watch);
        if !self.topics.has_brokers().await? {
            tracing::warn!(consumer = self.registry.consumer, "there are no brokers; waiting for one");
            return Ok(());
        }
        let mine = self.mine(&members).await?;
        let kept = |id: &TopicPartition, thread: &ThreadId| mine.get(id) == Some(thread);
        let leaving: Vec<TopicPartition> =
            self.owned.iter().filter(|(id, thread)| !kept(id, thread)).map(|(id, _)| id.clone()).collect();
        self.give_up(leaving);
        self.let_go().await?;
        let wanted = mine.into_iter().filter(|(id, _)| !self.owned.contains_key(id)).collect();
        self.take(wanted).await
    }

    /// What falls to this member, by what all have registered.
    async fn mine(&mut self, members: &Members) -> Result<Assignment, RebalanceError> {
        let mut subscriptions = BTreeMap::new();
        for (name, registration) in members {
            let subscription = Subscription::of(registration)
                .map_err(|cause| RebalanceError::Pattern { member: name.clone(), cause })?;
            subscriptions.insert(name.as_str(), subscription);
        }
        let names = match subscriptions.values().any(Subscription::is_wildcard) {
            true => self.topics.names().await?,
            false => Vec::new(),
        };
        let mut topics: BTreeMap<String, GroupTopic> = BTreeMap::new();
        let mut my_topics = BTreeSet::new();
        for (name, subscription) in &subscriptions {
            let exclude = self.config.exclude_internal_topics;
            let threads = subscription.threads(name, names.iter().map(String::as_str), exclude);
            for (topic, threads) in threads {
                if **name == self.registry.consumer {
                    my_topics.insert(topic.clone());
                }
                topics.entry(topic).or_default().threads.extend(threads);
            }
        }
        if self.config.strategy == Strategy::Range {
            // What others read besides does not matter.
            topics.retain(|topic, _| my_topics.contains(topic));
        }
        for (topic, partitions) in self.topics.partitions(my_topics.into_iter()).await? {
            if let Some(group) = topics.get_mut(&topic) {
                group.partitions = partitions;
            }
        }
        let mut assignment = self.config.strategy.assign(&topics)?;
        assignment.retain(|_, thread| *thread.consumer == *self.registry.consumer);
        Ok(assignment)
    }

    /// Stops giving records of partitions. They are still to be [let go](Member::let_go).
    fn give_up(&mut self, partitions: Vec<TopicPartition>) {
        for id in partitions {
            let Some(thread) = self.owned.remove(&id) else { continue };
            let consumed = self.shared_of(&id, &thread).and_then(|shared| shared.disown(&id));
            self.leaving.insert(id, consumed.filter(|_| self.config.auto_commit));
        }
    }

    /// Commits what was given of the partitions that were given up, and lets others have them.
    async fn let_go(&mut self) -> Result<(), RebalanceError> {
        if self.leaving.is_empty() {
            return Ok(());
        }
        let consumed = self.leaving.iter().filter_map(|(id, offset)| Some((id.clone(), (*offset)?)));
        self.commit(consumed.collect()).await?;
        let partitions: Vec<TopicPartition> = self.leaving.keys().cloned().collect();
        self.registry.release(&partitions).await?;
        for id in &partitions {
            self.committed.remove(id);
        }
        self.leaving.clear();
        tracing::info!(consumer = self.registry.consumer, ?partitions, "gave up partitions");
        Ok(())
    }

    /// Takes partitions, as far as nobody has them, and begins where the group left off.
    async fn take(&mut self, wanted: Vec<(TopicPartition, ThreadId)>) -> Result<(), RebalanceError> {
        if wanted.is_empty() {
            return Ok(());
        }
        // Until an attempt is whole, what it claims is to be let go.
        self.leaving.extend(wanted.iter().map(|(id, _)| (id.clone(), None)));
        let refused = self.registry.claim(&wanted).await?;
        for (id, _) in &refused {
            self.leaving.remove(id);
        }
        let ids: Vec<TopicPartition> = self.leaving.keys().cloned().collect();
        // Read after the claim: the one before has committed before it let go.
        let offsets = self.stored.offsets(&self.registry, &ids).await?;
        self.leaving.clear();
        let threads: BTreeMap<TopicPartition, ThreadId> = wanted.into_iter().collect();
        for (id, offset) in offsets {
            let Some(thread) = threads.get(&id) else { continue };
            if let Some(offset) = offset {
                self.committed.insert(id.clone(), offset);
            }
            self.last_generation += 1;
            if let Some(shared) = self.shared_of(&id, thread) {
                shared.own(&id, self.last_generation, offset);
            }
            tracing::info!(%thread, partition = %id, ?offset, "took a partition");
            self.owned.insert(id, thread.clone());
        }
        match refused.first() {
            None => Ok(()),
            Some((id, owner)) => Err(RebalanceError::Owned {
                count: refused.len(),
                partition: id.to_string(),
                owner: owner.clone(),
            }),
        }
    }

    fn shared_of(&self, id: &TopicPartition, thread: &ThreadId) -> Option<&Arc<StreamShared>> {
        let fits = |of: &&Thread| {
            of.number == thread.number && of.topic.as_deref().is_none_or(|topic| *topic == *id.topic)
        };
        self.threads.iter().find(fits).map(|thread| &thread.shared)
    }

    /// Commits what was given of everything owned.
    async fn commit_consumed(&mut self) -> Result<(), ClassicError> {
        let consumed = self.threads.iter().flat_map(|thread| thread.shared.consumed()).collect();
        Ok(self.commit(consumed).await?)
    }

    /// The same, and of what is leaving.
    async fn commit_all(&mut self) -> Result<(), ClassicError> {
        let leaving = self.leaving.iter().filter_map(|(id, offset)| Some((id.clone(), (*offset)?)));
        self.commit(leaving.collect()).await?;
        self.commit_consumed().await
    }

    async fn commit(&mut self, mut offsets: Vec<(TopicPartition, Offset)>) -> Result<(), StorageError> {
        // As in Kafka, what is there already is not written again.
        offsets.retain(|(id, offset)| self.committed.get(id) != Some(offset));
        self.stored.commit(&self.registry, &offsets).await?;
        self.committed.extend(offsets);
        Ok(())
    }

    /// Looks for where a partition begins whose position is not in the log.
    fn search(&self, lost: LostPosition) -> BoxFuture<'static, Found> {
        let cluster = self.cluster.clone();
        let spec = match self.config.auto_offset_reset {
            AutoOffsetReset::Smallest => OffsetSpec::Earliest,
            AutoOffsetReset::Largest => OffsetSpec::Latest,
        };
        let within = cluster.options().api_timeout;
        async move {
            if lost.at.is_some() {
                return Found { offset: lost.at, lost };
            }
            let wanted = BTreeMap::from([(lost.partition.clone(), spec)]);
            let mut listed = list_offsets(&cluster, &wanted, Isolation::ReadUncommitted, within).await;
            let offset = match listed.remove(&lost.partition) {
                Some(Ok(listed)) => listed.map(|listed| listed.offset),
                Some(Err(error)) => {
                    tracing::warn!(partition = %lost.partition, %error, "it is not known where to begin; asking again");
                    tokio::time::sleep(cluster.options().retry_backoff.longest).await;
                    None
                }
                None => None,
            };
            Found { lost, offset }
        }
        .boxed()
    }

    fn found(&self, lost: &LostPosition, offset: Offset) {
        let thread = self.owned.get(&lost.partition);
        if let Some(shared) = thread.and_then(|thread| self.shared_of(&lost.partition, thread)) {
            shared.found(&lost.partition, lost.generation, offset);
        }
    }

    /// The session is over, and with it whatever belonged to this member: forgets it, and registers in a new
    /// one. False: the consumer was closed meanwhile.
    async fn begin_anew(&mut self) -> bool {
        tracing::warn!(
            consumer = self.registry.consumer,
            "ZooKeeper ended the session; joining the group again"
        );
        for (id, thread) in std::mem::take(&mut self.owned) {
            if let Some(shared) = self.shared_of(&id, &thread) {
                // Not committed: who owns it now has perhaps committed more.
                shared.disown(&id);
            }
        }
        self.leaving.clear();
        self.committed.clear();
        let previous = self.registry.session.id();
        loop {
            let joined =
                session::join(&self.config, &self.registry.consumer, &self.subscription, Some(previous));
            tokio::select! {
                joined = joined => match joined {
                    Ok(registry) => {
                        self.guard = Guard::watch(&registry.session, &self.threads);
                        self.registry = registry;
                        return true;
                    }
                    Err(error) => {
                        tracing::warn!(consumer = self.registry.consumer, %error, "cannot join the group again; trying on");
                        tokio::time::sleep(self.config.rebalance_backoff).await;
                    }
                },
                command = self.commands.recv() => match command {
                    Some(Command::Commit(told)) => {
                        // Nothing is owned, so there is nothing to commit.
                        let _ = told.send(Ok(()));
                    }
                    Some(Command::Close(told)) => {
                        self.end_streams();
                        let _ = told.send(Ok(()));
                        return false;
                    }
                    None => return false,
                },
            }
        }
    }

    fn end_streams(&self) {
        self.threads.iter().for_each(|thread| thread.shared.close());
    }

    /// Ends the streams, commits, and closes the session, with which registration and ownerships go.
    async fn leave(mut self) -> Result<(), ClassicError> {
        self.end_streams();
        let committed = match self.config.auto_commit {
            true => self.commit_all().await,
            false => Ok(()),
        };
        self.registry.session.close().await;
        self.topics.close().await;
        committed
    }
}
