//! `--describe`: where a group stands, who is in it, how it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use client::admin::{Admin, GroupDescription, GroupOffsets, OffsetAt};
use client::ids::{Offset, TopicPartition};

use super::brokers::{chosen_groups, rethrown, thrown};
use super::options::Arguments;
use super::tables::{self, Reader, Row};
use super::{Stop, json};
use crate::tools::console::Console;
use crate::tools::failure::Exception;

/// What is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Offsets,
    Members,
    State,
}

pub(super) async fn run(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let groups = chosen_groups(admin, arguments).await?;
    let described = describe(admin, &groups).await?;
    let view = match (arguments.options.has("members"), arguments.options.has("state")) {
        (true, _) => View::Members,
        (_, true) => View::State,
        _ => View::Offsets,
    };
    let rows = match view {
        View::Offsets => rows(admin, &described).await?,
        View::Members | View::State => BTreeMap::new(),
    };
    if arguments.is_json {
        for (group, description) in &described {
            remark(group, &description.state, console, true)?;
        }
        match view {
            View::Offsets => json::print_offsets(&described, &rows, console),
            View::Members => json::print_members(&described, console),
            View::State => json::print_states(&described, console),
        }
        return Ok(());
    }
    for (group, description) in &described {
        remark(group, &description.state, console, false)?;
        let is_there = description.state != "Dead";
        match view {
            View::Offsets => {
                let rows = rows.get(group).map_or(&[][..], Vec::as_slice);
                if is_there && !rows.is_empty() {
                    tables::print_offsets(group, rows, console);
                }
            }
            View::Members => {
                let members = &description.members;
                tables::print_members(group, members, arguments.options.has("verbose"), console);
            }
            View::State if is_there => tables::print_state(group, description, console),
            View::State => {}
        }
    }
    Ok(())
}

/// The groups by name. One that cannot be described is an error.
async fn describe(admin: &Admin, groups: &[String]) -> Result<BTreeMap<String, GroupDescription>, Stop> {
    let described = admin.describe_groups(groups).await.map_err(|error| thrown(&error))?;
    let described = described.into_iter().map(|(group, result)| match result {
        Ok(description) => Ok((group, description)),
        Err(error) => Err(thrown(&error)),
    });
    described.collect()
}

/// What is to be said of a group beside its table.
fn remark(group: &str, state: &str, console: &mut Console, is_json: bool) -> Result<(), Stop> {
    match state {
        "Dead" => {
            let text = format!("\nError: Consumer group '{group}' does not exist.\n");
            match is_json {
                true => console.complain(text),
                false => console.print(text),
            }
        }
        "Empty" => console.complain(format!("\nConsumer group '{group}' has no active members.\n")),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            console.complain(format!("\nWarning: Consumer group '{group}' is rebalancing.\n"));
        }
        "Stable" => {}
        other => {
            let message = format!("Expected a valid consumer group state, but found '{other}'.");
            return Err(Exception::new("org.apache.kafka.common.KafkaException", message).into());
        }
    }
    Ok(())
}

/// The rows of each group.
async fn rows(
    admin: &Admin,
    described: &BTreeMap<String, GroupDescription>,
) -> Result<BTreeMap<String, Vec<Row>>, Stop> {
    let groups: Vec<String> = described.keys().cloned().collect();
    let mut committed = BTreeMap::new();
    for (group, offsets) in admin.group_offsets(&groups).await.map_err(|error| rethrown(&error))? {
        committed.insert(group, offsets.map_err(|error| rethrown(&error))?);
    }
    let assigned = described.values().flat_map(|description| &description.members);
    let assigned = assigned.flat_map(|member| &member.partitions);
    let known = committed.values().flat_map(BTreeMap::keys);
    let partitions: BTreeSet<TopicPartition> = assigned.chain(known).cloned().collect();
    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    let ends = admin.log_offsets_of_led(&partitions, OffsetAt::Latest).await;
    let ends = ends.map_err(|error| rethrown(&error))?;
    let rows = described.iter().map(|(group, description)| {
        let committed = committed.remove(group).unwrap_or_default();
        (group.clone(), rows_of(description, &committed, &ends))
    });
    Ok(rows.collect())
}

/// Those of members with most partitions first, then what is committed and assigned to nobody.
fn rows_of(
    description: &GroupDescription,
    committed: &GroupOffsets,
    ends: &BTreeMap<TopicPartition, Option<Offset>>,
) -> Vec<Row> {
    let row = |partition: &TopicPartition, member: Option<&Reader>| Row {
        current: committed.get(partition).map(|committed| committed.offset),
        end: ends.get(partition).copied().flatten(),
        partition: partition.clone(),
        member: member.cloned(),
    };
    let mut rows = Vec::new();
    let mut members: Vec<_> = description.members.iter().collect();
    members.sort_by_key(|member| Reverse(member.partitions.len()));
    for member in members {
        let reader = Reader {
            member_id: member.member_id.clone(),
            host: member.host.clone(),
            client_id: member.client_id.clone(),
        };
        rows.extend(ordered(&member.partitions, ends).iter().map(|partition| row(partition, Some(&reader))));
    }
    let assigned: BTreeSet<&TopicPartition> =
        description.members.iter().flat_map(|member| &member.partitions).collect();
    let unassigned: Vec<TopicPartition> =
        committed.keys().filter(|partition| !assigned.contains(partition)).cloned().collect();
    rows.extend(ordered(&unassigned, ends).iter().map(|partition| row(partition, None)));
    rows
}

/// Partitions without a leader come last.
fn ordered(
    partitions: &[TopicPartition],
    ends: &BTreeMap<TopicPartition, Option<Offset>>,
) -> Vec<TopicPartition> {
    let mut partitions = tables::in_hash_order(partitions.iter().cloned());
    partitions.sort_by_key(|partition| !ends.contains_key(partition));
    partitions
}
