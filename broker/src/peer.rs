//! Connections to other brokers, and to this one in its role as controller.

use std::time::Duration;

use client::connection::{Connection, ConnectionError, ConnectionOptions};

use crate::cluster_view::Endpoint;

/// A broker that does not take a connection within this time is not there
/// (`socket.connection.setup.timeout.ms`).
const SETUP_MAX: Duration = Duration::from_secs(10);

/// Connects; `timeout` bounds each answer, and the connecting too if it is short.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    client_id: &str,
    timeout: Duration,
) -> Result<Connection, ConnectionError> {
    let options = ConnectionOptions {
        connect_timeout: timeout.min(SETUP_MAX),
        request_timeout: timeout,
        ..ConnectionOptions::default()
    };
    Connection::connect(endpoint.to_string(), client_id, options).await
}
