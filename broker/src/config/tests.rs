//! `server.properties`, good and bad, as tables.

use client::znode::broker::SecurityProtocol;

use super::*;

fn load(lines: &[&str]) -> Result<Loaded, ConfigError> {
    let text = std::iter::once("zookeeper.connect=zk:2181").chain(lines.iter().copied());
    let text: String = text.flat_map(|line| [line, "\n"]).collect();
    Config::from_properties(properties::parse(&text).expect("good properties"))
}

/// The only problem, as text.
fn problem(lines: &[&str]) -> String {
    match load(lines) {
        Ok(_) => format!("{lines:?} was accepted"),
        Err(error) => error.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
    }
}

#[test]
fn defaults_are_kafkas() {
    let Loaded { config, warnings } = load(&[]).expect("defaults are fine");
    assert_eq!(warnings, []);
    assert_eq!(config.broker_id, None);
    assert_eq!(config.reserved_broker_id_max, 1000);
    assert_eq!(
        config.zookeeper,
        ZooKeeperConfig {
            connect: String::from("zk:2181"),
            session_timeout: Duration::from_secs(18),
            connection_timeout: Duration::from_secs(18),
            in_flight_requests_max: 10,
        }
    );
    let plaintext = Listener {
        name: String::from("PLAINTEXT"),
        protocol: SecurityProtocol::Plaintext,
        host: None,
        port: 9092,
    };
    assert_eq!(config.network.listeners, std::slice::from_ref(&plaintext));
    assert_eq!(config.network.advertised, [plaintext]);
    assert_eq!(config.network.inter_broker_listener, "PLAINTEXT");
    assert_eq!(config.network.send_buffer_bytes, Some(102_400));
    assert_eq!(config.network.request_bytes_max, 104_857_600);
    assert_eq!(config.network.connections_max, 2_147_483_647);
    assert_eq!(config.network.fetch_sessions_max, 1000);
    assert_eq!(config.network.fetch_bytes_max, 57_671_680);
    assert_eq!(
        config.topics,
        TopicsConfig {
            auto_create: true,
            deletion_enabled: true,
            partitions_default: 1,
            replication_factor_default: 1
        }
    );
    assert_eq!(
        config.replication,
        ReplicationConfig {
            fetchers_per_leader: 1,
            lag_max: Duration::from_secs(30),
            socket_timeout: Duration::from_secs(30),
            fetch_partition_bytes_max: 1_048_576,
            fetch_response_bytes_max: 10_485_760,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_backoff: Duration::from_secs(1),
            high_watermark_checkpoint_interval: Duration::from_secs(5),
            serves_by_rack: false,
        }
    );
    assert_eq!(config.log.dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(
        config.shutdown,
        ShutdownConfig { controlled: true, retries_max: 3, retry_backoff: Duration::from_secs(5) }
    );
}

#[test]
fn a_usual_file() {
    let Loaded { config, warnings } = load(&[
        "broker.id=1",
        "broker.rack=r1",
        "listeners=INSIDE://0.0.0.0:9092,OUTSIDE://:19092",
        "advertised.listeners=INSIDE://b1:9092,OUTSIDE://example.org:443",
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,TLS:SSL",
        "inter.broker.listener.name=INSIDE",
        "log.dirs=/a, /b",
        "zookeeper.connect=a:1,b:2/chroot",
        "zookeeper.session.timeout.ms=6000",
        "socket.send.buffer.bytes=-1",
        "connections.max.idle.ms=-1",
        "max.connections.per.ip.overrides=10.0.0.1:5,[::1]:7",
        "inter.broker.protocol.version=3.9",
        "log.retention.hours=168",
        "num.network.threads=3",
        "num.io.threads=16",
        "num.partition=3",
        "group.initial.rebalance.delay.ms=0",
    ])
    .expect("a good file");
    assert_eq!(config.broker_id, Some(BrokerId(1)));
    assert_eq!(config.rack.as_deref(), Some("r1"));
    assert_eq!(config.zookeeper.connect, "a:1,b:2/chroot");
    assert_eq!(config.zookeeper.connection_timeout, Duration::from_secs(6));
    assert_eq!(config.network.inter_broker_listener, "INSIDE");
    assert_eq!(config.network.send_buffer_bytes, None);
    assert_eq!(config.network.idle_max, None);
    assert_eq!(
        config.network.connections_per_ip_overrides,
        BTreeMap::from([(String::from("10.0.0.1"), 5), (String::from("[::1]"), 7)])
    );
    let listed =
        |listeners: &[Listener]| listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(listed(&config.network.listeners), "INSIDE://0.0.0.0:9092,OUTSIDE://:19092");
    assert_eq!(listed(&config.network.advertised), "INSIDE://b1:9092,OUTSIDE://example.org:443");
    assert_eq!(config.log.dirs, ["/a", "/b"].map(PathBuf::from));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "num.io.threads=16 is accepted but has no effect here (Size of a thread pool; requests run on the async runtime here.)",
            "unknown configuration key num.partition is ignored; did you mean num.partitions?",
        ]
    );
}

