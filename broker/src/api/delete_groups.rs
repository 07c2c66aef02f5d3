//! DeleteGroups: groups without members, with all that was kept for them.

use std::collections::BTreeSet;

use client::wire::messages::delete_groups_response::DeletableGroupResult;
use client::wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use client::wire::{ErrorCode, Str};
use futures::future::join_all;

use super::Context;

pub(super) async fn answer(context: &Context, body: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let groups: BTreeSet<Str> = body.groups_names.into_iter().collect();
    let results = groups.into_iter().map(async |group| {
        let code = delete(context, &group).await.map_or_else(|code| code, |()| ErrorCode::None);
        DeletableGroupResult { group_id: group, error_code: code.code() }
    });
    DeleteGroupsResponse { results: join_all(results).await, ..DeleteGroupsResponse::default() }
}

async fn delete(context: &Context, group: &str) -> Result<(), ErrorCode> {
    context.coordinator.led(group)?.delete(group).await
}
