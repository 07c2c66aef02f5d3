//! DescribeConfigs: topics and brokers, with where each value comes from (`ConfigHelper.scala`).

use std::collections::BTreeSet;

use client::wire::messages::describe_configs_request::DescribeConfigsResource;
use client::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use client::wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use client::wire::{ErrorCode, MAX_STRING, Str};
use client::znode::config::Overrides;
use client::znode::topic_name;
use controller::topics;

use super::failure::Failure;
use crate::admin::Admin;
use crate::config::topic::{self, TopicValue};
use crate::config::{Definition, Dynamic, Layers, Source, Synonym, table};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;

/// The type of a value whose key nobody knows.
const UNKNOWN_TYPE: i8 = 0;

/// What the client wants to see.
#[derive(Debug, Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(super) async fn answer(admin: &Admin, body: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let known = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS];
    if body.resources.iter().any(|resource| !known.contains(&resource.resource_type)) {
        let generic = Failure::new(ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message());
        let results = body.resources.iter().map(|resource| result(resource, Err(generic.clone())));
        return DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() };
    }
    let detail = Detail { synonyms: body.include_synonyms, documentation: body.include_documentation };
    let mut results = Vec::with_capacity(body.resources.len());
    for resource in &body.resources {
        let described = describe(admin, resource, detail).await;
        let described = described.map(|configs| asked_for(resource, configs)).and_then(expressible);
        results.push(result(resource, described));
    }
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

async fn describe(
    admin: &Admin,
    resource: &DescribeConfigsResource,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    let name = &*resource.resource_name;
    let layers = &admin.config.broker().layers;
    match resource.resource_type {
        TOPIC => {
            topic_name::validate(name)?;
            if admin.metadata.snapshot().topic(name).is_none() {
                return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, ""));
            }
            Ok(describe_topic(layers, &overrides(admin, name).await, detail))
        }
        BROKER if name.is_empty() => Ok(describe_cluster_default(layers, detail)),
        BROKER => {
            check_id(admin, name, " or empty string, but")?;
            Ok(describe_broker(layers, detail))
        }
        BROKER_LOGGER if name.is_empty() => {
            Err(Failure::new(ErrorCode::InvalidRequest, "Broker id must not be empty"))
        }
        BROKER_LOGGER => {
            check_id(admin, name, " but")?;
            // Log levels are set by the environment and cannot be asked for or changed by name.
            Ok(Vec::new())
        }
        _ => Err(Failure::new(
            ErrorCode::InvalidRequest,
            "Config type client-metrics is only supported on KRaft clusters",
        )),
    }
}

/// As ZooKeeper has it now, so that a change is seen at once; what was last heard, while ZooKeeper
/// is away.
async fn overrides(admin: &Admin, name: &str) -> Overrides {
    if let Some(session) = admin.session() {
        match topics::overrides(&session, name).await {
            Ok(overrides) => return overrides,
            Err(error) => {
                tracing::warn!(topic = name, %error, "the topic's configuration is described from memory")
            }
        }
    }
    admin.config.topic_overrides(name).as_ref().clone()
}

