//! OffsetDelete: a group's offsets of topics that no member reads (KIP-496).

use std::sync::Arc;

use client::ids::TopicPartition;
use client::wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use client::wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use client::wire::{ErrorCode, Str};

use super::Context;

pub(super) async fn answer(context: &Context, body: OffsetDeleteRequest) -> OffsetDeleteResponse {
    match delete(context, &body).await {
        Ok(topics) => OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() },
        Err(code) => OffsetDeleteResponse { error_code: code.code(), ..OffsetDeleteResponse::default() },
    }
}

/// `Err`: the answer for the group as a whole.
async fn delete(
    context: &Context,
    body: &OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
    let led = context.coordinator.named(&body.group_id)?;
    let names: Vec<Str> = body.topics.iter().map(|topic| topic.name.clone()).collect();
    let are_read = led.check_offset_delete(&body.group_id, &names)?;
    let metadata = context.metadata.snapshot();
    let mut doomed = Vec::new();
    let mut topics = Vec::new();
    for (topic, is_read) in body.topics.iter().zip(are_read) {
        let name: Arc<str> = Arc::from(&*topic.name);
        let partitions = topic.partitions.iter().map(|one| {
            let code = if metadata.partition(&name, one.partition_index).is_none() {
                ErrorCode::UnknownTopicOrPartition
            } else if is_read {
                ErrorCode::GroupSubscribedToTopic
            } else {
                doomed.push(TopicPartition::new(Arc::clone(&name), one.partition_index));
                ErrorCode::None
            };
            OffsetDeleteResponsePartition { partition_index: one.partition_index, error_code: code.code() }
        });
        topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() });
    }
    led.delete_offsets(&body.group_id, &doomed).await?;
    Ok(topics)
}
