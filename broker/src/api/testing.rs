//! What tests of the APIs stand on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::admin_testing::admin;
use crate::config::Config;
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
