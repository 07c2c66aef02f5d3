//! Java's producer with its defaults while leaders are killed and bounced: nothing lost, nothing twice.
//! librdkafka's goes through the same in `kill`.

use std::collections::BTreeSet;

use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::{Found, read_topic};
use integration::observer::Observer;
use integration::runtime::run;
use integration::verifiable::VerifiableLoad;
use integration::wait;

use super::asker::Asker;

const TOPIC: &str = "once";
const PARTITIONS: usize = 6;

#[test]
fn what_java_sends_is_there_once_whatever_happens_to_leaders() {
    let mut cluster = Cluster::start(
        3,
        &[("min.insync.replicas", "2"), ("num.partitions", "6"), ("default.replication.factor", "3")],
    );
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let load = VerifiableLoad::start(&cluster.bootstrap(), TOPIC, 2_000, cluster.folder());
    load.wait_for_more(1_000);
    for round in 0..6 {
        let states = observer.states(TOPIC, PARTITIONS).expect("the topic is there");
        let leader = states[round % PARTITIONS].leader;
        match round % 2 {
            0 => cluster.kill(leader),
            _ => assert!(cluster.terminate(leader).success()),
        }
        load.wait_for_more(1_000);
        cluster.start_broker(leader);
        wait::until("the ISR is whole", PATIENCE, || {
            let states = observer.states(TOPIC, PARTITIONS)?;
            states.iter().all(|state| state.leader >= 0 && state.isr.len() == 3).then_some(())
        });
        load.wait_for_more(500);
    }
    let acknowledged = load.finish(PATIENCE);

    let described = run(async {
        let broker = Asker::open(&cluster.address(1)).await;
        broker
            .described(&(0..PARTITIONS as i32).map(|partition| (TOPIC, partition)).collect::<Vec<_>>())
            .await
    });
    // A line for each partition; Java's partitioner may leave some of them empty.
    assert!(described.len() > PARTITIONS, "the producer has no id, so that nothing is tested: {described:?}");

    let stored = read_topic(&cluster.bootstrap(), TOPIC);
    let values: BTreeSet<&str> = stored.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(stored.len(), values.len(), "some values are in the log twice");
    let places: BTreeSet<(i32, i64, &str)> = stored.iter().map(place).collect();
    for sent in &acknowledged {
        assert!(
            places.contains(&(sent.partition, sent.offset, &*sent.value)),
            "{sent:?} is not where it was said to be"
        );
    }
    println!("{} values acknowledged and {} stored, each once", acknowledged.len(), stored.len());
}

fn place(record: &Found) -> (i32, i64, &str) {
    (record.partition, record.offset, &record.value)
}
