//! What must hold of the cluster itself when all was over.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::{Event, Finding, History, ORDERLY};

/// The words of ZooKeeper, which brokers are compared with.
const ZOOKEEPER: &str = "zookeeper";

/// Bytes and digest, by broker.
type Copies = BTreeMap<i32, (u64, u64)>;

pub(super) fn all_can_be_read(history: &History) -> Finding {
    let mut finding = Finding::of("every partition can be read to its end");
    for event in events(history) {
        match event {
            Event::Ends { .. } => finding.check(true, String::new),
            Event::Unread { partition, why } => {
                finding.check(false, || format!("partition {partition}: {why}"));
            }
            _ => {}
        }
    }
    finding
}

pub(super) fn replicas_are_the_same(history: &History) -> Finding {
    let mut finding = Finding::of("replicas hold the same batches");
    let mut replicas: BTreeMap<(&str, i32), Copies> = BTreeMap::new();
    for event in events(history) {
        if let Event::Replica { topic, partition, broker, bytes, digest } = event {
            replicas.entry((topic, *partition)).or_default().insert(*broker, (*bytes, *digest));
        }
    }
    for ((topic, partition), brokers) in replicas {
        let first = brokers.values().next();
        // A single copy is the same as nothing.
        finding.check(brokers.len() > 1 && brokers.values().all(|one| Some(one) == first), || {
            format!("{topic}-{partition}: bytes and digest by broker: {brokers:?}")
        });
    }
    finding
}

/// Whoever says anything says all that ZooKeeper does, and nothing else.
pub(super) fn all_say_the_same(history: &History) -> Finding {
    let mut finding = Finding::of("brokers say what ZooKeeper says");
    let mut truth: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events(history) {
        match event {
            Event::Told { by, about, what } if by == ZOOKEEPER => {
                truth.insert(about, what);
            }
            _ => {}
        }
    }
    let mut said: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events(history) {
        match event {
            Event::Told { by, about, what } if by != ZOOKEEPER => {
                said.entry(by).or_default().insert(about);
                let expected = truth.get(about.as_str()).copied();
                finding.check(expected == Some(what), || {
                    format!("{about}: {by} says {what:?}, ZooKeeper {expected:?}")
                });
            }
            _ => {}
        }
    }
    for (broker, said) in said {
        for (about, expected) in &truth {
            finding.check(said.contains(about), || {
                format!("{about}: {broker} says nothing, ZooKeeper {expected:?}")
            });
        }
    }
    finding
}

/// Whoever missed an election, or heard of one that this leader did not, is told so, not served (KIP-320). No answer,
/// and no other error, is such a word.
pub(super) fn other_epochs_are_refused(history: &History) -> Finding {
    let mut finding = Finding::of("a leader refuses who believes in another epoch");
    for event in events(history) {
        match event {
            Event::Believed { broker, about, current, believed, code } => {
                finding.check(refuses(*code, believed < current), || {
                    format!(
                        "{about}: broker {broker}, which leads in epoch {current}, answered epoch {believed} with {code}"
                    )
                });
            }
            Event::Unasked { .. } => finding.unasked += 1,
            _ => {}
        }
    }
    finding
}

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;

/// One who does not know that it leads refuses everybody.
fn refuses(code: i16, is_older: bool) -> bool {
    let of_the_epoch = if is_older { FENCED_LEADER_EPOCH } else { UNKNOWN_LEADER_EPOCH };
    code == of_the_epoch || code == NOT_LEADER_OR_FOLLOWER
}

pub(super) fn whole_in_time(history: &History) -> Finding {
    let mut finding = Finding::of("the cluster is whole in time after a heal");
    for entry in &history.entries {
        if let Event::Whole { took_us, limit_us } = entry.event {
            finding.check(took_us <= limit_us, || {
                format!("at {} µs: after {took_us} µs, allowed are {limit_us}", entry.at_us)
            });
        }
    }
    finding
}

/// Producers try for longer than any fault lasts, so none of their records is ever given up.
pub(super) fn none_given_up(history: &History) -> Finding {
    let mut finding = Finding::of("no producer has to give up a record");
    for event in events(history) {
        match event {
            Event::Sending { .. } => finding.check(true, String::new),
            Event::GivenUp { producer, record, why } => {
                finding.check(false, || format!("producer {producer}, record {record}: {why}"));
            }
            _ => {}
        }
    }
    finding
}

/// Nobody ends or panics untold, and whoever is told to stop does, in time and without complaint.
pub(super) fn all_end_when_told(history: &History) -> Finding {
    let mut finding = Finding::of("brokers end when they are told to, and never by themselves");
    for event in events(history) {
        match event {
            Event::Alive { .. } => finding.check(true, String::new),
            Event::Ended { node, how } => finding.check(false, || format!("{node}: {how}")),
            Event::Stopped { node, took_us, limit_us, how } => {
                finding.check(how == ORDERLY && took_us <= limit_us, || {
                    format!("{node}, told to stop: {how} after {took_us} µs, allowed are {limit_us}")
                });
            }
            _ => {}
        }
    }
    finding
}

