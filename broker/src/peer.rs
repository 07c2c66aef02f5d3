//! Connections to other brokers, and to this one in its role as controller.

use std::time::Duration;

use client::connection::{Connection, ConnectionError, ConnectionOptions};

use crate::cluster_view::Endpoint;

/// Connects; `timeout` bounds both the connecting and each answer.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    client_id: &str,
    timeout: Duration,
) -> Result<Connection, ConnectionError> {
    let options =
        ConnectionOptions { connect_timeout: timeout, request_timeout: timeout, ..Default::default() };
    Connection::connect(endpoint.to_string(), client_id, options).await
}
