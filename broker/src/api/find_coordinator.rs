//! FindCoordinator: who coordinates a group or a transactional id. Nobody does yet, so the answer
//! is the one that clients take for "ask again later", and no internal topic is made.

use client::wire::messages::find_coordinator_response::Coordinator;
use client::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use client::wire::{ErrorCode, Str};

/// From this version on a request names many coordinators.
const BATCHED: i16 = 4;

/// From this version on there are share groups, but only on KRaft clusters.
const WITH_SHARE_GROUPS: i16 = 6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE_GROUP: i8 = 2;

pub(super) fn answer(version: i16, body: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let (code, message) = outcome(version, body.key_type);
    if version < BATCHED {
        return FindCoordinatorResponse {
            error_code: code.code(),
            error_message: Some(Str::from(code.message())),
            node_id: -1,
            port: -1,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinator = |key: &Str| Coordinator {
        key: key.clone(),
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Coordinator::default()
    };
    FindCoordinatorResponse {
        coordinators: body.coordinator_keys.iter().map(coordinator).collect(),
        ..FindCoordinatorResponse::default()
    }
}

/// The code, and the text of batched answers: only a type that does not exist gets one there.
fn outcome(version: i16, key_type: i8) -> (ErrorCode, &'static str) {
    match key_type {
        GROUP | TRANSACTION => (ErrorCode::CoordinatorNotAvailable, ""),
        SHARE_GROUP if version >= WITH_SHARE_GROUPS => (ErrorCode::CoordinatorNotAvailable, ""),
        SHARE_GROUP => (ErrorCode::InvalidRequest, ""),
        _ => (ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_kafka_while_there_is_no_coordinator() {
        const GENERIC: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
        const ABSENT: &str = "The coordinator is not available.";
        for (version, key_type, code, message) in [
            (0, 0, 15, ABSENT),
            (1, 1, 15, ABSENT),
            (1, 2, 42, GENERIC),
            (3, 5, 42, GENERIC),
            (4, 0, 15, ""),
            (4, 2, 42, ""),
            (5, 7, 42, GENERIC),
            (6, 2, 15, ""),
            (6, -1, 42, GENERIC),
        ] {
            let keys = vec![Str::from("g"), Str::from("h")];
            let request =
                FindCoordinatorRequest { key: Str::from("g"), key_type, coordinator_keys: keys.clone() };
            let response = answer(version, &request);
            let single =
                (response.error_code, response.error_message.as_deref(), response.node_id, response.port);
            if version < 4 {
                assert_eq!(single, (code, Some(message), -1, -1), "v{version} {key_type}");
                assert_eq!(response.coordinators, []);
            } else {
                assert_eq!(response.coordinators.len(), 2);
                for (one, key) in response.coordinators.iter().zip(&keys) {
                    let batched =
                        (&one.key, one.error_code, one.error_message.as_deref(), one.node_id, one.port);
                    assert_eq!(batched, (key, code, Some(message), -1, -1), "v{version} {key_type}");
                }
            }
        }
    }
}
