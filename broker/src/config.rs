//! `server.properties` by Kafka's own names and defaults: one table of keys ([`table`]), layers of
//! sources ([`Layers`]), and the typed [`Config`] that the rest of the broker reads.
//!
//! A wrong value, or a key whose promise is not kept yet, stops the start, and all such problems
//! are reported at once. An unknown key is a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::ids::BrokerId;
use client::record::Codec;

use crate::group::Limits;
use crate::partition::RequiredAcks;

pub use definition::{Definition, Dynamic, Status};
pub use layers::{Layers, Source, Synonym, admit_dynamic};
pub use listener::Listener;
pub use problem::{ConfigError, Problem, Warning};
pub use value::{Kind, Value, WrongValue};

mod check;
mod definition;
mod layers;
mod listener;
mod problem;
pub mod properties;
mod read;
mod refusal;
mod rule;
pub mod table;
pub mod topic;
mod value;
mod versions;

/// Values of `replica.selector.class`: always the leader, or a replica in the consumer's rack.
pub(crate) const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";
pub(crate) const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What the broker is told to be and do. Immutable; a dynamic change makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `None`: drawn from ZooKeeper, or found in `meta.properties`.
    pub broker_id: Option<BrokerId>,
    /// Generated ids are greater.
    pub reserved_broker_id_max: i32,
    pub rack: Option<String>,
    pub zookeeper: ZooKeeperConfig,
    pub network: NetworkConfig,
    pub topics: TopicsConfig,
    pub replication: ReplicationConfig,
    pub controller: ControllerConfig,
    pub log: LogDirsConfig,
    pub groups: GroupsConfig,
    pub cleaner: CleanerConfig,
    pub shutdown: ShutdownConfig,
    /// The longest timeout a transactional producer may ask for.
    pub transaction_timeout_max_ms: i32,
    /// The texts this was made of.
    pub layers: Layers,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ZooKeeperConfig {
    /// Hosts, and perhaps a chroot.
    pub connect: String,
    pub session_timeout: Duration,
    pub connection_timeout: Duration,
    pub in_flight_requests_max: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    pub listeners: Vec<Listener>,
    /// May lack hosts and have port 0; see [`Config::advertise`].
    pub advertised: Vec<Listener>,
    /// Name of the listener brokers use among themselves.
    pub inter_broker_listener: String,
    pub backlog: i32,
    /// `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    /// Longest frame, its length prefix not counted.
    pub request_bytes_max: usize,
    /// Bytes of all requests in memory at a time. `None`: not limited by the operator.
    pub queued_request_bytes_max: Option<usize>,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    /// Host name or address, and its own maximum.
    pub connections_per_ip_overrides: BTreeMap<String, usize>,
    /// `None`: for ever.
    pub idle_max: Option<Duration>,
    pub fetch_sessions_max: usize,
    pub fetch_bytes_max: usize,
}

/// Topics made without saying how.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicsConfig {
    pub auto_create: bool,
    pub deletion_enabled: bool,
    pub partitions_default: i32,
    pub replication_factor_default: i16,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReplicationConfig {
    pub fetchers_per_leader: usize,
    pub lag_max: Duration,
    pub socket_timeout: Duration,
    pub fetch_partition_bytes_max: i32,
    pub fetch_response_bytes_max: i32,
    pub fetch_wait_max: Duration,
    pub fetch_bytes_min: i32,
    pub fetch_backoff: Duration,
    pub high_watermark_checkpoint_interval: Duration,
    /// Whether a consumer is sent to a replica of its own rack (KIP-392).
    pub serves_by_rack: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ControllerConfig {
    pub socket_timeout: Duration,
    pub unclean_election_enabled: bool,
    pub auto_rebalance_enabled: bool,
    /// Percent of a broker's preferred leaderships that may be elsewhere.
    pub imbalance_percent_max: i32,
    pub imbalance_check_interval: Duration,
    /// Whether the registration of a dead process is removed before its session ends.
    pub death_detection_enabled: bool,
}

/// What concerns all logs of the broker; what may differ by topic is in the topic's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct LogDirsConfig {
    pub dirs: Vec<PathBuf>,
    pub retention_check_interval: Duration,
    pub flush_check_interval: Duration,
    /// Whether what is acknowledged is on disk.
    pub flush_before_ack: bool,
    pub recovery_point_checkpoint_interval: Duration,
    pub start_offset_checkpoint_interval: Duration,
    /// Delay of periodic tasks after start.
    pub initial_task_delay: Duration,
    pub recovery_threads_per_dir: usize,
    pub producer_id_expiration: Duration,
    pub producer_id_expiration_check_interval: Duration,
}

