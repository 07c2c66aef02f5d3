//! What ZooKeeper says, as of the last time it answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::zk::{Session, ZkConfig, ZkError};

use crate::observer::{State, controller, state};
use crate::runtime::own_thread;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A topic and the number of its partitions.
pub(super) type Topics = Vec<(String, usize)>;

/// One look at everything.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// When the look began.
    pub(super) at: Instant,
    pub(super) controller: Option<i32>,
    /// With the transaction that made each registration: another one after a restart.
    pub(super) registered: BTreeMap<i32, i64>,
    /// By topic and partition; absent while the topic is not there.
    pub(super) states: BTreeMap<(String, usize), State>,
}

impl Seen {
    /// Everybody is there and everything is replicated everywhere.
    pub(super) fn is_whole(&self, brokers: &[i32], topics: &Topics) -> bool {
        let whole =
            |state: &State| state.leader >= 0 && brokers.iter().all(|broker| state.isr.contains(broker));
        let partitions: usize = topics.iter().map(|(_, count)| count).sum();
        self.controller.is_some()
            && brokers.iter().all(|broker| self.registered.contains_key(broker))
            && self.states.len() == partitions
            && self.states.values().all(whole)
    }

    /// How many partitions of a topic each broker leads.
    pub(super) fn led(&self, topic: &str) -> BTreeMap<i32, usize> {
        let mut led = BTreeMap::new();
        for ((of, _), state) in &self.states {
            if of == topic {
                *led.entry(state.leader).or_default() += 1;
            }
        }
        led
    }

    pub(super) fn smallest_isr(&self) -> Option<usize> {
        self.states.values().map(|state| state.isr.len()).min()
    }
}

/// Looks again and again until it is dropped.
#[derive(Debug)]
pub(super) struct View {
    last: Arc<Mutex<Option<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    pub(super) fn of(zookeeper: String, topics: Topics) -> View {
        let (last, stop) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (to, until) = (Arc::clone(&last), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            own_thread().block_on(watch(&zookeeper, &topics, &to, &until));
        });
        View { last, stop, thread: Some(thread) }
    }

    /// Of a ZooKeeper that never answers.
    #[cfg(test)]
    pub(super) fn blind() -> View {
        View { last: Arc::default(), stop: Arc::default(), thread: None }
    }

    /// `None`: ZooKeeper has not answered yet.
    pub(super) fn last(&self) -> Option<Seen> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was seen since `since`, if anything.
    pub(super) fn since(&self, since: Instant) -> Option<Seen> {
        self.last().filter(|seen| seen.at >= since)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn watch(zookeeper: &str, topics: &Topics, to: &Mutex<Option<Seen>>, until: &AtomicBool) {
    let mut config = ZkConfig::new(zookeeper).with_timeout(Duration::from_secs(10));
    config.operation_timeout = Duration::from_secs(2);
    let mut session: Option<Session> = None;
    while !until.load(Ordering::Relaxed) {
        let open = match session.take().filter(|open| !open.state().is_over()) {
            Some(open) => Some(open),
            None => Session::connect(config.clone()).await.ok(),
        };
        if let Some(open) = open {
            if let Ok(seen) = look(&open, topics).await {
                *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
            }
            session = Some(open);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(session: &Session, topics: &Topics) -> Result<Seen, ZkError> {
    let at = Instant::now();
    let controller = session.get_if_exists("/controller").await?.map(|node| controller(&node));
    // Before the first broker there is no such node.
    let ids = session.children_of_many(&[String::from("/brokers/ids")]).await?;
    let ids: Vec<String> = ids.into_iter().flatten().flatten().collect();
    let paths: Vec<String> = ids.iter().map(|id| format!("/brokers/ids/{id}")).collect();
    let nodes = session.get_many(&paths).await?;
    let registered = ids.iter().zip(nodes);
    let registered = registered.filter_map(|(id, node)| Some((id.parse().ok()?, node?.stat.czxid))).collect();
    let names: Vec<(String, usize)> =
        topics.iter().flat_map(|(topic, count)| (0..*count).map(|p| (topic.clone(), p))).collect();
    let path = |(topic, partition): &(String, usize)| {
        format!("/brokers/topics/{topic}/partitions/{partition}/state")
    };
    let paths: Vec<String> = names.iter().map(path).collect();
    let nodes = session.get_many(&paths).await?;
    let states = names.into_iter().zip(nodes).zip(&paths);
    let states = states.filter_map(|((name, node), path)| Some((name, state(path, &node?)))).collect();
    Ok(Seen { at, controller, registered, states })
}
