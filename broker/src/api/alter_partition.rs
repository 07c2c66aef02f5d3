//! AlterPartition: a leader asks the controller to change an in-sync set (KIP-497).

use client::wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

use super::Context;

pub(super) async fn answer(
    context: &Context,
    version: i16,
    body: AlterPartitionRequest,
) -> AlterPartitionResponse {
    context.admin.controller.alter_partition(body, version).await
}
