//! What the parts of a broker are made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::ids::BrokerId;
use client::record::{Codec, Compression};
use client::zk::CreateMode;
use client::znode::broker::Endpoint;
use client::znode::config::Overrides;
use client::znode::notification;
use tokio::net::lookup_host;
use tokio::sync::mpsc;

use super::BrokerError;
use super::last_stop::boot_id;
use crate::clock::Now;
use crate::config::{Config, Layers, Value, topic};
use crate::dynamic_config::DynamicConfig;
use crate::log::disk::raise_open_file_limit;
use crate::log::{Disk, LogConfig, LogDirs, LogDirsError, LogDirsOptions};
use crate::membership::{Identity, Membership};
use crate::partition::TopicConfig;
use crate::replicas::TopicConfigs;
use crate::server::{Bound, ServerOptions};

/// Opens and locks the directories. Paths of those that fail, now or later, go to `failed`.
pub(super) fn open_dirs(
    config: &Config,
    failed: mpsc::UnboundedSender<PathBuf>,
) -> Result<LogDirs, LogDirsError> {
    match raise_open_file_limit() {
        Ok(limit) => tracing::debug!(limit, "files that may be open at once"),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files: many partitions may not fit it")
        }
    }
    let options = LogDirsOptions {
        disk: Disk::Real,
        paths: config.log.dirs.clone(),
        recovery_threads: config.log.recovery_threads_per_dir,
        delete_delay_ms: log_config(&config.layers, &Overrides::new(), config).file_delete_delay_ms,
    };
    LogDirs::open(
        options,
        Arc::new(move |path, why| {
            tracing::error!(
                dir = %path.display(),
                why,
                "a log directory is offline: its partitions are not served until the broker is started again"
            );
            // Nobody listens any more only when the broker stops.
            failed.send(path.to_path_buf()).ok();
        }),
    )
}

/// Loads all logs, off the runtime's threads: recovery after an unclean stop may take a while.
pub(super) async fn load_logs(
    dirs: LogDirs,
    dynamic: &Arc<DynamicConfig>,
    now: Now,
) -> Result<Arc<LogDirs>, BrokerError> {
    let configs = topic_configs(dynamic);
    let dirs = Arc::new(dirs);
    let loading = Arc::clone(&dirs);
    let loaded = tokio::task::spawn_blocking(move || {
        loading.load(&|topic| configs(topic).log.clone(), rand::random(), now.unix_ms)
    });
    let partitions = loaded.await.map_err(BrokerError::Panicked)??;
    tracing::info!(logs = partitions.len(), took_ms = Now::read().unix_ms - now.unix_ms, "logs are loaded");
    Ok(dirs)
}

