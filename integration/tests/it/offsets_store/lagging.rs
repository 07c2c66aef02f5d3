//! A coordinator whose ZooKeeper server lags behind the others when it takes over.

use integration::ensemble::Ensemble;
use integration::runtime::run;

use super::*;

/// How long a stale answer is waited for. It would be at hand at once.
const LAG: Duration = Duration::from_secs(3);

#[test]
fn whoever_takes_over_at_a_server_that_lags_reads_nothing_stale() {
    run(async {
        let ensemble = Ensemble::start().await;
        let zk = Session::connect(config(&ensemble.leader())).await.expect("the leader answers");
        zk.ensure("/consumers").await.expect("a node can be made");
        elect(&zk, OTHER, EPOCH).await;
        let store = |me, connect: &str| {
            OffsetStore::new(OffsetStoreParts { me, zk: config(connect), patience: PATIENCE })
        };
        let (log_end, tombstones) = (Arc::default(), Arc::default());
        let former_store = store(OTHER, &ensemble.leader());
        let former = open(&former_store, EPOCH, &log_end, &tombstones);
        commit(&former, "g", 0, 1).await.unwrap();

        // The next one's session is there already, and its server knows all this.
        let store = store(ME, &ensemble.laggard());
        let fetch = async |epoch| {
            let offsets = open(&store, epoch, &log_end, &tombstones);
            offsets.fetch(&"g".into(), &[at(0)]).await.map(|mut found| found.remove(0))
        };
        let _ = fetch(EPOCH).await;
        let beside = Session::connect(config(&ensemble.laggard())).await.expect("the follower answers");
        let shown = async || beside.get("/consumers/g/offsets/t/0").await.expect("there is one").data;
        assert_eq!(shown().await, b"1");

        ensemble.hold_back();
        commit(&former, "g", 0, 2).await.unwrap();
        elect(&zk, ME, LeaderEpoch(6)).await;
        let mut fetching = std::pin::pin!(fetch(LeaderEpoch(6)));
        let found = match tokio::time::timeout(LAG, &mut fetching).await {
            Ok(found) => found,
            Err(_) => {
                assert_eq!(shown().await, b"1", "the server does lag");
                ensemble.let_go();
                fetching.await
            }
        };
        let found = found.and_then(|found| found).unwrap().expect("there is an offset");
        assert_eq!(found.offset, 2);
    });
}
