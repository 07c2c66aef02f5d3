//! What tests of the APIs stand on.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::ids::BrokerId;
use controller::ControllerHandle;
use tokio::sync::watch;

use super::Context;
use crate::admin::{Admin, AdminParts};
use crate::config::Config;
use crate::dynamic_config::DynamicConfig;
use crate::fetch_session::FetchSessions;
use crate::metadata::MetadataCache;

/// A broker that was told nothing by a controller yet.
pub(crate) fn context() -> Context {
    let required = [("zookeeper.connect", "127.0.0.1:2181"), ("broker.id", "1")];
    let fixed: BTreeMap<String, String> =
        required.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let config = Config::from_properties(fixed).expect("the least configuration").config;
    let metadata = Arc::new(MetadataCache::new());
    Context {
        admin: admin(config.clone(), Arc::clone(&metadata)),
        fetch_sessions: FetchSessions::new(config.network.fetch_sessions_max),
        config: Arc::new(config),
        metadata,
    }
}

/// Administration on broker 1, without a controller and without ZooKeeper.
pub(crate) fn admin(config: Config, metadata: Arc<MetadataCache>) -> Admin {
    Admin::new(AdminParts {
        me: BrokerId(1),
        cluster_id: Arc::from("aLKxRRpgSxWLGfCC4C4DDA"),
        config: DynamicConfig::new(config).0,
        metadata,
        controller: ControllerHandle::detached(),
        fence: Arc::default(),
        sessions: watch::channel(None).1,
    })
}
