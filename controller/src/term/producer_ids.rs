//! Blocks of producer ids (AllocateProducerIds, KIP-730). Whoever held a block once must be its
//! only holder for ever: two producers with one id would pass for each other's retries.

use client::ids::{BrokerEpoch, BrokerId};
use client::wire::ErrorCode;
use client::wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use client::znode::producer_ids::{self, BLOCK_SIZE, ProducerIdBlock};

use super::Term;
use crate::world::{Node, Rejection, Trouble, World, Write};

/// Why a broker gets no block.
#[derive(Debug, thiserror::Error)]
enum NoBlock {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(
        "{path} is not there. Brokers create it when they start; were the counting begun anew here, ids that are in \
         use would be given out again. Restore it with the last block that was given out, or restart a broker if no \
         idempotent producer ever ran on this cluster",
        path = producer_ids::PATH
    )]
    Absent,
    #[error("{path} cannot be read: {0}", path = producer_ids::PATH)]
    Unreadable(#[from] client::znode::ZnodeError),
    #[error("all producer ids up to {0} are given out")]
    UsedUp(i64),
    #[error("{path} cannot be written: {0}", path = producer_ids::PATH)]
    NotWritten(Rejection),
}

impl<W: World> Term<W> {
    /// Gives the next block to a broker that asks under its present registration.
    pub async fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<AllocateProducerIdsResponse, Trouble> {
        let (id, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let refused = |error: ErrorCode| AllocateProducerIdsResponse {
            error_code: error.code(),
            ..AllocateProducerIdsResponse::default()
        };
        match self.cluster.brokers().get(&id).map(|broker| broker.epoch) {
            None => return Ok(refused(ErrorCode::BrokerIdNotRegistered)),
            Some(known) if known != epoch => {
                tracing::warn!(broker = %id, %epoch, %known, "no producer ids: the broker is registered otherwise");
                return Ok(refused(ErrorCode::StaleBrokerEpoch));
            }
            Some(_) => {}
        }
        match self.next_block(id).await {
            Ok(block) => {
                tracing::info!(broker = %id, start = block.start, end = block.end, "producer ids given out");
                Ok(AllocateProducerIdsResponse {
                    producer_id_start: block.start,
                    producer_id_len: i32::try_from(BLOCK_SIZE).unwrap_or(i32::MAX),
                    ..AllocateProducerIdsResponse::default()
                })
            }
            Err(NoBlock::Trouble(trouble)) => Err(trouble),
            Err(error) => {
                tracing::error!(broker = %id, %error, "no producer ids can be given out");
                Ok(refused(ErrorCode::UnknownServerError))
            }
        }
    }

    /// Brokers of inter-broker protocol 2.8 and earlier take blocks themselves, so a write that was
    /// overtaken is decided again. A block whose write is not known to us is never given out.
    async fn next_block(&self, broker: BrokerId) -> Result<ProducerIdBlock, NoBlock> {
        loop {
            let read = self.world.read(vec![producer_ids::PATH.to_owned()]).await?;
            let Some(Node { data, version, .. }) = read.into_iter().flatten().next() else {
                return Err(NoBlock::Absent);
            };
            let block = match ProducerIdBlock::decode(&data)? {
                None => ProducerIdBlock::first(broker),
                Some(last) => last.next(broker).ok_or(NoBlock::UsedUp(last.end))?,
            };
            let path = producer_ids::PATH.to_owned();
            let write = Write::Set { path, data: block.encode(), version: Some(version) };
            match self.world.commit(vec![write]).await?.into_iter().next() {
                Some(Ok(_)) => return Ok(block),
                Some(Err(Rejection::NoNode)) => return Err(NoBlock::Absent),
                Some(Err(Rejection::BadVersion)) | None => {}
                Some(Err(rejection)) => return Err(NoBlock::NotWritten(rejection)),
            }
        }
    }
}
