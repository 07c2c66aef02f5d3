//! The way to one registration of a broker: one request after the other, in order, each repeated
//! until the broker has it or is gone (`RequestSendThread` in `ControllerChannelManager.scala`).

use std::sync::Arc;
use std::time::Duration;

use client::connection::{Connection, ConnectionError, ConnectionOptions};
use client::ids::{BrokerId, TopicPartition, Uuid};
use client::wire::messages::{LeaderAndIsrResponse, StopReplicaResponse};
use client::wire::{ErrorCode, Request};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::plan::{ControlRequest, LeaderAndIsr, StopReplica};
use crate::requests::{self, Sender};
use crate::vital;
use crate::world::{Event, RoleAnswer};

/// Kafka's pause before a control request is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// For one attempt to connect: a network that is whole again is to be noticed within a second or two.
const SETUP_MAX: Duration = Duration::from_secs(2);
/// A broker whose machine gives no sign of itself for so long is connected to anew.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// A broker that does not answer for longer cannot be told of new roles just now.
const PROMPT: Duration = Duration::from_secs(1);

/// Where answers go that the controller has to act on.
pub(crate) type Answers = mpsc::UnboundedSender<Event>;

/// What waits in a channel.
#[derive(Debug)]
enum Queued {
    Request(ControlRequest),
    /// Whoever waits until all before it is answered.
    Mark(oneshot::Sender<()>),
}

/// Closes when it is dropped; what was not sent is dropped with it.
#[derive(Debug)]
pub(crate) struct Channel {
    queue: mpsc::UnboundedSender<Queued>,
    address: watch::Sender<Option<Arc<str>>>,
    sender: Sender,
    /// Since when the broker has been tried in vain.
    mute_since: watch::Receiver<Option<Instant>>,
    task: AbortHandle,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Channel {
    /// `address` is `host:port`, `None` while the broker has no listener that brokers use.
    pub(crate) fn open(
        to: BrokerId,
        address: Option<Arc<str>>,
        sender: Sender,
        listener: Arc<str>,
        timeout: Duration,
        answers: Answers,
    ) -> Channel {
        let (queue, requests) = mpsc::unbounded_channel();
        let (address, addresses) = watch::channel(address);
        let (tried_since, mute_since) = watch::channel(None);
        let line =
            Line { to, sender, listener, timeout, addresses, connection: None, failing: false, tried_since };
        let task = vital::spawn("channel", line.run(requests, answers)).abort_handle();
        Channel { queue, address, sender, mute_since, task }
    }

    /// Whose registration it goes to.
    pub(crate) fn sender(&self) -> Sender {
        self.sender
    }

    /// Whether what is sent now is likely to arrive soon.
    pub(crate) fn is_prompt(&self) -> bool {
        self.mute_since.borrow().is_none_or(|since| since.elapsed() < PROMPT)
    }

    pub(crate) fn set_address(&self, address: Option<Arc<str>>) {
        self.address.send_if_modified(|known| {
            let changed = *known != address;
            *known = address;
            changed
        });
    }

    pub(crate) fn send(&self, request: ControlRequest) {
        // The task ends only with the channel.
        self.queue.send(Queued::Request(request)).ok();
    }

    /// Waits until the broker has answered all that was sent so far.
    pub(crate) fn delivered(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mark, reached) = oneshot::channel();
        self.queue.send(Queued::Mark(mark)).ok();
        // A channel that ended delivers no more.
        async move { reached.await.unwrap_or_default() }
    }
}

struct Line {
    to: BrokerId,
    sender: Sender,
    listener: Arc<str>,
    timeout: Duration,
    addresses: watch::Receiver<Option<Arc<str>>>,
    connection: Option<Connection>,
    /// Whether the last try failed, so that each outage is logged once.
    failing: bool,
    tried_since: watch::Sender<Option<Instant>>,
}

