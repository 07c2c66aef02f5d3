//! `--reset-offsets`: where a group without members is to read on.

use std::collections::BTreeMap;

use client::admin::{Admin, DescribedTopics, GroupOffsets, OffsetAt};
use client::ids::{Offset, TopicPartition};

use super::brokers::{chosen_groups, rethrown};
use super::options::{Arguments, SCENARIOS, usage};
use super::{Stop, csv, json, tables};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::hash_order;
use crate::tools::java_exception::RUNTIME;
use crate::tools::java_text::split;
use crate::tools::java_time;

/// New offsets, in Kafka's order.
type Plan = Vec<(TopicPartition, Offset)>;

pub(super) async fn run(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let mut groups = chosen_groups(admin, arguments).await?;
    hash_order::sort(&mut groups, hash_order::DEFAULT_CAPACITY, |group| group);
    groups.dedup();
    let mut described = admin.describe_groups(&groups).await.map_err(|error| rethrown(&error))?;
    let mut plans = Vec::with_capacity(groups.len());
    for group in groups {
        let description = described.remove(&group).transpose().map_err(|error| rethrown(&error))?;
        let state = description.map(|description| description.state).unwrap_or_else(|| "Dead".to_owned());
        let plan = match state.as_str() {
            "Empty" | "Dead" => reset(admin, arguments, &group, console).await?,
            state => {
                tell(
                    arguments,
                    console,
                    format!(
                        "\nError: Assignments can only be reset if the group '{group}' is inactive, but the \
                         current state is {state}.\n"
                    ),
                );
                Plan::new()
            }
        };
        plans.push((group, plan));
    }
    if arguments.is_json {
        json::print_reset(&plans, arguments.options.has("execute"), console);
    } else if arguments.options.has("export") {
        let is_single = arguments.options.values("group").len() == 1;
        console.line(csv::write(&plans, is_single));
    } else {
        tables::print_reset(&plans, console);
    }
    Ok(())
}

fn tell(arguments: &Arguments, console: &mut Console, text: String) {
    match arguments.is_json {
        true => console.complain(text),
        false => console.print(text),
    }
}

/// The new offsets of a group, committed if that was asked for.
async fn reset(
    admin: &Admin,
    arguments: &Arguments,
    group: &str,
    console: &mut Console,
) -> Result<Plan, Stop> {
    let partitions = chosen_partitions(admin, arguments, group).await?;
    let offsets = planned(admin, arguments, group, &partitions, console).await?;
    if arguments.options.has("execute") {
        let committed = admin.alter_group_offsets(group, &offsets).await;
        committed.map_err(|error| rethrown(&error))?;
    }
    let mut plan: Plan = offsets.into_iter().collect();
    hash_order::sort_partitions(&mut plan, hash_order::DEFAULT_CAPACITY, |(partition, _)| partition);
    Ok(plan)
}

async fn chosen_partitions(
    admin: &Admin,
    arguments: &Arguments,
    group: &str,
) -> Result<Vec<TopicPartition>, Stop> {
    let options = &arguments.options;
    if options.has("all-topics") {
        return Ok(committed(admin, group).await?.into_keys().collect());
    }
    if !options.has("topic") {
        return match options.has("from-file") {
            true => Ok(Vec::new()),
            false => usage("One of the reset scopes should be defined: --all-topics, --topic."),
        };
    }
    let (with_partitions, whole): (Vec<&String>, Vec<&String>) =
        options.values("topic").iter().partition(|topic| topic.contains(':'));
    let mut partitions = Vec::new();
    for topic in with_partitions {
        partitions.extend(parse_partitions(topic)?);
    }
    if !whole.is_empty() {
        let whole: Vec<String> = whole.into_iter().cloned().collect();
        let described = admin.describe_topics(&whole).await.map_err(|error| rethrown(&error))?;
        partitions.extend(partitions_of(described));
    }
    Ok(partitions)
}

