use super::*;

/// Exit code, stdout, stderr.
async fn told(arguments: &[&str]) -> (u8, String, String) {
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
    let mut console = Console::default();
    let code = run_on(&arguments, &mut console).await;
    let (out, err) = console.written();
    (code, out.to_owned(), err.to_owned())
}

/// What precedes the table of options on stderr.
async fn usage(arguments: &[&str]) -> String {
    let (code, out, err) = told(arguments).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let is_zookeeper = arguments.contains(&"--zookeeper");
    let table = options::help(if is_zookeeper { Dialect::ZooKeeper } else { Dialect::Brokers });
    err.strip_suffix(&table).expect("the table follows").trim_end().to_owned()
}

#[tokio::test]
async fn the_tables_are_those_of_kafka() {
    let sentence = "This tool helps to create, delete, describe, or change a topic.\n";
    let (code, out, err) = told(&["--help"]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    let table = include_str!("../../../tests/fixtures/kafka-topics-3.9.1-help.txt");
    assert_eq!(err, format!("{sentence}{table}"));

    let (code, _, err) = told(&["--zookeeper", "127.0.0.1:1", "--help"]).await;
    assert_eq!(code, 1);
    let table = include_str!("../../../tests/fixtures/kafka-topics-2.8.2-help.txt");
    assert_eq!(err, format!("{sentence}{table}"));
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let b = ["--bootstrap-server", "127.0.0.1:1"];
    let with = |more: &[&'static str]| [b.as_slice(), more].concat();
    for (arguments, expected) in [
        (vec![], "Create, delete, describe, or change a topic."),
        (
            with(&["--list", "--describe"]),
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        (with(&["--create"]), "Missing required argument \"[topic]\""),
        (with(&["--alter", "--topic", "t"]), "Missing required argument \"[partitions]\""),
        (
            with(&["--alter", "--topic", "t", "--config", "a=b"]),
            "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" (the \
             kafka-configs CLI supports altering topic configs with a --bootstrap-server option)",
        ),
        (
            with(&["--create", "--topic", "t", "--partitions", "1", "--replica-assignment", "1"]),
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
        ),
        (
            with(&["--describe", "--topics-with-overrides", "--at-min-isr-partitions"]),
            "Option \"[at-min-isr-partitions]\" can't be used with option \"[topics-with-overrides]\"",
        ),
        (
            with(&["--delete", "--topic", "t", "--output", "json"]),
            "Option \"[output]\" can't be used with option \"[delete]\"",
        ),
        (with(&["--list", "--output", "xml"]), "Option \"[output]\" is json or text, but not 'xml'"),
        (
            vec!["--zookeeper", "127.0.0.1:1", "--create", "--topic", "t", "--partitions", "1"],
            "Missing required argument \"[replication-factor]\"",
        ),
        (
            vec!["--zookeeper", "127.0.0.1:1", "--describe", "--at-min-isr-partitions"],
            "Option \"[at-min-isr-partitions]\" can't be used with option \"[zookeeper]\"",
        ),
    ] {
        assert_eq!(usage(&arguments).await, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn what_cannot_begin_says_so_on_stderr() {
    for (arguments, expected) in [
        (
            vec!["--list"],
            "--bootstrap-server must be specified\n\
             java.lang.IllegalArgumentException: --bootstrap-server must be specified\n\n",
        ),
        (
            vec!["--frobnicate"],
            "frobnicate is not a recognized option\n\
             joptsimple.UnrecognizedOptionException: frobnicate is not a recognized option\n\n",
        ),
        (
            vec!["--bootstrap-server", "localhost", "--list"],
            "Failed to create new KafkaAdminClient\n\
             org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient\n\
             Caused by: org.apache.kafka.common.config.ConfigException: Invalid url in bootstrap.servers: localhost\n\n",
        ),
        (
            vec!["--bootstrap-server", "127.0.0.1:1", "--command-config", "nofile", "--list"],
            "nofile\njava.nio.file.NoSuchFileException: nofile\n\n",
        ),
        (
            vec!["--zookeeper", "127.0.0.1:1", "--bootstrap-server", "127.0.0.1:1", "--list"],
            "Exception in thread \"main\" java.lang.IllegalArgumentException: \
             Only one of --bootstrap-server or --zookeeper must be specified\n",
        ),
    ] {
        let (code, out, err) = told(&arguments).await;
        assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected), "{arguments:?}");
    }
    assert_eq!(told(&["--version"]).await, (0, "3.9.1\n".to_owned(), String::new()));
}

#[tokio::test]
async fn a_request_is_checked_before_anything_is_sent() {
    let create = ["--bootstrap-server", "127.0.0.1:1", "--create", "--topic", "t"];
    for (more, expected) in [
        (["--replica-assignment", "one"], "For input string: \"one\""),
        (["--replica-assignment", "1:2,,3"], "For input string: \"\""),
        (
            ["--replica-assignment", "2:1:2:1"],
            "Partition replica lists may not contain duplicate entries: 1,2",
        ),
        (["--replica-assignment", "1:2,3"], "Partition 1 has different replication factor: [3]"),
        (["--partitions", "two"], "Cannot parse argument 'two' of option partitions"),
        (["--partitions", "0"], "The partitions must be greater than 0"),
        (["--replication-factor", "32768"], "The replication factor must be between 1 and 32767 inclusive"),
        (["--config", "nosuch.key=1"], "Unknown topic config name: nosuch.key"),
        (
            ["--config", "retention.ms=abc"],
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            ["--config", "retention.ms="],
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
        ),
    ] {
        let (code, out, err) = told(&[create.as_slice(), &more].concat()).await;
        let expected = format!("Error while executing topic command : {expected}\n");
        assert_eq!((code, out, err), (1, expected, String::new()), "{more:?}");
    }
    let lags = ["--config", "min.compaction.lag.ms=2", "--config", "max.compaction.lag.ms=1"];
    let (_, out, _) = told(&[create.as_slice(), &lags].concat()).await;
    assert_eq!(
        out,
        "Error while executing topic command : conflict topic config setting min.compaction.lag.ms (2) > \
         max.compaction.lag.ms (1)\n"
    );
}

/// Kafka's tool puts the broker's answer into a hash map. Brokers answer in that order already.
#[test]
fn topic_keys_are_in_the_order_in_which_kafka_shows_them() {
    let names: Vec<&str> = crate::config::topic::topic_keys().iter().map(|key| key.definition.name).collect();
    let mut sorted = names.clone();
    crate::tools::hash_order::sort(&mut sorted, crate::tools::hash_order::DEFAULT_CAPACITY, |name| name);
    assert_eq!(sorted, names);
}
