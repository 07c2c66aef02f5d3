//! Fetches that wait for much, on a partition that is written to.

use std::sync::mpsc;

use super::*;

const FETCHERS: usize = 3;
const FETCHES: usize = 100;

/// What hangs, hangs threads; so nobody waits for those who fetch and produce but by this time.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn fetches_that_begin_to_wait_and_appends_do_not_block_one_another() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let broker = Arc::new(runtime.block_on(filled()));
    let (done, all_done) = mpsc::channel();
    let producer = Arc::clone(&broker);
    runtime.spawn(async move {
        loop {
            produce(&producer, "t", 0, batch(&["more"], 1)).await;
            // Whom it woke may be next on this very thread.
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..FETCHERS {
        let (broker, done) = (Arc::clone(&broker), done.clone());
        runtime.spawn(async move {
            let mut request = consumer(&[(0, 0)]);
            (request.max_wait_ms, request.min_bytes) = (1, UNLIMITED);
            for _ in 0..FETCHES {
                broker.call(11, &request).await;
            }
            done.send(()).expect("somebody waits");
        });
    }
    let ended = (0..FETCHERS).all(|_| all_done.recv_timeout(PATIENCE).is_ok());
    runtime.shutdown_background();
    assert!(ended, "fetches and appends wait for one another");
}
