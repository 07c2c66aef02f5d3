//! UpdateMetadata: the controller tells the broker what the cluster looks like.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::ids::{BrokerEpoch, ControllerEpoch};
use client::wire::ErrorCode;
use client::wire::messages::{UpdateMetadataRequest, UpdateMetadataResponse};

use crate::admin::Admin;
use crate::metadata::StaleController;

/// The answer, and the topics that are gone.
pub(super) fn answer(
    admin: &Admin,
    body: &UpdateMetadataRequest,
) -> (UpdateMetadataResponse, BTreeSet<Arc<str>>) {
    let mut deleted = BTreeSet::new();
    let epochs = (BrokerEpoch(body.broker_epoch), ControllerEpoch(body.controller_epoch));
    let code = match admin.fence.admit(epochs.0, epochs.1, || admin.metadata.update(body)) {
        Ok(Ok(gone)) => {
            for topic in &gone {
                admin.config.forget_topic(topic);
            }
            deleted.extend(gone);
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
    (UpdateMetadataResponse { error_code: code.code() }, deleted)
}

#[cfg(test)]
mod tests {
    use client::wire::Str;
    use client::wire::messages::update_metadata_request::{
        UpdateMetadataPartitionState, UpdateMetadataTopicState,
    };

    use super::*;
    use crate::api::admin_testing::admin_with;

    #[test]
    fn controllers_are_obeyed_in_their_order() {
        let admin = admin_with(&[]);
        admin.fence.registered(BrokerEpoch(50));
        for (broker_epoch, controller_epoch, code) in
            [(50, 1, 0), (-1, 1, 0), (51, 3, 0), (49, 3, 77), (50, 2, 11)]
        {
            let body =
                UpdateMetadataRequest { broker_epoch, controller_epoch, ..UpdateMetadataRequest::default() };
            assert_eq!(answer(&admin, &body).0.error_code, code, "{broker_epoch} {controller_epoch}");
        }
    }

    #[test]
    fn a_deleted_topic_leaves_no_configuration_behind() {
        let admin = admin_with(&[]);
        let overrides = [(String::from("retention.ms"), String::from("5"))].into();
        admin.config.put_topic("__consumer_offsets", overrides);
        let deleted = UpdateMetadataPartitionState { leader: -2, ..UpdateMetadataPartitionState::default() };
        let body = UpdateMetadataRequest {
            controller_epoch: 1,
            topic_states: vec![UpdateMetadataTopicState {
                topic_name: Str::from("__consumer_offsets"),
                partition_states: vec![deleted],
                ..UpdateMetadataTopicState::default()
            }],
            ..UpdateMetadataRequest::default()
        };
        assert_eq!(answer(&admin, &body).0.error_code, 0);
        assert!(admin.metadata.snapshot().topic("__consumer_offsets").is_none());
        assert!(admin.config.topic_overrides("__consumer_offsets").is_empty());
    }
}
