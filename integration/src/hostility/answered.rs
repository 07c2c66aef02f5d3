//! Waiting for the broker, never without end.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;

/// Nobody waits longer for an answer, or for being let in or thrown out.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Why a run has ended before it could tell how the broker bore it.
#[derive(Debug, thiserror::Error)]
pub enum Abandoned {
    #[error("the broker did not answer {whom} for {} s", waited.as_secs())]
    Silence { whom: String, waited: Duration },
    #[error("the broker did not serve {whom}: {why}")]
    Refusal { whom: String, why: String },
}

/// What comes of waiting for the broker on behalf of `whom`, at most for [`PATIENCE`].
pub(super) async fn answered<T, E: Display>(
    whom: &str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Abandoned> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Abandoned::Refusal { whom: whom.to_owned(), why: error.to_string() }),
        Err(_) => Err(Abandoned::Silence { whom: whom.to_owned(), waited: PATIENCE }),
    }
}
