//! `--output json`: one JSON document on stdout.
//!
//! `--list`:
//! ```json
//! {"version":1,"groups":[{"group":"g","protocolType":"consumer","type":"classic","state":"Stable"}]}
//! ```
//! `--describe`, and with `--members` and `--state`; over `--zookeeper` without `state`, `host`, `clientId`:
//! ```json
//! {"version":1,"groups":[{"group":"g","state":"Stable","partitions":[
//!   {"topic":"t","partition":0,"currentOffset":5,"logEndOffset":9,"lag":4,
//!    "consumerId":"c1-6b1f0e52","host":"/127.0.0.1","clientId":"c1"}]}]}
//! {"version":1,"groups":[{"group":"g","state":"Stable","members":[
//!   {"consumerId":"c1-6b1f0e52","groupInstanceId":null,"host":"/127.0.0.1","clientId":"c1",
//!    "partitions":[{"topic":"t","partition":0}]}]}]}
//! {"version":1,"groups":[{"group":"g","state":"Stable","assignmentStrategy":"range","memberCount":1,
//!   "coordinator":{"id":1,"host":"h1","port":9092}}]}
//! ```
//! `--reset-offsets`, `--delete-offsets` and `--delete`:
//! ```json
//! {"version":1,"executed":true,"groups":[{"group":"g","partitions":[
//!   {"topic":"t","partition":0,"newOffset":0}]}]}
//! {"version":1,"group":"g","error":null,"partitions":[{"topic":"t","partition":0,"error":null}]}
//! {"version":1,"groups":[{"group":"g","error":"org.apache.kafka.…: The group is not empty."}]}
//! ```
//! Groups are sorted by name, partitions by topic and number. What is not known is null; `state` is empty where
//! the broker does not tell, and `Dead` for a group that does not exist. `partition` is null for a topic that
//! does not exist. `version` rises when something above changes; fields may be added without that.

use std::collections::BTreeMap;

use client::admin::{GroupDescription, GroupListing, GroupMember};
use client::ids::{Offset, TopicPartition};
use client::wire::ErrorCode;
use serde_json::{Value, json};

use super::tables::Row;
use crate::tools::console::Console;
use crate::tools::failure::Exception;

const VERSION: u32 = 1;

fn print_groups(mut groups: Vec<Value>, console: &mut Console) {
    groups.sort_by(|a, b| name(a).cmp(name(b)));
    console.line(json!({ "version": VERSION, "groups": groups }).to_string());
}

