//! Connections to other brokers, and to this one in its role as controller.

use std::time::Duration;

use client::connection::{Connection, ConnectionError, ConnectionOptions};
use client::wire;

use crate::cluster_view::{ClusterView, Endpoint};

/// For one attempt to connect. Of a longer one the last part would be spent in the system's pauses, which
/// double: a network that is whole again is to be noticed within a second or two.
const SETUP_MAX: Duration = Duration::from_secs(2);
/// A peer whose machine gives no sign of itself for so long is connected to anew.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// Why there is no answer of the controller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no controller is known")]
    NoController,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Connects; `timeout` bounds each answer, and the connecting too if it is short.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    client_id: &str,
    timeout: Duration,
) -> Result<Connection, ConnectionError> {
    let options = ConnectionOptions {
        connect_timeout: timeout.min(SETUP_MAX),
        request_timeout: timeout,
        max_silence: Some(SILENCE_MAX),
        ..ConnectionOptions::default()
    };
    Connection::connect(endpoint.to_string(), client_id, options).await
}

/// Asks the controller, as far as it is known, one thing by a connection of its own. Gives up when
/// another one becomes controller, whose predecessor may never answer.
pub(crate) async fn ask_controller<R: wire::Request>(
    view: &ClusterView,
    client_id: &str,
    timeout: Duration,
    request: &R,
    version: i16,
) -> Result<R::Response, AskError> {
    let (id, endpoint) = view.controller().ok_or(AskError::NoController)?;
    let mut view = view.clone();
    let asking = async {
        let connection = connect(&endpoint, client_id, timeout).await?;
        Ok(connection.send(request, version).await?)
    };
    tokio::select! {
        answer = asking => answer,
        () = view.controller_is_not(id) => Err(AskError::NoController),
    }
}