#[test]
fn advertised_listeners_are_completed() {
    let config = load(&["listeners=PLAINTEXT://:0"]).expect("a good file").config;
    let advertised = config.advertise("host-7", &BTreeMap::from([(String::from("PLAINTEXT"), 4711)]));
    assert_eq!(advertised.iter().map(ToString::to_string).collect::<Vec<_>>(), ["PLAINTEXT://host-7:4711"]);
}

#[test]
fn wrong_values_name_key_value_and_what_is_allowed() {
    for (lines, expected) in [
        (
            &["num.partitions=abc"][..],
            "num.partitions=abc: Not a number of type INT; allowed: a whole number from 1 to 2147483647 (default: 1)",
        ),
        (
            &["num.partitions=0"],
            "num.partitions=0: Value must be at least 1; allowed: a whole number from 1 to 2147483647 (default: 1)",
        ),
        (
            &["log.message.timestamp.type=Now"],
            "log.message.timestamp.type=Now: String must be one of: CreateTime, LogAppendTime; allowed: one of CreateTime, LogAppendTime (default: CreateTime)",
        ),
        (
            &["auto.create.topics.enable=yes"],
            "auto.create.topics.enable=yes: Expected value to be either true or false; allowed: true or false (default: true)",
        ),
        (
            &["broker.id=1001"],
            "broker.id=1001: greater than reserved.broker.max.id or less than -1, so it could collide with a drawn id; allowed: -1 to 1000, or more with broker.id.generation.enable=false",
        ),
        (
            &["broker.id.generation.enable=false"],
            "broker.id=-1: an id is needed when none may be drawn; allowed: 0 to 2147483647",
        ),
        (&["broker.id=1", "node.id=2"], "node.id=2: differs from broker.id; allowed: 1, or to leave it out"),
        (&["log.dirs=,"], "log.dirs=,: there is no folder in it; allowed: folders separated by commas"),
        (
            &["log.retention.ms=0"],
            "log.retention.ms=0: everything would be deleted at once; allowed: -1, or 1 and more",
        ),
        (&["log.roll.ms=0"], "log.roll.ms=0: too small; allowed: 1 and more"),
        (
            &["replica.fetch.wait.max.ms=40000", "replica.socket.timeout.ms=50000"],
            "replica.lag.time.max.ms=30000: shorter than replica.fetch.wait.max.ms, so followers would always seem too slow; allowed: at least 40000, the value of replica.fetch.wait.max.ms",
        ),
        (
            &["zookeeper.session.timeout.ms=-1"],
            "zookeeper.session.timeout.ms=-1: a time cannot be negative; allowed: 0 and more",
        ),
        (
            &["queued.max.request.bytes=5"],
            "queued.max.request.bytes=5: a single request could not be read; allowed: -1, or at least 104857600, the value of socket.request.max.bytes",
        ),
        (
            &["advertised.listeners=PLAINTEXT://0.0.0.0:1"],
            "advertised.listeners=PLAINTEXT://0.0.0.0:1: 0.0.0.0 is no address that a client could connect to; allowed: a host name or address that clients reach",
        ),
        (
            &["listeners=PLAINTEXT://:1,PLAINTEXT://:2"],
            "listeners=PLAINTEXT://:1,PLAINTEXT://:2: listener name PLAINTEXT appears twice; allowed: addresses NAME://host:port separated by commas",
        ),
        (
            &["inter.broker.listener.name=INSIDE"],
            "inter.broker.listener.name=INSIDE: no advertised listener has this name, so brokers could not reach each other; allowed: PLAINTEXT",
        ),
        (
            &["inter.broker.listener.name=PLAINTEXT", "security.inter.broker.protocol=PLAINTEXT"],
            "inter.broker.listener.name=PLAINTEXT: excludes security.inter.broker.protocol; allowed: one of the two keys, not both",
        ),
        (
            &["inter.broker.protocol.version=9.9"],
            "inter.broker.protocol.version=9.9: Version 9.9 is not a valid version; allowed: a version such as 3.9 (default: 3.9-IV0)",
        ),
    ] {
        assert_eq!(problem(lines), expected, "{lines:?}");
    }
}

