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
