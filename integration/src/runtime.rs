//! What asynchronous parts of tests and measurements run on.

use tokio::runtime::{Builder, Runtime};

/// Two threads: enough for what happens at once to happen at once.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
}

/// Runs one asynchronous part to its end.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

/// The calling thread alone: for those of many threads that each wait for one thing at a time.
pub fn own_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}
