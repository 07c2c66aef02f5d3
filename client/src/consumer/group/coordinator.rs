//! Who coordinates the group, and the connections to it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::{Cluster, ClusterError};
use crate::connection::{Connection, ConnectionError};
use crate::ids::BrokerId;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::{ApiKey, ErrorCode, Request, Str};

/// `key_type` of groups.
const GROUP: i8 = 0;

/// Brokers answer the requests of a connection one after the other, and hold JoinGroup and SyncGroup until the
/// whole group is there. So what must not wait for that has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Joining,
    Beating,
    Offsets,
}

/// Why the coordinator gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("nobody tells who coordinates group {group}: {code}: {}", code.message())]
    NotFound { group: String, code: ErrorCode },
}

impl CoordinatorError {
    /// Whether the same may succeed later without anybody's help.
    pub fn is_retriable(&self) -> bool {
        match self {
            CoordinatorError::Cluster(error) => error.is_retriable(),
            CoordinatorError::Connection(error) => error.is_retriable(),
            CoordinatorError::NotFound { code, .. } => code.is_retriable(),
        }
    }
}

#[derive(Debug)]
pub(in crate::consumer) struct Coordinator {
    cluster: Cluster,
    group_id: Str,
    links: Mutex<Links>,
    /// Held by who asks for the coordinator: the others take what it finds.
    finding: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Links {
    broker: Option<BrokerId>,
    open: HashMap<Purpose, (BrokerId, Connection)>,
}

impl Coordinator {
    pub(in crate::consumer) fn new(cluster: Cluster, group_id: Str) -> Coordinator {
        Coordinator { cluster, group_id, links: Mutex::default(), finding: tokio::sync::Mutex::default() }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Sends what `request` makes for the version that both sides know, once. When no answer comes, the
    /// coordinator is looked for again before the next time.
    pub(super) async fn ask<R: Request>(
        &self,
        purpose: Purpose,
        within: Duration,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, CoordinatorError> {
        let (broker, link) = self.link(purpose).await?;
        let answer = async {
            let peer = link.negotiate().await?;
            let version = peer.latest(R::KEY).ok_or_else(|| ConnectionError::NoCommonVersion {
                address: link.address().into(),
                api: R::KEY,
                theirs: peer.range(R::KEY),
            })?;
            link.send_within(&request(version), version, within).await
        };
        let answer = answer.await.map_err(CoordinatorError::from);
        answer.inspect_err(|_| self.forget(broker))
    }

    /// The broker that was asked says that it is not the coordinator.
    pub(super) fn moved(&self) {
        self.links().broker = None;
    }

    fn forget(&self, broker: BrokerId) {
        let mut links = self.links();
        if links.broker == Some(broker) {
            links.broker = None;
        }
    }

    async fn link(&self, purpose: Purpose) -> Result<(BrokerId, Connection), CoordinatorError> {
        let broker = self.broker().await?;
        if let Some((to, open)) = self.links().open.get(&purpose)
            && *to == broker
            && !open.is_closed()
        {
            return Ok((broker, open.clone()));
        }
        let opened = self.cluster.dedicated_connection(broker).await.inspect_err(|_| self.forget(broker))?;
        self.links().open.insert(purpose, (broker, opened.clone()));
        Ok((broker, opened))
    }

    async fn broker(&self) -> Result<BrokerId, CoordinatorError> {
        let known = || self.links().broker;
        if let Some(broker) = known() {
            return Ok(broker);
        }
        let _one_at_a_time = self.finding.lock().await;
        if let Some(broker) = known() {
            return Ok(broker);
        }
        let broker = self.find().await?;
        tracing::debug!(group = %self.group_id, %broker, "the group's coordinator");
        self.links().broker = Some(broker);
        Ok(broker)
    }

    async fn find(&self) -> Result<BrokerId, CoordinatorError> {
        let question = |connection: Connection| async move {
            let peer = connection.negotiate().await?;
            let several = peer.latest(ApiKey::FindCoordinator).is_some_and(|version| version >= 4);
            let request = FindCoordinatorRequest {
                key: if several { Str::new() } else { self.group_id.clone() },
                key_type: GROUP,
                coordinator_keys: if several { vec![self.group_id.clone()] } else { Vec::new() },
            };
            connection.send_negotiated(&request).await
        };
        let answer = self.cluster.answer_of_any(question).await?;
        let (code, broker) = coordinator_of(&answer);
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(broker),
            code => Err(CoordinatorError::NotFound { group: self.group_id.to_string(), code }),
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // Nothing panics while it holds the lock; were it so, the links are still whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From version 4 on the answer is a list, of one here.
fn coordinator_of(answer: &FindCoordinatorResponse) -> (i16, BrokerId) {
    match answer.coordinators.first() {
        Some(found) => (found.error_code, BrokerId(found.node_id)),
        None => (answer.error_code, BrokerId(answer.node_id)),
    }
}
