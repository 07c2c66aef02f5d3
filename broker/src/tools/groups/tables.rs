//! The tables that the tool prints: widths, gaps and line ends are Kafka's.

use client::admin::{GroupDescription, GroupListing, GroupMember};
use client::ids::{Offset, TopicPartition};

use crate::tools::console::Console;
use crate::tools::hash_order;

/// What a column holds that has no value.
const MISSING: &str = "-";

/// A partition that a group reads or has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) partition: TopicPartition,
    /// `None`: nothing is committed.
    pub(super) current: Option<Offset>,
    /// `None`: nobody leads it.
    pub(super) end: Option<Offset>,
    /// Who reads it now.
    pub(super) member: Option<Reader>,
}

/// The member that a partition is assigned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) member_id: String,
    pub(super) host: String,
    pub(super) client_id: String,
}

impl Row {
    pub(super) fn lag(&self) -> Option<i64> {
        Some(self.end?.0.saturating_sub(self.current?.0))
    }
}

/// `--list` with types or states.
pub(super) fn print_list(groups: &[GroupListing], with_type: bool, with_state: bool, console: &mut Console) {
    let width = groups.iter().map(|listing| listing.group.chars().count()).fold(15, usize::max) + 10;
    let mut row = |group: &str, group_type: &str, state: &str| {
        let mut line = format!("{group:width$}");
        if with_type {
            line.push_str(&format!(" {group_type:20}"));
        }
        if with_state {
            line.push_str(&format!(" {state:20}"));
        }
        console.line(line);
    };
    row("GROUP", "TYPE", "STATE");
    for listing in groups {
        row(&listing.group, &capitalised(&listing.group_type), &listing.state);
    }
}

/// Types of groups as Kafka's tool writes them, whatever the broker does.
pub(super) fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// `--describe --offsets`: each line with its end before it.
pub(super) fn print_offsets(group: &str, rows: &[Row], console: &mut Console) {
    let width =
        |of: &dyn Fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).fold(15, usize::max);
    let group_width = group.chars().count().max(15);
    let topic_width = width(&|row| &row.partition.topic);
    let member_width = width(&|row| row.member.as_ref().map_or(MISSING, |member| &member.member_id));
    let host_width = width(&|row| row.member.as_ref().map_or(MISSING, |member| &member.host));
    let mut print = |cells: [&str; 9]| {
        let [group, topic, partition, current, end, lag, member, host, client] = cells;
        console.print(format!(
            "\n{group:group_width$} {topic:topic_width$} {partition:10} {current:15} {end:15} {lag:15} \
             {member:member_width$} {host:host_width$} {client}"
        ));
    };
    print([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    for row in rows {
        let number = |number: Option<i64>| number.map_or(MISSING.to_owned(), |number| number.to_string());
        let member = row.member.as_ref();
        print([
            group,
            &row.partition.topic,
            &row.partition.partition.to_string(),
            &number(row.current.map(|offset| offset.0)),
            &number(row.end.map(|offset| offset.0)),
            &number(row.lag()),
            member.map_or(MISSING, |member| &member.member_id),
            member.map_or(MISSING, |member| &member.host),
            member.map_or(MISSING, |member| &member.client_id),
        ]);
    }
}

/// `--describe --members`. A group that is gone or empty has the heading alone.
pub(super) fn print_members(group: &str, members: &[GroupMember], is_verbose: bool, console: &mut Console) {
    let width = |least: usize, of: &dyn Fn(&GroupMember) -> &str| {
        members.iter().map(|member| of(member).chars().count()).fold(least, usize::max)
    };
    let group_width = if members.is_empty() { 15 } else { group.chars().count().max(15) };
    let member_width = width(15, &|member| &member.member_id);
    let instance_width = width(17, &|member| member.instance_id.as_deref().unwrap_or_default());
    let host_width = width(15, &|member| &member.host);
    let client_width = width(15, &|member| &member.client_id);
    let with_instances =
        members.iter().any(|member| member.instance_id.as_deref().is_some_and(|id| !id.is_empty()));
    let mut print = |cells: [&str; 7]| {
        let [group, member, instance, host, client, count, assignment] = cells;
        let instance = match with_instances {
            true => format!("{instance:instance_width$} "),
            false => String::new(),
        };
        let assignment = if is_verbose { assignment } else { "" };
        console.print(format!(
            "{group:group_width$} {member:member_width$} {instance}{host:host_width$} {client:client_width$} \
             {count:15} {assignment}\n"
        ));
    };
    let heading = "GROUP";
    print([
        &format!("\n{heading:group_width$}"),
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "ASSIGNMENT",
    ]);
    for member in members {
        print([
            group,
            &member.member_id,
            member.instance_id.as_deref().unwrap_or_default(),
            &member.host,
            &member.client_id,
            &member.partitions.len().to_string(),
            &assignment(&member.partitions),
        ]);
    }
}

/// The partitions of each topic in brackets, without its name.
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut topics: std::collections::BTreeMap<&str, Vec<i32>> = std::collections::BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let mut brackets: Vec<String> = topics
        .into_values()
        .map(|mut numbers| {
            numbers.sort_unstable();
            let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
            format!("({})", numbers.join(","))
        })
        .collect();
    brackets.sort();
    if brackets.is_empty() { MISSING.to_owned() } else { brackets.join(", ") }
}

