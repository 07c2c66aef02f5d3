//! Puts proposals about in-sync sets to the controller (AlterPartition, KIP-497).
//!
//! One request is in flight at a time and carries every open proposal. A proposal is asked again
//! until it is answered, or until a LeaderAndIsr made it void: an unknown outcome stays unknown,
//! and the partition counts both sets meanwhile.

mod questions;

use std::sync::Arc;
use std::time::Duration;

use client::connection::{Connection, ConnectionError};
use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::AlterPartitionResponse;
use tokio::sync::mpsc;

pub use self::questions::{Next, Questions};
use crate::clock::Now;
use crate::cluster_view::{ClusterView, Endpoint};
use crate::control_fence::ControlFence;
use crate::hosted::Hosted;
use crate::partition::Proposed;
use crate::peer;
use crate::spell::Spell;

/// Kafka waits as long before it repeats what failed for no reason it knows.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The task that asks. Ends when nobody can propose any more.
#[derive(Debug)]
pub(crate) struct IsrChannel {
    pub me: BrokerId,
    pub fence: Arc<ControlFence>,
    pub hosted: Arc<Hosted>,
    pub view: ClusterView,
    pub proposals: mpsc::UnboundedReceiver<Proposed>,
    /// `controller.socket.timeout.ms`
    pub timeout: Duration,
    /// The controller hears nothing of it.
    pub refused: Spell,
}

/// The connection to the controller of last time.
#[derive(Debug)]
struct Link {
    controller: BrokerId,
    at: Endpoint,
    connection: Connection,
}

impl IsrChannel {
    pub(crate) async fn run(mut self) {
        let mut open = Questions::default();
        let mut link: Option<Link> = None;
        let mut failures = 0u32;
        loop {
            if open.is_empty() {
                let Some(first) = self.proposals.recv().await else { return };
                open.add(first);
            }
            while let Ok(next) = self.proposals.try_recv() {
                open.add(next);
            }
            open.drop_void(|proposed| {
                self.hosted
                    .get(&proposed.partition)
                    .is_some_and(|partition| partition.awaits(&proposed.proposal))
            });
            if open.is_empty() {
                continue;
            }
            match self.attempt(&mut open, &mut link, failures).await {
                Next::Go => failures = 0,
                Next::RetryLater => tokio::time::sleep(RETRY_AFTER).await,
                Next::FindController => {
                    failures = failures.saturating_add(1);
                    link = None;
                    // Whatever changes in the metadata wakes this; the controller may also be the
                    // same one, which has only not taken over yet.
                    let _ = tokio::time::timeout(RETRY_AFTER, self.view.changed()).await;
                }
            }
        }
    }

    async fn attempt(&self, open: &mut Questions, link: &mut Option<Link>, failures: u32) -> Next {
        let Some((controller, endpoint)) = self.view.controller() else { return Next::FindController };
        let (request, version) = open.request(self.me, self.fence.registration());
        let mut view = self.view.clone();
        let ask = async {
            let connection = self.connected(link, controller, &endpoint).await?;
            connection.send(&request, version).await
        };
        tokio::select! {
            answer = ask => match answer {
                Ok(answer) => self.answered(&answer, open, controller, version),
                Err(error) => {
                    if failures == 0 {
                        tracing::info!(%controller, %error, "no answer about in-sync sets; asking until there is one");
                    } else {
                        tracing::debug!(%controller, %error, failures, "no answer about in-sync sets");
                    }
                    Next::FindController
                }
            },
            // The answer of a controller that was replaced may never come.
            () = view.controller_is_not(controller) => Next::FindController,
        }
    }

    async fn connected(
        &self,
        link: &mut Option<Link>,
        controller: BrokerId,
        endpoint: &Endpoint,
    ) -> Result<Connection, ConnectionError> {
        if let Some(link) = link.as_ref().filter(|link| link.controller == controller && link.at == *endpoint)
        {
            return Ok(link.connection.clone());
        }
        let connection = peer::connect(endpoint, &self.client_id(), self.timeout).await?;
        *link = Some(Link { controller, at: endpoint.clone(), connection: connection.clone() });
        Ok(connection)
    }

    fn client_id(&self) -> String {
        format!("broker-{}-to-controller-alter-partition-channel-manager", self.me)
    }

    fn answered(
        &self,
        answer: &AlterPartitionResponse,
        open: &mut Questions,
        controller: BrokerId,
        version: i16,
    ) -> Next {
        let error = ErrorCode::from_code(answer.error_code);
        match error {
            ErrorCode::None => {
                if let Some(times) = self.refused.ends() {
                    tracing::info!(%controller, times, "the controller hears about in-sync sets again");
                }
            }
            ErrorCode::NotController => {}
            _ if self.refused.begins() => tracing::warn!(
                %controller,
                error = error.name(),
                "the controller refused to hear about in-sync sets; asking until it does"
            ),
            _ => {}
        }
        open.answered(answer, version, |proposed, outcome| {
            if let Some(partition) = self.hosted.get(&proposed.partition) {
                partition.isr_answered(&proposed.proposal, &outcome, Now::read());
            }
        })
    }
}
