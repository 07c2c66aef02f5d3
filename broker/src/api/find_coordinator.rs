//! FindCoordinator: who coordinates a group: the leader of its partition of `__consumer_offsets`, which
//! is made when it is first asked for. Nobody coordinates transactions, so those who ask for that are
//! told to ask again later.

use client::wire::messages::find_coordinator_response::Coordinator;
use client::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use client::wire::{ErrorCode, Str};

use super::{Context, topic_on_demand};
use crate::coordinator::{NotFound, Place};
use crate::group;

/// From this version on a request names many coordinators.
const BATCHED: i16 = 4;

/// From this version on there are share groups, but only on KRaft clusters.
const WITH_SHARE_GROUPS: i16 = 6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE_GROUP: i8 = 2;

/// A code, and the text that goes with it in batched answers.
type Refusal = (ErrorCode, &'static str);

pub(super) async fn answer(
    context: &Context,
    version: i16,
    listener: &str,
    body: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let kind = check_type(version, body.key_type);
    if version < BATCHED {
        let found = match kind {
            Ok(()) => find(context, listener, std::slice::from_ref(&body.key)).await.pop(),
            Err(refusal) => Some(Err(refusal)),
        };
        return single(found.unwrap_or(Err((ErrorCode::CoordinatorNotAvailable, ""))));
    }
    let keys = &body.coordinator_keys;
    let found = match kind {
        Ok(()) => find(context, listener, keys).await,
        Err(refusal) => keys.iter().map(|_| Err(refusal)).collect(),
    };
    let coordinators = keys.iter().zip(found).map(|(key, found)| one_of_many(key, found));
    FindCoordinatorResponse { coordinators: coordinators.collect(), ..FindCoordinatorResponse::default() }
}

/// `Ok` for groups. A text goes only with a type that does not exist.
fn check_type(version: i16, key_type: i8) -> Result<(), Refusal> {
    match key_type {
        GROUP => Ok(()),
        TRANSACTION => Err((ErrorCode::CoordinatorNotAvailable, "")),
        SHARE_GROUP if version >= WITH_SHARE_GROUPS => Err((ErrorCode::CoordinatorNotAvailable, "")),
        SHARE_GROUP => Err((ErrorCode::InvalidRequest, "")),
        _ => Err((ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message())),
    }
}

async fn find(context: &Context, listener: &str, groups: &[Str]) -> Vec<Result<Place, Refusal>> {
    let found: Vec<Result<Place, NotFound>> =
        groups.iter().map(|group| context.coordinator.find(group, listener)).collect();
    if found.contains(&Err(NotFound::NoTopic)) {
        topic_on_demand::create(&context.admin, group::TOPIC).await;
    }
    // Whatever is in the way, the client asks again.
    found.into_iter().map(|one| one.map_err(|_| (ErrorCode::CoordinatorNotAvailable, ""))).collect()
}

fn single(found: Result<Place, Refusal>) -> FindCoordinatorResponse {
    match found {
        Ok(place) => FindCoordinatorResponse {
            // Kafka's name of "no error", where others have none.
            error_message: Some(Str::from_static("NONE")),
            node_id: place.broker.0,
            host: Str::from(&*place.host),
            port: place.port,
            ..FindCoordinatorResponse::default()
        },
        Err((code, _)) => FindCoordinatorResponse {
            error_code: code.code(),
            error_message: Some(Str::from(code.message())),
            node_id: -1,
            port: -1,
            ..FindCoordinatorResponse::default()
        },
    }
}

fn one_of_many(key: &Str, found: Result<Place, Refusal>) -> Coordinator {
    match found {
        Ok(place) => Coordinator {
            key: key.clone(),
            node_id: place.broker.0,
            host: Str::from(&*place.host),
            port: place.port,
            error_message: Some(Str::new()),
            ..Coordinator::default()
        },
        Err((code, message)) => Coordinator {
            key: key.clone(),
            node_id: -1,
            port: -1,
            error_code: code.code(),
            error_message: Some(Str::from(message)),
            ..Coordinator::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{LISTENER, Layout, OneBroker};

    #[tokio::test]
    async fn answers_as_kafka_while_there_is_no_coordinator() {
        let broker = OneBroker::start();
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
            let response = answer(&broker.context, version, LISTENER, &request).await;
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

    #[tokio::test]
    async fn names_the_leader_of_the_groups_partition() {
        let broker = OneBroker::start();
        let leaders = [1, 2, 3, 4];
        broker.assign(&Layout { topic: group::TOPIC, leaders: &leaders, ..Layout::default() }).await;
        // Of four partitions g2 has the last, which a broker leads that nobody has heard of.
        let keys: Vec<Str> = ["g1", "g2", ""].map(Str::from).into();
        let batched = FindCoordinatorRequest { coordinator_keys: keys, ..FindCoordinatorRequest::default() };
        let response = answer(&broker.context, 4, LISTENER, &batched).await;
        let seen: Vec<_> = response
            .coordinators
            .iter()
            .map(|one| (&*one.key, one.error_code, one.node_id, &*one.host, one.port))
            .collect();
        let expected = [("g1", 0, 3, "host3", 9093), ("g2", 15, -1, "", -1), ("", 0, 1, "host1", 9091)];
        assert_eq!(seen, expected);
        assert!(response.coordinators.iter().all(|one| one.error_message.as_deref() == Some("")));

        let single = FindCoordinatorRequest { key: Str::from("g1"), ..FindCoordinatorRequest::default() };
        let response = answer(&broker.context, 3, LISTENER, &single).await;
        let seen =
            (response.error_code, response.error_message.as_deref(), response.node_id, &*response.host);
        assert_eq!(seen, (0, Some("NONE"), 3, "host3"));
        let elsewhere = answer(&broker.context, 3, "OTHER", &single).await;
        assert_eq!((elsewhere.error_code, elsewhere.node_id), (15, -1));
    }
}
