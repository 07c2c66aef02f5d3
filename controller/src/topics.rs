//! What asking for a topic writes to ZooKeeper: any broker does it, and so do tools that talk to
//! ZooKeeper. None of it is fenced; the controller sees the nodes and does the rest
//! (Kafka's `AdminZkClient.scala`).

use std::collections::BTreeMap;

use client::ids::{BrokerId, Uuid, ZkVersion};
use client::zk::{CreateMode, Op, Session, ZkError};
use client::znode::broker::{self, Registration};
use client::znode::config::{self, ConfigEntity, Overrides};
use client::znode::controller::{self, ControllerRegistration};
use client::znode::topic::{self, PartitionAssignment, TopicAssignment};
use client::znode::{ZnodeError, admin, topic_name};

use crate::placement::{Candidate, Replicas};

/// Why a topic was not created, changed or deleted. The texts are Kafka's where it has one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TopicError {
    #[error(transparent)]
    Name(#[from] topic_name::TopicNameError),
    #[error("Topic '{topic}' already exists.")]
    Exists { topic: String },
    #[error("Topic '{topic}' is marked for deletion.")]
    MarkedForDeletion { topic: String },
    #[error("Topic '{topic}' collides with existing topics: {}", .with.join(", "))]
    Collides { topic: String, with: Vec<String> },
    #[error("The topic '{topic}' does not exist.")]
    Unknown { topic: String },
    #[error("A partition reassignment is in progress for the topic '{topic}'.")]
    BeingReassigned { topic: String },
    #[error("partitions were added to the topic '{topic}' by somebody else; look again how many it has")]
    Changed { topic: String },
    /// The configuration of a topic is only written while a controller of ours reigns.
    #[error("there is no controller in ZooKeeper mode now, so the configuration of '{topic}' is not written")]
    NoController { topic: String },
    #[error("the node of the topic '{topic}' cannot be read: {reason}")]
    Unreadable { topic: String, reason: ZnodeError },
    #[error(transparent)]
    ZooKeeper(#[from] ZkError),
}

/// Who writes a topic's configuration: brokers only while `/controller` is that of a ZooKeeper-mode
/// controller (a migration to KRaft would be undone by a later write), tools always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigGuard {
    Controller,
    Nothing,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub replicas: Replicas,
    pub overrides: Overrides,
    /// See [`draw_topic_id`].
    pub id: Uuid,
    pub guard: ConfigGuard,
}

/// A random id that no topic has yet.
pub fn draw_topic_id() -> Uuid {
    loop {
        if let Some(id) = Uuid::from_random(rand::random()) {
            return id;
        }
    }
}

/// What speaks against creating a topic of this name. Nothing is written.
pub async fn check_new_topic(session: &Session, name: &str) -> Result<(), TopicError> {
    topic_name::validate(name)?;
    let topic = || name.to_owned();
    let paths = [admin::delete_topic_path(name), topic::path(name)];
    if session.exists(&paths[0]).await?.is_some() {
        return Err(TopicError::MarkedForDeletion { topic: topic() });
    }
    if session.exists(&paths[1]).await?.is_some() {
        return Err(TopicError::Exists { topic: topic() });
    }
    if !topic_name::has_collision_chars(name) {
        return Ok(());
    }
    let mut with = names(session).await?;
    with.retain(|other| topic_name::collide(name, other));
    match with.is_empty() {
        true => Ok(()),
        false => Err(TopicError::Collides { topic: topic(), with }),
    }
}

