//! SyncGroup: a member gets its part of the work, the leader says everyone's. The answer waits until
//! the leader has, and its word is stored.

use bytes::Bytes;
use client::wire::ErrorCode;
use client::wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::Context;
use crate::coordinator::Unavailable;
use crate::group::Sync;

/// From this version on a member has to say which protocol it means (KIP-559).
const PROTOCOL_REQUIRED: i16 = 5;

pub(super) async fn answer(context: &Context, version: i16, body: SyncGroupRequest) -> SyncGroupResponse {
    let names_protocol = body.protocol_type.is_some() && body.protocol_name.is_some();
    if version >= PROTOCOL_REQUIRED && !names_protocol {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let led = match context.coordinator.named(&body.group_id) {
        Ok(led) => led,
        // The member joins again, and by then its group may be loaded.
        Err(Unavailable::Loading) => return refused(ErrorCode::RebalanceInProgress),
        Err(unavailable) => return refused(unavailable.into()),
    };
    let group = body.group_id.clone();
    match led.sync(&group, sync(body)).await {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol,
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
        Err(error) => refused(error.into()),
    }
}

/// Copies the bytes, which are kept and must not hold on to the request's frame.
fn sync(body: SyncGroupRequest) -> Sync {
    let assignments =
        body.assignments.into_iter().map(|one| (one.member_id, Bytes::copy_from_slice(&one.assignment)));
    Sync {
        assignments: assignments.collect(),
        generation: body.generation_id,
        member_id: body.member_id,
        instance_id: body.group_instance_id,
        protocol_type: body.protocol_type,
        protocol: body.protocol_name,
    }
}

fn refused(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..SyncGroupResponse::default() }
}
