//! What the APIs about topics, brokers and configuration stand on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::ids::BrokerId;
use client::zk::Session;
use controller::ControllerHandle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::control_fence::ControlFence;
use crate::dynamic_config::{DynamicConfig, changes};
use crate::metadata::MetadataCache;

/// How long a controller's request is held up for the configuration of its topics.
const LOAD_PATIENCE: Duration = Duration::from_secs(2);

/// Pause before that is tried again.
const LOAD_PAUSE: Duration = Duration::from_secs(1);

/// What administration is made of.
pub struct AdminParts {
    pub me: BrokerId,
    pub cluster_id: Arc<str>,
    pub config: Arc<DynamicConfig>,
    pub metadata: Arc<MetadataCache>,
    pub controller: ControllerHandle,
    pub fence: Arc<ControlFence>,
    /// The session this broker is registered in, `None` while it is not.
    pub sessions: watch::Receiver<Option<Session>>,
}

/// Facts and means of administration, shared by all requests.
pub struct Admin {
    pub(crate) me: BrokerId,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) config: Arc<DynamicConfig>,
    pub(crate) metadata: Arc<MetadataCache>,
    pub(crate) controller: ControllerHandle,
    pub(crate) fence: Arc<ControlFence>,
    sessions: watch::Receiver<Option<Session>>,
    /// Topics that a Metadata request is creating right now.
    creating: Mutex<BTreeSet<String>>,
}

/// Reserves a topic's name for the one who creates it, until it is dropped.
pub(crate) struct Creating<'a> {
    admin: &'a Admin,
    name: String,
}

impl Admin {
    pub fn new(parts: AdminParts) -> Admin {
        let AdminParts { me, cluster_id, config, metadata, controller, fence, sessions } = parts;
        Admin { me, cluster_id, config, metadata, controller, fence, sessions, creating: Mutex::default() }
    }

    /// The session with ZooKeeper, if there is one now.
    pub(crate) fn session(&self) -> Option<Session> {
        self.sessions.borrow().clone()
    }

    /// Reads the configuration of topics whose logs are about to be made: the creation of a topic
    /// is not announced under `/config/changes`. If ZooKeeper does not answer, what was last heard
    /// applies until it does.
    pub(crate) async fn load_configs(&self, topics: BTreeSet<String>) {
        if topics.is_empty() {
            return;
        }
        let topics: Vec<String> = topics.into_iter().collect();
        if let Err(why) = try_load(&self.config, &self.sessions, &topics).await {
            tracing::warn!(
                why,
                ?topics,
                "the configuration of new topics cannot be read yet; defaults apply"
            );
            tokio::spawn(load_later(Arc::clone(&self.config), self.sessions.clone(), topics));
        }
    }

    /// `None`: another request is creating the topic.
    pub(crate) fn begin_creating(&self, name: &str) -> Option<Creating<'_>> {
        let mut creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        creating.insert(String::from(name)).then(|| Creating { admin: self, name: String::from(name) })
    }
}

async fn load_later(
    config: Arc<DynamicConfig>,
    sessions: watch::Receiver<Option<Session>>,
    topics: Vec<String>,
) {
    loop {
        sleep(LOAD_PAUSE).await;
        match try_load(&config, &sessions, &topics).await {
            Ok(()) => return,
            // The broker stops.
            Err(_) if sessions.has_changed().is_err() => return,
            Err(why) => tracing::debug!(why, ?topics, "the configuration of topics still cannot be read"),
        }
    }
}

async fn try_load(
    config: &DynamicConfig,
    sessions: &watch::Receiver<Option<Session>>,
    topics: &[String],
) -> Result<(), String> {
    let session = sessions.borrow().clone().ok_or("there is no session with ZooKeeper")?;
    match timeout(LOAD_PATIENCE, changes::load_topics(config, &session, topics)).await {
        Ok(loaded) => loaded.map_err(|error| error.to_string()),
        Err(_) => Err(format!("ZooKeeper did not answer in {} s", LOAD_PATIENCE.as_secs())),
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.admin.creating.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminParts").field("me", &self.me).finish_non_exhaustive()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("me", &self.me)
            .field("cluster_id", &self.cluster_id)
            .finish_non_exhaustive()
    }
}
