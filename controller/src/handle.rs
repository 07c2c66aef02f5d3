//! How the rest of the broker talks to its controller candidate.

use std::sync::Arc;

use client::ids::ControllerEpoch;
use client::wire::ErrorCode;
use client::wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
    ControlledShutdownRequest, ControlledShutdownResponse, ElectLeadersRequest, ElectLeadersResponse,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::term::answer_each;

/// What is asked of a controller, with the way back for the answer.
#[derive(Debug)]
pub(crate) enum Call {
    AllocateProducerIds(AllocateProducerIdsRequest, oneshot::Sender<AllocateProducerIdsResponse>),
    AlterPartition(AlterPartitionRequest, i16, oneshot::Sender<AlterPartitionResponse>),
    ControlledShutdown(ControlledShutdownRequest, oneshot::Sender<ControlledShutdownResponse>),
    ElectLeaders(ElectLeadersRequest, oneshot::Sender<ElectLeadersResponse>),
    /// `unclean.leader.election.enable` became true for this topic.
    UncleanElectionAllowed(Arc<str>),
    /// `unclean.leader.election.enable` changed for topics that do not say.
    UncleanElectionDefault(bool),
}

impl Call {
    /// Answers as a broker that is not the controller does.
    pub(crate) fn refuse(self) {
        // A caller that went away needs no answer, so failed sends are no matter.
        match self {
            Call::AllocateProducerIds(_, reply) => drop(reply.send(allocate_producer_ids_refused())),
            Call::AlterPartition(_, _, reply) => drop(reply.send(alter_partition_refused())),
            Call::ControlledShutdown(_, reply) => drop(reply.send(controlled_shutdown_refused())),
            Call::ElectLeaders(request, reply) => drop(reply.send(elect_leaders_refused(&request))),
            Call::UncleanElectionAllowed(_) | Call::UncleanElectionDefault(_) => {}
        }
    }
}

/// A broker's controller candidate. Cheap to clone.
///
/// Every broker has one; at most one in the cluster is active. Whoever asks one that is not gets
/// the error Kafka gives then.
#[derive(Debug, Clone)]
pub struct ControllerHandle {
    calls: mpsc::UnboundedSender<Call>,
    active: watch::Receiver<Option<ControllerEpoch>>,
    stop: Arc<watch::Sender<bool>>,
}

impl ControllerHandle {
    pub(crate) fn new(
        calls: mpsc::UnboundedSender<Call>,
        active: watch::Receiver<Option<ControllerEpoch>>,
        stop: watch::Sender<bool>,
    ) -> ControllerHandle {
        ControllerHandle { calls, active, stop: Arc::new(stop) }
    }

    /// A handle without a candidate behind it, which answers everything as a broker does that is
    /// not the controller.
    pub fn detached() -> ControllerHandle {
        let (calls, _) = mpsc::unbounded_channel();
        let (_, active) = watch::channel(None);
        let (stop, _) = watch::channel(false);
        ControllerHandle::new(calls, active, stop)
    }

    /// Whether this process won the last controller election, as far as it knows.
    pub fn is_active(&self) -> bool {
        self.active.borrow().is_some()
    }

    /// The controller epoch this process reigns in.
    pub fn epoch(&self) -> Option<ControllerEpoch> {
        *self.active.borrow()
    }

    /// Follows [`epoch`](Self::epoch).
    pub fn watch_epoch(&self) -> watch::Receiver<Option<ControllerEpoch>> {
        self.active.clone()
    }

    /// A broker asks for a block of producer ids.
    pub async fn allocate_producer_ids(
        &self,
        request: AllocateProducerIdsRequest,
    ) -> AllocateProducerIdsResponse {
        let answer = self.call(|reply| Call::AllocateProducerIds(request, reply)).await;
        answer.unwrap_or_else(allocate_producer_ids_refused)
    }

    /// A leader asks to change the ISR of partitions it leads.
    pub async fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        version: i16,
    ) -> AlterPartitionResponse {
        self.call(|reply| Call::AlterPartition(request, version, reply))
            .await
            .unwrap_or_else(alter_partition_refused)
    }

    /// A broker asks to be relieved of its partitions before it stops.
    pub async fn controlled_shutdown(
        &self,
        request: ControlledShutdownRequest,
    ) -> ControlledShutdownResponse {
        let answer = self.call(|reply| Call::ControlledShutdown(request, reply)).await;
        answer.unwrap_or_else(controlled_shutdown_refused)
    }

    /// Someone asks for preferred or unclean elections. Answered when they are decided and written;
    /// whether brokers heard of it is for the caller to await.
    pub async fn elect_leaders(&self, request: ElectLeadersRequest) -> ElectLeadersResponse {
        let refused = elect_leaders_refused(&request);
        self.call(|reply| Call::ElectLeaders(request, reply)).await.unwrap_or(refused)
    }

    /// To be called when `unclean.leader.election.enable` becomes true for a topic: its partitions
    /// without a leader may have one now.
    pub fn unclean_election_allowed(&self, topic: &str) {
        // A candidate that stopped has nothing to elect.
        self.calls.send(Call::UncleanElectionAllowed(Arc::from(topic))).ok();
    }

    /// To be called when `unclean.leader.election.enable` changes for topics that do not say.
    pub fn set_unclean_election_default(&self, allowed: bool) {
        self.calls.send(Call::UncleanElectionDefault(allowed)).ok();
    }

    /// Resigns, if active, and stops standing for election. Returns when that is done.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        self.calls.closed().await;
    }

    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).ok()?;
        answer.await.ok()
    }
}

fn allocate_producer_ids_refused() -> AllocateProducerIdsResponse {
    AllocateProducerIdsResponse {
        error_code: ErrorCode::NotController.code(),
        ..AllocateProducerIdsResponse::default()
    }
}

fn alter_partition_refused() -> AlterPartitionResponse {
    AlterPartitionResponse {
        error_code: ErrorCode::NotController.code(),
        ..AlterPartitionResponse::default()
    }
}

/// Kafka's answer of a broker that is not the controller is not NOT_CONTROLLER here.
fn controlled_shutdown_refused() -> ControlledShutdownResponse {
    let error_code = ErrorCode::StaleControllerEpoch.code();
    ControlledShutdownResponse { error_code, ..ControlledShutdownResponse::default() }
}

/// The error is that of each partition; the one at the top stays 0.
fn elect_leaders_refused(request: &ElectLeadersRequest) -> ElectLeadersResponse {
    answer_each(request, ErrorCode::NotController)
}
