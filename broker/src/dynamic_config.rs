//! Configuration as it is now: `server.properties` under what ZooKeeper holds for the cluster, for
//! this broker and for each topic (KIP-226). [`changes`] keeps it up to date.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use client::znode::config::Overrides;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Value, admit_dynamic, topic};

pub mod changes;

/// The broker's and all topics' configuration. Cheap to read, from anywhere.
#[derive(Debug)]
pub struct DynamicConfig {
    broker: watch::Sender<Arc<Config>>,
    topics: RwLock<BTreeMap<Arc<str>, Arc<Overrides>>>,
    /// Held while a broker entity is taken over.
    replacing: Mutex<()>,
    changes: mpsc::UnboundedSender<ConfigChange>,
}

/// Something that those who obey a configuration must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// The topic's own overrides changed.
    Topic(Arc<str>),
    /// The broker's configuration changed, and with it that of every topic.
    Broker,
    /// A replica outside the in-sync set may lead now: of this topic, or of all.
    UncleanElectionAllowed(Option<Arc<str>>),
}

const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

impl DynamicConfig {
    /// Starts with what `server.properties` says, and a list of changes to come.
    pub fn new(config: Config) -> (Arc<DynamicConfig>, mpsc::UnboundedReceiver<ConfigChange>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let dynamic = DynamicConfig {
            broker: watch::Sender::new(Arc::new(config)),
            topics: RwLock::default(),
            replacing: Mutex::new(()),
            changes,
        };
        (Arc::new(dynamic), receiver)
    }

    /// The broker's configuration now.
    pub fn broker(&self) -> Arc<Config> {
        Arc::clone(&self.broker.borrow())
    }

    /// Follows the broker's configuration.
    pub fn watch_broker(&self) -> watch::Receiver<Arc<Config>> {
        self.broker.subscribe()
    }

    /// What is set for the topic itself.
    pub fn topic_overrides(&self, topic: &str) -> Arc<Overrides> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).cloned().unwrap_or_default()
    }

    /// The value that applies to a topic. `None`: there is no such key.
    pub fn topic_value(&self, topic: &str, key: &str) -> Option<Value> {
        let key = topic::find(key)?;
        Some(topic::effective(key, &self.broker().layers, &self.topic_overrides(topic)))
    }

    /// Takes over what ZooKeeper holds for a topic.
    pub fn put_topic(&self, topic: &str, overrides: Overrides) {
        for (name, value) in &overrides {
            let wrong = topic::find(name).and_then(|key| key.definition.parse(value).err());
            if let Some(error) = wrong {
                tracing::error!(topic, %error, "a topic's setting in ZooKeeper is wrong; the default applies");
            }
        }
        let name: Arc<str> = Arc::from(topic);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let old = match overrides.is_empty() {
            true => topics.remove(topic),
            false => topics.insert(Arc::clone(&name), Arc::new(overrides.clone())),
        };
        drop(topics);
        let old = old.unwrap_or_default();
        if *old == overrides {
            return;
        }
        tracing::info!(topic, ?overrides, "the topic's configuration changed");
        if allows_unclean(&overrides) && !allows_unclean(&old) {
            self.announce(ConfigChange::UncleanElectionAllowed(Some(Arc::clone(&name))));
        }
        self.announce(ConfigChange::Topic(name));
    }

    /// Forgets a topic that was deleted.
    pub fn forget_topic(&self, topic: &str) {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// The names of all topics that have overrides.
    pub fn topics_with_overrides(&self) -> Vec<Arc<str>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Takes over what ZooKeeper holds for all brokers.
    pub fn put_cluster_default(&self, overrides: Overrides) {
        self.put_layer(overrides, true);
    }

    /// Takes over what ZooKeeper holds for this broker.
    pub fn put_broker(&self, overrides: Overrides) {
        self.put_layer(overrides, false);
    }

    fn put_layer(&self, overrides: Overrides, is_cluster_default: bool) {
        let entity = if is_cluster_default { "the default of all brokers" } else { "this broker" };
        let (admitted, refused) = admit_dynamic(overrides, is_cluster_default);
        for (key, why) in refused {
            tracing::error!(key, why, "a setting in ZooKeeper for {entity} is not taken over");
        }
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.broker();
        let mut layers = old.layers.clone();
        let layer = if is_cluster_default { &mut layers.cluster } else { &mut layers.broker };
        if *layer == admitted {
            return;
        }
        *layer = admitted;
        match Config::from_layers(layers) {
            Ok(new) => {
                tracing::info!("the broker's configuration changed with the settings for {entity}");
                let unclean = |config: &Config| config.controller.unclean_election_enabled;
                let allows = unclean(&new) && !unclean(&old);
                self.broker.send_replace(Arc::new(new));
                if allows {
                    self.announce(ConfigChange::UncleanElectionAllowed(None));
                }
                self.announce(ConfigChange::Broker);
            }
            Err(error) => {
                tracing::error!(%error, "the settings in ZooKeeper for {entity} are not taken over")
            }
        }
    }

    fn announce(&self, change: ConfigChange) {
        // Nobody listens any more when the broker stops.
        self.changes.send(change).ok();
    }
}

