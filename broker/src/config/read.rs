//! From texts to the typed [`Config`], with the rules that span several keys
//! (`KafkaConfig.validateValues`). Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use client::ids::BrokerId;
use client::record::Codec;
use client::znode::broker::SecurityProtocol;

use crate::config::layers::Layers;
use crate::config::listener::{self, Listener};
use crate::config::problem::{ConfigError, Problem};
use crate::config::refusal::{SASL, TLS};
use crate::config::value::Value;
use crate::config::{
    CleanerConfig, Config, ControllerConfig, GroupsConfig, LogDirsConfig, NetworkConfig, OffsetsStorage,
    RACK_AWARE_SELECTOR, ReplicationConfig, ShutdownConfig, TopicsConfig, ZooKeeperConfig, check, table,
};
use crate::group::Limits;
use crate::partition::RequiredAcks;

pub(super) fn read(mut layers: Layers) -> Result<Config, ConfigError> {
    let mut reader = Reader { problems: check::problems(&layers.fixed), layers: &layers };
    let broker_id = reader.broker_id();
    let zookeeper = reader.zookeeper();
    let network = reader.network();
    let topics = reader.topics();
    let replication = reader.replication();
    let controller = reader.controller();
    let log = reader.log();
    let groups = reader.groups();
    let cleaner = reader.cleaner();
    let shutdown = reader.shutdown();
    let transaction_timeout_max_ms = reader.int("transaction.max.timeout.ms");
    reader.check_limits();
    let reserved_broker_id_max = reader.int("reserved.broker.max.id");
    let rack = reader.text("broker.rack");
    let problems = reader.problems;
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    // Kafka shows both names of the id, whichever was given.
    for (given, other) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
        if let Some(id) = layers.fixed.get(given).cloned() {
            layers.fixed.entry(String::from(other)).or_insert(id);
        }
    }
    Ok(Config {
        broker_id,
        reserved_broker_id_max,
        rack,
        zookeeper,
        network,
        topics,
        replication,
        controller,
        log,
        groups,
        cleaner,
        shutdown,
        transaction_timeout_max_ms,
        layers,
    })
}

