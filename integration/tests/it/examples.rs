//! The examples of the `client` crate, run as the programs they are.

use std::process::Command;

use client::admin::{Admin, AdminOptions, Bootstrap, NewTopic, Placement};
use integration::apache::target_folder;
use integration::cluster::{Cluster, PATIENCE};
use integration::foreign::{produce_with_kcat, read_topic};
use integration::process::succeed;
use tokio::runtime::Runtime;

#[test]
fn event_sourcing_rebuilds_its_state_from_the_log() {
    let mut cluster = three_brokers_with("accounts");
    let zookeeper = cluster.zookeeper.connect_string();
    let run = |commands: &[&str]| {
        let mut program = example("event_sourcing");
        succeed(program.args([zookeeper.as_str(), "accounts"]).args(commands), &[], PATIENCE)
    };
    assert_eq!(run(&["ann", "100", "bob", "20"]), "ann 100\nbob 20\n");
    let refused = "refused: bob would be overdrawn\nann 70\nbob 20\n";
    assert_eq!(run(&["ann", "-30", "bob", "-21"]), refused);
    cluster.kill(1);
    assert_eq!(run(&["bob", "5"]), "ann 70\nbob 25\n");
    assert_eq!(run(&[]), "ann 70\nbob 25\n");
}

#[test]
fn a_commit_log_brings_all_nodes_to_the_same_state() {
    let mut cluster = three_brokers_with("changes");
    let (brokers, folder) = (cluster.bootstrap(), cluster.folder().to_path_buf());
    let run = |node: &str, changes: &str| {
        let mut program = example("commit_log");
        program.args([brokers.as_str(), "changes"]).arg(folder.join(node));
        succeed(&mut program, changes.as_bytes(), PATIENCE)
    };
    assert_eq!(run("one", "a 1\nb 2\nc 3\n"), "applied 3 changes\na 1\nb 2\nc 3\n");
    assert_eq!(run("two", "a 4\nb\n"), "applied 5 changes\na 4\nc 3\n");
    cluster.kill(2);
    // A node that was away reads only what it missed.
    assert_eq!(run("one", ""), "applied 2 changes\na 4\nc 3\n");
    assert_eq!(run("one", "d 5\n"), "applied 1 changes\na 4\nc 3\nd 5\n");
    assert_eq!(run("two", ""), "applied 1 changes\na 4\nc 3\nd 5\n");
}

#[test]
fn stream_processing_goes_on_where_its_group_was() {
    let mut cluster = three_brokers_with("lines");
    create(&cluster, "words");
    find_coordinator(&cluster, "splitters");
    let mut process = |said: &str, lines: &[String], broker: i32| {
        produce_with_kcat(&cluster.bootstrap(), "lines", lines, &[]);
        cluster.kill(broker);
        let servers = cluster.bootstrap();
        let count = lines.len().to_string();
        let mut program = example("stream_processing");
        assert_eq!(
            succeed(program.args([&servers, "splitters", "lines", "words", &count]), &[], PATIENCE),
            said
        );
        cluster.start_broker(broker);
        cluster.wait_until_serving();
    };
    let lines = |from: usize| (from..from + 500).map(|n| format!("Word, word; {n}")).collect::<Vec<_>>();
    process("500 lines, 1500 words\n", &lines(0), 1);
    process("500 lines, 1500 words\n", &lines(500), 2);
    let mut words: Vec<String> =
        read_topic(&cluster.bootstrap(), "words").into_iter().map(|found| found.value).collect();
    let mut expected: Vec<String> =
        (0..1000).flat_map(|n| ["word".to_owned(), "word".to_owned(), n.to_string()]).collect();
    words.sort();
    expected.sort();
    assert_eq!(words, expected);
}

/// The topic of committed offsets is made when the first group is asked after, which takes all three brokers.
fn find_coordinator(cluster: &Cluster, group: &str) {
    let servers = cluster.bootstrap();
    let described = Runtime::new().expect("a runtime can be made").block_on(async {
        let bootstrap = Bootstrap::resolve(&servers).await.expect("an address is an address");
        Admin::new(bootstrap, AdminOptions::default()).describe_groups(&[group.to_owned()]).await
    });
    let described = described.expect("brokers answer").into_values().next().expect("one was asked after");
    described.expect("the group has a coordinator");
}

/// A program that `cargo test --workspace` has built, or `cargo build -p ottla-client --examples`.
pub(crate) fn example(name: &str) -> Command {
    let path = target_folder().join("debug/examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build -p ottla-client --examples`", path.display());
    Command::new(path)
}

fn three_brokers_with(topic: &str) -> Cluster {
    let cluster = Cluster::start(3, &[]);
    create(&cluster, topic);
    cluster
}

fn create(cluster: &Cluster, topic: &str) {
    let new = NewTopic {
        name: topic.to_owned(),
        placement: Placement::Counts { partitions: Some(3), replication_factor: Some(3) },
        configs: Default::default(),
    };
    let servers = cluster.bootstrap();
    let created = Runtime::new().expect("a runtime can be made").block_on(async {
        let bootstrap = Bootstrap::resolve(&servers).await.expect("an address is an address");
        Admin::new(bootstrap, AdminOptions::default()).create_topic(&new).await
    });
    created.expect("the topic can be created");
}
