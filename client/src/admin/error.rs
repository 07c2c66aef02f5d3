//! Why a call of the admin client failed.

use crate::connection::ConnectionError;
use crate::wire::ErrorCode;

/// Why a call failed. The texts are those of Kafka's admin client where it has one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No broker could be reached, or none said that it is the controller. Nothing was sent.
    #[error("Timed out waiting for a node assignment. Call: {call}")]
    NoBroker { call: &'static str, cause: Option<Box<ConnectionError>> },
    /// Sent, perhaps several times; whether it was carried out is not known.
    #[error(
        "Call(callName={call}, deadlineMs={deadline_ms}, tries={tries}, nextAllowedTryMs={next_try_ms}) \
         timed out at {now_ms} after {tries} attempt(s)"
    )]
    TimedOut {
        call: &'static str,
        tries: u32,
        deadline_ms: u128,
        next_try_ms: u128,
        now_ms: u128,
        cause: Option<Box<ConnectionError>>,
    },
    /// The broker's answer.
    #[error("{message}")]
    Refused { code: ErrorCode, message: String },
    #[error("The given topic name '{name}' cannot be represented in a request.")]
    UnrepresentableName { name: String },
    /// The broker does not know the API, or not with what was asked.
    #[error(transparent)]
    Unsupported(#[from] ConnectionError),
}

impl AdminError {
    /// What the network had to say about it, if it was asked.
    pub fn cause(&self) -> Option<&ConnectionError> {
        match self {
            AdminError::NoBroker { cause, .. } | AdminError::TimedOut { cause, .. } => cause.as_deref(),
            AdminError::Refused { .. }
            | AdminError::UnrepresentableName { .. }
            | AdminError::Unsupported(_) => None,
        }
    }

    /// The error in a response, with the broker's text or else Kafka's own; `Ok` if there is none.
    pub(super) fn check(code: i16, message: Option<&str>) -> Result<(), AdminError> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => {
                let message = message.unwrap_or(code.message()).to_owned();
                Err(AdminError::Refused { code, message })
            }
        }
    }
}
