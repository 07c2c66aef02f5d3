//! LeaderAndIsr: the controller gives this broker's replicas their roles.

use std::collections::BTreeSet;

use client::wire::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse};

use super::Context;

pub(super) async fn answer(
    context: &Context,
    version: i16,
    body: LeaderAndIsrRequest,
) -> LeaderAndIsrResponse {
    context.admin.load_configs(new_topics(context, &body)).await;
    context.replicas.leader_and_isr(body, version).await
}

/// The topics of which a partition is not here yet.
fn new_topics(context: &Context, body: &LeaderAndIsrRequest) -> BTreeSet<String> {
    let grouped = body.topic_states.iter().flat_map(|topic| {
        topic.partition_states.iter().map(|state| (&topic.topic_name, state.partition_index))
    });
    let ungrouped =
        body.ungrouped_partition_states.iter().map(|state| (&state.topic_name, state.partition_index));
    grouped
        .chain(ungrouped)
        .filter(|(topic, partition)| context.replicas.partition(topic, *partition).is_none())
        .map(|(topic, _)| topic.to_string())
        .collect()
}
