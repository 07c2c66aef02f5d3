//! What the APIs about topics, brokers and configuration stand on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use client::ids::BrokerId;
use client::zk::Session;
use controller::ControllerHandle;
use tokio::sync::watch;

use crate::control_fence::ControlFence;
use crate::dynamic_config::{DynamicConfig, changes};
use crate::metadata::MetadataCache;

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
    /// is not announced under `/config/changes`. Without ZooKeeper, what was last heard applies.
    pub(crate) async fn load_configs(&self, topics: BTreeSet<String>) {
        let topics: Vec<String> = topics.into_iter().collect();
        let Some(session) = self.session().filter(|_| !topics.is_empty()) else { return };
        if let Err(error) = changes::load_topics(&self.config, &session, &topics).await {
            tracing::warn!(%error, ?topics, "the configuration of new topics cannot be read; defaults apply");
        }
    }

    /// `None`: another request is creating the topic.
    pub(crate) fn begin_creating(&self, name: &str) -> Option<Creating<'_>> {
        let mut creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        creating.insert(String::from(name)).then(|| Creating { admin: self, name: String::from(name) })
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