impl Line {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Queued>, answers: Answers) {
        loop {
            let request = tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(Queued::Request(request)) => request,
                    Some(Queued::Mark(reached)) => {
                        reached.send(()).ok();
                        continue;
                    }
                    None => return,
                },
                () = self.lost() => {
                    self.find_again().await;
                    continue;
                }
            };
            tracing::debug!(to = %self.to, %request, "sending");
            let event = match &request {
                ControlRequest::LeaderAndIsr(request) => {
                    let wire = requests::leader_and_isr(self.sender, &self.listener, request);
                    let answer = self.deliver(&wire, requests::LEADER_AND_ISR_VERSION).await;
                    answer.and_then(|answer| self.told(request, &answer))
                }
                ControlRequest::UpdateMetadata(request) => {
                    let wire = requests::update_metadata(self.sender, request);
                    if let Some(answer) = self.deliver(&wire, requests::UPDATE_METADATA_VERSION).await {
                        self.check("UpdateMetadata", answer.error_code);
                    }
                    None
                }
                ControlRequest::StopReplica(request) => {
                    let wire = requests::stop_replica(self.sender, request);
                    let answer = self.deliver(&wire, requests::STOP_REPLICA_VERSION).await;
                    answer.and_then(|answer| self.stopped(request, &answer))
                }
                ControlRequest::LogEnds(partitions) => {
                    let wire = requests::log_ends(partitions);
                    let answer = self.deliver(&wire, requests::LOG_ENDS_VERSION).await;
                    answer.map(|answer| {
                        let ends = requests::told_ends(partitions, &answer);
                        Event::LogEndsAnswered { broker: self.to, epoch: self.sender.receiver, ends }
                    })
                }
            };
            if let Some(event) = event {
                // A controller that does not listen any more has resigned.
                answers.send(event).ok();
            }
        }
    }

    /// Waits until the connection ends; where it has, for a moment to try again.
    async fn lost(&self) {
        match &self.connection {
            Some(connection) => drop(connection.closed().await),
            None if self.tried_since.borrow().is_some() => sleep(PAUSE).await,
            // Nothing was ever sent.
            None => std::future::pending().await,
        }
    }

    /// Whether the broker can be reached is of interest also while there is nothing to send.
    async fn find_again(&mut self) {
        self.connection = None;
        self.tries();
        match self.connect().await {
            Ok(_) => drop(self.tried_since.send_replace(None)),
            Err(error) => tracing::debug!(to = %self.to, %error, "not connected"),
        }
    }

    fn tries(&self) {
        self.tried_since
            .send_if_modified(|since| since.replace(since.unwrap_or_else(Instant::now)).is_none());
    }

    /// Repeats until the broker answers. `None`: the request cannot be written at all.
    async fn deliver<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.tries();
        loop {
            let error = match self.connect().await {
                Ok(connection) => match connection.send(request, version).await {
                    Ok(answer) => {
                        self.tried_since.send_replace(None);
                        self.failing = false;
                        return Some(answer);
                    }
                    Err(error @ ConnectionError::Encode { .. }) => {
                        tracing::error!(to = %self.to, %error, "a control request cannot be sent and is dropped");
                        self.tried_since.send_replace(None);
                        return None;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.connection = None;
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(
                    to = %self.to, %error,
                    "a control request did not reach its broker; it is repeated until it does or the broker is gone"
                );
            }
            sleep(PAUSE).await;
        }
    }

    /// The connection there is, or a new one to where the broker is now.
    async fn connect(&mut self) -> Result<Connection, ConnectionError> {
        if self.addresses.has_changed().unwrap_or(false) {
            self.connection = None;
        }
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let address = self.address().await;
        let options = ConnectionOptions {
            connect_timeout: self.timeout.min(SETUP_MAX),
            request_timeout: self.timeout,
            max_in_flight: 1,
            max_silence: Some(SILENCE_MAX),
            ..ConnectionOptions::default()
        };
        // Kafka's client id of a controller is its id.
        let connection = Connection::connect(address, self.sender.controller.to_string(), options).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn address(&mut self) -> Arc<str> {
        loop {
            let known = self.addresses.borrow_and_update().clone();
            if let Some(address) = known {
                return address;
            }
            tracing::error!(
                broker = %self.to, listener = &*self.listener,
                "the broker has no listener of the name that inter.broker.listener.name asks for; \
                 it hears nothing until it registers one"
            );
            if self.addresses.changed().await.is_err() {
                // The channel is being dropped, and this task with it.
                std::future::pending::<()>().await;
            }
        }
    }

    fn check(&self, request: &'static str, code: i16) -> bool {
        let error = ErrorCode::from_code(code);
        if error != ErrorCode::None {
            tracing::warn!(from = %self.to, request, error = error.name(), "a control request was refused");
        }
        error == ErrorCode::None
    }

    fn told(&self, request: &LeaderAndIsr, answer: &LeaderAndIsrResponse) -> Option<Event> {
        if !self.check("LeaderAndIsr", answer.error_code) {
            return None;
        }
        let name = |id: Uuid| request.topic_ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name);
        let by_topic = answer.topics.iter().filter_map(|topic| Some((name(topic.topic_id)?, topic)));
        let roles = by_topic.flat_map(|(name, topic)| {
            let role =
                |error: &client::wire::messages::leader_and_isr_response::LeaderAndIsrPartitionError| {
                    let partition = TopicPartition::new(name.clone(), error.partition_index);
                    let version = request.partitions.get(&partition)?.leadership.partition_epoch;
                    Some(RoleAnswer { partition, version, error: ErrorCode::from_code(error.error_code) })
                };
            topic.partition_errors.iter().filter_map(role).collect::<Vec<_>>()
        });
        let (broker, epoch) = (self.to, self.sender.receiver);
        Some(Event::LeaderAndIsrAnswered { broker, epoch, roles: roles.collect() })
    }

    /// An answer concerns the controller as far as replicas were to be deleted; an error of the
    /// whole request is one of each.
    fn stopped(&self, request: &StopReplica, answer: &StopReplicaResponse) -> Option<Event> {
        let accepted = self.check("StopReplica", answer.error_code);
        let deleted =
            |partition: &TopicPartition| request.partitions.get(partition).is_some_and(|p| p.delete);
        let partitions: Vec<(TopicPartition, ErrorCode)> = if accepted {
            let answered = answer.partition_errors.iter().map(|error| {
                let partition = TopicPartition::new(&*error.topic_name, error.partition_index);
                (partition, ErrorCode::from_code(error.error_code))
            });
            answered.filter(|(partition, _)| deleted(partition)).collect()
        } else {
            let error = ErrorCode::from_code(answer.error_code);
            let all = request.partitions.iter().filter(|(_, stopped)| stopped.delete);
            all.map(|(partition, _)| (partition.clone(), error)).collect()
        };
        let (broker, epoch) = (self.to, self.sender.receiver);
        (!partitions.is_empty()).then_some(Event::ReplicasDeleted { broker, epoch, partitions })
    }
}
