use super::*;

/// Exit code, stdout and stderr.
async fn told(arguments: &[&str]) -> (u8, String, String) {
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
    let mut console = Console::default();
    let code = run_on(&arguments, &mut console).await;
    let (out, err) = console.written();
    (code, out.to_owned(), err.to_owned())
}

#[tokio::test]
async fn the_table_of_1_1_is_kafkas() {
    let (code, out, err) = told(&["--zookeeper", "127.0.0.1:1", "--list", "--group", "g"]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    let table = include_str!("../../../tests/fixtures/kafka-consumer-groups-1.1.1-help.txt");
    assert_eq!(err, format!("Option \"[group]\" can't be used with option\"[list]\"\n{table}"));
}

/// What precedes the table of options on stderr.
async fn usage(arguments: &[&str]) -> String {
    let (code, out, err) = told(arguments).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let is_zookeeper = arguments.contains(&"--zookeeper");
    let table = if is_zookeeper { zookeeper_options::help() } else { options::help() };
    err.strip_suffix(&table).expect("the table follows").trim_end().to_owned()
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let b = ["--bootstrap-server", "127.0.0.1:1"];
    let z = ["--zookeeper", "127.0.0.1:1"];
    for (with, more, expected) in [
        (b, vec!["--list", "--output", "xml"], "Option \"[output]\" is json or text, but not 'xml'"),
        (
            b,
            vec!["--reset-offsets", "--group", "g", "--dry-run", "--export", "--output", "json"],
            "Option \"[output]\" can't be used with option \"[export]\"",
        ),
        (z, vec![], "Command must include exactly one action: --list, --describe, --delete, --reset-offsets"),
        (z, vec!["--describe"], "Missing required argument \"[group]\""),
        (z, vec!["--delete"], "Option [delete] either takes [group], [topic], or both"),
        (z, vec!["--list", "--new-consumer"], "Option [new-consumer] is not valid with [zookeeper]."),
        (
            z,
            vec!["--list", "--bootstrap-server", "h:1"],
            "Option [bootstrap-server] is not valid with [zookeeper].",
        ),
        (
            z,
            vec!["--describe", "--group", "g", "--topic", "t"],
            "Option \"[topic]\" can't be used with option\"[describe]\"",
        ),
    ] {
        assert_eq!(usage(&[with.as_slice(), &more].concat()).await, expected, "{more:?}");
    }
}

#[tokio::test]
async fn options_of_brokers_are_unknown_to_zookeeper() {
    let (code, _, err) = told(&["--zookeeper", "127.0.0.1:1", "--describe", "--group", "g", "--state"]).await;
    let expected = "Exception in thread \"main\" joptsimple.UnavailableOptionException: Option(s) [state] are \
                    unavailable given other options on the command line\n";
    assert_eq!((code, err.as_str()), (1, expected));
}

/// What fails under way ends with exit code 0, as in Kafka's tool.
#[tokio::test]
async fn values_are_looked_at_under_way() {
    for (arguments, expected) in [
        (
            ["--list", "--timeout", "x"],
            "joptsimple.OptionArgumentConversionException: Cannot parse argument 'x' of option timeout",
        ),
        (
            ["--list", "--bootstrap-server", "127.0.0.1:1"],
            "joptsimple.MultipleArgumentsForOptionException: Found multiple arguments for option \
             bootstrap-server, but you asked for only one",
        ),
        (
            ["--list", "--command-config", "nofile"],
            "java.lang.RuntimeException: java.nio.file.NoSuchFileException: nofile",
        ),
    ] {
        let (code, out, err) =
            told(&[["--bootstrap-server", "127.0.0.1:1"].as_slice(), &arguments].concat()).await;
        let (_, message) = expected.split_once(": ").expect("a class is named");
        let expected_out = format!("\nError: Executing consumer group command failed due to {message}\n");
        assert_eq!((code, out, err), (0, expected_out, format!("{expected}\n")), "{arguments:?}");
    }
}
