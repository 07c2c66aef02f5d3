//! One thing that a client saw, and its line of text.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

/// Producers, consumers and records are numbered within a run; partitions are those of its one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The record is handed to the producer. It may be stored from now on.
    Sending {
        producer: u32,
        record: u64,
        partition: i32,
    },
    /// The cluster acknowledged the record.
    Acknowledged {
        producer: u32,
        record: u64,
        partition: i32,
        offset: i64,
    },
    /// The producer gave the record up: it may be stored or not.
    GivenUp {
        producer: u32,
        record: u64,
        why: String,
    },
    /// A group takes part: it is to get everything, whether or not any of its members ever says a word.
    Group {
        group: String,
    },
    /// The group had not been given all before `end` when its time was over: it stood at `next`.
    Behind {
        group: String,
        partition: i32,
        next: i64,
        end: i64,
    },
    /// A consumer of a group owns exactly these partitions from now on. The generation is −1 where its
    /// client does not tell.
    Assigned {
        group: String,
        consumer: u32,
        generation: i32,
        partitions: Vec<i32>,
    },
    /// The consumer, or its connection to the group, ended: it owns nothing any more.
    Left {
        group: String,
        consumer: u32,
    },
    /// A consumer was given a record.
    Polled {
        group: String,
        consumer: u32,
        partition: i32,
        offset: i64,
        record: u64,
    },
    /// The group's coordinator acknowledged a commit.
    Committed {
        group: String,
        consumer: u32,
        partition: i32,
        offset: i64,
    },
    /// A committed offset was asked for at `asked_us` and found to be this; −1: none.
    CommitRead {
        group: String,
        asked_us: u64,
        partition: i32,
        offset: i64,
    },
    /// Found in the partition when all was over.
    Stored {
        partition: i32,
        offset: i64,
        record: u64,
    },
    /// A partition's end when all was over; records before it are `Stored`.
    Ends {
        partition: i32,
        end: i64,
    },
    /// A partition of which not everything could be read when all was over.
    Unread {
        partition: i32,
        why: String,
    },
    /// What was done to the cluster, or undone.
    Fault {
        what: String,
    },
    Healed {
        what: String,
    },
    /// How long the cluster took to be whole again after the last fault was healed.
    Whole {
        took_us: u64,
        limit_us: u64,
    },
    /// The batches of a replica, below the high watermark, when all was over.
    Replica {
        topic: String,
        partition: i32,
        broker: i32,
        bytes: u64,
        digest: u64,
    },
    /// What ZooKeeper, or a broker, says of a thing (`t/0`: a partition) when all was over.
    Told {
        by: String,
        about: String,
        what: String,
    },
    /// What a leader (`t/0`: of which partition, in which epoch) said when all was over to one who believed in
    /// another epoch: an error code, 0 for an answer.
    Believed {
        broker: i32,
        about: String,
        current: i32,
        believed: i32,
        code: i16,
    },
    /// A leader that could not be asked so, or gave no answer to it.
    Unasked {
        broker: i32,
        about: String,
        believed: i32,
        why: String,
    },
    /// A process that was told to stop, how long it took of what it may take, and how it ended: [`ORDERLY`], or in
    /// which other way.
    Stopped {
        node: String,
        took_us: u64,
        limit_us: u64,
        how: String,
    },
    /// A process that nobody ended was there when all was over.
    Alive {
        node: String,
    },
    /// A process ended by itself, or panicked.
    Ended {
        node: String,
        how: String,
    },
}

