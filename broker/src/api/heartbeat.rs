//! Heartbeat: a member is alive, and hears whether it has to join again.

use client::wire::ErrorCode;
use client::wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::Context;
use crate::coordinator::Unavailable;
use crate::group::Identity;

pub(super) fn answer(context: &Context, body: &HeartbeatRequest) -> HeartbeatResponse {
    HeartbeatResponse { error_code: outcome(context, body).code(), ..HeartbeatResponse::default() }
}

fn outcome(context: &Context, body: &HeartbeatRequest) -> ErrorCode {
    let who = Identity {
        member_id: &body.member_id,
        instance_id: body.group_instance_id.as_deref(),
        generation: body.generation_id,
    };
    match context.coordinator.named(&body.group_id) {
        Ok(led) => led.heartbeat(&body.group_id, who).map_or_else(ErrorCode::from, |()| ErrorCode::None),
        // Nothing is known of the member yet, so nothing is wrong with it.
        Err(Unavailable::Loading) => ErrorCode::None,
        Err(unavailable) => unavailable.into(),
    }
}