/// `but` is the middle of Kafka's sentence, which differs by resource.
fn check_id(admin: &Admin, name: &str, but: &str) -> Result<(), Failure> {
    let message = match name.parse::<i32>() {
        Ok(id) if id == admin.me.0 => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {}{but} received {name}", admin.me),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err(Failure::new(ErrorCode::InvalidRequest, message))
}

fn describe_topic(
    layers: &Layers,
    overrides: &Overrides,
    detail: Detail,
) -> Vec<DescribeConfigsResourceResult> {
    let one = |value: TopicValue| DescribeConfigsResourceResult {
        name: Str::from(value.name),
        value: Some(Str::from(value.value.to_string())),
        config_source: value.source().wire_code(),
        config_type: value.kind.wire_code(),
        documentation: detail.documentation.then(|| Str::from(value.doc)),
        synonyms: wire_synonyms(value.synonyms, detail),
        ..DescribeConfigsResourceResult::default()
    };
    topic::describe(layers, overrides).into_iter().map(one).collect()
}

/// Every key of the table, and what else is set.
fn describe_broker(layers: &Layers, detail: Detail) -> Vec<DescribeConfigsResourceResult> {
    let public = table::broker_definitions().values().filter(|definition| !definition.internal);
    let mut names: BTreeSet<&str> = public.map(|definition| definition.name).collect();
    for layer in [&layers.fixed, &layers.cluster, &layers.broker] {
        names.extend(layer.keys().map(String::as_str));
    }
    let one = |name: &str| {
        let value = match table::find_described(name) {
            Some(definition) => layers.value(definition).map(|value| value.to_string()),
            None => None,
        };
        broker_entry(name, value, layers.synonyms(name), detail)
    };
    names.into_iter().map(one).collect()
}

/// Only what is set for all brokers in ZooKeeper.
fn describe_cluster_default(layers: &Layers, detail: Detail) -> Vec<DescribeConfigsResourceResult> {
    let one = |(name, value): (&String, &String)| {
        let of_all = |synonym: &Synonym| synonym.source == Source::DynamicDefaultBroker;
        let synonyms = layers.synonyms(name).into_iter().filter(of_all).collect();
        broker_entry(name, Some(value.clone()), synonyms, detail)
    };
    layers.cluster.iter().map(one).collect()
}

fn broker_entry(
    name: &str,
    value: Option<String>,
    synonyms: Vec<Synonym>,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let described = table::find_described(name);
    let in_table = table::broker_definitions().get(name);
    let is_sensitive = described.is_none_or(Definition::is_sensitive);
    DescribeConfigsResourceResult {
        name: Str::from(name),
        value: value.filter(|_| !is_sensitive).map(Str::from),
        read_only: in_table.is_none_or(|definition| definition.dynamic == Dynamic::ReadOnly),
        config_source: synonyms.first().map_or(Source::Default, |synonym| synonym.source).wire_code(),
        is_sensitive,
        config_type: described.map_or(UNKNOWN_TYPE, |definition| definition.kind.wire_code()),
        documentation: in_table.filter(|_| detail.documentation).map(|definition| Str::from(definition.doc)),
        synonyms: wire_synonyms(synonyms, detail),
        ..DescribeConfigsResourceResult::default()
    }
}

fn wire_synonyms(synonyms: Vec<Synonym>, detail: Detail) -> Vec<DescribeConfigsSynonym> {
    let wanted = if detail.synonyms { synonyms } else { Vec::new() };
    let one = |synonym: Synonym| DescribeConfigsSynonym {
        name: Str::from(synonym.name),
        value: synonym.value.map(Str::from),
        source: synonym.source.wire_code(),
    };
    wanted.into_iter().map(one).collect()
}

/// No list, or an empty one, asks for everything. Keys that do not exist are passed over.
fn asked_for(
    resource: &DescribeConfigsResource,
    configs: Vec<DescribeConfigsResourceResult>,
) -> Vec<DescribeConfigsResourceResult> {
    match resource.configuration_keys.as_deref() {
        None | Some([]) => configs,
        Some(keys) => configs.into_iter().filter(|config| keys.contains(&config.name)).collect(),
    }
}

/// Files and ZooKeeper have values longer than a string of the wire. Kafka has no answer at all with one in it.
fn expressible(
    configs: Vec<DescribeConfigsResourceResult>,
) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    let fits = |text: &Str| text.len() <= MAX_STRING;
    let of_synonym = |synonym: &DescribeConfigsSynonym| synonym.value.as_ref().is_none_or(fits);
    let all_fit = configs.iter().all(|config| {
        fits(&config.name) && config.value.as_ref().is_none_or(fits) && config.synonyms.iter().all(of_synonym)
    });
    all_fit.then_some(configs).ok_or_else(|| Failure::silent(ErrorCode::UnknownServerError))
}