#[test]
fn what_is_not_kept_is_refused() {
    for (lines, expected) in [
        (
            &["listeners=SSL://:9093", "security.inter.broker.protocol=SSL"][..],
            "security.inter.broker.protocol=SSL is refused: only PLAINTEXT is implemented, so traffic between brokers would not be protected as this asks; allowed: only PLAINTEXT, the default",
        ),
        (
            &["ssl.keystore.password=secret"],
            "ssl.keystore.password=[hidden] is refused: TLS is not implemented, so connections would not be protected as this asks; allowed: only to leave it out",
        ),
        (
            &["listener.name.plaintext.ssl.keystore.location=/k"],
            "listener.name.plaintext.ssl.keystore.location=/k is refused: TLS is not implemented, so connections would not be protected as this asks; allowed: only to leave it out",
        ),
        (
            &["authorizer.class.name=kafka.security.authorizer.AclAuthorizer"],
            "authorizer.class.name=kafka.security.authorizer.AclAuthorizer is refused: authorization is not implemented, so every client would be allowed everything; allowed: only to leave it out",
        ),
        (
            &["zookeeper.set.acl=true"],
            "zookeeper.set.acl=true is refused: znodes are created without access control, so anybody could still write them; allowed: only false, the default",
        ),
        (
            &["inter.broker.protocol.version=2.8"],
            "inter.broker.protocol.version=2.8 is refused: this broker speaks inter-broker protocol 3.9 only and could not understand older brokers; allowed: only 3.9-IV0, the default",
        ),
        (
            &["process.roles=broker"],
            "process.roles=broker is refused: this broker runs on ZooKeeper only; allowed: only to leave it out",
        ),
    ] {
        let found = problem(lines);
        assert!(found.split(" | ").any(|one| one == expected), "{lines:?}: {found}");
    }
    for key in [
        "sasl.enabled.mechanisms=PLAIN",
        "create.topic.policy.class.name=x.Y",
        "client.quota.callback.class=x.Y",
        "delegation.token.secret.key=x",
        "zookeeper.ssl.client.enable=true",
        "zookeeper.metadata.migration.enable=true",
        "remote.log.storage.system.enable=true",
        "controller.quorum.voters=1@a:1",
    ] {
        assert!(problem(&[key]).contains(" is refused: "), "{key}: {}", problem(&[key]));
    }
    assert!(problem(&["replica.selector.class=x.Y"]).contains("String must be one of: "));
    for harmless in
        ["sasl.enabled.mechanisms=GSSAPI", "ssl.client.auth=none", "authorizer.class.name=", "process.roles="]
    {
        assert_eq!(load(&[harmless]).map(|loaded| loaded.warnings), Ok(Vec::new()), "{harmless}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "broker.id=x\nzookeeper.set.acl=true\n").expect("written");
    let error = Config::load(file.path(), &[String::from("num.partitions=0"), String::from("nonsense")]);
    let error = error.expect_err("four problems").to_string();
    assert_eq!(
        error,
        "the configuration has 5 problems:\
         \n  --override \"nonsense\" is not of the form key=value\
         \n  broker.id=x: Not a number of type INT; allowed: a whole number from -2147483648 to 2147483647 (default: -1)\
         \n  num.partitions=0: Value must be at least 1; allowed: a whole number from 1 to 2147483647 (default: 1)\
         \n  zookeeper.set.acl=true is refused: znodes are created without access control, so anybody could still write them; allowed: only false, the default\
         \n  zookeeper.connect is not set; required: host:port of the ZooKeeper servers, separated by commas, with an optional /chroot at the end"
    );
}

#[test]
fn overrides_win_over_the_file() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "zookeeper.connect=a:1\nnum.partitions=2\n").expect("written");
    let loaded = Config::load(file.path(), &[String::from("num.partitions=5")]).expect("a good file");
    assert_eq!(loaded.config.topics.partitions_default, 5);
    let missing =
        Config::load(Path::new("/no/such/file"), &[]).expect_err("there is no such file").to_string();
    assert_eq!(
        missing,
        "the configuration has a problem:\n  /no/such/file: cannot be read: No such file or directory (os error 2)"
    );
}
