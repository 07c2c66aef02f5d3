//! AllocateProducerIds: a broker asks the controller for a block of producer ids (KIP-730).

use client::wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use super::Context;

pub(super) async fn answer(
    context: &Context,
    body: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    context.admin.controller.allocate_producer_ids(body).await
}
