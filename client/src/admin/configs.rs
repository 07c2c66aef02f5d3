//! Configuration of topics.

use std::collections::BTreeMap;

use super::{Admin, AdminError, Target};
use crate::wire::messages::DescribeConfigsRequest;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use crate::wire::{ErrorCode, Str};

/// `ConfigResource.Type.TOPIC` of Kafka.
const TOPIC: i8 = 2;
/// `ConfigSource.DEFAULT_CONFIG` of Kafka.
const DEFAULT_CONFIG: i8 = 5;
/// What version 0 leaves out.
const UNKNOWN_SOURCE: i8 = -1;

/// One key with the value that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None`: there is none, or it is a secret.
    pub value: Option<String>,
    /// Neither the topic nor the broker's own configuration says anything about it.
    pub is_default: bool,
}

impl Admin {
    /// The configuration of each topic, in the broker's order.
    pub async fn topic_configs(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, AdminError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resources = topics.iter().map(|topic| DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: Str::from(topic.as_str()),
            configuration_keys: None,
        });
        let request = DescribeConfigsRequest { resources: resources.collect(), ..Default::default() };
        let sent = |_| request.clone();
        let response = self.call("describeConfigs", Target::AnyBroker, sent, |_| ErrorCode::None).await?;
        let mut configs = BTreeMap::new();
        for result in response.results {
            AdminError::check(result.error_code, result.error_message.as_deref())?;
            let entries = result.configs.into_iter().map(entry).collect();
            configs.insert(result.resource_name.to_string(), entries);
        }
        Ok(configs)
    }
}

fn entry(result: DescribeConfigsResourceResult) -> ConfigEntry {
    let is_default = match result.config_source {
        UNKNOWN_SOURCE => result.is_default,
        source => source == DEFAULT_CONFIG,
    };
    ConfigEntry {
        name: result.name.to_string(),
        value: result.value.map(|value| value.to_string()),
        is_default,
    }
}
