//! The task that sends: it follows leaders, keeps connections, and has the accumulator decide what goes.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::accumulator::{Accumulator, Drained, Link};
use super::batch::Batch;
use super::delivery::Ticket;
use super::error::{AttemptError, ProduceError};
use super::options::{Acks, Idempotence};
use super::record::RecordMetadata;
use super::request::{self, Answer};
use super::{Shared, producer_id};
use crate::cluster::{Cluster, ClusterError, Leadership};
use crate::connection::Connection;
use crate::ids::{BrokerId, TopicPartition};
use crate::wire::messages::{ProduceRequest, ProduceResponse};
use crate::wire::{ErrorCode, Request};

/// After a failed attempt to find or reach a broker.
const LINK_PAUSE: Duration = Duration::from_millis(20);

/// Leaders are looked after while a request is not answered within this time.
const ANSWERED_SOON: Duration = Duration::from_millis(500);

/// What happened elsewhere.
enum Event {
    Leader {
        at: TopicPartition,
        leaders: watch::Receiver<Option<Leadership>>,
    },
    /// A partition was not used for long and is not followed any more.
    Unfollowed,
    Connected {
        broker: BrokerId,
        result: Result<(Connection, Option<i16>), ClusterError>,
    },
    /// `Ok(None)`: no response was asked for.
    Answered {
        broker: BrokerId,
        batches: Vec<Batch<Ticket>>,
        result: Result<Option<ProduceResponse>, AttemptError>,
    },
    ProducerId(Result<Option<(i64, i16)>, ErrorCode>),
}

/// A broker as far as this producer has to do with it.
#[derive(Default)]
struct Peer {
    /// With the version of Produce to speak; `None` if there is no common one.
    connection: Option<(Connection, Option<i16>)>,
    in_flight: usize,
    is_connecting: bool,
    not_before: Option<Instant>,
}

struct Sender {
    cluster: Cluster,
    shared: Arc<Shared>,
    peers: BTreeMap<BrokerId, Peer>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    asks_for_id: bool,
    /// When idle topics were looked for last.
    swept: Instant,
}

/// Runs until the producer is closed and everything was acknowledged or given up.
pub(super) async fn run(cluster: Cluster, shared: Arc<Shared>) {
    let mut sender = Sender {
        cluster,
        shared,
        peers: BTreeMap::new(),
        events: FuturesUnordered::new(),
        asks_for_id: false,
        swept: Instant::now(),
    };
    loop {
        let next = sender.round();
        if sender.core().is_done() {
            return;
        }
        tokio::select! {
            biased;
            Some(event) = sender.events.next(), if !sender.events.is_empty() => {
                sender.handle(event);
                while let Some(Some(event)) = sender.events.next().now_or_never() {
                    sender.handle(event);
                }
            }
            () = sender.shared.wake.notified() => {}
            () = sleep_until(next.into()) => {}
        }
    }
}

impl Sender {
    /// Does all that can be done now; tells when there will be more if nothing happens before.
    fn round(&mut self) -> Instant {
        let now = Instant::now();
        let unfollowed = self.core().take_unfollowed();
        for at in unfollowed {
            let leaders = self.cluster.leader(&at);
            self.learn_leader(at, leaders);
        }
        let (expired, mut next) = self.core().expire(now);
        expired.into_iter().for_each(|batch| self.expired(batch));
        loop {
            let drained = self.drain(now);
            next = [next, drained.next].into_iter().flatten().min();
            drained.missing.into_iter().for_each(|broker| self.connect(broker));
            if drained.needs_producer_id && !self.asks_for_id {
                self.asks_for_id = true;
                self.events.push(producer_id::ask(self.cluster.clone()).map(Event::ProducerId).boxed());
            }
            if drained.requests.is_empty() {
                break;
            }
            for (broker, batches) in drained.requests {
                self.send(broker, batches);
            }
        }
        let idle = self.shared.options.metadata_max_idle;
        if now.saturating_duration_since(self.swept) >= idle {
            self.swept = now;
            self.shared.forget_idle_topics(now, idle);
        }
        let reconnect = self.peers.values().filter_map(|peer| peer.not_before).filter(|at| *at > now).min();
        [next, reconnect].into_iter().flatten().fold(self.swept + idle, Instant::min)
    }

