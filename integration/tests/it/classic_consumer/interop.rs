//! One group of our members and Kafka 0.8.2.2's: whoever is killed, every record is consumed.

use std::collections::BTreeSet;

use integration::cluster::PATIENCE;
use integration::load::Load;
use integration::wait;

use super::{Bench, Offsets};

const GROUP: &str = "mixed";
const TOPIC: &str = "shared";
const PARTITIONS: i32 = 6;

#[test]
fn a_mixed_group_survives_the_death_of_either_kind() {
    let bench = Bench::start(3, TOPIC, PARTITIONS);
    let observer = bench.observer();
    let load = Load::start(&bench.cluster.bootstrap(), TOPIC, 500);
    load.wait_for_more(100, PATIENCE);
    let offsets = Offsets::watch(&bench.zookeeper(), GROUP, TOPIC, PARTITIONS);
    let partitions = PARTITIONS as usize;

    let ours = bench.join(bench.config(&bench.zookeeper(), GROUP));
    bench.wait_for_owners(&observer, GROUP, partitions, 1);
    let kafkas = bench.join_kafkas("first", GROUP, &["--topic", TOPIC]);
    bench.wait_for_owners(&observer, GROUP, partitions, 2);
    let before = kafkas.values().len();
    wait::until("Kafka's member is given records", PATIENCE, || {
        (kafkas.values().len() > before + 100).then_some(())
    });

    // Kafka's dies: ours takes all.
    let mut consumed = kafkas.values();
    kafkas.process.kill();
    bench.wait_for_owners(&observer, GROUP, partitions, 1);
    load.wait_for_more(300, PATIENCE);

    // Another comes, and ours dies without a word.
    let second = bench.join_kafkas("second", GROUP, &["--topic", TOPIC]);
    bench.wait_for_owners(&observer, GROUP, partitions, 2);
    load.wait_for_more(300, PATIENCE);
    let name = ours.consumer.name().to_owned();
    consumed.extend(ours.values());
    let seen = ours.seen.clone();
    drop(ours.consumer);
    bench.wait(ours.reading).expect("the stream ends with its consumer");
    consumed.extend(seen.values.lock().expect("no panic under this lock").iter().cloned());
    wait::until("Kafka's member owns everything", PATIENCE, || {
        let owners = bench.owners(&observer, GROUP, TOPIC);
        (owners.len() == partitions && !owners.values().any(|owner| *owner == name)).then_some(())
    });

    let sent = load.finish();
    wait::until("every acknowledged record is consumed", PATIENCE, || {
        let all: BTreeSet<String> = consumed.union(&second.values()).cloned().collect();
        sent.acknowledged.is_subset(&all).then_some(())
    });
    let committed = offsets.finish();
    assert_eq!(committed.len(), partitions, "every partition has a committed offset");
}
