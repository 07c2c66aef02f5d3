//! Which partitions this broker coordinates: looked at again whenever roles may have changed.

use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError};

use controller::vital;

use super::{Coordinator, Led};
use crate::group;

impl Coordinator {
    pub(super) async fn follow_roles(self: Arc<Self>) {
        let mut changes = self.replicas.role_changes();
        loop {
            changes.mark_unchanged();
            self.look_again();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Compares what is led with what is coordinated, takes over and gives up.
    pub(super) fn look_again(self: &Arc<Self>) {
        for led in self.all_led() {
            if !led.leads() {
                self.unload(&led);
            }
        }
        for partition in self.replicas.partitions_of(group::TOPIC) {
            let status = partition.status();
            let (Some(since), number) = (status.leading_since, partition.id().partition) else { continue };
            // Several look at a time, and a term must be taken up by one of them only.
            match self.led.write().unwrap_or_else(PoisonError::into_inner).entry(number) {
                Entry::Occupied(known) if known.get().since() == since => known.get().goes_on(status.epoch),
                // Of a former term, and about to be given up.
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    let led = place.insert(Led::new(
                        partition,
                        since,
                        status.epoch,
                        self.partition_count(),
                        &self.means,
                    ));
                    vital::spawn("coordinate", Arc::clone(self).coordinate(Arc::clone(led)));
                }
            }
        }
    }

    /// Gives a partition up: another broker coordinates its groups.
    pub(super) fn unload(&self, led: &Arc<Led>) {
        let mut all = self.led.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(&led.number()).is_some_and(|known| Arc::ptr_eq(known, led)) {
            all.remove(&led.number());
        }
        drop(all);
        if led.close() {
            tracing::info!(partition = led.number(), "no longer the coordinator of this partition's groups");
        }
    }

    /// A partition's life here: loaded, then kept in time until it is given up.
    async fn coordinate(self: Arc<Self>, led: Arc<Led>) {
        tokio::select! {
            () = led.no_longer_leads() => {}
            () = led.closed() => {}
            () = async {
                self.load(&led).await;
                tokio::join!(led.keep_time(), led.expire());
            } => {}
        }
        self.unload(&led);
        // A newer term may have begun before this one was given up.
        self.look_again();
    }
}
