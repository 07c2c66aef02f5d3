//! Asking for a producer id.

use tokio::time::sleep;

use crate::cluster::{Cluster, ClusterError};
use crate::connection::{Connection, ConnectionError};
use crate::wire::ErrorCode;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// Asks any broker until one gives an id with its first epoch. `None`: the brokers know no producer ids.
pub(super) async fn ask(cluster: Cluster) -> Result<Option<(i64, i16)>, ErrorCode> {
    let mut failures = 0_u32;
    loop {
        match ask_once(&cluster).await {
            Ok(answer) => match ErrorCode::from_code(answer.error_code) {
                ErrorCode::None => return Ok(Some((answer.producer_id, answer.producer_epoch))),
                code if code.is_retriable() => tracing::debug!(%code, "no producer id yet"),
                code => return Err(code),
            },
            Err(ClusterError::Connection(ConnectionError::NoCommonVersion { .. })) => return Ok(None),
            Err(error) => tracing::debug!(%error, "cannot ask for a producer id at present"),
        }
        failures = failures.saturating_add(1);
        sleep(cluster.options().retry_backoff.pause(failures, rand::random())).await;
    }
}

async fn ask_once(cluster: &Cluster) -> Result<InitProducerIdResponse, ClusterError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        // What Java's producer sends when it has no transactions.
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let question = |connection: Connection| {
        let request = request.clone();
        async move { connection.send_negotiated(&request).await }
    };
    cluster.answer_of_any(question).await
}
