//! The examples of the `client` crate that only produce, run as the programs they are.

use integration::cluster::PATIENCE;
use integration::foreign::{consume_with_kcat, read_topic};
use integration::process::succeed;

use super::{Bench, TOPIC};
use crate::examples::example;

#[test]
fn log_collection_keeps_the_order_of_each_file() {
    let mut bench = Bench::start(4, &[]);
    let lines = |name: &str| (0..3_000).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
    let files: Vec<_> = ["one", "two"].map(|name| bench.cluster.folder().join(name)).into();
    for (file, name) in files.iter().zip(["one", "two"]) {
        std::fs::write(file, lines(name).join("\n")).expect("a file can be written");
    }
    bench.cluster.kill(2);
    let said = succeed(
        example("log_collection").args([&bench.cluster.bootstrap(), TOPIC]).args(&files),
        &[],
        PATIENCE,
    );
    assert_eq!(said.matches(": 3000 lines").count(), 2, "{said}");
    // The example compresses by zstd, which the tests' own librdkafka is built without.
    let found = consume_with_kcat(&bench.cluster.bootstrap(), TOPIC);
    for name in ["one", "two"] {
        let values = found.iter().filter(|value| value.starts_with(name));
        assert_eq!(values.cloned().collect::<Vec<_>>(), lines(name));
    }
}

#[test]
fn activity_tracking_sorts_activities_into_topics() {
    let bench = Bench::start(1, &[]);
    let activities: String =
        (0..1_000).map(|n| format!("visitor-{} {} page-{n}\n", n % 7, ["view", "search"][n % 2])).collect();
    let zookeeper = bench.cluster.zookeeper.connect_string();
    let said = succeed(example("activity_tracking").arg(zookeeper), activities.as_bytes(), PATIENCE);
    assert_eq!(said, "search: 500 delivered, 0 lost\nview: 500 delivered, 0 lost\n");
    let views = read_topic(&bench.cluster.bootstrap(), "view");
    let expected: Vec<String> = (0..1_000).step_by(2).map(|n| format!("page-{n}")).collect();
    assert_eq!(views.into_iter().map(|found| found.value).collect::<Vec<_>>(), expected);
}