fn name(group: &Value) -> &str {
    group.get("group").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn print_list(groups: &[GroupListing], console: &mut Console) {
    let listed = |listing: &GroupListing| {
        json!({
            "group": listing.group,
            "protocolType": listing.protocol_type,
            "type": listing.group_type,
            "state": listing.state,
        })
    };
    print_groups(groups.iter().map(listed).collect(), console);
}

pub(super) fn print_offsets(
    described: &BTreeMap<String, GroupDescription>,
    rows: &BTreeMap<String, Vec<Row>>,
    console: &mut Console,
) {
    let groups = described.iter().map(|(group, description)| {
        let mut rows: Vec<&Row> = rows.get(group).into_iter().flatten().collect();
        rows.sort_by(|a, b| a.partition.cmp(&b.partition));
        let partitions = rows.into_iter().map(|row| {
            let member = row.member.as_ref();
            json!({
                "topic": &*row.partition.topic,
                "partition": row.partition.partition,
                "currentOffset": row.current.map(|offset| offset.0),
                "logEndOffset": row.end.map(|offset| offset.0),
                "lag": row.lag(),
                "consumerId": member.map(|member| member.member_id.as_str()),
                "host": member.map(|member| member.host.as_str()),
                "clientId": member.map(|member| member.client_id.as_str()),
            })
        });
        json!({ "group": group, "state": description.state, "partitions": partitions.collect::<Vec<_>>() })
    });
    print_groups(groups.collect(), console);
}

pub(super) fn print_members(described: &BTreeMap<String, GroupDescription>, console: &mut Console) {
    let member = |member: &GroupMember| {
        let mut partitions: Vec<&TopicPartition> = member.partitions.iter().collect();
        partitions.sort();
        let partitions = partitions
            .into_iter()
            .map(|TopicPartition { topic, partition }| json!({ "topic": &**topic, "partition": partition }));
        json!({
            "consumerId": member.member_id,
            "groupInstanceId": member.instance_id,
            "host": member.host,
            "clientId": member.client_id,
            "partitions": partitions.collect::<Vec<_>>(),
        })
    };
    let groups = described.iter().map(|(group, description)| {
        let members: Vec<Value> = description.members.iter().map(member).collect();
        json!({ "group": group, "state": description.state, "members": members })
    });
    print_groups(groups.collect(), console);
}

pub(super) fn print_states(described: &BTreeMap<String, GroupDescription>, console: &mut Console) {
    let groups = described.iter().map(|(group, description)| {
        let coordinator = &description.coordinator;
        json!({
            "group": group,
            "state": description.state,
            "assignmentStrategy": description.protocol,
            "memberCount": description.members.len(),
            "coordinator":
                { "id": coordinator.id.0, "host": coordinator.host, "port": coordinator.port },
        })
    });
    print_groups(groups.collect(), console);
}

/// Over ZooKeeper.
pub(super) fn print_classic_offsets(
    group: &str,
    rows: &[super::zookeeper::ClassicRow],
    console: &mut Console,
) {
    let partitions = rows.iter().map(|row| {
        json!({
            "topic": &*row.partition.topic,
            "partition": row.partition.partition,
            "currentOffset": row.current.map(|offset| offset.0),
            "logEndOffset": row.end.map(|offset| offset.0),
            "lag": row.lag(),
            "consumerId": row.consumer,
        })
    });
    let partitions: Vec<Value> = partitions.collect();
    print_groups(vec![json!({ "group": group, "partitions": partitions })], console);
}

pub(super) fn print_names(groups: &[String], console: &mut Console) {
    print_groups(groups.iter().map(|group| json!({ "group": group })).collect(), console);
}

pub(super) fn print_reset(
    plans: &[(String, Vec<(TopicPartition, Offset)>)],
    is_executed: bool,
    console: &mut Console,
) {
    let mut plans: Vec<&(String, Vec<(TopicPartition, Offset)>)> = plans.iter().collect();
    plans.sort();
    let groups = plans.into_iter().map(|(group, offsets)| {
        let mut offsets: Vec<&(TopicPartition, Offset)> = offsets.iter().collect();
        offsets.sort();
        let partitions = offsets.into_iter().map(|(TopicPartition { topic, partition }, offset)| {
            json!({ "topic": &**topic, "partition": partition, "newOffset": offset.0 })
        });
        json!({ "group": group, "partitions": partitions.collect::<Vec<_>>() })
    });
    let groups: Vec<Value> = groups.collect();
    console.line(json!({ "version": VERSION, "executed": is_executed, "groups": groups }).to_string());
}

pub(super) fn print_deleted_groups(results: &[(String, Option<Exception>)], console: &mut Console) {
    let groups = results
        .iter()
        .map(|(group, error)| json!({ "group": group, "error": error.as_ref().map(Exception::to_string) }));
    print_groups(groups.collect(), console);
}

pub(super) fn print_deleted_offsets(
    group: &str,
    overall: ErrorCode,
    results: &[(TopicPartition, Option<String>)],
    console: &mut Console,
) {
    let mut results: Vec<&(TopicPartition, Option<String>)> = results.iter().collect();
    results.sort();
    let partitions = results.into_iter().map(|(TopicPartition { topic, partition }, error)| {
        json!({
            "topic": &**topic,
            "partition": Some(partition).filter(|partition| **partition >= 0),
            "error": error,
        })
    });
    let partitions: Vec<Value> = partitions.collect();
    let error = Some(overall).filter(|code| *code != ErrorCode::None).map(ErrorCode::name);
    let document = json!({ "version": VERSION, "group": group, "error": error, "partitions": partitions });
    console.line(document.to_string());
}
