//! The actions over `--zookeeper` (`ZkConsumerGroupService` of Kafka 1.1): groups of classic consumers, which
//! live below `/consumers`.

mod view;

use std::time::Duration;

use client::admin::AdminOptions;
use client::ids::{Offset, TopicPartition};
use client::zk::{Session, ZkConfig, ZkError};
use client::znode::consumer;
use client::znode::topic_name::{self, TopicNameError};

use super::options::Action;
use super::zookeeper_options::Arguments;
use super::{Failed, Stop, client_config, json};
use crate::tools::console::Console;
use crate::tools::failure::Exception;

/// For the session and for connecting, as in Kafka's tool.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A partition of a topic that a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassicRow {
    pub(super) partition: TopicPartition,
    /// `None`: nothing is committed.
    pub(super) current: Option<Offset>,
    /// `None`: nobody leads it, or no broker answers.
    pub(super) end: Option<Offset>,
    /// The consumer that owns it.
    pub(super) consumer: Option<String>,
}

impl ClassicRow {
    pub(super) fn lag(&self) -> Option<i64> {
        Some(self.end?.0.saturating_sub(self.current?.0))
    }
}

pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let connect = arguments.options.value("zookeeper").map_err(|error| Stop::Crash(error.into()))?;
    console.show();
    let config = ZkConfig::new(connect.unwrap_or_default()).with_timeout(TIMEOUT);
    let session = Session::connect_only(config).await.map_err(unconnected)?;
    let done = match arguments.action {
        Action::List => list(&session, arguments, console).await,
        Action::Describe => describe(&session, arguments, console).await,
        Action::Delete => delete(&session, arguments, console).await,
        Action::ResetOffsets | Action::DeleteOffsets => Err(Stop::Failed(Failed {
            // Kafka's tool throws an exception without a message.
            exception: Exception::new("java.lang.UnsupportedOperationException", "null"),
            hint: Some(
                "The offsets of classic groups cannot be reset by this tool, as Kafka's cannot either. Stop the \
                 group, --delete it, and start it with auto.offset.reset."
                    .to_owned(),
            ),
        })),
    };
    // A session that cannot be closed ends by its timeout, and holds nothing.
    session.close().await;
    done
}

fn unconnected(error: ZkError) -> Stop {
    Stop::Crash(match error {
        ZkError::Unavailable { .. } => Exception::new(
            "org.I0Itec.zkclient.exception.ZkTimeoutException",
            "Unable to connect to zookeeper server within timeout: 30000",
        ),
        other => Exception::new("java.lang.IllegalArgumentException", other.to_string()),
    })
}

impl From<ZkError> for Stop {
    fn from(error: ZkError) -> Stop {
        Exception::new("org.apache.zookeeper.KeeperException", error.to_string()).into()
    }
}

async fn list(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let groups = view::groups(session).await?;
    match arguments.is_json {
        true => json::print_names(&groups, console),
        false => groups.iter().for_each(|group| console.line(group)),
    }
    Ok(())
}

async fn describe(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let options = match arguments.options.value("command-config")? {
        Some(path) => client_config::load(path)?,
        None => AdminOptions::default(),
    };
    let group = arguments.options.value("group")?.unwrap_or_default();
    if !view::groups(session).await?.iter().any(|known| known == group) {
        console.line(format!("Error: The consumer group '{group}' does not exist."));
        return Ok(());
    }
    let rows = view::rows(session, group, options).await?;
    if arguments.is_json {
        json::print_classic_offsets(group, &rows, console);
        return Ok(());
    }
    for ClassicRow { partition, .. } in rows.iter().filter(|row| row.current.is_none()) {
        console.line(format!(
            "Error: Could not fetch offset from zookeeper for group '{group}' partition '{partition}' due to \
             missing offset data in zookeeper."
        ));
    }
    print(&rows, console);
    Ok(())
}