fn events(history: &History) -> impl Iterator<Item = &Event> {
    history.entries.iter().map(|entry| &entry.event)
}

#[cfg(test)]
mod tests {
    use crate::checker::{Entry, Event, History, ORDERLY, judge_cluster};

    fn believed(code: i16) -> Event {
        Event::Believed { broker: 1, about: String::from("t/0"), current: 2, believed: 1, code }
    }

    const ENDS: &str = "brokers end when they are told to, and never by themselves";

    fn stopped(took_us: u64, how: &str) -> Event {
        Event::Stopped { node: String::from("broker-2"), took_us, limit_us: 5, how: String::from(how) }
    }

    fn sound() -> Vec<Event> {
        let word = |word: &str| String::from(word);
        let replica = |broker| Event::Replica { topic: word("t"), partition: 0, broker, bytes: 9, digest: 7 };
        let told = |by: &str| Event::Told { by: word(by), about: word("t/0"), what: word("leader 1") };
        vec![
            Event::Sending { producer: 1, record: 1, partition: 0 },
            Event::Ends { partition: 0, end: 1 },
            Event::Whole { took_us: 5, limit_us: 5 },
            replica(1),
            replica(2),
            told("broker-1"),
            told("zookeeper"),
            believed(74),
            stopped(5, ORDERLY),
            Event::Alive { node: word("broker-1") },
        ]
    }

    fn broken(events: Vec<Event>) -> Vec<&'static str> {
        let entries = events.into_iter().map(|event| Entry { at_us: 1, event }).collect();
        judge_cluster(&History { entries }).broken()
    }

    #[test]
    fn a_sound_cluster_is_clean_and_an_unknown_one_proves_nothing() {
        assert_eq!(broken(sound()), [""; 0]);
        assert_eq!(broken(Vec::new()).len(), 7);
    }

    #[test]
    fn each_rule_convicts_what_it_is_there_for() {
        let word = |word: &str| String::from(word);
        for (event, rule) in [
            (
                Event::Replica { topic: word("t"), partition: 0, broker: 2, bytes: 9, digest: 8 },
                "replicas hold the same batches",
            ),
            (
                Event::Replica { topic: word("t"), partition: 1, broker: 2, bytes: 9, digest: 8 },
                "replicas hold the same batches",
            ),
            (
                Event::Told { by: word("broker-2"), about: word("t/0"), what: word("leader 2") },
                "brokers say what ZooKeeper says",
            ),
            (
                Event::Told { by: word("broker-2"), about: word("t/1"), what: word("leader 2") },
                "brokers say what ZooKeeper says",
            ),
            (
                Event::Unread { partition: 0, why: word("no leader") },
                "every partition can be read to its end",
            ),
            (believed(0), "a leader refuses who believes in another epoch"),
            (believed(-1), "a leader refuses who believes in another epoch"),
            (believed(75), "a leader refuses who believes in another epoch"),
            (Event::Whole { took_us: 6, limit_us: 5 }, "the cluster is whole in time after a heal"),
            (
                Event::GivenUp { producer: 1, record: 1, why: word("unknown topic") },
                "no producer has to give up a record",
            ),
            (Event::Ended { node: word("broker-1"), how: word("signal: 6") }, ENDS),
            (stopped(5, "exit status: 1"), ENDS),
            (stopped(6, ORDERLY), ENDS),
        ] {
            let mut events = sound();
            events.push(event);
            assert_eq!(broken(events), [rule]);
        }
    }

    #[test]
    fn a_broker_that_leaves_something_out_is_convicted() {
        let told = |by: &str, about: &str| {
            let (by, about) = (String::from(by), String::from(about));
            Event::Told { by, about, what: String::from("leader 1") }
        };
        let rule = "brokers say what ZooKeeper says";
        let mut events = sound();
        events.extend([told("zookeeper", "t/1"), told("broker-2", "t/0"), told("broker-2", "t/1")]);
        assert_eq!(broken(events.clone()), [rule]);
        events.push(told("broker-1", "t/1"));
        assert_eq!(broken(events), [""; 0]);
    }

    #[test]
    fn leaders_that_could_not_be_asked_are_counted_and_nobody_asked_proves_nothing() {
        let rule = "a leader refuses who believes in another epoch";
        let why = String::from("no answer in time");
        let unasked = Event::Unasked { broker: 1, about: String::from("t/0"), believed: 1, why };
        let mut events = sound();
        events.push(unasked);
        assert_eq!(broken(events.clone()), [""; 0]);
        let entries = events.iter().map(|event| Entry { at_us: 1, event: event.clone() }).collect();
        let text = judge_cluster(&History { entries }).to_string();
        assert!(text.contains("1 checked, 0 violations, 1 not to be asked"), "{text}");
        events.retain(|event| !matches!(event, Event::Believed { .. }));
        assert_eq!(broken(events), [rule]);
    }
}