fn result(
    resource: &DescribeConfigsResource,
    described: Result<Vec<DescribeConfigsResourceResult>, Failure>,
) -> DescribeConfigsResult {
    let (code, message, configs) = match described {
        Ok(configs) => (ErrorCode::None, Some(Str::from("")), configs),
        Err(Failure { code, message }) => {
            (code, Some(message.map_or(Str::from_static(code.message()), Str::from)), Vec::new())
        }
    };
    DescribeConfigsResult {
        error_code: code.code(),
        error_message: message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::api::admin_testing::admin_with as admin;
    use crate::api::testing::OneBroker;

    const BROKER_OF_KAFKA: &str = include_str!("testdata/describe-broker.tsv");
    const TOPIC_OF_KAFKA: &str = include_str!("testdata/describe-topic.tsv");

    async fn ask(
        admin: &Admin,
        resource_type: i8,
        name: &str,
        keys: Option<&[&str]>,
    ) -> DescribeConfigsResult {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: Str::from(name),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: false,
        };
        answer(admin, &request).await.results.remove(0)
    }

    fn line(config: &DescribeConfigsResourceResult) -> String {
        let text = |value: &Option<Str>| String::from(value.as_deref().unwrap_or("null"));
        let mut line = format!(
            "{}\t{}\tro={}\tsrc={}\tsens={}\ttype={}",
            config.name,
            text(&config.value),
            config.read_only,
            config.config_source,
            config.is_sensitive,
            config.config_type
        );
        for synonym in &config.synonyms {
            line.push_str(&format!("\t{}={} {}", synonym.name, text(&synonym.value), synonym.source));
        }
        line
    }

    #[tokio::test]
    async fn a_broker_is_described_as_kafka_describes_it() {
        let is_set = |line: &&str| line.contains("\tsrc=4\t");
        let pair = |line: &'static str| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?))
        };
        let properties: Vec<(&str, &str)> = BROKER_OF_KAFKA.lines().filter(is_set).filter_map(pair).collect();
        let described = ask(&admin(&properties), BROKER, "1", None).await;
        let lines: Vec<String> = described.configs.iter().map(line).collect();
        for (ours, kafkas) in lines.iter().zip(BROKER_OF_KAFKA.lines()) {
            assert_eq!(ours, kafkas);
        }
        assert_eq!(lines.len(), BROKER_OF_KAFKA.lines().count());
        assert_eq!((described.error_code, described.error_message.as_deref()), (0, Some("")));
    }

    #[tokio::test]
    async fn a_topic_is_described_as_kafka_describes_it() {
        let admin = admin(&[("broker.id", "1")]);
        let overrides = Overrides::from([(String::from("retention.ms"), String::from("1000"))]);
        admin.config.put_topic("t", overrides);
        let described = ask(&admin, TOPIC, "t", Some(&[])).await;
        let lines: Vec<String> = described.configs.iter().map(line).collect();
        assert_eq!(lines, TOPIC_OF_KAFKA.lines().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn dynamic_and_unknown_keys_of_a_broker() {
        let admin = admin(&[("super.users", "User:a")]);
        let own = |pairs: &[(&str, &str)]| -> Overrides {
            pairs.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect()
        };
        admin.config.put_broker(own(&[("foo.bar", "x"), ("leader.replication.throttled.rate", "5")]));
        admin
            .config
            .put_cluster_default(own(&[("log.retention.ms", "86400000"), ("log.cleaner.threads", "2")]));
        let keys =
            ["foo.bar", "leader.replication.throttled.rate", "log.retention.ms", "super.users", "no.such"];
        let lines = async |name: &str, keys| -> Vec<String> {
            ask(&admin, BROKER, name, keys).await.configs.iter().map(line).collect()
        };
        assert_eq!(
            lines("1", Some(&keys)).await,
            [
                "foo.bar\tnull\tro=true\tsrc=2\tsens=true\ttype=0\tfoo.bar=null 2",
                "leader.replication.throttled.rate\t5\tro=true\tsrc=2\tsens=false\ttype=5\tleader.replication.throttled.rate=5 2",
                "log.retention.ms\t86400000\tro=false\tsrc=3\tsens=false\ttype=5\tlog.retention.ms=86400000 3\tlog.retention.hours=168 5",
                "super.users\tnull\tro=true\tsrc=4\tsens=true\ttype=0\tsuper.users=null 4",
            ]
        );
        assert_eq!(
            lines("", None).await,
            [
                "log.cleaner.threads\t2\tro=false\tsrc=3\tsens=false\ttype=3\tlog.cleaner.threads=2 3",
                "log.retention.ms\t86400000\tro=false\tsrc=3\tsens=false\ttype=5\tlog.retention.ms=86400000 3",
            ]
        );
    }

    #[tokio::test]
    async fn refusals_read_as_kafkas() {
        let admin = admin(&[]);
        for (resource_type, name, code, message) in [
            (BROKER, "2", 42, "Unexpected broker id, expected 1 or empty string, but received 2"),
            (BROKER, "abc", 42, "Broker id must be an integer, but it is: abc"),
            (BROKER_LOGGER, "", 42, "Broker id must not be empty"),
            (BROKER_LOGGER, "2", 42, "Unexpected broker id, expected 1 but received 2"),
            (BROKER_LOGGER, "1", 0, ""),
            (CLIENT_METRICS, "x", 42, "Config type client-metrics is only supported on KRaft clusters"),
            (TOPIC, "nope", 3, ""),
            (
                TOPIC,
                "a b",
                17,
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
            (3, "x", 42, ErrorCode::InvalidRequest.message()),
            (0, "x", 42, ErrorCode::InvalidRequest.message()),
        ] {
            let result = ask(&admin, resource_type, name, None).await;
            let found = (result.error_code, result.error_message.as_deref(), result.configs.len());
            assert_eq!(found, (code, Some(message), 0), "{resource_type} {name}");
            assert_eq!((result.resource_type, &*result.resource_name), (resource_type, name));
        }
    }

    /// As Apache 3.9.1 answers: its own text would be too long with such a name in it.
    #[tokio::test]
    async fn what_no_answer_can_hold_is_refused_without_it() {
        let broker = OneBroker::start();
        let long = "a".repeat(MAX_STRING);
        let resources = [(TOPIC, &*long), (BROKER, &long), (BROKER_LOGGER, &long), (BROKER, "2")];
        let resource = |(resource_type, name): (i8, &str)| DescribeConfigsResource {
            resource_type,
            resource_name: Str::from(name),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: resources.map(resource).to_vec(),
            ..DescribeConfigsRequest::default()
        };
        for version in [1, 4] {
            let results = broker.call(version, &request).await.results;
            for (result, (resource_type, name)) in results.iter().zip(resources) {
                let (code, message) = match name {
                    "2" => (42, "Unexpected broker id, expected 1 or empty string, but received 2"),
                    _ => (-1, "The server experienced an unexpected error when processing the request."),
                };
                let found = (result.error_code, result.error_message.as_deref(), result.resource_type);
                assert_eq!(found, (code, Some(message), resource_type));
                assert_eq!(result.resource_name, name);
            }
            assert_eq!(results.len(), resources.len());
        }

        let admin = admin(&[]);
        let (long, short) = ("leader.replication.throttled.replicas", "retention.ms");
        let overrides = [(long, vec!["0:1"; MAX_STRING].join(",")), (short, String::from("1000"))];
        admin.config.put_topic("t", overrides.map(|(key, value)| (String::from(key), value)).into());
        for (keys, found) in [(None, (-1, 0)), (Some(&[long][..]), (-1, 0)), (Some(&[short]), (0, 1))] {
            let result = ask(&admin, TOPIC, "t", keys).await;
            assert_eq!((result.error_code, result.configs.len()), found);
        }
    }

    #[tokio::test]
    async fn documentation_comes_when_it_is_asked_for() {
        let admin = admin(&[]);
        let resource = |resource_type, name: &str| DescribeConfigsResource {
            resource_type,
            resource_name: Str::from(name),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource(TOPIC, "t"), resource(BROKER, "1")],
            include_synonyms: false,
            include_documentation: true,
        };
        for result in answer(&admin, &request).await.results {
            for config in result.configs {
                assert!(config.documentation.is_some_and(|text| text.ends_with('.')), "{}", config.name);
                assert_eq!(config.synonyms, []);
            }
        }
    }
}
