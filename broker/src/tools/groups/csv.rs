//! The files of `--export` and `--from-file`: `topic,partition,offset` for one group, else
//! `group,topic,partition,offset`.

use std::collections::BTreeMap;

use client::ids::{Offset, TopicPartition};

use crate::tools::failure::Exception;
use crate::tools::java_text::split;

/// Longer texts are quoted without a look at them, as Jackson does.
const LONGEST_UNQUOTED: usize = 24;

pub(super) fn write(plans: &[(String, Vec<(TopicPartition, Offset)>)], is_single: bool) -> String {
    let mut text = String::new();
    for (group, offsets) in plans {
        for (TopicPartition { topic, partition }, offset) in offsets {
            if !is_single {
                text.push_str(&quoted(group));
                text.push(',');
            }
            text.push_str(&format!("{},{partition},{}\n", quoted(topic), offset.0));
        }
    }
    text
}

/// With quotes where there must be, or where Jackson puts them to be safe.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|c| c > ',') && text.chars().count() <= LONGEST_UNQUOTED;
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// What a file says.
pub(super) struct Read {
    /// What Kafka's tool says of the first line when it is not in the form for one group.
    pub(super) remark: Option<String>,
    /// Offsets by group.
    pub(super) plans: Result<BTreeMap<String, BTreeMap<TopicPartition, Offset>>, Exception>,
}

/// `single` is the group, if only one was named: then its name may be left out of the file.
pub(super) fn read(text: &str, single: Option<&str>) -> Read {
    let lines = split(text, '\n');
    let first = lines.first().map(|line| Record::parse(line, false));
    let remark = match first {
        Some(Err(ref error)) => Some(error.to_string()),
        _ => None,
    };
    let without_group = single.filter(|_| remark.is_none());
    let mut plans: BTreeMap<String, BTreeMap<TopicPartition, Offset>> = BTreeMap::new();
    for line in lines {
        let record = match Record::parse(line, without_group.is_none()) {
            Ok(record) => record,
            Err(error) => return Read { remark, plans: Err(error) },
        };
        let group = without_group.map_or(record.group, str::to_owned);
        let partition = TopicPartition::new(record.topic, record.partition);
        plans.entry(group).or_default().insert(partition, Offset(record.offset));
    }
    Read { remark, plans: Ok(plans) }
}

/// A line. What it lacks at its end is empty or zero.
#[derive(Debug, Default)]
struct Record {
    group: String,
    topic: String,
    partition: i32,
    offset: i64,
}

/// A cell, and where it begins, counted from 1.
struct Cell {
    column: usize,
    text: String,
}

impl Record {
    fn parse(line: &str, with_group: bool) -> Result<Record, Exception> {
        let expected = if with_group { 4 } else { 3 };
        let cells = cells(line);
        let mut record = Record::default();
        let mut rest = cells.iter();
        if with_group {
            record.group = rest.next().map(|cell| cell.text.clone()).unwrap_or_default();
        }
        record.topic = rest.next().map(|cell| cell.text.clone()).unwrap_or_default();
        if let Some(cell) = rest.next() {
            record.partition = cell.number("int", "partition", with_group)?;
        }
        if let Some(cell) = rest.next() {
            record.offset = cell.number("long", "offset", with_group)?;
        }
        match rest.next() {
            None => Ok(record),
            Some(Cell { column, text }) => Err(Exception::new(
                "com.fasterxml.jackson.dataformat.csv.CsvReadException",
                format!(
                    "Too many entries: expected at most {expected} (value #{expected} ({} chars) \"{text}\")\n \
                     at [Source: (StringReader); line: 1, column: {column}]",
                    text.chars().count()
                ),
            )),
        }
    }
}

