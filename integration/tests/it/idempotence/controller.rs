//! Producer ids through fail-overs of the controller.

use std::collections::BTreeSet;
use std::time::Instant;

use integration::cluster::{Cluster, PATIENCE};
use integration::observer::Observer;
use integration::runtime::run;
use integration::wait;

use super::asker::{Asker, init};

/// More than a block holds.
const EACH: usize = 1_200;

#[test]
fn no_two_producers_share_an_id() {
    let mut cluster = Cluster::start(3, &[]);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let mut given = BTreeSet::new();
    for round in 1..=3 {
        let controller = wait::until("a controller", PATIENCE, || observer.controller());
        let others: Vec<i32> = cluster.ids().into_iter().filter(|id| *id != controller).collect();
        ask_all(&cluster, &others, &mut given, round);
        cluster.kill(controller);
        // Their blocks last, or the next controller is waited for.
        ask_all(&cluster, &others, &mut given, round);
        cluster.start_broker(controller);
        cluster.wait_until_serving();
    }
    assert_eq!(given.len(), 3 * 2 * 2 * EACH);
}

fn ask_all(cluster: &Cluster, brokers: &[i32], given: &mut BTreeSet<i64>, round: usize) {
    run(async {
        for id in brokers {
            let broker = Asker::open(&cluster.address(*id)).await;
            let (mut got, started) = (0, Instant::now());
            while got < EACH {
                assert!(started.elapsed() < PATIENCE, "round {round}: broker {id} gave {got} ids only");
                let answer = broker.init(4, &init(None, 0)).await;
                match answer.error_code {
                    0 => {
                        assert!(
                            given.insert(answer.producer_id),
                            "{} was given out before",
                            answer.producer_id
                        );
                        got += 1;
                    }
                    // COORDINATOR_LOAD_IN_PROGRESS, after a second of waiting.
                    code => assert_eq!(code, 14),
                }
            }
        }
    });
}
