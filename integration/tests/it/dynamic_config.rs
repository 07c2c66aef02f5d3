//! Configuration in a real ZooKeeper: what a broker makes of it, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::config::{Config, Value};
use broker::dynamic_config::{ConfigChange, DynamicConfig, changes};
use client::ids::BrokerId;
use client::zk::{CreateMode, Session, ZkConfig};
use client::znode::config::{ConfigEntity, Overrides, change_path, encode, encode_change};
use client::znode::directories;
use integration::zookeeper::{ZooKeeper, with_zookeeper};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

const ME: BrokerId = BrokerId(1);

/// A broker's configuration that follows ZooKeeper, and a session to change it with.
struct Bench {
    server: ZooKeeper,
    config: Arc<DynamicConfig>,
    changes: UnboundedReceiver<ConfigChange>,
    zk: Session,
}

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect()
}

fn topic(name: &str) -> ConfigEntity {
    ConfigEntity::Topic(String::from(name))
}

impl Bench {
    /// With these entities there from the start.
    async fn start(server: ZooKeeper, entities: &[(ConfigEntity, Overrides)]) -> Bench {
        let zk_config = ZkConfig::new(server.connect_string()).with_timeout(Duration::from_secs(6));
        let zk = Session::connect(zk_config.clone()).await.expect("ZooKeeper answers");
        zk.create_directories(&directories::AT_START).await.expect("directories are made");
        for (entity, overrides) in entities {
            zk.set_or_create(&entity.path(), encode(overrides)).await.expect("written");
        }
        let fixed = BTreeMap::from([(String::from("zookeeper.connect"), server.connect_string())]);
        let (config, changes) =
            DynamicConfig::new(Config::from_properties(fixed).expect("a good file").config);
        let session = Session::connect(zk_config).await.expect("ZooKeeper answers");
        changes::load(&config, &session, ME).await.expect("loaded");
        let following = Arc::clone(&config);
        tokio::spawn(async move { changes::follow(&following, &session, ME).await });
        Bench { server, config, changes, zk }
    }

    /// Writes as Kafka does: the entity, then what tells the brokers.
    async fn change(&self, entity: &ConfigEntity, overrides: &Overrides) {
        self.zk.set_or_create(&entity.path(), encode(overrides)).await.expect("written");
        self.announce(encode_change(entity)).await;
    }

    async fn announce(&self, data: Vec<u8>) {
        self.zk.create(&change_path(), data, CreateMode::PersistentSequential).await.expect("announced");
    }

    async fn next(&mut self) -> ConfigChange {
        let change = timeout(Duration::from_secs(20), self.changes.recv()).await;
        change.expect("a change is noticed within 20 s").expect("the configuration lives")
    }

    fn retention_ms(&self, topic: &str) -> Option<Value> {
        self.config.topic_value(topic, "retention.ms")
    }
}

fn changed(topic: &str) -> ConfigChange {
    ConfigChange::Topic(Arc::from(topic))
}

#[test]
fn what_is_there_at_the_start_applies() {
    with_zookeeper(|server| async {
        let entities = [
            (topic("t"), overrides(&[("retention.ms", "5")])),
            (
                ConfigEntity::Broker(None),
                overrides(&[("log.retention.ms", "7"), ("log.segment.bytes", "1000")]),
            ),
            (ConfigEntity::Broker(Some(ME)), overrides(&[("log.segment.bytes", "2000")])),
            (ConfigEntity::Broker(Some(BrokerId(2))), overrides(&[("log.retention.ms", "9")])),
        ];
        let bench = Bench::start(server, &entities).await;
        assert_eq!(bench.retention_ms("t"), Some(Value::Long(5)));
        assert_eq!(bench.retention_ms("other"), Some(Value::Long(7)));
        assert_eq!(bench.config.topic_value("t", "segment.bytes"), Some(Value::Int(2000)));
    });
}

#[test]
fn changes_are_taken_over_in_their_order_and_bad_ones_skipped() {
    with_zookeeper(|server| async {
        let mut bench = Bench::start(server, &[]).await;
        bench.change(&topic("t"), &overrides(&[("retention.ms", "5")])).await;
        assert_eq!(bench.next().await, changed("t"));
        assert_eq!(bench.retention_ms("t"), Some(Value::Long(5)));

        // What 0.8.2 wrote, what nobody wrote, a quota, and a broker that is not this one.
        for data in [&br#""t""#[..], b"rubbish", br#"{"version":2,"entity_path":"users/u"}"#] {
            bench.announce(data.to_vec()).await;
        }
        bench
            .change(&ConfigEntity::Broker(Some(BrokerId(2))), &overrides(&[("log.retention.ms", "9")]))
            .await;
        // A change names the entity, and what it holds when it is read counts.
        bench
            .zk
            .set_or_create(&topic("u").path(), encode(&overrides(&[("retention.ms", "6")])))
            .await
            .expect("set");
        let v1 = br#"{"version":1,"entity_type":"topics","entity_name":"u"}"#;
        bench.announce(v1.to_vec()).await;
        assert_eq!(bench.next().await, changed("u"));
        assert_eq!(bench.retention_ms("u"), Some(Value::Long(6)));

        bench.change(&ConfigEntity::Broker(None), &overrides(&[("log.retention.ms", "7")])).await;
        assert_eq!(bench.next().await, ConfigChange::Broker);
        assert_eq!(bench.retention_ms("other"), Some(Value::Long(7)));
        bench.zk.delete(&topic("t").path(), None).await.expect("deleted");
        bench.announce(encode_change(&topic("t"))).await;
        assert_eq!(bench.next().await, changed("t"));
        assert_eq!(bench.retention_ms("t"), Some(Value::Long(7)));
    });
}

#[test]
fn a_topics_permission_for_unclean_election_is_told() {
    with_zookeeper(|server| async {
        let mut bench = Bench::start(server, &[]).await;
        bench.change(&topic("t"), &overrides(&[("unclean.leader.election.enable", "true")])).await;
        assert_eq!(bench.next().await, ConfigChange::UncleanElectionAllowed(Some(Arc::from("t"))));
        assert_eq!(bench.next().await, changed("t"));
    });
}

#[test]
fn changes_made_while_the_broker_was_cut_off_are_made_up_for() {
    with_zookeeper(|server| async {
        let mut bench = Bench::start(server, &[]).await;
        bench.change(&topic("t"), &overrides(&[("retention.ms", "5")])).await;
        assert_eq!(bench.next().await, changed("t"));
        bench.server.restart();
        bench.change(&topic("t"), &overrides(&[("retention.ms", "6")])).await;
        assert_eq!(bench.next().await, changed("t"));
        assert_eq!(bench.retention_ms("t"), Some(Value::Long(6)));
    });
}
