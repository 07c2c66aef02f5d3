//! Ids for idempotent producers. Each is given out once in the whole cluster: this broker takes them
//! from blocks of its own, which it gets from the controller (AllocateProducerIds, KIP-730). What is
//! left of its blocks when it stops is never used.

mod blocks;

use std::sync::Arc;
use std::time::Duration;

use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::AllocateProducerIdsRequest;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::cluster_view::ClusterView;
use crate::control_fence::ControlFence;
use crate::peer::{self, AskError};
use blocks::{Block, Blocks};

/// AllocateProducerIds has one version.
const VERSION: i16 = 0;

/// How long a request waits for a block. Kafka waits 5 ms, so that the first producer of each broker
/// is always sent away once; a controller that is there answers within a few times that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pause before the controller is asked again, as in Kafka.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// No block came in time: the controller or ZooKeeper is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller has not given out producer ids in time")]
pub struct NoneYet;

/// The ids this broker may give to producers.
#[derive(Debug)]
pub struct ProducerIds {
    blocks: watch::Sender<Blocks>,
}

impl Default for ProducerIds {
    /// Without any, until somebody fetches blocks.
    fn default() -> ProducerIds {
        ProducerIds { blocks: watch::Sender::new(Blocks::default()) }
    }
}

impl ProducerIds {
    /// An id that nobody had before, as soon as there is one.
    pub async fn next_id(&self) -> Result<i64, NoneYet> {
        let mut blocks = self.blocks.subscribe();
        let waiting = async {
            loop {
                if let Some(id) = self.take() {
                    return Ok(id);
                }
                blocks.wait_for(|blocks| !blocks.is_empty()).await.map_err(|_| NoneYet)?;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or(Err(NoneYet))
    }

    fn take(&self) -> Option<i64> {
        let mut taken = None;
        self.blocks.send_if_modified(|blocks| {
            let wanted = blocks.is_wanted();
            taken = blocks.take();
            wanted != blocks.is_wanted()
        });
        taken
    }
}

/// The task that gets blocks from the controller whenever they are wanted.
#[derive(Debug)]
pub(crate) struct BlockFetcher {
    pub me: BrokerId,
    pub fence: Arc<ControlFence>,
    pub view: ClusterView,
    /// `controller.socket.timeout.ms`
    pub timeout: Duration,
}

/// Why the controller gave no block.
#[derive(Debug, thiserror::Error)]
enum NoBlock {
    #[error(transparent)]
    Unasked(#[from] AskError),
    #[error("it answered {}: {}", .0.name(), .0.message())]
    Refused(ErrorCode),
    #[error("it answered with {len} ids from {start} on, which is no block")]
    Nonsense { start: i64, len: i32 },
}

impl BlockFetcher {
    pub(crate) fn spawn(self, ids: Arc<ProducerIds>) -> JoinHandle<()> {
        controller::vital::spawn("producer ids", self.run(ids))
    }

    async fn run(self, ids: Arc<ProducerIds>) {
        let mut blocks = ids.blocks.subscribe();
        let mut failures = 0u32;
        while blocks.wait_for(Blocks::is_wanted).await.is_ok() {
            match self.ask().await {
                Ok(block) => {
                    failures = 0;
                    tracing::info!(start = block.start, end = block.end, "got producer ids");
                    ids.blocks.send_modify(|blocks| blocks.add(block));
                }
                Err(error) => {
                    match failures {
                        0 => {
                            tracing::warn!(%error, "no producer ids from the controller; asking until there are some")
                        }
                        _ => tracing::debug!(%error, failures, "no producer ids from the controller"),
                    }
                    failures = failures.saturating_add(1);
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn ask(&self) -> Result<Block, NoBlock> {
        let client_id = format!("broker-{}-to-controller-producer-ids", self.me);
        let request =
            AllocateProducerIdsRequest { broker_id: self.me.0, broker_epoch: self.fence.registration().0 };
        let answer = peer::ask_controller(&self.view, &client_id, self.timeout, &request, VERSION).await?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {
                let (start, len) = (answer.producer_id_start, answer.producer_id_len);
                Block::new(start, len).ok_or(NoBlock::Nonsense { start, len })
            }
            error => Err(NoBlock::Refused(error)),
        }
    }
}

#[cfg(test)]
impl ProducerIds {
    /// With one block.
    pub(crate) fn with_block(start: i64, len: i32) -> ProducerIds {
        let ids = ProducerIds::default();
        let block = Block::new(start, len).expect("a block");
        ids.blocks.send_modify(|blocks| blocks.add(block));
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_an_id_when_a_block_comes() {
        let ids = Arc::new(ProducerIds::default());
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let ids = Arc::clone(&ids);
                tokio::spawn(async move { ids.next_id().await })
            })
            .collect();
        let mut blocks = ids.blocks.subscribe();
        blocks.wait_for(Blocks::is_wanted).await.expect("it is asked for");
        let few = Block::new(7, 3).expect("a block");
        ids.blocks.send_modify(|blocks| blocks.add(few));
        // Three have theirs, so the last two want another block.
        blocks.wait_for(|blocks| blocks.is_empty() && blocks.is_wanted()).await.expect("it is asked for");
        ids.blocks.send_modify(|blocks| blocks.add(Block::new(20, 1000).expect("a block")));
        let mut got = Vec::new();
        for waiter in waiting {
            got.push(waiter.await.expect("no panic").expect("an id"));
        }
        got.sort_unstable();
        assert_eq!(got, [7, 8, 9, 20, 21]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let ids = ProducerIds::default();
        assert_eq!(ids.next_id().await, Err(NoneYet));
        assert!(ids.blocks.borrow().is_wanted());
    }
}
