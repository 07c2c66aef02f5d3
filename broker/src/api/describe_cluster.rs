//! DescribeCluster: brokers and controller (KIP-700).

use client::wire::messages::describe_cluster_response::DescribeClusterBroker;
use client::wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use client::wire::{ErrorCode, Str};

use super::authorized::CLUSTER_OPERATIONS;
use crate::admin::Admin;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn answer(
    admin: &Admin,
    listener: &str,
    body: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refuse = |code: ErrorCode, message: String| DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..DescribeClusterResponse::default()
    };
    match body.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refuse(ErrorCode::MismatchedEndpointType, String::from(message));
        }
        other => {
            return refuse(ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"));
        }
    }
    let cluster = admin.metadata.snapshot();
    let brokers = cluster.brokers().values().filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: Str::from(&*endpoint.host),
            port: endpoint.port,
            rack: broker.rack.as_deref().map(Str::from),
        })
    });
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: Str::from(&*admin.cluster_id),
        controller_id: cluster.controller().map_or(-1, |id| id.0),
        brokers: brokers.collect(),
        ..DescribeClusterResponse::default()
    };
    if body.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin_testing::{CLUSTER_ID, admin_with, through_the_wire};

    #[test]
    fn shows_the_brokers_of_the_listener() {
        let admin = admin_with(&[]);
        for (version, listener, include, expected, operations) in [
            (0, "INSIDE", false, vec![(1, 9091), (2, 9092)], i32::MIN),
            (1, "INSIDE", true, vec![(1, 9091), (2, 9092)], 8096),
            (1, "OUTSIDE", false, vec![(1, 19091)], i32::MIN),
            (1, "NOWHERE", false, vec![], i32::MIN),
        ] {
            let body = DescribeClusterRequest {
                include_cluster_authorized_operations: include,
                endpoint_type: BROKERS,
            };
            let response = through_the_wire(&answer(&admin, listener, &body), version);
            let brokers: Vec<(i32, i32)> = response.brokers.iter().map(|b| (b.broker_id, b.port)).collect();
            assert_eq!(brokers, expected);
            assert_eq!((&*response.cluster_id, response.controller_id), (CLUSTER_ID, 2));
            assert_eq!((response.error_code, response.cluster_authorized_operations), (0, operations));
        }
    }

    #[test]
    fn there_are_only_broker_endpoints() {
        for (endpoint_type, code, message) in [
            (
                2,
                114,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            ),
            (7, 115, "Unsupported endpoint type 7"),
        ] {
            let body = DescribeClusterRequest { include_cluster_authorized_operations: true, endpoint_type };
            let response = through_the_wire(&answer(&admin_with(&[]), "INSIDE", &body), 1);
            assert_eq!((response.error_code, response.error_message.as_deref()), (code, Some(message)));
            assert_eq!((&*response.cluster_id, response.controller_id, response.endpoint_type), ("", -1, 1));
            assert_eq!(response.cluster_authorized_operations, i32::MIN);
        }
    }
}