/// The present configuration of a topic: its overrides over the broker's values.
pub(super) fn topic_configs(dynamic: &Arc<DynamicConfig>) -> TopicConfigs {
    let dynamic = Arc::clone(dynamic);
    Arc::new(move |name| {
        let broker = dynamic.broker();
        let overrides = dynamic.topic_overrides(name);
        let value = |key: &str| topic::find(key).map(|key| topic::effective(key, &broker.layers, &overrides));
        let bound_ms = |key: &str| topic::timestamp_bound_ms(key, &broker.layers, &overrides);
        Arc::new(TopicConfig {
            log: log_config(&broker.layers, &overrides, &broker),
            min_insync_replicas: min_insync(&broker, &overrides),
            message_timestamp_before_max_ms: bound_ms("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: bound_ms("message.timestamp.after.max.ms"),
            compression: compression(&value),
            downconversion_enabled: value("message.downconversion.enable") != Some(Value::Boolean(false)),
            flush_before_ack: broker.log.flush_before_ack,
        })
    })
}

/// `min.insync.replicas` of a topic with these overrides.
pub(super) fn min_insync(broker: &Config, overrides: &Overrides) -> usize {
    let key = topic::find("min.insync.replicas");
    match key.map(|key| topic::effective(key, &broker.layers, overrides)) {
        Some(Value::Int(replicas)) => usize::try_from(replicas).unwrap_or(1),
        _ => 1,
    }
}

/// `compression.type` with the level of its codec; `None`: as the producer sent it.
fn compression(value: &impl Fn(&str) -> Option<Value>) -> Option<Compression> {
    let level = |key: &str| match value(key) {
        Some(Value::Int(level)) => Some(level),
        _ => None,
    };
    let Some(Value::Text(kind)) = value("compression.type") else { return None };
    let (codec, level) = match kind.as_str() {
        "uncompressed" => (Codec::None, None),
        "gzip" => (Codec::Gzip, level("compression.gzip.level")),
        "snappy" => (Codec::Snappy, None),
        "lz4" => (Codec::Lz4, level("compression.lz4.level")),
        "zstd" => (Codec::Zstd, level("compression.zstd.level")),
        _ => return None,
    };
    Some(Compression { codec, level })
}

fn log_config(broker: &Layers, overrides: &Overrides, config: &Config) -> LogConfig {
    let expiration = i64::try_from(config.log.producer_id_expiration.as_millis()).unwrap_or(i64::MAX);
    let mut log = LogConfig { producer_id_expiration_ms: expiration, ..LogConfig::default() };
    for key in topic::topic_keys() {
        let value = topic::effective(key, broker, overrides).to_string();
        if let Err(error) = log.set(key.definition.name, &value) {
            tracing::warn!(%error, "a topic's configuration cannot be obeyed; the default applies");
        }
    }
    log
}

/// Opens the listening sockets; nothing is accepted yet.
pub(super) async fn bind(config: &Config) -> Result<Bound, BrokerError> {
    let network = &config.network;
    let mut addresses = BTreeMap::new();
    for listener in &network.listeners {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        let address = resolve(&listener.name, host, listener.port).await?;
        addresses.insert(Arc::from(listener.name.as_str()), address);
    }
    let mut overrides = BTreeMap::new();
    for (host, connections) in &network.connections_per_ip_overrides {
        overrides.insert(resolve("max.connections.per.ip.overrides", host, 0).await?.ip(), *connections);
    }
    let options = ServerOptions {
        request_max_bytes: network.request_bytes_max,
        queued_max_request_bytes: network.queued_request_bytes_max,
        max_connections: network.connections_max,
        max_connections_per_ip: network.connections_per_ip_max,
        max_connections_per_ip_overrides: overrides,
        inter_broker_listener: Some(network.inter_broker_listener.as_str().into()),
        max_idle: network.idle_max,
        send_buffer_bytes: network.send_buffer_bytes,
        receive_buffer_bytes: network.receive_buffer_bytes,
        backlog: network.backlog,
    };
    Ok(Bound::bind(&addresses, options)?)
}

async fn resolve(listener: &str, host: &str, port: u16) -> Result<SocketAddr, BrokerError> {
    let unknown = |source| BrokerError::Address {
        listener: listener.to_owned(),
        address: format!("{host}:{port}"),
        source,
    };
    let found = lookup_host((host, port)).await.map_err(unknown)?.next();
    found.ok_or_else(|| unknown(std::io::Error::other("the name has no address")))
}

/// Who this broker is to the others.
pub(super) fn identity(
    config: &Config,
    id: BrokerId,
    bound: &BTreeMap<Arc<str>, SocketAddr>,
    dirs: &LogDirs,
) -> Identity {
    let ports = bound.iter().map(|(name, address)| (name.to_string(), address.port())).collect();
    let endpoint = |listener: crate::config::Listener| Endpoint {
        listener: listener.name,
        security_protocol: listener.protocol,
        host: listener.host.unwrap_or_default(),
        port: i32::from(listener.port),
    };
    let endpoints = config.advertise(&host_name(), &ports).into_iter().map(endpoint).collect();
    Identity {
        id,
        endpoints,
        rack: config.rack.clone(),
        may_be_removed: config.controller.death_detection_enabled,
        lock: dirs.locked_file().and_then(|file| lock_name(&file)),
    }
}

/// A name for a file that this process has locked. The lock is as good as its machine, so the name tells machines and
/// their boots apart; `None` where the system does not say.
fn lock_name(file: &Path) -> Option<String> {
    let boot = boot_id()?;
    // Asked by its name: closing a second descriptor of it would give the lock up.
    let file = rustix::fs::stat(file).ok()?;
    Some(format!("{boot}/{}/{}", file.st_dev, file.st_ino))
}

/// This machine's name, for listeners that name no host.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Tells the controller that a log directory of this broker failed.
pub(super) async fn announce_dir_failure(membership: &Membership, id: BrokerId) {
    let session = membership.session();
    let path = notification::log_dir_event_path();
    let data = notification::encode_log_dir_event(id);
    if let Err(error) = session.create(&path, data, CreateMode::PersistentSequential).await {
        tracing::error!(
            %error,
            "the controller could not be told of a failed log directory: partitions there have no leader until this \
             broker is restarted"
        );
    }
}
