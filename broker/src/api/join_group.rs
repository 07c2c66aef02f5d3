//! JoinGroup: a member takes part in its group's next generation. The answer waits until that begins.

use std::time::Duration;

use bytes::Bytes;
use client::wire::messages::join_group_request::JoinGroupRequestProtocol;
use client::wire::messages::join_group_response::JoinGroupResponseMember;
use client::wire::messages::{JoinGroupRequest, JoinGroupResponse};
use client::wire::{ErrorCode, MAX_STRING, Str};

use super::{Context, Request};
use crate::group::{Join, JoinRefused, Joined, Protocol};

/// From this version on there is a timeout for rebalances; before, it was that of sessions.
const REBALANCE_TIMEOUT: i16 = 1;

/// From this version on a new member has to join again by the id it is given (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;

/// From this version on the name of the protocol may be null.
const NULLABLE_PROTOCOL: i16 = 7;

/// From this version on a leader can be told not to assign (KIP-814).
const SKIPS_ASSIGNMENT: i16 = 9;

pub(super) async fn answer(
    context: &Context,
    request: &Request,
    body: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = request.version;
    let member_id = body.member_id.clone();
    match context.coordinator.named(&body.group_id) {
        Err(unavailable) => refused(version, unavailable.into(), member_id),
        Ok(led) => {
            let group = body.group_id.clone();
            let join = join(request, body);
            if join.member_id.is_empty() && join.new_member_id.len() > MAX_STRING {
                // No answer could hold the id, neither the member's own nor its leader's.
                return refused(version, ErrorCode::UnknownServerError, member_id);
            }
            match led.join(&group, join).await {
                Ok(joined) => response(joined),
                Err(JoinRefused { error, member_id }) => refused(version, error.into(), member_id),
            }
        }
    }
}

/// Copies the bytes, which are kept and must not hold on to the request's frame.
fn join(request: &Request, body: JoinGroupRequest) -> Join {
    let client_id = request.client_id.clone().unwrap_or_default();
    let prefix = body.group_instance_id.as_ref().unwrap_or(&client_id);
    let rebalance_timeout_ms = match request.version {
        REBALANCE_TIMEOUT.. => body.rebalance_timeout_ms,
        _ => body.session_timeout_ms,
    };
    let protocol = |protocol: JoinGroupRequestProtocol| Protocol {
        name: protocol.name,
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    Join {
        new_member_id: new_member_id(prefix, rand::random()),
        member_id: body.member_id,
        instance_id: body.group_instance_id,
        must_know_id: request.version >= MEMBER_ID_REQUIRED,
        can_skip_assignment: request.version >= SKIPS_ASSIGNMENT,
        client_host: Str::from(format!("/{}", request.peer.ip())),
        session_timeout: millis(body.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout_ms),
        protocol_type: body.protocol_type,
        protocols: body.protocols.into_iter().map(protocol).collect(),
        client_id,
    }
}

fn response(joined: Joined) -> JoinGroupResponse {
    let member = |member: crate::group::JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: Some(joined.protocol.unwrap_or_default()),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(version: i16, code: ErrorCode, member_id: Str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        protocol_name: (version < NULLABLE_PROTOCOL).then(Str::new),
        member_id,
        ..JoinGroupResponse::default()
    }
}

/// `<client id>-<uuid>`, or the instance id of a static member in front.
fn new_member_id(prefix: &str, random: u128) -> Str {
    // A random UUID: version 4, variant 1.
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let field = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
    Str::from(format!(
        "{prefix}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        field(96, 8),
        field(80, 4),
        field(64, 4),
        field(48, 4),
        field(0, 12)
    ))
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_end_in_a_random_uuid() {
        assert_eq!(new_member_id("c", 0), "c-00000000-0000-4000-8000-000000000000");
        assert_eq!(new_member_id("", u128::MAX), "-ffffffff-ffff-4fff-bfff-ffffffffffff");
        let some = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(new_member_id("i", some), "i-01234567-89ab-4def-8123-456789abcdef");
    }
}
