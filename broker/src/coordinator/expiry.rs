//! What goes by itself: offsets that have outlived their retention, those of deleted topics, and groups
//! that nothing is left of.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval_at};

use super::{Coordinator, Led};
use crate::clock::Now;

impl Led {
    /// Looks for what has expired, every `offsets.retention.check.interval.ms`, for ever.
    pub(super) async fn expire(self: &Arc<Self>) {
        let period = self.config().expiry_check_interval;
        let mut checks = interval_at(tokio::time::Instant::now() + period, period);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            match self.expire_offsets(Now::read().unix_ms).await {
                Ok(0) => {}
                Ok(expired) => tracing::info!(partition = self.number(), expired, "offsets have expired"),
                Err(error) => {
                    tracing::warn!(partition = self.number(), %error, "expired offsets stay until the next check");
                    continue;
                }
            }
            for cell in self.all() {
                let is_abandoned = cell.look(|group| group.is_abandoned()) && self.has_no_offsets(cell.id());
                if !is_abandoned {
                    continue;
                }
                let group = cell.id().clone();
                if let Err(code) = self.forget(cell).await {
                    tracing::debug!(%group, code = code.name(), "a group without members stays");
                }
            }
        }
    }
}

impl Coordinator {
    /// Deletes the offsets of topics that are gone, by and by.
    pub fn topics_deleted(&self, topics: BTreeSet<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        let led = self.all_led();
        tokio::spawn(async move {
            for led in led.iter().filter(|led| led.is_loaded()) {
                if let Err(error) = led.delete_topic_offsets(&topics).await {
                    tracing::warn!(partition = led.number(), %error, ?topics, "offsets of deleted topics stay until they expire");
                }
            }
        });
    }
}
