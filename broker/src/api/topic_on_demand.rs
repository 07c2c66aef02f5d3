//! Topics that nobody created: made when a client asks for their metadata, or for a coordinator.

use client::wire::ErrorCode;
use client::znode::topic_name;
use controller::placement::Replicas;

use super::failure::Failure;
use super::topic_creation::{self, DEFAULT_COUNT, Wanted};
use crate::admin::Admin;
use crate::config::{Value, table};

/// Writes the topic to ZooKeeper; when its leaders are known is the controller's affair, so the
/// client is told to ask again.
pub(super) async fn create(admin: &Admin, name: &str) -> ErrorCode {
    if topic_name::validate(name).is_err() {
        return ErrorCode::InvalidTopicException;
    }
    let Some(_creating) = admin.begin_creating(name) else { return ErrorCode::UnknownTopicOrPartition };
    let Some(session) = admin.session() else { return ErrorCode::UnknownTopicOrPartition };
    let created = topic_creation::create(admin, &session, wanted(admin, name), false).await;
    match created.map_err(|failure| (failure.code, failure)) {
        Ok(_) => {
            tracing::info!(topic = name, "created because a client asked for it");
            ErrorCode::LeaderNotAvailable
        }
        // Somebody else was faster, or ZooKeeper slow: the topic is there or on its way.
        Err((ErrorCode::TopicAlreadyExists | ErrorCode::RequestTimedOut, _)) => ErrorCode::LeaderNotAvailable,
        Err((code, Failure { message, .. })) => {
            tracing::warn!(
                topic = name,
                code = code.name(),
                why = message,
                "not created when a client asked for it"
            );
            code
        }
    }
}

/// Internal topics have partitions, replicas and a configuration of their own.
fn wanted(admin: &Admin, name: &str) -> Wanted {
    let config = admin.config.broker();
    let number = |key: &str| match table::find(key).and_then(|definition| config.layers.value(definition)) {
        Some(Value::Int(number)) => number,
        Some(Value::Short(number)) => i32::from(number),
        _ => DEFAULT_COUNT,
    };
    let (prefix, overrides) = match name {
        topic_name::CONSUMER_OFFSETS => {
            let compression = match number("offsets.topic.compression.codec") {
                1 => "gzip",
                2 => "snappy",
                3 => "lz4",
                4 => "zstd",
                _ => "uncompressed",
            };
            let segment = number("offsets.topic.segment.bytes").to_string();
            let overrides = vec![
                ("compression.type", compression),
                ("cleanup.policy", "compact"),
                ("segment.bytes", &segment),
            ];
            ("offsets.topic", own(overrides))
        }
        topic_name::TRANSACTION_STATE => {
            let segment = number("transaction.state.log.segment.bytes").to_string();
            let min_isr = number("transaction.state.log.min.isr").to_string();
            let overrides = vec![
                ("unclean.leader.election.enable", "false"),
                ("compression.type", "uncompressed"),
                ("cleanup.policy", "compact"),
                ("min.insync.replicas", min_isr.as_str()),
                ("segment.bytes", segment.as_str()),
            ];
            ("transaction.state.log", own(overrides))
        }
        _ => ("", Vec::new()),
    };
    let count =
        |what: &str| if prefix.is_empty() { DEFAULT_COUNT } else { number(&format!("{prefix}.{what}")) };
    Wanted {
        name: String::from(name),
        partitions: count("num.partitions"),
        replication_factor: i16::try_from(count("replication.factor")).unwrap_or(i16::MAX),
        replicas: Replicas::new(),
        overrides: overrides.into_iter().collect(),
    }
}

fn own(pairs: Vec<(&str, &str)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(key, value)| (String::from(key), String::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin_testing::admin_with;

    #[test]
    fn internal_topics_are_made_their_own_way() {
        let admin = admin_with(&[
            ("offsets.topic.replication.factor", "2"),
            ("offsets.topic.compression.codec", "3"),
        ]);
        let shown = |name: &str| {
            let wanted = wanted(&admin, name);
            let overrides: Vec<String> =
                wanted.overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
            (wanted.partitions, wanted.replication_factor, overrides.join(","))
        };
        assert_eq!(shown("t"), (-1, -1, String::new()));
        assert_eq!(
            shown("__consumer_offsets"),
            (50, 2, String::from("cleanup.policy=compact,compression.type=lz4,segment.bytes=104857600"))
        );
        assert_eq!(
            shown("__transaction_state"),
            (
                50,
                3,
                String::from(
                    "cleanup.policy=compact,compression.type=uncompressed,min.insync.replicas=2,segment.bytes=104857600,unclean.leader.election.enable=false"
                )
            )
        );
    }
}
