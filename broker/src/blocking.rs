//! Work that would hold up the threads of the runtime.

/// Runs what waits for a disk or takes long where it holds up nothing else.
pub(crate) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that stops cancels blocking work, and then nobody is left to go on.
            Err(_) => std::future::pending().await,
        },
    }
}