    fn drain(&mut self, now: Instant) -> Drained<Ticket> {
        let most = self.shared.options.max_in_flight;
        let link = |broker| match self.peers.get(&broker) {
            Some(peer) if peer.is_connecting || peer.not_before.is_some_and(|at| at > now) => Link::Awaited,
            Some(Peer { connection: Some((connection, _)), in_flight, .. }) if !connection.is_closed() => {
                Link::Open(most.saturating_sub(*in_flight))
            }
            Some(_) | None => Link::Missing,
        };
        self.core().drain(now, link)
    }

    fn connect(&mut self, broker: BrokerId) {
        let peer = self.peers.entry(broker).or_default();
        peer.connection = None;
        peer.is_connecting = true;
        let cluster = self.cluster.clone();
        let connect = async move {
            let connection = cluster.connection(broker).await?;
            let version = connection.negotiate().await?.latest(ProduceRequest::KEY);
            Ok((connection, version.filter(|version| *version >= request::OLDEST_VERSION)))
        };
        self.events.push(connect.map(move |result| Event::Connected { broker, result }).boxed());
    }

    fn send(&mut self, broker: BrokerId, batches: Vec<Batch<Ticket>>) {
        let peer = self.peers.get(&broker);
        let Some((connection, version)) = peer.and_then(|peer| peer.connection.clone()) else {
            self.answered(broker, batches, Err(AttemptError::Unanswered));
            return;
        };
        let Some(version) = version else {
            self.unsupported(batches);
            return;
        };
        let (batches, built) = self.build(batches);
        if batches.is_empty() {
            return;
        }
        let options = &self.shared.options;
        let acks = options.acks;
        let timeout_ms = i32::try_from(options.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = request::request(built, acks.code(), timeout_ms);
        let cluster = self.cluster.clone();
        let exchange = async move {
            let result = match acks {
                Acks::None => connection
                    .send_no_reply(&request, version)
                    .await
                    .map(|()| None)
                    .map_err(AttemptError::from),
                Acks::Leader | Acks::All => tokio::select! {
                    biased;
                    answer = connection.send(&request, version) => answer.map(Some).map_err(AttemptError::from),
                    () = cluster.left_behind(ANSWERED_SOON, batches.iter().map(|batch| (&batch.at, broker))) => {
                        Err(AttemptError::Unanswered)
                    }
                },
            };
            Event::Answered { broker, batches, result }
        };
        let mut exchange = exchange.boxed();
        // A connection sends requests in the order in which they were first polled.
        match (&mut exchange).now_or_never() {
            Some(event) => self.events.push(std::future::ready(event).boxed()),
            None => self.events.push(exchange),
        }
        self.peers.entry(broker).or_default().in_flight += 1;
    }

    /// The bytes of those batches that can be built.
    fn build(
        &mut self,
        batches: Vec<Batch<Ticket>>,
    ) -> (Vec<Batch<Ticket>>, Vec<(TopicPartition, bytes::Bytes)>) {
        let compression = self.shared.options.compression;
        let (mut kept, mut built) = (Vec::with_capacity(batches.len()), Vec::with_capacity(batches.len()));
        for batch in batches {
            match batch.build(compression) {
                Ok(bytes) => {
                    self.core().compressed(&batch.at.topic, batch.bytes, bytes.len());
                    built.push((batch.at.clone(), bytes));
                    kept.push(batch);
                }
                Err(cause) => {
                    self.core().abandoned(&batch);
                    let (partition, cause) = (batch.at.clone(), Arc::new(cause));
                    self.give_up(batch, |_| ProduceError::Build {
                        partition: partition.clone(),
                        cause: cause.clone(),
                    });
                }
            }
        }
        (kept, built)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Leader { at, leaders } => self.learn_leader(at, leaders),
            Event::Unfollowed => {}
            Event::Connected { broker, result } => self.connected(broker, result),
            Event::Answered { broker, batches, result } => {
                if let Some(peer) = self.peers.get_mut(&broker) {
                    peer.in_flight = peer.in_flight.saturating_sub(1);
                }
                self.answered(broker, batches, result);
            }
            Event::ProducerId(answer) => self.learn_producer_id(answer),
        }
    }