/// The end of a process that stopped as it was told to.
pub const ORDERLY: &str = "orderly";

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("it begins with {found:?}, which is no kind of event")]
    Kind { found: String },
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("{what} is {found:?}, which is no number")]
    Number { what: &'static str, found: String },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Sending { producer, record, partition } => {
                write!(f, "send {producer} {record} {partition}")
            }
            Event::Acknowledged { producer, record, partition, offset } => {
                write!(f, "ack {producer} {record} {partition} {offset}")
            }
            Event::GivenUp { producer, record, why } => write!(f, "giveup {producer} {record} {why}"),
            Event::Group { group } => write!(f, "group {group}"),
            Event::Behind { group, partition, next, end } => {
                write!(f, "behind {group} {partition} {next} {end}")
            }
            Event::Assigned { group, consumer, generation, partitions } => {
                write!(f, "assign {group} {consumer} {generation}")?;
                partitions.iter().try_for_each(|partition| write!(f, " {partition}"))
            }
            Event::Left { group, consumer } => write!(f, "left {group} {consumer}"),
            Event::Polled { group, consumer, partition, offset, record } => {
                write!(f, "poll {group} {consumer} {partition} {offset} {record}")
            }
            Event::Committed { group, consumer, partition, offset } => {
                write!(f, "commit {group} {consumer} {partition} {offset}")
            }
            Event::CommitRead { group, asked_us, partition, offset } => {
                write!(f, "committed {group} {asked_us} {partition} {offset}")
            }
            Event::Stored { partition, offset, record } => write!(f, "stored {partition} {offset} {record}"),
            Event::Ends { partition, end } => write!(f, "end {partition} {end}"),
            Event::Unread { partition, why } => write!(f, "unread {partition} {why}"),
            Event::Fault { what } => write!(f, "fault {what}"),
            Event::Healed { what } => write!(f, "healed {what}"),
            Event::Whole { took_us, limit_us } => write!(f, "whole {took_us} {limit_us}"),
            Event::Replica { topic, partition, broker, bytes, digest } => {
                write!(f, "replica {topic} {partition} {broker} {bytes} {digest}")
            }
            Event::Told { by, about, what } => write!(f, "told {by} {about} {what}"),
            Event::Believed { broker, about, current, believed, code } => {
                write!(f, "believed {broker} {about} {current} {believed} {code}")
            }
            Event::Unasked { broker, about, believed, why } => {
                write!(f, "unasked {broker} {about} {believed} {why}")
            }
            Event::Stopped { node, took_us, limit_us, how } => {
                write!(f, "stopped {node} {took_us} {limit_us} {how}")
            }
            Event::Alive { node } => write!(f, "alive {node}"),
            Event::Ended { node, how } => write!(f, "ended {node} {how}"),
        }
    }
}

impl FromStr for Event {
    type Err = EventError;

    fn from_str(line: &str) -> Result<Event, EventError> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = Words(rest.split_whitespace());
        Ok(match kind {
            "send" => Event::Sending {
                producer: words.number("the producer")?,
                record: words.number("the record")?,
                partition: words.number("the partition")?,
            },
            "ack" => Event::Acknowledged {
                producer: words.number("the producer")?,
                record: words.number("the record")?,
                partition: words.number("the partition")?,
                offset: words.number("the offset")?,
            },
            "giveup" => Event::GivenUp {
                producer: words.number("the producer")?,
                record: words.number("the record")?,
                why: words.rest(),
            },
            "group" => Event::Group { group: words.word("the group")? },
            "behind" => Event::Behind {
                group: words.word("the group")?,
                partition: words.number("the partition")?,
                next: words.number("the next offset")?,
                end: words.number("the end")?,
            },
            "assign" => Event::Assigned {
                group: words.word("the group")?,
                consumer: words.number("the consumer")?,
                generation: words.number("the generation")?,
                partitions: words.numbers("a partition")?,
            },
            "left" => {
                Event::Left { group: words.word("the group")?, consumer: words.number("the consumer")? }
            }
            "poll" => Event::Polled {
                group: words.word("the group")?,
                consumer: words.number("the consumer")?,
                partition: words.number("the partition")?,
                offset: words.number("the offset")?,
                record: words.number("the record")?,
            },
            "commit" => Event::Committed {
                group: words.word("the group")?,
                consumer: words.number("the consumer")?,
                partition: words.number("the partition")?,
                offset: words.number("the offset")?,
            },
            "committed" => Event::CommitRead {
                group: words.word("the group")?,
                asked_us: words.number("the time of asking")?,
                partition: words.number("the partition")?,
                offset: words.number("the offset")?,
            },
            "stored" => Event::Stored {
                partition: words.number("the partition")?,
                offset: words.number("the offset")?,
                record: words.number("the record")?,
            },
            "end" => Event::Ends { partition: words.number("the partition")?, end: words.number("the end")? },
            "unread" => Event::Unread { partition: words.number("the partition")?, why: words.rest() },
            "fault" => Event::Fault { what: words.rest() },
            "healed" => Event::Healed { what: words.rest() },
            "whole" => Event::Whole {
                took_us: words.number("the time it took")?,
                limit_us: words.number("the limit")?,
            },
            "replica" => Event::Replica {
                topic: words.word("the topic")?,
                partition: words.number("the partition")?,
                broker: words.number("the broker")?,
                bytes: words.number("the number of bytes")?,
                digest: words.number("the digest")?,
            },
            "told" => Event::Told {
                by: words.word("who told it")?,
                about: words.word("what it is about")?,
                what: words.rest(),
            },
            "believed" => Event::Believed {
                broker: words.number("the broker")?,
                about: words.word("what it is about")?,
                current: words.number("the epoch")?,
                believed: words.number("the other epoch")?,
                code: words.number("the error code")?,
            },
            "unasked" => Event::Unasked {
                broker: words.number("the broker")?,
                about: words.word("what it is about")?,
                believed: words.number("the other epoch")?,
                why: words.rest(),
            },
            "stopped" => Event::Stopped {
                node: words.word("the node")?,
                took_us: words.number("the time it took")?,
                limit_us: words.number("the limit")?,
                how: words.rest(),
            },
            "alive" => Event::Alive { node: words.word("the node")? },
            "ended" => Event::Ended { node: words.word("the node")?, how: words.rest() },
            other => return Err(EventError::Kind { found: String::from(other) }),
        })
    }
}

