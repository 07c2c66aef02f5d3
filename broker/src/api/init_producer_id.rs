//! InitProducerId: a producer asks for the id under which its batches are told from their repeats
//! (KIP-98). Whoever is not transactional gets a new one each time, with epoch 0; what it had before
//! does not matter.

use client::wire::ErrorCode;
use client::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::Context;
use crate::producer_ids::NoneYet;

/// Says that a producer has no id or epoch yet.
const NONE: i64 = -1;

/// Why a producer gets no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// An id without an epoch, an epoch without an id, or an empty transactional id.
    Malformed,
    /// The timeout is not within `transaction.max.timeout.ms`.
    Timeout,
    /// Nobody coordinates transactions, so it is not this broker either.
    NotCoordinator,
    NoneYet,
}

impl From<NoneYet> for Refusal {
    fn from(_: NoneYet) -> Refusal {
        Refusal::NoneYet
    }
}

impl From<Refusal> for ErrorCode {
    fn from(refusal: Refusal) -> ErrorCode {
        match refusal {
            Refusal::Malformed => ErrorCode::InvalidRequest,
            Refusal::Timeout => ErrorCode::InvalidTransactionTimeout,
            Refusal::NotCoordinator => ErrorCode::NotCoordinator,
            Refusal::NoneYet => ErrorCode::CoordinatorLoadInProgress,
        }
    }
}

pub(super) async fn answer(context: &Context, body: &InitProducerIdRequest) -> InitProducerIdResponse {
    match producer_id(context, body).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() },
        Err(refusal) => InitProducerIdResponse {
            error_code: ErrorCode::from(refusal).code(),
            producer_id: NONE,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

async fn producer_id(context: &Context, body: &InitProducerIdRequest) -> Result<i64, Refusal> {
    if (body.producer_id == NONE) != (body.producer_epoch == -1) {
        return Err(Refusal::Malformed);
    }
    match body.transactional_id.as_deref() {
        None => Ok(context.producer_ids.next_id().await?),
        Some("") => Err(Refusal::Malformed),
        Some(_)
            if !(1..=context.config.transaction_timeout_max_ms).contains(&body.transaction_timeout_ms) =>
        {
            Err(Refusal::Timeout)
        }
        Some(_) => Err(Refusal::NotCoordinator),
    }
}

#[cfg(test)]
mod tests {
    use client::wire::Str;

    use super::*;
    use crate::api::testing::OneBroker;

    #[tokio::test]
    async fn every_version_gets_an_id_of_its_own() {
        let broker = OneBroker::start();
        for version in 0..=5 {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                ..InitProducerIdRequest::default()
            };
            let response = broker.call(version, &request).await;
            let id = i64::from(version) + OneBroker::FIRST_PRODUCER_ID;
            assert_eq!((response.error_code, response.producer_id, response.producer_epoch), (0, id, 0));
        }
    }

    #[tokio::test]
    async fn what_is_refused() {
        let broker = OneBroker::start();
        let (malformed, timeout, elsewhere) =
            (ErrorCode::InvalidRequest, ErrorCode::InvalidTransactionTimeout, ErrorCode::NotCoordinator);
        for (transactional_id, timeout_ms, producer_id, producer_epoch, expected) in [
            (None, 0, 5, -1, malformed),
            (None, 0, -1, 0, malformed),
            (Some("x"), 0, -1, 0, malformed),
            (Some(""), 1000, -1, -1, malformed),
            (Some("x"), 0, -1, -1, timeout),
            (Some("x"), -1, -1, -1, timeout),
            (Some("x"), 900_001, 4, 4, timeout),
            (Some("x"), 900_000, -1, -1, elsewhere),
            (Some("x"), 1, 4, 4, elsewhere),
            (None, -7, 4, 4, ErrorCode::None),
        ] {
            let request = InitProducerIdRequest {
                transactional_id: transactional_id.map(Str::from),
                transaction_timeout_ms: timeout_ms,
                producer_id,
                producer_epoch,
            };
            let response = broker.call(4, &request).await;
            assert_eq!(response.error_code, expected.code(), "{request:?}");
            if expected != ErrorCode::None {
                assert_eq!((response.producer_id, response.producer_epoch), (-1, -1), "{request:?}");
            }
        }
    }
}
