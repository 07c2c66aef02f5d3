//! Follows `/config` in ZooKeeper, as `ZkNodeChangeNotificationListener.scala` does: change nodes
//! are numbered, each says which entity to read again, and what it held is never trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::ids::BrokerId;
use client::zk::{Session, WatchEvent, ZkError};
use client::znode::config::{CHANGES, ConfigEntity, Overrides, TOPICS, change_number, decode, decode_change};
use tokio::time::{Instant, sleep};

use super::DynamicConfig;

/// Change nodes older than this are deleted by whoever sees them.
const CHANGE_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// After an absence of this length changes may have been deleted unseen, so everything is read again.
const ABSENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// Pause before ZooKeeper is asked again after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads all configuration once, so that a broker starts with it.
pub async fn load(config: &DynamicConfig, session: &Session, me: BrokerId) -> Result<(), ZkError> {
    let loaded = session.children(TOPICS).await;
    let mut topics = ZkError::absent_is_none(loaded)?.unwrap_or_default();
    // What had overrides and has no node any more has none.
    let known = config.topics_with_overrides();
    topics.extend(known.iter().map(|topic| String::from(&**topic)));
    topics.sort();
    topics.dedup();
    load_topics(config, session, &topics).await?;
    for entity in [ConfigEntity::Broker(None), ConfigEntity::Broker(Some(me))] {
        apply(config, session, &entity, me).await?;
    }
    Ok(())
}

/// Reads the configuration of these topics. To be awaited before logs of new topics are made,
/// since the creation of a topic is not announced under `/config/changes`.
pub async fn load_topics(
    config: &DynamicConfig,
    session: &Session,
    topics: &[String],
) -> Result<(), ZkError> {
    let entities: Vec<ConfigEntity> = topics.iter().cloned().map(ConfigEntity::Topic).collect();
    let paths: Vec<String> = entities.iter().map(ConfigEntity::path).collect();
    for ((node, entity), topic) in session.get_many(&paths).await?.into_iter().zip(&entities).zip(topics) {
        config.put_topic(topic, overrides(entity, node.as_ref().map(|node| node.data.as_slice())));
    }
    Ok(())
}

/// Follows changes until the session is over. A new session begins again with [`load`].
pub async fn follow(config: &DynamicConfig, session: &Session, me: BrokerId) {
    let mut follower = Follower { config, session, me, last: None, seen: Instant::now() };
    loop {
        match follower.run().await {
            Ok(()) => return,
            Err(error) if error.is_session_over() => return,
            Err(error) => {
                tracing::warn!(%error, "changes of configuration cannot be followed; trying again");
                tokio::select! {
                    () = sleep(RETRY_PAUSE) => {}
                    _ = session.over() => return,
                }
            }
        }
    }
}

struct Follower<'a> {
    config: &'a DynamicConfig,
    session: &'a Session,
    me: BrokerId,
    /// The greatest number that was carried out. `None`: nothing was read yet.
    last: Option<i64>,
    /// When `/config/changes` was last read.
    seen: Instant,
}

impl Follower<'_> {
    /// Ends well when the session is over.
    async fn run(&mut self) -> Result<(), ZkError> {
        self.session.ensure(CHANGES).await?;
        loop {
            let (names, mut watch) = self.session.children_watch(CHANGES).await?;
            // The watch stands before everything is read, so nothing falls in between.
            if self.last.is_none() || self.seen.elapsed() > ABSENCE_MAX {
                load(self.config, self.session, self.me).await?;
                self.last = Some(names.iter().filter_map(|name| change_number(name)).max().unwrap_or(-1));
            }
            for (number, name) in newer(&names, self.last) {
                self.carry_out(name).await?;
                self.last = Some(number);
            }
            self.delete_old(&names).await?;
            self.seen = Instant::now();
            tokio::select! {
                event = watch.changed() => {
                    if event == WatchEvent::Lost && self.session.state().is_over() {
                        return Ok(());
                    }
                    if event != WatchEvent::Lost {
                        // Connected all the while: nothing was missed, however long it was quiet.
                        self.seen = Instant::now();
                    }
                }
                _ = self.session.over() => return Ok(()),
            }
        }
    }

    async fn carry_out(&self, name: &str) -> Result<(), ZkError> {
        let Some(node) = self.session.get_if_exists(&format!("{CHANGES}/{name}")).await? else {
            return Ok(());
        };
        match decode_change(&node.data) {
            Ok(entity) => apply(self.config, self.session, &entity, self.me).await,
            Err(error) => {
                tracing::error!(change = name, %error, "a change of configuration is skipped");
                Ok(())
            }
        }
    }

    /// All brokers do this and race for it.
    async fn delete_old(&self, names: &[String]) -> Result<(), ZkError> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let paths: Vec<String> = names.iter().map(|name| format!("{CHANGES}/{name}")).collect();
        for (node, path) in self.session.get_many(&paths).await?.into_iter().zip(&paths) {
            let created_ms = node.map_or(u128::MAX, |node| u128::try_from(node.stat.ctime_ms).unwrap_or(0));
            if now_ms.saturating_sub(created_ms) > CHANGE_LIFETIME.as_millis() {
                self.session.delete_recursive(path).await?;
            }
        }
        Ok(())
    }
}

/// The changes not carried out yet, in their order.
fn newer(names: &[String], last: Option<i64>) -> Vec<(i64, &str)> {
    let numbered = names.iter().filter_map(|name| Some((change_number(name)?, name.as_str())));
    let mut newer: Vec<(i64, &str)> = numbered.filter(|(number, _)| Some(*number) > last).collect();
    newer.sort();
    newer
}

/// Reads the entity, whatever the change was, and takes over what it holds now.
async fn apply(
    config: &DynamicConfig,
    session: &Session,
    entity: &ConfigEntity,
    me: BrokerId,
) -> Result<(), ZkError> {
    let read = || async {
        let node = session.get_if_exists(&entity.path()).await?;
        Ok::<Overrides, ZkError>(overrides(entity, node.as_ref().map(|node| node.data.as_slice())))
    };
    match entity {
        ConfigEntity::Topic(topic) => config.put_topic(topic, read().await?),
        ConfigEntity::Broker(None) => config.put_cluster_default(read().await?),
        ConfigEntity::Broker(Some(id)) if *id == me => config.put_broker(read().await?),
        ConfigEntity::Broker(Some(_)) => {}
        ConfigEntity::Client(_)
        | ConfigEntity::User(_)
        | ConfigEntity::UserClient { .. }
        | ConfigEntity::Ip(_) => {
            tracing::warn!(%entity, "quotas and credentials are not implemented; this one has no effect");
        }
    }
    Ok(())
}

/// As in Kafka, what cannot be read counts as nothing.
fn overrides(entity: &ConfigEntity, data: Option<&[u8]>) -> Overrides {
    decode(data.unwrap_or_default()).unwrap_or_else(|error| {
        tracing::error!(%entity, %error, "a configuration in ZooKeeper cannot be read; it counts as empty");
        Overrides::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_carried_out_once_and_in_order() {
        let names =
            ["config_change_0000000010", "config_change_0000000009", "rubbish", "config_change_0000000008"]
                .map(String::from);
        let numbers = |last| newer(&names, last).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(None), [8, 9, 10]);
        assert_eq!(numbers(Some(8)), [9, 10]);
        assert_eq!(numbers(Some(10)), [0_i64; 0]);
    }
}
