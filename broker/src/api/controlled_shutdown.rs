//! ControlledShutdown: a broker asks the controller to move its leaderships away before it stops.

use client::wire::messages::{ControlledShutdownRequest, ControlledShutdownResponse};

use super::Context;

pub(super) async fn answer(context: &Context, body: ControlledShutdownRequest) -> ControlledShutdownResponse {
    context.admin.controller.controlled_shutdown(body).await
}