/// Creates a topic: its configuration first, then its node, which is what the controller sees.
/// A topic that exists already keeps its replicas, but has this configuration then, as in Kafka.
pub async fn create(session: &Session, new: &NewTopic) -> Result<(), TopicError> {
    check_new_topic(session, &new.name).await?;
    write_config(session, new).await?;
    let partitions = new.replicas.iter();
    let assignment = TopicAssignment {
        topic_id: Some(new.id),
        partitions: partitions.map(|(&p, ids)| (p, PartitionAssignment::of(ids.clone()))).collect(),
    };
    let op = Op::create(topic::path(&new.name), assignment.encode());
    match write_settled(session, op).await {
        Err(ZkError::NodeExists { .. }) => Err(TopicError::Exists { topic: new.name.clone() }),
        Err(ZkError::NoNode { .. }) => {
            // The parent is made by the first broker; a tool may come before it.
            session.ensure(topic::TOPICS).await?;
            let op = Op::create(topic::path(&new.name), assignment.encode());
            write_settled(session, op).await.map_err(TopicError::from)
        }
        result => result.map_err(TopicError::from),
    }?;
    tracing::info!(
        topic = new.name, id = %new.id, partitions = new.replicas.len(),
        "the topic is written to ZooKeeper"
    );
    Ok(())
}

