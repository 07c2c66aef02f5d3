//! UpdateMetadata: the controller tells the broker what the cluster looks like.

use client::ids::{BrokerEpoch, ControllerEpoch};
use client::wire::ErrorCode;
use client::wire::messages::{UpdateMetadataRequest, UpdateMetadataResponse};

use crate::admin::Admin;
use crate::metadata::StaleController;

pub(super) fn answer(admin: &Admin, body: &UpdateMetadataRequest) -> UpdateMetadataResponse {
    let epochs = (BrokerEpoch(body.broker_epoch), ControllerEpoch(body.controller_epoch));
    let code = match admin.fence.admit(epochs.0, epochs.1, || admin.metadata.update(body)) {
        Ok(Ok(gone)) => {
            for topic in gone {
                admin.config.forget_topic(&topic);
            }
            ErrorCode::None
        }
        Ok(Err(StaleController { asked, known })) => {
            tracing::warn!(controller = body.controller_id, %asked, %known, "metadata of an older controller refused");
            ErrorCode::StaleControllerEpoch
        }
        Err(fenced) => {
            tracing::warn!(controller = body.controller_id, %fenced, "UpdateMetadata refused");
            ErrorCode::from(fenced)
        }
    };
    UpdateMetadataResponse { error_code: code.code() }
}
