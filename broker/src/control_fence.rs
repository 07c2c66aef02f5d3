//! Which control requests (LeaderAndIsr, UpdateMetadata, StopReplica) a broker obeys.
//!
//! A controller that was deposed, or one that means this broker's registration before the last,
//! must not be obeyed: its decisions are older than what the broker knows.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use client::ids::{BrokerEpoch, ControllerEpoch};
use client::wire::ErrorCode;
use thiserror::Error;

/// Applies control requests one at a time, and none after one of a newer controller.
#[derive(Debug, Default)]
pub struct ControlFence {
    registration: AtomicI64,
    known: Mutex<ControllerEpoch>,
}

/// Why a control request is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fenced {
    #[error("it is meant for registration {asked} of this broker, which is now registered as {own}")]
    StaleBrokerEpoch { asked: BrokerEpoch, own: BrokerEpoch },
    #[error("it comes from controller epoch {asked}, and epoch {known} is known")]
    StaleControllerEpoch { asked: ControllerEpoch, known: ControllerEpoch },
}

impl From<Fenced> for ErrorCode {
    fn from(fenced: Fenced) -> ErrorCode {
        match fenced {
            Fenced::StaleBrokerEpoch { .. } => ErrorCode::StaleBrokerEpoch,
            Fenced::StaleControllerEpoch { .. } => ErrorCode::StaleControllerEpoch,
        }
    }
}

impl ControlFence {
    /// The broker's node in ZooKeeper was created anew; from now on requests for an earlier one
    /// are refused.
    pub fn registered(&self, epoch: BrokerEpoch) {
        self.registration.store(epoch.0, Ordering::Release);
    }

    /// The broker's registration, −1 and less before the first.
    pub fn registration(&self) -> BrokerEpoch {
        BrokerEpoch(self.registration.load(Ordering::Acquire))
    }

    /// Runs `apply` if the request is not fenced. A broker epoch of −1 says "whichever", and one
    /// greater than our own comes from a controller that knew of our registration before we did.
    pub fn admit<T>(
        &self,
        asked: BrokerEpoch,
        controller: ControllerEpoch,
        apply: impl FnOnce() -> T,
    ) -> Result<T, Fenced> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.registration();
        if asked != BrokerEpoch(-1) && asked < own {
            return Err(Fenced::StaleBrokerEpoch { asked, own });
        }
        if controller < *known {
            return Err(Fenced::StaleControllerEpoch { asked: controller, known: *known });
        }
        *known = controller;
        Ok(apply())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_by_registration_then_by_controller() {
        let fence = ControlFence::default();
        fence.registered(BrokerEpoch(50));
        let mut applied = Vec::new();
        for (broker, controller, expected) in [
            (50, 3, None),
            (-1, 3, None),
            (51, 4, None),
            (49, 9, Some(ErrorCode::StaleBrokerEpoch)),
            (49, 1, Some(ErrorCode::StaleBrokerEpoch)),
            (50, 3, Some(ErrorCode::StaleControllerEpoch)),
            (-1, 4, None),
        ] {
            let outcome = fence.admit(BrokerEpoch(broker), ControllerEpoch(controller), || {
                applied.push((broker, controller))
            });
            assert_eq!(outcome.err().map(ErrorCode::from), expected, "{broker} {controller}");
        }
        assert_eq!(applied, [(50, 3), (-1, 3), (51, 4), (-1, 4)]);
    }
}