fn allows_unclean(overrides: &Overrides) -> bool {
    let key = topic::find(UNCLEAN_ELECTION);
    let value =
        key.zip(overrides.get(UNCLEAN_ELECTION)).and_then(|(key, text)| key.definition.parse(text).ok());
    value == Some(Value::Boolean(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect()
    }

    fn start(lines: &[(&str, &str)]) -> (Arc<DynamicConfig>, mpsc::UnboundedReceiver<ConfigChange>) {
        let mut properties = map(lines);
        properties.insert(String::from("zookeeper.connect"), String::from("zk:2181"));
        DynamicConfig::new(Config::from_properties(properties).expect("a good file").config)
    }

    fn announced(changes: &mut mpsc::UnboundedReceiver<ConfigChange>) -> Vec<ConfigChange> {
        std::iter::from_fn(|| changes.try_recv().ok()).collect()
    }

    #[test]
    fn topics_change_and_are_announced_once() {
        let (config, mut changes) = start(&[]);
        config.put_topic("t", map(&[("retention.ms", "5"), (UNCLEAN_ELECTION, "true")]));
        config.put_topic("t", map(&[("retention.ms", "5"), (UNCLEAN_ELECTION, "true")]));
        config.put_topic("u", map(&[]));
        let t: Arc<str> = Arc::from("t");
        assert_eq!(
            announced(&mut changes),
            [ConfigChange::UncleanElectionAllowed(Some(Arc::clone(&t))), ConfigChange::Topic(Arc::clone(&t))]
        );
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(5)));
        config.put_topic("t", map(&[]));
        assert_eq!(announced(&mut changes), [ConfigChange::Topic(t)]);
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(604_800_000)));
        assert_eq!(config.topic_value("t", "no.such.key"), None);
    }

    #[test]
    fn the_brokers_settings_reach_its_topics() {
        let (config, mut changes) = start(&[("log.retention.hours", "1")]);
        config.put_cluster_default(map(&[("log.retention.ms", "7"), (UNCLEAN_ELECTION, "true")]));
        assert_eq!(
            announced(&mut changes),
            [ConfigChange::UncleanElectionAllowed(None), ConfigChange::Broker]
        );
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(7)));
        config.put_broker(map(&[("log.retention.ms", "8"), ("num.partitions", "9")]));
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(8)));
        assert_eq!(config.broker().topics.partitions_default, 1, "it cannot change at run time");
        config.put_broker(map(&[]));
        config.put_cluster_default(map(&[]));
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(3_600_000)));
    }

    #[test]
    fn settings_that_contradict_each_other_leave_all_as_it_was() {
        let (config, mut changes) = start(&[]);
        config.put_cluster_default(map(&[("log.cleaner.threads", "1000"), ("log.retention.ms", "7")]));
        assert_eq!(announced(&mut changes), []);
        assert_eq!(config.topic_value("t", "retention.ms"), Some(Value::Long(604_800_000)));
    }
}
