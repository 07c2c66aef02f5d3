//! Tasks without which a process is not what the cluster takes it for.
//!
//! A controller whose loop died would keep `/controller` and decide nothing; a leader whose housekeeping died would
//! never notice a lost follower. Such a process must end, so that its session ends and others take over.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinHandle;

/// Spawns a task whose panic, a broken invariant, ends the process.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Nothing of the task is looked at after a panic.
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!(
                task = name,
                "a vital task panicked, which is a bug: ending the process, so that others take over"
            );
            std::process::abort();
        }
    })
}