impl Cell {
    fn number<N: std::str::FromStr + Default>(
        &self,
        kind: &str,
        field: &str,
        with_group: bool,
    ) -> Result<N, Exception> {
        let Cell { column, text } = self;
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(N::default());
        }
        let record = if with_group { "CsvRecordWithGroup" } else { "CsvRecordNoGroup" };
        trimmed.parse().map_err(|_| {
            Exception::new(
                "com.fasterxml.jackson.databind.exc.InvalidFormatException",
                format!(
                    "Cannot deserialize value of type `{kind}` from String \"{text}\": not a valid `{kind}` \
                     value\n at [Source: (StringReader); line: 1, column: {column}] (through reference chain: \
                     org.apache.kafka.tools.consumer.group.CsvUtils${record}[\"{field}\"])"
                ),
            )
        })
    }
}

fn cells(line: &str) -> Vec<Cell> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut cells = Vec::new();
    let mut cell = Cell { column: 1, text: String::new() };
    let mut is_quoted = false;
    let mut chars = line.chars().zip(1..).peekable();
    while let Some((c, at)) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek().is_some_and(|(next, _)| *next == '"') => {
                chars.next();
                cell.text.push('"');
            }
            '"' if is_quoted || cell.text.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                cells.push(std::mem::replace(&mut cell, Cell { column: at + 1, text: String::new() }));
            }
            c => cell.text.push(c),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(text: &str, single: Option<&str>) -> Result<Vec<String>, String> {
        let plans = read(text, single).plans.map_err(|error| error.message)?;
        let rows = plans.into_iter().flat_map(|(group, offsets)| {
            offsets.into_iter().map(move |(partition, offset)| format!("{group} {partition} {}", offset.0))
        });
        Ok(rows.collect())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(plans("t,0,1\nu,2,3\n", Some("g")), Ok(vec!["g t-0 1".into(), "g u-2 3".into()]));
        assert_eq!(plans("g,t,0,1\n\"h,i\",u,0,2", None), Ok(vec!["g t-0 1".into(), "h,i u-0 2".into()]));
        assert_eq!(plans("g,t,0,1\n", Some("g")), Ok(vec!["g t-0 1".into()]));
        assert_eq!(plans("t\n\n", Some("g")), Ok(vec!["g t-0 0".into()]));
        assert_eq!(plans("t,zero\n", Some("g")), Ok(vec!["t zero-0 0".into()]));
    }

    /// As Kafka 3.9.1's tool says it.
    #[test]
    fn wrong_lines_are_named_as_jackson_does() {
        let remark = |text: &str| read(text, Some("g")).remark.unwrap();
        assert_eq!(
            remark("t,zero"),
            "com.fasterxml.jackson.databind.exc.InvalidFormatException: Cannot deserialize value of type `int` \
             from String \"zero\": not a valid `int` value\n at [Source: (StringReader); line: 1, column: 3] \
             (through reference chain: \
             org.apache.kafka.tools.consumer.group.CsvUtils$CsvRecordNoGroup[\"partition\"])"
        );
        assert_eq!(
            remark("t,0,1,5"),
            "com.fasterxml.jackson.dataformat.csv.CsvReadException: Too many entries: expected at most 3 (value \
             #3 (1 chars) \"5\")\n at [Source: (StringReader); line: 1, column: 7]"
        );
        let error = plans("t,0,x", Some("g")).unwrap_err();
        assert!(
            error.contains("`int` from String \"x\"") && error.contains("CsvRecordWithGroup[\"partition\"]")
        );
    }

    #[test]
    fn what_is_written_is_quoted_as_jackson_does() {
        let offsets = |topic: &str| vec![(TopicPartition::new(topic, 0), Offset(7))];
        let plans = [("p q".to_owned(), offsets("t-1")), ("g".to_owned(), offsets(&"x".repeat(25)))];
        let long = "x".repeat(25);
        assert_eq!(write(&plans, false), format!("\"p q\",t-1,0,7\ng,\"{long}\",0,7\n"));
        assert_eq!(write(&plans[..1], true), "t-1,0,7\n");
    }
}
