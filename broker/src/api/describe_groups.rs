//! DescribeGroups: state, members and who has which part.

use client::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use client::wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use client::wire::{ErrorCode, Str};

use super::Context;
use super::authorized::GROUP_OPERATIONS;
use crate::group::{MemberDescription, State};

pub(super) fn answer(context: &Context, body: &DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = body.groups.iter().map(|group| {
        let described = describe(context, group);
        let tells_operations =
            body.include_authorized_operations && described.error_code == ErrorCode::None.code();
        match tells_operations {
            true => DescribedGroup { authorized_operations: GROUP_OPERATIONS, ..described },
            false => described,
        }
    });
    DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
}

fn describe(context: &Context, group: &Str) -> DescribedGroup {
    let described = DescribedGroup { group_id: group.clone(), ..DescribedGroup::default() };
    match context.coordinator.led(group) {
        Err(unavailable) => DescribedGroup { error_code: ErrorCode::from(unavailable).code(), ..described },
        Ok(led) => match led.describe(group) {
            // Kafka's way to say that there is no such group.
            None => DescribedGroup { group_state: Str::from_static(State::Dead.name()), ..described },
            Some(group) => DescribedGroup {
                group_state: Str::from_static(group.state.name()),
                protocol_type: group.protocol_type,
                protocol_data: group.protocol,
                members: group.members.into_iter().map(member).collect(),
                ..described
            },
        },
    }
}

fn member(member: MemberDescription) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
