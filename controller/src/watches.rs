//! What wakes a reigning controller. Each watch is a task that arms, tells, waits, and arms again:
//! since it tells after arming, and the controller then looks for itself, nothing that happens in
//! between is missed, and a connection that was lost is made up for.
//!
//! Few nodes are watched on the controller's own session; those of topics and brokers, which may be
//! many, on sessions of their own.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::ids::{BrokerId, ZkVersion};
use client::zk::{Session, WatchPool, ZkError};
use client::znode::{admin, broker, notification, topic};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::vital;
use crate::world::Event;

type Events = mpsc::UnboundedSender<Event>;

/// Before a watch that could not be armed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// End with this.
#[derive(Debug)]
pub(crate) struct Watches {
    pool: WatchPool,
    events: Events,
    /// The fixed ones.
    _nodes: JoinSet<()>,
    topics: BTreeMap<Arc<str>, Guard>,
    brokers: BTreeMap<BrokerId, Guard>,
}

#[derive(Debug)]
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watches {
    /// Arms the watches of nodes that are always there. Each tells once at the start.
    pub(crate) fn start(session: &Session, pool: WatchPool, events: Events) -> Watches {
        let mut nodes = JoinSet::new();
        let lists = [
            (broker::IDS, Event::BrokersChanged),
            (topic::TOPICS, Event::TopicsChanged),
            (admin::DELETE_TOPICS, Event::DeletionsRequested),
            (notification::ISR_CHANGES, Event::IsrsChanged),
            (notification::LOG_DIR_EVENTS, Event::LogDirsFailed),
        ];
        for (path, event) in lists {
            nodes.spawn(watch_list(session.clone(), path, event, events.clone()));
        }
        let requests = [
            (admin::PREFERRED_REPLICA_ELECTION, Event::PreferredElectionRequested),
            (admin::REASSIGN_PARTITIONS, Event::ReassignmentRequested),
        ];
        for (path, event) in requests {
            nodes.spawn(watch_appearance(session.clone(), path, event, events.clone()));
        }
        Watches { pool, events, _nodes: nodes, topics: BTreeMap::new(), brokers: BTreeMap::new() }
    }

    pub(crate) fn add_topic(&mut self, topic: &Arc<str>) {
        let task = vital::spawn(
            "watch of a topic",
            watch_topic(self.pool.clone(), topic.clone(), self.events.clone()),
        );
        self.topics.insert(topic.clone(), Guard(task.abort_handle()));
    }

    pub(crate) fn remove_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.forget(topic::path(topic));
    }

    pub(crate) fn add_broker(&mut self, id: BrokerId) {
        let task =
            vital::spawn("watch of a broker", watch_broker(self.pool.clone(), id, self.events.clone()));
        self.brokers.insert(id, Guard(task.abort_handle()));
    }

    pub(crate) fn remove_broker(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        self.forget(broker::path(id));
    }

    fn forget(&self, path: String) {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.forget(&path).await });
    }
}

async fn watch_list(session: Session, path: &'static str, event: Event, events: Events) {
    while let Some((_, mut watch)) = armed(path, || session.children_watch(path)).await {
        if events.send(event.clone()).is_err() {
            return;
        }
        watch.changed().await;
    }
}

async fn watch_appearance(session: Session, path: &'static str, event: Event, events: Events) {
    while let Some((stat, mut watch)) = armed(path, || session.exists_watch(path)).await {
        if stat.is_some() && events.send(event.clone()).is_err() {
            return;
        }
        watch.changed().await;
    }
}

/// Goes on when the node is gone: somebody may have removed it only to write it anew.
async fn watch_topic(pool: WatchPool, topic: Arc<str>, events: Events) {
    let path = topic::path(&topic);
    let mut last = None;
    while let Some((node, mut watch)) = armed(&path, || pool.get_watch(&path)).await {
        if let Some(node) = node.filter(|node| last != Some(node.stat.mzxid)) {
            last = Some(node.stat.mzxid);
            if events.send(Event::TopicChanged { topic: topic.clone(), data: node.data }).is_err() {
                return;
            }
        }
        watch.changed().await;
    }
}

/// Ends when the registration is gone: that it went shows in the list.
async fn watch_broker(pool: WatchPool, id: BrokerId, events: Events) {
    let path = broker::path(id);
    // A registration is at version 1 until its end points change.
    let mut last = ZkVersion(1);
    while let Some((stat, mut watch)) = armed(&path, || pool.exists_watch(&path)).await {
        let Some(stat) = stat else { return };
        if stat.version != last {
            last = stat.version;
            if events.send(Event::BrokersChanged).is_err() {
                return;
            }
        }
        watch.changed().await;
    }
}

/// Tries until the watch is armed; `None` when the session is over.
async fn armed<T, F>(path: &str, arm: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, ZkError>>,
{
    let mut failing = false;
    loop {
        match arm().await {
            Ok(armed) => return Some(armed),
            Err(error) if error.is_session_over() => return None,
            // Most are lists that no broker has made yet, and a lost connection.
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(path, %error, "a node cannot be watched now; it is tried again");
                }
                sleep(PAUSE).await;
            }
        }
    }
}