fn print(rows: &[ClassicRow], console: &mut Console) {
    const MISSING: &str = "-";
    let consumer = |row: &ClassicRow| row.consumer.as_deref().unwrap_or(MISSING).to_owned();
    let topic_width = rows.iter().map(|row| row.partition.topic.len()).fold(15, usize::max);
    let consumer_width = rows.iter().map(|row| consumer(row).chars().count()).fold(15, usize::max);
    let mut print = |cells: [&str; 6]| {
        let [topic, partition, current, end, lag, consumer] = cells;
        console.line(format!(
            "{topic:topic_width$} {partition:10} {current:15} {end:15} {lag:15} {consumer:consumer_width$} "
        ));
    };
    let heading = format!("\n{:topic_width$}", "TOPIC");
    print([&heading, "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID"]);
    for row in rows {
        let number = |number: Option<i64>| number.map_or(MISSING.to_owned(), |number| number.to_string());
        print([
            &row.partition.topic,
            &row.partition.partition.to_string(),
            &number(row.current.map(|offset| offset.0)),
            &number(row.end.map(|offset| offset.0)),
            &number(row.lag()),
            &consumer(row),
        ]);
    }
}

async fn delete(session: &Session, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let groups = arguments.options.values("group");
    let topic = arguments.options.value("topic")?;
    if let Some(topic) = topic {
        topic_name::validate(topic).map_err(|error| refused_name(&error))?;
    }
    if let (Some(topic), true) = (topic, groups.is_empty()) {
        for group in view::groups(session).await? {
            if view::topics(session, &group).await?.iter().any(|of_group| of_group == topic) {
                delete_topic(session, &group, topic).await?;
            }
        }
        console.line(format!(
            "Deleted consumer group information for all inactive consumer groups for topic '{topic}' in zookeeper."
        ));
        return Ok(());
    }
    for group in groups {
        let (outcome, what) = match topic {
            Some(topic) => {
                let what = format!("'{group}' topic '{topic}'");
                (delete_topic(session, group, topic).await?, what)
            }
            None => (delete_group(session, group).await?, format!("'{group}'")),
        };
        console.line(match (outcome, topic) {
            (Outcome::Deleted, Some(_)) => {
                format!("Deleted consumer group information for group {what} in zookeeper.")
            }
            (Outcome::Deleted, None) => {
                format!("Deleted all consumer group information for group {what} in zookeeper.")
            }
            (Outcome::Active, _) => {
                format!("Error: Delete for group {what} failed because its consumers are still active.")
            }
            (Outcome::Unknown, _) => {
                format!("Error: Delete for group {what} failed because group does not exist.")
            }
        });
    }
    Ok(())
}

/// In the words of Kafka 1.1.
fn refused_name(error: &TopicNameError) -> Exception {
    let message = match error {
        TopicNameError::Characters { name } => format!(
            "Topic name \"{name}\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ),
        other => other.to_string(),
    };
    Exception::new("org.apache.kafka.common.errors.InvalidTopicException", message)
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Deleted,
    /// It has members.
    Active,
    /// No classic consumer has ever been in it.
    Unknown,
}

async fn delete_group(session: &Session, group: &str) -> Result<Outcome, ZkError> {
    let outcome = view::deletable(session, group).await?;
    if outcome == Outcome::Deleted {
        session.delete_recursive(&format!("{}/{group}", consumer::CONSUMERS)).await?;
    }
    Ok(outcome)
}

async fn delete_topic(session: &Session, group: &str, topic: &str) -> Result<Outcome, ZkError> {
    if view::topics(session, group).await? == [topic] {
        return delete_group(session, group).await;
    }
    let outcome = view::deletable(session, group).await?;
    if outcome == Outcome::Deleted {
        for path in [consumer::offsets_path(group, topic), consumer::owners_path(group, topic)] {
            session.delete_recursive(&path).await?;
        }
    }
    Ok(outcome)
}