    /// Takes what is known of a partition's leader, and waits for the next change.
    fn learn_leader(&mut self, at: TopicPartition, mut leaders: watch::Receiver<Option<Leadership>>) {
        let leader = *leaders.borrow_and_update();
        self.core().led_by(&at, leader, Instant::now());
        let shared = self.shared.clone();
        let idle = shared.options.metadata_max_idle;
        let next = async move {
            loop {
                match timeout(idle, leaders.changed()).await {
                    Ok(Ok(())) => return Event::Leader { at, leaders },
                    // The cluster is let go with the producer.
                    Ok(Err(_)) => return Event::Unfollowed,
                    Err(_) if shared.core().unfollow_if_idle(&at, idle, Instant::now()) => {
                        return Event::Unfollowed;
                    }
                    Err(_) => {}
                }
            }
        };
        self.events.push(next.boxed());
    }

    fn connected(&mut self, broker: BrokerId, result: Result<(Connection, Option<i16>), ClusterError>) {
        let peer = self.peers.entry(broker).or_default();
        peer.is_connecting = false;
        match result {
            Ok(connection) => {
                peer.connection = Some(connection);
                peer.not_before = None;
            }
            Err(error) => {
                tracing::debug!(%broker, %error, "cannot reach a leader at present");
                peer.not_before = Some(Instant::now() + LINK_PAUSE);
                let concerned = self.core().unreachable(broker, &Arc::new(error.into()));
                concerned.iter().for_each(|(at, leader)| self.cluster.suspect(at, *leader));
            }
        }
    }

