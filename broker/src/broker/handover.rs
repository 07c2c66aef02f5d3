//! Controlled shutdown: asking the controller to move this broker's leaderships before it stops.

use std::time::Duration;

use client::ids::{BrokerId, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use tokio::time::{Instant, timeout};

use crate::cluster_view::ClusterView;
use crate::config::Config;
use crate::control_fence::ControlFence;
use crate::peer;
use crate::replicas::Replicas;

const VERSION: i16 = 3;

/// So many partitions are named in a line.
const NAMED: usize = 20;

/// Asks until the controller has moved everything it can, at most `controlled.shutdown.max.retries` times, each of which
/// waits `controller.socket.timeout.ms` for the answer at most.
/// What could not be moved has no other replica in sync: those partitions are without a leader until this broker is back.
pub(super) async fn hand_over(
    config: &Config,
    me: BrokerId,
    view: &ClusterView,
    fence: &ControlFence,
    replicas: &Replicas,
) {
    let shutdown = &config.shutdown;
    let started = Instant::now();
    for attempt in 1..=shutdown.retries_max.max(1) {
        let asked = view.controller().map(|(id, _)| id);
        match ask(config, me, view, fence).await {
            Ok(response) if response.remaining_partitions.is_empty() => {
                tracing::info!(took_ms = started.elapsed().as_millis(), "all leaderships are handed over");
                return;
            }
            Ok(response) => {
                tracing::warn!(attempt, remaining = ?names(&response), "some partitions have no other replica in sync");
            }
            Err(why) => tracing::warn!(attempt, why, "the controller did not take our leaderships over"),
        }
        if attempt < shutdown.retries_max {
            // Another controller is a reason to ask again at once.
            wait_for_another_controller(view.clone(), asked, shutdown.retry_backoff).await;
        }
    }
    let left = replicas.led();
    tracing::warn!(
        attempts = shutdown.retries_max, took_ms = started.elapsed().as_millis(), leads = left.len(),
        partitions = ?left.iter().take(NAMED).map(TopicPartition::to_string).collect::<Vec<_>>(),
        "stopping uncleanly: the controller has not taken over what this broker leads. Those partitions are without a \
         leader until this broker's registration is gone and a controller has elected others"
    );
}

async fn ask(
    config: &Config,
    me: BrokerId,
    view: &ClusterView,
    fence: &ControlFence,
) -> Result<ControlledShutdownResponse, String> {
    let (client_id, limit) = (me.to_string(), config.controller.socket_timeout);
    let request = ControlledShutdownRequest { broker_id: me.0, broker_epoch: fence.registration().0 };
    let asking = peer::ask_controller(view, &client_id, limit, &request, VERSION);
    let response = asking.await.map_err(|error| error.to_string())?;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok(response),
        error => Err(format!("it answered {}: {}", error.name(), error.message())),
    }
}

async fn wait_for_another_controller(mut view: ClusterView, known: Option<BrokerId>, limit: Duration) {
    let waiting = async {
        match known {
            Some(id) => view.controller_is_not(id).await,
            None => view.changed().await,
        }
    };
    // At the latest the back-off ends the wait.
    timeout(limit, waiting).await.ok();
}

fn names(response: &ControlledShutdownResponse) -> Vec<String> {
    let partitions = response.remaining_partitions.iter();
    partitions.map(|p| format!("{}-{}", p.topic_name, p.partition_index)).take(NAMED).collect()
}
