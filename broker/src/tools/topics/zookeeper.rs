//! The actions over `--zookeeper` (`TopicCommand.scala` and `AdminZkClient.scala` of Kafka 2.8): the znodes
//! are read and written here, and the controller sees them.

mod partitions;
mod view;

use std::time::Duration;

use client::zk::{CreateMode, Session, ZkConfig, ZkError};
use client::znode::config::{self, ConfigEntity, Overrides};
use client::znode::topic_name::{self, TopicNameError};
use controller::placement::{self, PlacementError, Replicas, Start};
use controller::topics::{self, ConfigGuard, NewTopic, TopicError};

use super::description::{self, Report};
use super::json::{self, Listed};
use super::options::{Action, Arguments};
use super::request::{TopicRequest, check_configs, warn_of_collisions};
use super::selection::{ensure_found, select};
use super::{Dialect, Failed, Stop};
use crate::tools::console::Console;
use crate::tools::failure::Exception;

const DIALECT: Dialect = Dialect::ZooKeeper;

/// For the session and for connecting, as in Kafka's tool.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let connect = arguments.early_value("zookeeper")?.unwrap_or_default();
    let config = ZkConfig::new(connect).with_timeout(TIMEOUT);
    let session = Session::connect_only(config).await.map_err(unconnected)?;
    let done = match arguments.action {
        Action::Create => create(&session, arguments, console).await,
        Action::List => list(&session, arguments, console).await,
        Action::Describe => describe(&session, arguments, console).await,
        Action::Alter => alter(&session, arguments, console).await,
        Action::Delete => delete(&session, arguments, console).await,
    };
    // A session that cannot be closed ends by its timeout, and holds nothing.
    session.close().await;
    done.map_err(|failed| Stop::Failed(Failed { is_json: arguments.is_json, ..failed }))
}

fn unconnected(error: ZkError) -> Stop {
    Stop::Crash(match error {
        ZkError::Unavailable { .. } => Exception::new(
            "kafka.zookeeper.ZooKeeperClientTimeoutException",
            "Timed out waiting for connection while in state: CONNECTING",
        ),
        other => Exception::new("java.lang.IllegalArgumentException", other.to_string()),
    })
}

impl From<TopicError> for Failed {
    fn from(error: TopicError) -> Failed {
        Failed::new(match &error {
            TopicError::Name(name) => in_words_of_2_8(name),
            _ => error.to_string(),
        })
    }
}

impl From<ZkError> for Failed {
    fn from(error: ZkError) -> Failed {
        Failed::new(error.to_string())
    }
}

impl From<PlacementError> for Failed {
    fn from(error: PlacementError) -> Failed {
        Failed::new(error.to_string())
    }
}

