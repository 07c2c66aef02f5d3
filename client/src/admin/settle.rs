//! Waiting until every broker knows of a change. A controller answers when it knows itself; the others hear of it
//! a moment later, and whoever asks one of them at once would be told of the past.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Admin, Failure};
use crate::connection::Connection;
use crate::wire::ErrorCode;
use crate::wire::messages::MetadataRequest;
use crate::wire::messages::metadata_request::MetadataRequestTopic;

/// A broker that has not heard of it after this long has other troubles, and is not waited for.
const LIMIT: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(5);

impl Admin {
    /// Returns when every broker that can be reached describes the topic with at least so many partitions that
    /// have a leader, or after five seconds.
    pub async fn wait_until_served(&self, topic: &str, partitions: usize) {
        self.settle(topic, |code, led| code == ErrorCode::None && led >= partitions).await;
    }

    /// Returns when no broker that can be reached knows the topic, or after five seconds.
    pub async fn wait_until_gone(&self, topic: &str) {
        self.settle(topic, |code, _| code == ErrorCode::UnknownTopicOrPartition).await;
    }

    /// `settled` is given the topic's error and how many of its partitions have a leader.
    async fn settle(&self, topic: &str, settled: impl Fn(ErrorCode, usize) -> bool) {
        if self.find_controller().await.is_err() {
            return;
        }
        let brokers: Vec<Arc<str>> = self.links().brokers.values().cloned().collect();
        let deadline = Instant::now() + LIMIT;
        for address in brokers {
            let waiting = async {
                let connection = self.connection(&address).await?;
                while !self.ask(&connection, topic, &settled).await? {
                    sleep(ASK_AGAIN).await;
                }
                Ok::<(), Failure>(())
            };
            // A broker that does not answer is not waited for.
            timeout_at(deadline, waiting).await.map(drop).ok();
        }
    }

    async fn ask(
        &self,
        connection: &Connection,
        topic: &str,
        settled: &impl Fn(ErrorCode, usize) -> bool,
    ) -> Result<bool, Failure> {
        let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![asked]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.exchange(connection, &request).await?;
        Ok(response.topics.first().is_some_and(|topic| {
            let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0).count();
            settled(ErrorCode::from_code(topic.error_code), led)
        }))
    }
}