/// `topic:0,1,2`.
pub(super) fn parse_partitions(argument: &str) -> Result<Vec<TopicPartition>, Stop> {
    let pieces = split(argument, ':');
    let [topic, partitions] = pieces.as_slice() else {
        return usage(format!("Invalid topic arg '{argument}', expected topic name and partitions"));
    };
    let parse = |partition: &&str| match partition.parse() {
        Ok(number) => Ok(TopicPartition::new(*topic, number)),
        Err(_) => usage(format!("Invalid partition '{partition}' specified in topic arg '{argument}''")),
    };
    split(partitions, ',').iter().map(parse).collect()
}

pub(super) fn partitions_of(described: DescribedTopics) -> Vec<TopicPartition> {
    let topics = described.topics.into_iter();
    topics
        .flat_map(|topic| {
            let name: std::sync::Arc<str> = topic.name.into();
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| TopicPartition::new(name.clone(), partition.partition))
        })
        .collect()
}

async fn committed(admin: &Admin, group: &str) -> Result<GroupOffsets, Stop> {
    let mut found = admin.group_offsets(&[group.to_owned()]).await.map_err(|error| rethrown(&error))?;
    found.remove(group).transpose().map_err(|error| rethrown(&error)).map(Option::unwrap_or_default)
}

/// The new offset of each partition, by the scenario that was asked for.
async fn planned(
    admin: &Admin,
    arguments: &Arguments,
    group: &str,
    partitions: &[TopicPartition],
    console: &mut Console,
) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
    let options = &arguments.options;
    if let Some(offset) = options.long("to-offset")? {
        let wanted = partitions.iter().map(|partition| (partition.clone(), Offset(offset)));
        return within_log(admin, wanted.collect(), console).await;
    }
    if options.has("to-earliest") {
        return at(admin, partitions, OffsetAt::Earliest).await;
    }
    if options.has("to-latest") {
        return at(admin, partitions, OffsetAt::Latest).await;
    }
    if let Some(shift) = options.long("shift-by")? {
        let committed = committed(admin, group).await?;
        let mut wanted = BTreeMap::new();
        for partition in partitions {
            let Some(current) = committed.get(partition) else {
                return usage(format!(
                    "Cannot shift offset for partition {partition} since there is no current committed offset"
                ));
            };
            wanted.insert(partition.clone(), Offset(current.offset.0.saturating_add(shift)));
        }
        return within_log(admin, wanted, console).await;
    }
    if let Some(text) = options.value("to-datetime")? {
        let time_ms = java_time::parse_datetime(text)
            .map_err(|why| Exception::new("java.text.ParseException", why).wrapped_in(RUNTIME))?;
        return since(admin, arguments, partitions, time_ms, console).await;
    }
    if let Some(text) = options.value("by-duration")? {
        let duration_ms = java_time::parse_duration(text).ok_or_else(|| {
            let class = "java.time.format.DateTimeParseException";
            Exception::new(class, "Text cannot be parsed to a Duration")
        })?;
        let time_ms = java_time::now_ms().saturating_sub(duration_ms);
        return since(admin, arguments, partitions, time_ms, console).await;
    }
    if let Some(path) = options.value("from-file")? {
        return from_file(admin, arguments, group, path, console).await;
    }
    if options.has("to-current") {
        let committed = committed(admin, group).await?;
        let (known, new): (Vec<TopicPartition>, Vec<TopicPartition>) =
            partitions.iter().cloned().partition(|partition| committed.contains_key(partition));
        let mut offsets = at(admin, &new, OffsetAt::Latest).await?;
        for partition in known {
            if let Some(current) = committed.get(&partition) {
                offsets.insert(partition, current.offset);
            }
        }
        return Ok(offsets);
    }
    let scenarios = SCENARIOS.map(|scenario| format!("[{scenario}]")).join(", ");
    usage(format!("Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]"))
}