fn in_words_of_2_8(error: &TopicNameError) -> String {
    match error {
        TopicNameError::Empty => "Topic name is illegal, it can't be empty".to_owned(),
        TopicNameError::Dots { .. } => r#"Topic name cannot be "." or "..""#.to_owned(),
        TopicNameError::TooLong { name } => {
            let longest = topic_name::LONGEST;
            format!("Topic name is illegal, it can't be longer than {longest} characters, topic name: {name}")
        }
        TopicNameError::Characters { name } => format!(
            "Topic name \"{name}\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ),
    }
}

async fn create(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let request = TopicRequest::read(DIALECT, arguments, console)?;
    warn_of_collisions(&request.topic, console);
    console.show();
    // A slip of the pen would found another cluster's tree.
    if !session.chroot().is_empty() && session.exists("/").await?.is_none() {
        let chroot = session.chroot();
        return Err(Failed::new(format!(
            "ZooKeeper has no node {chroot}, which --zookeeper names as the chroot"
        )));
    }
    let replicas = match request.replicas {
        Some(replicas) => replicas,
        None => place(session, arguments, &request).await?,
    };
    let created = create_placed(session, &request.topic, request.configs, replicas).await;
    match created {
        Ok(()) => console.line(format!("Created topic {}.", request.topic)),
        Err(TopicOrPlacement::Topic(TopicError::Exists { .. })) if arguments.has("if-not-exists") => {}
        Err(TopicOrPlacement::Topic(error)) => return Err(error.into()),
        Err(TopicOrPlacement::Placement(error)) => return Err(error.into()),
    }
    Ok(())
}

enum TopicOrPlacement {
    Topic(TopicError),
    Placement(PlacementError),
}

async fn create_placed(
    session: &Session,
    topic: &str,
    overrides: Overrides,
    replicas: Replicas,
) -> Result<(), TopicOrPlacement> {
    topics::check_new_topic(session, topic).await.map_err(TopicOrPlacement::Topic)?;
    placement::check_new(&replicas).map_err(TopicOrPlacement::Placement)?;
    let new = NewTopic {
        name: topic.to_owned(),
        replicas,
        overrides,
        id: topics::draw_topic_id(),
        guard: ConfigGuard::Nothing,
    };
    topics::create(session, &new).await.map_err(TopicOrPlacement::Topic)
}

async fn place(session: &Session, arguments: &Arguments, request: &TopicRequest) -> Result<Replicas, Failed> {
    let mut brokers = topics::candidates(session).await?;
    if arguments.has("disable-rack-aware") {
        brokers.iter_mut().for_each(|broker| broker.rack = None);
    }
    let partitions = request.partitions.unwrap_or_default();
    let wanted = request.replication_factor.unwrap_or_default();
    let Ok(factor) = i16::try_from(wanted) else {
        let available = brokers.len();
        return Err(Failed::new(match wanted {
            ..0 => PlacementError::NoReplicas.to_string(),
            _ => format!("Replication factor: {wanted} larger than available brokers: {available}."),
        }));
    };
    let start =
        Start { index: usize::from(rand::random::<u16>()), shift: usize::from(rand::random::<u16>()) };
    Ok(placement::place(&brokers, partitions, factor, start)?)
}

async fn list(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let names = select(topics::names(session).await?, arguments)?;
    let marked = view::marked_for_deletion(session).await?;
    let ids = if arguments.is_json { view::topic_ids(session, &names).await? } else { Default::default() };
    let listed = names.into_iter().map(|name| Listed {
        id: ids.get(&name).copied(),
        is_marked_for_deletion: marked.contains(&name),
        name,
    });
    let listed: Vec<Listed> = listed.collect();
    if arguments.is_json {
        json::print_list(&listed, console);
        return Ok(());
    }
    for Listed { name, is_marked_for_deletion, .. } in listed {
        let mark = if is_marked_for_deletion { " - marked for deletion" } else { "" };
        console.line(format!("{name}{mark}"));
    }
    Ok(())
}

async fn describe(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let names = select(topics::names(session).await?, arguments)?;
    ensure_found(DIALECT, &names, arguments)?;
    let report = Report::new(arguments, view::live_brokers(session).await?);
    let described = view::describe(session, &names, arguments.is_json).await?;
    if arguments.is_json {
        let found: Vec<_> = described.into_iter().flatten().collect();
        json::print_descriptions(&report, &found, console);
        return Ok(());
    }
    for (name, topic) in names.iter().zip(described) {
        match topic {
            Some(topic) => description::print(DIALECT, &report, &topic, console),
            None => console.line(format!("Topic {name} doesn't exist!")),
        }
    }
    Ok(())
}

async fn alter(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let names = select(topics::names(session).await?, arguments)?;
    let request = TopicRequest::read(DIALECT, arguments, console)?;
    ensure_found(DIALECT, &names, arguments)?;
    for topic in &names {
        if arguments.has("config") || arguments.has("delete-config") {
            console.line(
                "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases.",
            );
            console.line("         Going forward, please use kafka-configs.sh for this functionality");
            alter_config(session, topic, &request).await?;
            console.line(format!("Updated config for topic {topic}."));
        }
        if let Some(total) = request.partitions {
            if topic_name::is_internal(topic) {
                return Err(Failed::new(format!(
                    "The number of partitions for the internal topic {topic} cannot be changed."
                )));
            }
            console.line(
                "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected",
            );
            partitions::add(session, topic, total, request.replicas.as_ref()).await?;
            console.line("Adding partitions succeeded!");
        }
    }
    Ok(())
}

/// Writes the topic's configuration, then the note that makes brokers read it.
async fn alter_config(session: &Session, topic: &str, request: &TopicRequest) -> Result<(), Failed> {
    let mut overrides = topics::overrides(session, topic).await?;
    overrides.extend(request.configs.clone());
    overrides.retain(|name, _| !request.configs_to_delete.contains(name));
    check_configs(&overrides)?;
    let entity = ConfigEntity::Topic(topic.to_owned());
    session.set_or_create(&entity.path(), config::encode(&overrides)).await?;
    session.ensure(config::CHANGES).await?;
    let note = config::encode_change(&entity);
    match session.create(&config::change_path(), note.clone(), CreateMode::PersistentSequential).await {
        // It may be there or not; a second one does no harm.
        Err(ZkError::Ambiguous { .. }) => {
            session.create(&config::change_path(), note, CreateMode::PersistentSequential).await?;
        }
        result => drop(result?),
    }
    Ok(())
}

async fn delete(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Failed> {
    let names = select(topics::names(session).await?, arguments)?;
    ensure_found(DIALECT, &names, arguments)?;
    let marked = view::marked_for_deletion(session).await?;
    for topic in names {
        if topic_name::is_internal(&topic) {
            return Err(Failed::new(format!(
                "Topic {topic} is a kafka internal topic and is not allowed to be marked for deletion."
            )));
        }
        if marked.contains(&topic) {
            console.line(format!("Topic {topic} is already marked for deletion."));
            continue;
        }
        topics::request_deletion(session, &topic).await?;
        console.line(format!("Topic {topic} is marked for deletion."));
        console.line("Note: This will have no impact if delete.topic.enable is not set to true.");
    }
    Ok(())
}