/// Coordination of consumer groups.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupsConfig {
    pub limits: Limits,
    /// Partitions of `__consumer_offsets` if it is not there yet.
    pub partitions_default: i32,
    /// Codec of what coordinators append.
    pub compression: Codec,
    /// Bytes of a coordinating partition's log read at a time; a larger batch is read whole.
    pub load_bytes_max: usize,
    /// How long an append waits for its replicas.
    pub append_timeout: Duration,
    pub append_acks: RequiredAcks,
    /// How often expired offsets, and groups without members and offsets, are looked for.
    pub expiry_check_interval: Duration,
    /// Where committed offsets are kept.
    pub offsets_storage: OffsetsStorage,
    pub offsets_retention: Duration,
    /// Longest text a client may store with an offset, in UTF-16 units.
    pub offset_metadata_max: usize,
}

/// `offsets.storage`: who can find committed offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetsStorage {
    /// Tools of the ZooKeeper era, and Ottla.
    ZooKeeper,
    /// Apache's brokers and what reads `__consumer_offsets`. What ZooKeeper has is read where the log
    /// has nothing.
    Kafka,
    /// All of them.
    Both,
}

/// How logs are compacted.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    pub enabled: bool,
    pub threads: usize,
    /// Memory for offsets of keys, of all threads together.
    pub dedupe_buffer_bytes: usize,
    /// How full it may become, from 0 to 1.
    pub dedupe_buffer_load_factor: f64,
    /// Memory for reading and writing, of all threads together.
    pub io_buffer_bytes: usize,
    /// What all threads together may read and write.
    pub io_bytes_per_second_max: f64,
    /// Pause when there is nothing to compact.
    pub backoff: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ShutdownConfig {
    pub controlled: bool,
    pub retries_max: u32,
    pub retry_backoff: Duration,
}

/// A configuration, and what an operator should know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads a file of properties; `overrides` of the form `key=value` win over it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded, ConfigError> {
        let one = |problem| ConfigError { problems: vec![problem] };
        let bytes = std::fs::read(path).map_err(|error| {
            one(Problem::File { path: path.to_path_buf(), reason: format!("cannot be read: {error}") })
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let mut fixed = properties::parse(&text)
            .map_err(|source| one(Problem::Unreadable { path: path.to_path_buf(), source }))?;
        let mut malformed = Vec::new();
        for item in overrides {
            match item.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    fixed.insert(String::from(key.trim()), String::from(value.trim()));
                }
                _ => malformed.push(Problem::Override(item.clone())),
            }
        }
        match Config::from_properties(fixed) {
            Err(error) => {
                malformed.extend(error.problems);
                Err(ConfigError { problems: malformed })
            }
            Ok(_) if !malformed.is_empty() => Err(ConfigError { problems: malformed }),
            Ok(loaded) => Ok(loaded),
        }
    }

    /// Checks and types what `server.properties` says.
    pub fn from_properties(fixed: BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
        let warnings = check::warnings(&fixed);
        let config = Config::from_layers(Layers { fixed, ..Layers::default() })?;
        Ok(Loaded { config, warnings })
    }

    /// The configuration that results from all sources.
    pub fn from_layers(layers: Layers) -> Result<Config, ConfigError> {
        read::read(layers)
    }

    /// What other brokers and clients are told: advertised listeners, with the machine's name for
    /// a missing host and the bound port for port 0.
    pub fn advertise(&self, host_name: &str, bound_ports: &BTreeMap<String, u16>) -> Vec<Listener> {
        let complete = |listener: &Listener| {
            let mut listener = listener.clone();
            listener.host.get_or_insert_with(|| String::from(host_name));
            if listener.port == 0 {
                listener.port = bound_ports.get(&listener.name).copied().unwrap_or(0);
            }
            listener
        };
        self.network.advertised.iter().map(complete).collect()
    }
}

#[cfg(test)]
mod tests;
