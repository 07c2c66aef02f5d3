//! Waiting for what was asked of the controller to show in this broker's metadata.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::metadata::{ClusterMetadata, MetadataCache};

/// Waits until it comes true or the client's time is over, and gives the cluster as it is then.
pub(super) async fn wait_until(
    metadata: &MetadataCache,
    timeout_ms: i32,
    mut is_done: impl FnMut(&ClusterMetadata) -> bool,
) -> Arc<ClusterMetadata> {
    let mut changes = metadata.changed();
    let patience = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    // Late or not, what counts is what the caller then finds in the metadata.
    let _ = timeout(patience, changes.wait_for(|cluster| is_done(cluster))).await;
    metadata.snapshot()
}