async fn write_config(session: &Session, new: &NewTopic) -> Result<(), TopicError> {
    let path = ConfigEntity::Topic(new.name.clone()).path();
    let data = config::encode(&new.overrides);
    let set = Op::set(&path, data.clone(), None);
    let written = match new.guard {
        ConfigGuard::Nothing => write_settled(session, set).await,
        ConfigGuard::Controller => {
            let version = controller_version(session, &new.name).await?;
            match session.multi(vec![Op::check(controller::PATH, version), set.clone()]).await {
                Ok(_) => Ok(()),
                Err(failed) if failed.index == Some(0) => {
                    return Err(TopicError::NoController { topic: new.name.clone() });
                }
                Err(failed) if matches!(failed.error, ZkError::Ambiguous { .. }) => {
                    write_settled(session, set).await
                }
                Err(failed) => Err(failed.error),
            }
        }
    };
    match written {
        Err(ZkError::NoNode { .. }) => {}
        result => return result.map_err(TopicError::from),
    }
    match session.create_recursive(&path, data).await {
        // Somebody else's configuration of a topic that is being created twice: one of the two
        // creations fails at the topic's node.
        Ok(()) | Err(ZkError::NodeExists { .. } | ZkError::Ambiguous { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The version of `/controller`, if a ZooKeeper-mode controller holds it.
async fn controller_version(session: &Session, topic: &str) -> Result<ZkVersion, TopicError> {
    let none = || TopicError::NoController { topic: topic.to_owned() };
    let node = session.get_if_exists(controller::PATH).await?.ok_or_else(none)?;
    match ControllerRegistration::decode(&node.data) {
        Ok(registration) if registration.kraft_controller_epoch <= 0 => Ok(node.version()),
        _ => Err(none()),
    }
}

/// Adds partitions behind those there are. The rest of the node stays as it is, the topic's id and
/// a reassignment's lists too.
pub async fn add_partitions(session: &Session, name: &str, added: &Replicas) -> Result<(), TopicError> {
    let path = topic::path(name);
    let unknown = || TopicError::Unknown { topic: name.to_owned() };
    let node = session.get_if_exists(&path).await?.ok_or_else(unknown)?;
    let unreadable = |reason| TopicError::Unreadable { topic: name.to_owned(), reason };
    let mut assignment = TopicAssignment::decode(&node.data).map_err(unreadable)?;
    if assignment.partitions.values().any(PartitionAssignment::is_being_reassigned) {
        return Err(TopicError::BeingReassigned { topic: name.to_owned() });
    }
    if added.keys().any(|partition| assignment.partitions.contains_key(partition)) {
        return Err(TopicError::Changed { topic: name.to_owned() });
    }
    let news = added.iter().map(|(&partition, ids)| (partition, PartitionAssignment::of(ids.clone())));
    assignment.partitions.extend(news);
    match session.set_settled(&path, assignment.encode(), node.version()).await {
        Ok(_) => {
            tracing::info!(topic = name, added = added.len(), "partitions are written to ZooKeeper");
            Ok(())
        }
        Err(ZkError::BadVersion { .. }) => Err(TopicError::Changed { topic: name.to_owned() }),
        Err(ZkError::NoNode { .. }) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// Asks the controller to delete a topic. One that is asked for already is no error.
pub async fn request_deletion(session: &Session, name: &str) -> Result<(), TopicError> {
    if session.exists(&topic::path(name)).await?.is_none() {
        return Err(TopicError::Unknown { topic: name.to_owned() });
    }
    match session.create_recursive(&admin::delete_topic_path(name), "").await {
        Ok(()) | Err(ZkError::NodeExists { .. }) => Ok(()),
        // The node was empty or absent, and a second one does no harm.
        Err(ZkError::Ambiguous { .. }) => {
            match session.create_recursive(&admin::delete_topic_path(name), "").await {
                Ok(()) | Err(ZkError::NodeExists { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// What a topic's node holds now; `None` if there is no such topic.
pub async fn assignment(session: &Session, name: &str) -> Result<Option<TopicAssignment>, TopicError> {
    let Some(node) = session.get_if_exists(&topic::path(name)).await? else { return Ok(None) };
    let unreadable = |reason| TopicError::Unreadable { topic: name.to_owned(), reason };
    TopicAssignment::decode(&node.data).map(Some).map_err(unreadable)
}

/// The names of all topics, sorted.
pub async fn names(session: &Session) -> Result<Vec<String>, TopicError> {
    Ok(ZkError::absent_is_none(session.children(topic::TOPICS).await)?.unwrap_or_default())
}

/// The registered brokers, to place replicas on.
pub async fn candidates(session: &Session) -> Result<Vec<Candidate>, TopicError> {
    let registered = registrations(session).await?.into_iter();
    Ok(registered.map(|(id, registration)| Candidate { id, rack: registration.rack }).collect())
}

/// The registered brokers as their nodes describe them; one that cannot be read is left out.
pub async fn registrations(session: &Session) -> Result<BTreeMap<BrokerId, Registration>, TopicError> {
    let listed = ZkError::absent_is_none(session.children(broker::IDS).await)?.unwrap_or_default();
    let ids: Vec<BrokerId> = listed.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    let paths: Vec<String> = ids.iter().map(|&id| broker::path(id)).collect();
    let mut registrations = BTreeMap::new();
    for (id, node) in ids.into_iter().zip(session.get_many(&paths).await?) {
        match node.map(|node| Registration::decode(&node.data)) {
            Some(Ok(registration)) => drop(registrations.insert(id, registration)),
            Some(Err(error)) => tracing::error!(broker = %id, %error, "a registered broker cannot be used"),
            None => {}
        }
    }
    Ok(registrations)
}

/// The overrides of a topic's configuration; none if there is no node or it cannot be read.
pub async fn overrides(session: &Session, name: &str) -> Result<Overrides, TopicError> {
    let node = session.get_if_exists(&ConfigEntity::Topic(name.to_owned()).path()).await?;
    Ok(node.map(|node| config::decode(&node.data).unwrap_or_default()).unwrap_or_default())
}

/// A write whose answer is lost is looked up, and sent again if it was not done.
async fn write_settled(session: &Session, op: Op) -> Result<(), ZkError> {
    use client::zk::Settled;
    const ROUNDS: usize = 5;
    let mut lost = 0;
    loop {
        match session.write(op.clone()).await {
            Err(ZkError::Ambiguous { .. }) if lost < ROUNDS => lost += 1,
            result => return result.map(drop),
        }
        match session.settle(&op).await? {
            Settled::Applied(_) => return Ok(()),
            Settled::NotApplied => {}
            Settled::Overtaken => {
                let path = op.path().to_owned();
                return Err(match op {
                    Op::Create { mode: CreateMode::Persistent, .. } => ZkError::NodeExists { path },
                    _ => ZkError::BadVersion { path },
                });
            }
        }
    }
}