/// Values by name and type. A value that does not parse was reported before, so the default stands in.
struct Reader<'a> {
    layers: &'a Layers,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn broker_id(&mut self) -> Option<BrokerId> {
        let (mut id, node_id) = (self.int("broker.id"), self.int("node.id"));
        if id < 0 {
            id = node_id;
        } else if node_id >= 0 && node_id != id {
            self.wrong("node.id", "differs from broker.id", format!("{id}, or to leave it out"));
        }
        let generates = self.boolean("broker.id.generation.enable");
        let reserved_max = self.int("reserved.broker.max.id");
        if generates && !(-1..=reserved_max).contains(&id) {
            let allowed = format!("-1 to {reserved_max}, or more with broker.id.generation.enable=false");
            self.wrong(
                "broker.id",
                "greater than reserved.broker.max.id or less than -1, so it could collide with a drawn id",
                allowed,
            );
        } else if !generates && id < 0 {
            self.wrong(
                "broker.id",
                "an id is needed when none may be drawn",
                String::from("0 to 2147483647"),
            );
        }
        (id >= 0).then_some(BrokerId(id))
    }

    fn zookeeper(&mut self) -> ZooKeeperConfig {
        let connect = self.text("zookeeper.connect").unwrap_or_default();
        if connect.is_empty() {
            self.problems.push(Problem::Missing {
                key: "zookeeper.connect",
                required: "host:port of the ZooKeeper servers, separated by commas, with an optional /chroot at the end",
            });
        }
        let session_timeout = self.wait("zookeeper.session.timeout.ms");
        let connection_timeout =
            self.optional_wait("zookeeper.connection.timeout.ms").unwrap_or(session_timeout);
        let in_flight_requests_max = self.count("zookeeper.max.in.flight.requests");
        ZooKeeperConfig { connect, session_timeout, connection_timeout, in_flight_requests_max }
    }

    fn network(&mut self) -> NetworkConfig {
        let listeners = self.listeners("listeners", true);
        let advertised = match self.layers.get("advertised.listeners") {
            Some(_) => self.listeners("advertised.listeners", false),
            None => listeners.clone(),
        };
        let inter_broker_listener = self.inter_broker_listener(&advertised);
        self.check_listeners(&listeners, &advertised, &inter_broker_listener);
        NetworkConfig {
            listeners,
            advertised,
            inter_broker_listener,
            backlog: self.int("socket.listen.backlog.size"),
            send_buffer_bytes: usize::try_from(self.int("socket.send.buffer.bytes")).ok(),
            receive_buffer_bytes: usize::try_from(self.int("socket.receive.buffer.bytes")).ok(),
            request_bytes_max: self.count("socket.request.max.bytes"),
            queued_request_bytes_max: usize::try_from(self.long("queued.max.request.bytes"))
                .ok()
                .filter(|&bytes| bytes > 0),
            connections_max: self.count("max.connections"),
            connections_per_ip_max: self.count("max.connections.per.ip"),
            connections_per_ip_overrides: self.connection_overrides(),
            idle_max: u64::try_from(self.long("connections.max.idle.ms")).ok().map(Duration::from_millis),
            fetch_sessions_max: self.count("max.incremental.fetch.session.cache.slots"),
            fetch_bytes_max: self.count("fetch.max.bytes"),
        }
    }

    fn listeners(&mut self, key: &'static str, ports_are_unique: bool) -> Vec<Listener> {
        let protocols =
            match listener::parse_protocol_map(&self.required_text("listener.security.protocol.map")) {
                Ok(protocols) => protocols,
                Err(error) => {
                    // `listeners` and `advertised.listeners` both come by here; once is enough.
                    if ports_are_unique {
                        let allowed = String::from("pairs NAME:PROTOCOL separated by commas");
                        self.wrong("listener.security.protocol.map", &error.to_string(), allowed);
                    }
                    return Vec::new();
                }
            };
        match listener::parse_listeners(&self.required_text(key), &protocols, ports_are_unique) {
            Ok(listeners) => listeners,
            Err(error) => {
                let allowed = String::from("addresses NAME://host:port separated by commas");
                self.wrong(key, &error.to_string(), allowed);
                Vec::new()
            }
        }
    }

    fn inter_broker_listener(&mut self, advertised: &[Listener]) -> String {
        let by_name = self.text("inter.broker.listener.name").filter(|name| !name.is_empty());
        if by_name.is_some() && self.layers.get("security.inter.broker.protocol").is_some() {
            let allowed = String::from("one of the two keys, not both");
            self.wrong("inter.broker.listener.name", "excludes security.inter.broker.protocol", allowed);
        }
        let name = by_name.map_or_else(|| String::from("PLAINTEXT"), |name| name.to_uppercase());
        if !advertised.is_empty() && !advertised.iter().any(|listener| listener.name == name) {
            let names: Vec<&str> = advertised.iter().map(|listener| listener.name.as_str()).collect();
            self.problems.push(Problem::Wrong {
                key: String::from("inter.broker.listener.name"),
                value: name.clone(),
                why: String::from(
                    "no advertised listener has this name, so brokers could not reach each other",
                ),
                allowed: names.join(" or "),
            });
        }
        name
    }

    fn check_listeners(&mut self, listeners: &[Listener], advertised: &[Listener], inter_broker: &str) {
        for one in listeners {
            let refusal = match one.protocol {
                SecurityProtocol::Plaintext => continue,
                SecurityProtocol::Ssl => &TLS,
                SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl => &SASL,
            };
            self.problems.push(Problem::Refused {
                key: String::from("listeners"),
                value: one.to_string(),
                why: format!("its security protocol is {}, and {}", one.protocol, refusal.why),
                allowed: String::from("listeners whose security protocol is PLAINTEXT"),
            });
        }
        for one in advertised {
            if one.host.as_deref() == Some("0.0.0.0") {
                self.problems.push(Problem::Wrong {
                    key: String::from("advertised.listeners"),
                    value: one.to_string(),
                    why: String::from("0.0.0.0 is no address that a client could connect to"),
                    allowed: String::from("a host name or address that clients reach"),
                });
            }
            if !listeners.is_empty() && !listeners.iter().any(|bound| bound.name == one.name) {
                self.problems.push(Problem::Wrong {
                    key: String::from("advertised.listeners"),
                    value: one.to_string(),
                    why: format!("listener {} is not in listeners", one.name),
                    allowed: String::from("names of listeners only"),
                });
            }
        }
        let is_served = listeners.iter().any(|one| one.name == inter_broker);
        if !listeners.is_empty() && !is_served && advertised.iter().any(|one| one.name == inter_broker) {
            let allowed = String::from("names of listeners only");
            self.wrong(
                "inter.broker.listener.name",
                "the listener between brokers is not in listeners",
                allowed,
            );
        }
    }

    fn connection_overrides(&mut self) -> BTreeMap<String, usize> {
        let text = self.required_text("max.connections.per.ip.overrides");
        let mut overrides = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.rsplit_once(':').and_then(|(host, count)| Some((host, count.trim().parse().ok()?))) {
                Some((host, count)) => {
                    overrides.insert(String::from(host.trim()), count);
                }
                None => {
                    let why = format!("{item} is not of the form host:count");
                    let allowed = String::from("pairs host:count separated by commas");
                    self.wrong("max.connections.per.ip.overrides", &why, allowed);
                }
            }
        }
        overrides
    }

    fn topics(&mut self) -> TopicsConfig {
        let factor = self.int("default.replication.factor");
        let replication_factor_default = i16::try_from(factor).ok().filter(|&factor| factor > 0);
        if replication_factor_default.is_none() {
            let why = "a topic has at least one replica";
            self.wrong("default.replication.factor", why, String::from("a whole number from 1 to 32767"));
        }
        TopicsConfig {
            auto_create: self.boolean("auto.create.topics.enable"),
            deletion_enabled: self.boolean("delete.topic.enable"),
            partitions_default: self.int("num.partitions"),
            replication_factor_default: replication_factor_default.unwrap_or(1),
        }
    }

    fn replication(&mut self) -> ReplicationConfig {
        ReplicationConfig {
            fetchers_per_leader: self.count("num.replica.fetchers"),
            lag_max: self.wait("replica.lag.time.max.ms"),
            socket_timeout: self.wait("replica.socket.timeout.ms"),
            fetch_partition_bytes_max: self.int("replica.fetch.max.bytes"),
            fetch_response_bytes_max: self.int("replica.fetch.response.max.bytes"),
            fetch_wait_max: self.wait("replica.fetch.wait.max.ms"),
            fetch_bytes_min: self.int("replica.fetch.min.bytes"),
            fetch_backoff: self.wait("replica.fetch.backoff.ms"),
            high_watermark_checkpoint_interval: self.wait("replica.high.watermark.checkpoint.interval.ms"),
            serves_by_rack: self.text("replica.selector.class").as_deref() == Some(RACK_AWARE_SELECTOR),
        }
    }

    fn controller(&mut self) -> ControllerConfig {
        let seconds = self.long("leader.imbalance.check.interval.seconds");
        ControllerConfig {
            socket_timeout: self.wait("controller.socket.timeout.ms"),
            unclean_election_enabled: self.boolean("unclean.leader.election.enable"),
            auto_rebalance_enabled: self.boolean("auto.leader.rebalance.enable"),
            imbalance_percent_max: self.int("leader.imbalance.per.broker.percentage"),
            imbalance_check_interval: Duration::from_secs(u64::try_from(seconds).unwrap_or(1)),
            death_detection_enabled: self.boolean("broker.death.detection.enable"),
        }
    }

    fn log(&mut self) -> LogDirsConfig {
        let one_dir = self.required_text("log.dir");
        let dirs = self.text("log.dirs").filter(|dirs| !dirs.is_empty()).unwrap_or(one_dir);
        let dirs: Vec<PathBuf> =
            dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(PathBuf::from).collect();
        if dirs.is_empty() {
            self.wrong("log.dirs", "there is no folder in it", String::from("folders separated by commas"));
        }
        LogDirsConfig {
            dirs,
            retention_check_interval: self.wait("log.retention.check.interval.ms"),
            flush_check_interval: self.wait("log.flush.scheduler.interval.ms"),
            flush_before_ack: self.boolean("flush.before.ack"),
            recovery_point_checkpoint_interval: self.wait("log.flush.offset.checkpoint.interval.ms"),
            start_offset_checkpoint_interval: self.wait("log.flush.start.offset.checkpoint.interval.ms"),
            initial_task_delay: self.wait("log.initial.task.delay.ms"),
            recovery_threads_per_dir: self.count("num.recovery.threads.per.data.dir"),
            producer_id_expiration: self.wait("producer.id.expiration.ms"),
            producer_id_expiration_check_interval: self.wait("producer.id.expiration.check.interval.ms"),
        }
    }

    fn cleaner(&mut self) -> CleanerConfig {
        CleanerConfig {
            enabled: self.boolean("log.cleaner.enable"),
            threads: self.count("log.cleaner.threads"),
            dedupe_buffer_bytes: self.count("log.cleaner.dedupe.buffer.size"),
            dedupe_buffer_load_factor: self.double("log.cleaner.io.buffer.load.factor"),
            io_buffer_bytes: self.count("log.cleaner.io.buffer.size"),
            io_bytes_per_second_max: self.double("log.cleaner.io.max.bytes.per.second"),
            backoff: self.wait("log.cleaner.backoff.ms"),
        }
    }

    fn shutdown(&mut self) -> ShutdownConfig {
        ShutdownConfig {
            controlled: self.boolean("controlled.shutdown.enable"),
            retries_max: u32::try_from(self.int("controlled.shutdown.max.retries")).unwrap_or(0),
            retry_backoff: self.wait("controlled.shutdown.retry.backoff.ms"),
        }
    }

    /// Bounds between keys, and on keys that are only read by topic.
    fn check_limits(&mut self) {
        let wait = self.int("replica.fetch.wait.max.ms");
        let least = format!("at least {wait}, the value of replica.fetch.wait.max.ms");
        let why = "shorter than replica.fetch.wait.max.ms, so followers would always seem too slow";
        if self.int("replica.socket.timeout.ms") < wait {
            self.wrong("replica.socket.timeout.ms", why, least.clone());
        }
        if self.long("replica.lag.time.max.ms") < i64::from(wait) {
            self.wrong("replica.lag.time.max.ms", why, least);
        }
        let queued = self.long("queued.max.request.bytes");
        let request = self.int("socket.request.max.bytes");
        if queued > 0 && queued < i64::from(request) {
            let allowed = format!("-1, or at least {request}, the value of socket.request.max.bytes");
            self.wrong("queued.max.request.bytes", "a single request could not be read", allowed);
        }
        for key in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
            if self.optional_long(key) == Some(0) {
                self.wrong(key, "everything would be deleted at once", String::from("-1, or 1 and more"));
            }
        }
        for (key, least) in [("log.roll.ms", 1), ("log.roll.jitter.ms", 0)] {
            if self.optional_long(key).is_some_and(|ms| ms < least) {
                self.wrong(key, "too small", format!("{least} and more"));
            }
        }
        if self.int("max.connections.per.ip") == 0
            && self.layers.get("max.connections.per.ip.overrides").is_none()
        {
            let allowed = String::from("1 and more, or 0 with max.connections.per.ip.overrides");
            self.wrong("max.connections.per.ip", "nobody could connect", allowed);
        }
        let per_thread =
            self.long("log.cleaner.dedupe.buffer.size") / i64::from(self.int("log.cleaner.threads").max(1));
        if per_thread < 1024 * 1024 {
            let allowed = String::from("at least 1048576 for each of log.cleaner.threads");
            self.wrong("log.cleaner.dedupe.buffer.size", "too small", allowed);
        }
    }

    fn value(&self, key: &str) -> Option<Value> {
        self.layers.value(table::find(key).expect("a test reads every key used here"))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(|value| value.to_string())
    }

    fn required_text(&self, key: &str) -> String {
        self.text(key).unwrap_or_default()
    }

    fn boolean(&self, key: &str) -> bool {
        self.value(key) == Some(Value::Boolean(true))
    }

    fn optional_long(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Value::Int(value) => Some(i64::from(value)),
            Value::Short(value) => Some(i64::from(value)),
            Value::Long(value) => Some(value),
            _ => None,
        }
    }

    fn groups(&mut self) -> GroupsConfig {
        let compression = u8::try_from(self.int("offsets.topic.compression.codec")).ok();
        let compression = compression.and_then(|id| Codec::from_id(id).ok());
        if compression.is_none() {
            let allowed = String::from("0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)");
            self.wrong("offsets.topic.compression.codec", "no codec has this number", allowed);
        }
        let acks = i16::try_from(self.int("offsets.commit.required.acks")).ok();
        let acks = acks.and_then(RequiredAcks::from_wire);
        if acks.is_none() {
            let why = "a number of acknowledgements that means nothing";
            self.wrong("offsets.commit.required.acks", why, String::from("-1 (all), 0 or 1"));
        }
        GroupsConfig {
            limits: Limits {
                session_timeout_min: self.wait("group.min.session.timeout.ms"),
                session_timeout_max: self.wait("group.max.session.timeout.ms"),
                initial_rebalance_delay: self.wait("group.initial.rebalance.delay.ms"),
                size_max: self.count("group.max.size"),
            },
            partitions_default: self.int("offsets.topic.num.partitions"),
            compression: compression.unwrap_or(Codec::None),
            load_bytes_max: self.count("offsets.load.buffer.size"),
            append_timeout: self.wait("offsets.commit.timeout.ms"),
            append_acks: acks.unwrap_or(RequiredAcks::All),
            expiry_check_interval: self.wait("offsets.retention.check.interval.ms"),
            offsets_storage: match self.text("offsets.storage").as_deref() {
                Some("kafka") => OffsetsStorage::Kafka,
                Some("both") => OffsetsStorage::Both,
                // Any other word was reported before.
                _ => OffsetsStorage::ZooKeeper,
            },
            offsets_retention: Duration::from_secs(60)
                * u32::try_from(self.int("offsets.retention.minutes")).unwrap_or(1),
            offset_metadata_max: self.count("offset.metadata.max.bytes"),
        }
    }

    fn long(&self, key: &str) -> i64 {
        self.optional_long(key).unwrap_or(0)
    }

    fn int(&self, key: &str) -> i32 {
        i32::try_from(self.long(key)).unwrap_or(i32::MAX)
    }

    fn double(&self, key: &str) -> f64 {
        if let Some(Value::Double(value)) = self.value(key) { value } else { 0.0 }
    }

    fn count(&self, key: &str) -> usize {
        usize::try_from(self.long(key)).unwrap_or(0)
    }

    fn wait(&mut self, key: &'static str) -> Duration {
        self.optional_wait(key).unwrap_or_default()
    }

    /// Kafka takes a negative wait at its word and spins or fails later; here it is an error at once.
    fn optional_wait(&mut self, key: &'static str) -> Option<Duration> {
        let ms = self.optional_long(key)?;
        match u64::try_from(ms) {
            Ok(ms) => Some(Duration::from_millis(ms)),
            Err(_) => {
                self.wrong(key, "a time cannot be negative", String::from("0 and more"));
                None
            }
        }
    }

    fn wrong(&mut self, key: &'static str, why: &str, allowed: String) {
        // A value that does not even parse has been reported by its definition.
        if self
            .problems
            .iter()
            .any(|problem| matches!(problem, Problem::Wrong { key: known, .. } if known == key))
        {
            return;
        }
        let value = self.layers.get(key).map(String::from).or_else(|| self.text(key)).unwrap_or_default();
        self.problems.push(Problem::Wrong { key: String::from(key), value, why: String::from(why), allowed });
    }
}
