//! ListGroups: the groups that this broker coordinates.

use client::wire::messages::list_groups_response::ListedGroup;
use client::wire::messages::{ListGroupsRequest, ListGroupsResponse};
use client::wire::{ErrorCode, Str};

use super::Context;
use crate::group::Overview;

/// The only kind of group on a cluster with ZooKeeper.
const CLASSIC: &str = "classic";

pub(super) fn answer(context: &Context, body: &ListGroupsRequest) -> ListGroupsResponse {
    let led = context.coordinator.all_led();
    let loaded = led.iter().filter(|led| led.leads()).all(|led| led.is_loaded());
    let code = if loaded { ErrorCode::None } else { ErrorCode::CoordinatorLoadInProgress };
    let groups = match is_asked_for(&body.types_filter, CLASSIC) {
        true => led.iter().flat_map(|led| led.list()).collect(),
        false => Vec::new(),
    };
    let shown = groups.into_iter().filter(|group| is_asked_for(&body.states_filter, group.state.name()));
    ListGroupsResponse {
        error_code: code.code(),
        groups: shown.map(listed).collect(),
        ..ListGroupsResponse::default()
    }
}

/// No filter lets everything pass; names that mean nothing match nothing.
fn is_asked_for(filter: &[Str], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|asked| asked.eq_ignore_ascii_case(name))
}

fn listed(group: Overview) -> ListedGroup {
    ListedGroup {
        group_id: group.id,
        protocol_type: group.protocol_type,
        group_state: Str::from_static(group.state.name()),
        group_type: Str::from_static(CLASSIC),
    }
}