/// Both ends of a log have an offset, whatever is in it.
async fn at(
    admin: &Admin,
    partitions: &[TopicPartition],
    at: OffsetAt,
) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
    let found = admin.log_offsets(partitions, at).await.map_err(|error| rethrown(&error))?;
    Ok(found.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))).collect())
}

/// The first records from a time on, or the ends of partitions that have none.
async fn since(
    admin: &Admin,
    arguments: &Arguments,
    partitions: &[TopicPartition],
    time_ms: i64,
    console: &mut Console,
) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
    let found =
        admin.log_offsets(partitions, OffsetAt::Time(time_ms)).await.map_err(|error| rethrown(&error))?;
    let late = found.iter().filter(|(_, offset)| offset.is_none()).map(|(partition, _)| partition.clone());
    let late = tables::in_hash_order(late);
    for TopicPartition { topic, partition } in &late {
        tell(
            arguments,
            console,
            format!(
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.\n"
            ),
        );
    }
    let mut offsets = at(admin, &late, OffsetAt::Latest).await?;
    offsets.extend(found.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))));
    Ok(offsets)
}

/// What is wanted, moved to the nearer end of the log where it lies outside.
async fn within_log(
    admin: &Admin,
    wanted: BTreeMap<TopicPartition, Offset>,
    console: &mut Console,
) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
    let partitions: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let starts = at(admin, &partitions, OffsetAt::Earliest).await?;
    let ends = at(admin, &partitions, OffsetAt::Latest).await?;
    let mut offsets = BTreeMap::new();
    for (partition, offset) in wanted {
        let (start, end) = (starts.get(&partition).copied(), ends.get(&partition).copied());
        let outside = match (start, end) {
            (_, Some(end)) if offset > end => Some(("higher than latest", end)),
            (Some(start), _) if offset < start => Some(("lower than earliest", start)),
            _ => None,
        };
        if let Some((how, set)) = outside {
            console.tell_person(format!(
                "New offset ({}) is {how} offset for topic partition {partition}. Value will be set to {}",
                offset.0, set.0
            ));
        }
        offsets.insert(partition, outside.map_or(offset, |(_, set)| set));
    }
    Ok(offsets)
}

async fn from_file(
    admin: &Admin,
    arguments: &Arguments,
    group: &str,
    path: &str,
    console: &mut Console,
) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
    let text = std::fs::read(path).map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::NotFound => ("java.nio.file.NoSuchFileException", path.to_owned()),
            _ => ("java.io.IOException", error.to_string()),
        };
        let unreadable = Exception::new("java.io.IOException", format!("Unable to read file {path}"));
        unreadable.wrapped_in(RUNTIME).caused_by(cause.0, cause.1)
    })?;
    let groups = arguments.options.values("group");
    let single = match groups {
        [only] => Some(only.as_str()),
        _ => None,
    };
    let read = csv::read(&String::from_utf8_lossy(&text), single);
    if let Some(remark) = read.remark {
        // Kafka's tool reads the file twice, and says so each time.
        console.complain(format!("{remark}\n{remark}\n"));
    }
    let mut plans = read.plans.map_err(|error| error.wrapped_in(RUNTIME))?;
    match plans.remove(group) {
        Some(wanted) => within_log(admin, wanted, console).await,
        None => {
            tell(arguments, console, format!("\nError: No reset plan for group {group} found\n"));
            Ok(BTreeMap::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_behind_their_topic() {
        let parse = |text: &str| match parse_partitions(text) {
            Ok(partitions) => Ok(partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>()),
            Err(Stop::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(parse("t:0,2"), Ok(vec!["t-0".to_owned(), "t-2".to_owned()]));
        assert_eq!(parse("t:x"), Err("Invalid partition 'x' specified in topic arg 't:x''".to_owned()));
        for wrong in ["t:", "t:0:1", ":"] {
            let expected = format!("Invalid topic arg '{wrong}', expected topic name and partitions");
            assert_eq!(parse(wrong), Err(expected));
        }
    }
}