    fn answered(
        &mut self,
        broker: BrokerId,
        batches: Vec<Batch<Ticket>>,
        result: Result<Option<ProduceResponse>, AttemptError>,
    ) {
        match result {
            Ok(Some(response)) => {
                let answers = request::answers(&response, batches.iter().map(|batch| &batch.at));
                for (id, info) in request::endpoints(&response) {
                    self.cluster.hear_of_broker(id, info);
                }
                for (batch, answer) in batches.into_iter().zip(answers) {
                    self.settle(broker, batch, answer);
                }
            }
            Ok(None) => {
                for batch in batches {
                    self.settle(broker, batch, Answer::Appended { base_offset: None, append_time: None });
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for batch in batches {
                    self.suspect(&batch.at);
                    let given_up = self.failed(broker, batch, error.clone());
                    if let Some(batch) = given_up {
                        let partition = batch.at.clone();
                        self.give_up(batch, |_| ProduceError::Connection {
                            partition: partition.clone(),
                            cause: error.clone(),
                        });
                    }
                }
            }
        }
    }

    fn settle(&mut self, broker: BrokerId, batch: Batch<Ticket>, answer: Answer) {
        match answer {
            Answer::Appended { base_offset, append_time } => {
                self.core().succeeded(&batch);
                let Batch { at, records, .. } = batch;
                for (place, (record, ticket)) in (0..).zip(records) {
                    let metadata = RecordMetadata {
                        topic: at.topic.clone(),
                        partition: at.partition,
                        offset: base_offset.map(|base| base + place),
                        timestamp: append_time.or(record.timestamp).unwrap_or_default(),
                    };
                    // Who sent it may not want to know.
                    let _ = ticket.send(Ok(metadata));
                }
                self.shared.settled();
            }
            Answer::Refused { .. } | Answer::Unanswered => {
                let code = match &answer {
                    Answer::Refused { code, .. } => *code,
                    Answer::Appended { .. } | Answer::Unanswered => ErrorCode::NetworkException,
                };
                if let Answer::Refused { leader: Some(leader), .. } = &answer {
                    self.cluster.hear_of_leader(&batch.at, *leader);
                }
                if is_about_leader(code) {
                    self.suspect(&batch.at);
                }
                if let Some(batch) = self.failed(broker, batch, Arc::new(answer.attempt_error())) {
                    self.refused(batch, code, answer);
                }
            }
        }
    }

    fn failed(
        &self,
        broker: BrokerId,
        batch: Batch<Ticket>,
        error: Arc<AttemptError>,
    ) -> Option<Batch<Ticket>> {
        let partition = batch.at.clone();
        tracing::debug!(%partition, %error, attempts = batch.attempts, "a batch was not appended");
        self.core().failed(broker, batch, error, Instant::now(), rand::random())
    }

    fn refused(&self, batch: Batch<Ticket>, code: ErrorCode, answer: Answer) {
        let partition = batch.at.clone();
        let (message, own) = match answer {
            Answer::Refused { message, records, .. } => (message, records),
            Answer::Appended { .. } | Answer::Unanswered => (code.message().into(), BTreeMap::new()),
        };
        self.give_up(batch, |place| {
            let partition = partition.clone();
            match own.get(&place) {
                Some(message) => ProduceError::Refused { partition, code, message: message.clone() },
                None if own.is_empty() => ProduceError::Refused { partition, code, message: message.clone() },
                None => ProduceError::OthersRefused { partition, message: message.clone() },
            }
        });
    }

    fn expired(&self, batch: Batch<Ticket>) {
        let partition = batch.at.clone();
        let within = self.shared.options.delivery_timeout;
        let is_led = self.core().leader(&partition).is_some();
        let unled = || (!is_led).then(|| Arc::new(AttemptError::NoLeader));
        let last = batch.last_error.clone().or_else(unled);
        self.give_up(batch, |_| ProduceError::Timeout {
            partition: partition.clone(),
            within,
            last: last.clone(),
        });
    }

    fn unsupported(&self, batches: Vec<Batch<Ticket>>) {
        let code = ErrorCode::UnsupportedVersion;
        for batch in batches {
            self.core().abandoned(&batch);
            self.refused(batch, code, Answer::Unanswered);
        }
    }

    fn learn_producer_id(&mut self, answer: Result<Option<(i64, i16)>, ErrorCode>) {
        self.asks_for_id = false;
        let required = self.shared.options.idempotence == Idempotence::Required;
        let code = match answer {
            Ok(Some((id, epoch))) => {
                self.core().has_producer_id(id, epoch);
                return;
            }
            Ok(None) if !required => {
                tracing::warn!("the brokers know no producer ids; a retry may store a record twice");
                self.core().without_idempotence();
                return;
            }
            Ok(None) => ErrorCode::UnsupportedVersion,
            Err(code) => code,
        };
        let given_up = self.core().give_up();
        for batch in given_up {
            self.give_up(batch, |_| ProduceError::NoProducerId { code });
        }
    }

    /// Tells the senders of a batch that was taken out; `why` by its place in the batch.
    fn give_up(&self, batch: Batch<Ticket>, why: impl Fn(usize) -> ProduceError) {
        for (place, (_, ticket)) in batch.records.into_iter().enumerate() {
            let _ = ticket.send(Err(why(place)));
        }
        self.shared.settled();
    }

    fn suspect(&self, at: &TopicPartition) {
        let leader = self.core().leader(at);
        self.cluster.suspect(at, leader);
    }

    fn core(&self) -> MutexGuard<'_, Accumulator<Ticket>> {
        self.shared.core()
    }
}

/// Whether somebody else may lead the partition.
fn is_about_leader(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
    )
}