struct Words<'a>(SplitWhitespace<'a>);

impl Words<'_> {
    fn word(&mut self, what: &'static str) -> Result<String, EventError> {
        self.0.next().map(String::from).ok_or(EventError::Missing { what })
    }

    fn number<T: FromStr>(&mut self, what: &'static str) -> Result<T, EventError> {
        let found = self.0.next().ok_or(EventError::Missing { what })?;
        found.parse().map_err(|_| EventError::Number { what, found: String::from(found) })
    }

    fn numbers<T: FromStr>(&mut self, what: &'static str) -> Result<Vec<T>, EventError> {
        let mut numbers = Vec::new();
        for found in self.0.by_ref() {
            numbers.push(found.parse().map_err(|_| EventError::Number { what, found: String::from(found) })?);
        }
        Ok(numbers)
    }

    fn rest(&mut self) -> String {
        self.0.by_ref().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let group = || String::from("g");
        for event in [
            Event::Sending { producer: 1, record: 2, partition: 3 },
            Event::Acknowledged { producer: 1, record: 2, partition: 3, offset: 4 },
            Event::GivenUp { producer: 1, record: 2, why: String::from("it took too long") },
            Event::Assigned { group: group(), consumer: 1, generation: 2, partitions: vec![0, 3] },
            Event::Assigned { group: group(), consumer: 1, generation: 3, partitions: vec![] },
            Event::Group { group: group() },
            Event::Behind { group: group(), partition: 1, next: 2, end: 3 },
            Event::Left { group: group(), consumer: 1 },
            Event::Polled { group: group(), consumer: 1, partition: 2, offset: 3, record: 4 },
            Event::Committed { group: group(), consumer: 1, partition: 2, offset: 3 },
            Event::CommitRead { group: group(), asked_us: 1, partition: 2, offset: -1 },
            Event::Stored { partition: 1, offset: 2, record: 3 },
            Event::Ends { partition: 1, end: 2 },
            Event::Unread { partition: 1, why: String::from("no leader") },
            Event::Fault { what: String::from("kill 2") },
            Event::Healed { what: String::from("start 2") },
            Event::Whole { took_us: 1, limit_us: 2 },
            Event::Replica { topic: group(), partition: 0, broker: 1, bytes: 2, digest: u64::MAX },
            Event::Told { by: group(), about: group(), what: String::from("leader 1, epoch 2") },
            Event::Believed { broker: 1, about: group(), current: 2, believed: 1, code: 74 },
            Event::Unasked { broker: 1, about: group(), believed: 1, why: String::from("no answer in time") },
            Event::Stopped { node: group(), took_us: 1, limit_us: 2, how: String::from("exit status: 1") },
            Event::Alive { node: group() },
            Event::Ended { node: group(), how: String::from("exit status: 101") },
        ] {
            let line = event.to_string();
            assert_eq!(line.parse::<Event>().ok(), Some(event), "{line}");
        }
    }

    #[test]
    fn what_is_no_event_is_said() {
        for (line, said) in [
            ("", "it begins with \"\", which is no kind of event"),
            ("ack 1 2 3", "the offset is missing"),
            ("stored x 1 2", "the partition is \"x\", which is no number"),
            ("assign g 1 1 0 y", "a partition is \"y\", which is no number"),
        ] {
            assert_eq!(line.parse::<Event>().expect_err(line).to_string(), said);
        }
    }
}