/// `--describe --state`.
pub(super) fn print_state(group: &str, description: &GroupDescription, console: &mut Console) {
    let client::admin::Coordinator { id, host, port } = &description.coordinator;
    let coordinator = format!("{host}:{port}  ({id})");
    let width = coordinator.chars().count().max(25);
    let mut print = |cells: [&str; 5]| {
        let [group, coordinator, strategy, state, members] = cells;
        console.print(format!("\n{group:25} {coordinator:width$} {strategy:20} {state:15} {members}"));
    };
    print(["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"]);
    let members = description.members.len().to_string();
    print([group, &coordinator, &description.protocol, &description.state, &members]);
    console.print("\n");
}

/// What a reset did or would do, all of it on the line of the heading.
pub(super) fn print_reset(plans: &[(String, Vec<(TopicPartition, Offset)>)], console: &mut Console) {
    if plans.is_empty() {
        return;
    }
    let mut print = |cells: [&str; 4]| {
        let [group, topic, partition, offset] = cells;
        console.print(format!("{group:30} {topic:30} {partition:10} {offset:15}"));
    };
    let heading = "GROUP";
    print([&format!("\n{heading:30}"), "TOPIC", "PARTITION", "NEW-OFFSET"]);
    for (group, offsets) in plans {
        for (partition, offset) in offsets {
            print([group, &partition.topic, &partition.partition.to_string(), &offset.0.to_string()]);
        }
    }
}

/// What became of offsets to be deleted; partition -1 stands for a topic that is not there.
pub(super) fn print_deleted_offsets(results: &[(TopicPartition, Option<String>)], console: &mut Console) {
    let heading = "TOPIC";
    console.print(format!("\n{heading:30} {:15} {:15}", "PARTITION", "STATUS"));
    for (TopicPartition { topic, partition }, error) in results {
        let partition = match partition {
            ..0 => "Not Provided".to_owned(),
            partition => partition.to_string(),
        };
        let status = error.as_ref().map_or("Successful".to_owned(), |error| format!("Error: :{error}"));
        console.print(format!("{topic:30} {partition:15} {status:15}"));
    }
}

/// As a Java hash map gives them.
pub(super) fn in_hash_order(partitions: impl IntoIterator<Item = TopicPartition>) -> Vec<TopicPartition> {
    let mut partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    hash_order::sort_partitions(&mut partitions, hash_order::DEFAULT_CAPACITY, |partition| partition);
    partitions
}
