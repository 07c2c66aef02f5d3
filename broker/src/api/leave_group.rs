//! LeaveGroup: members go, or an administrator takes them out.

use client::wire::ErrorCode;
use client::wire::messages::leave_group_request::MemberIdentity;
use client::wire::messages::leave_group_response::MemberResponse;
use client::wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Context;
use crate::group::{GroupError, Leaving};

/// From this version on many members may leave at once, each with an outcome (KIP-345).
const BATCHED: i16 = 3;

pub(super) fn answer(context: &Context, version: i16, body: LeaveGroupRequest) -> LeaveGroupResponse {
    let members = match version {
        BATCHED.. => body.members,
        _ => vec![MemberIdentity { member_id: body.member_id, ..MemberIdentity::default() }],
    };
    let led = match context.coordinator.named(&body.group_id) {
        Ok(led) => led,
        Err(unavailable) => return refused(unavailable.into()),
    };
    let leaving: Vec<Leaving> = members
        .iter()
        .map(|member| Leaving {
            member_id: member.member_id.clone(),
            instance_id: member.group_instance_id.clone(),
        })
        .collect();
    match led.leave(&body.group_id, &leaving) {
        Err(error) => refused(error.into()),
        Ok(outcomes) if version < BATCHED => {
            refused(outcomes.first().map_or(ErrorCode::None, |outcome| code(*outcome)))
        }
        Ok(outcomes) => {
            let member = |(member, outcome): (MemberIdentity, Result<(), GroupError>)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: code(outcome).code(),
            };
            let members = members.into_iter().zip(outcomes).map(member).collect();
            LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
        }
    }
}

fn code(outcome: Result<(), GroupError>) -> ErrorCode {
    outcome.map_or_else(ErrorCode::from, |()| ErrorCode::None)
}

fn refused(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: code.code(), ..LeaveGroupResponse::default() }
}
