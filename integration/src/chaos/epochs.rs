//! Leaders are asked in the name of those who believe in another leader epoch (KIP-320).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use client::connection::{Connection, ConnectionOptions};
use client::wire::messages::OffsetForLeaderEpochRequest;
use client::wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::arena::Arena;
use super::view::Seen;
use crate::checker::{Event, Recorder};
use crate::runtime::own_thread;

const LIMIT: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);

/// Asks every leader as of an epoch before and as of one after its own, and writes down what it says, or why it could
/// not be asked. `seen`: what ZooKeeper says now.
pub(super) fn ask(arena: &dyn Arena, seen: impl Fn() -> Option<Seen>, recorder: &Recorder) {
    let runtime = own_thread();
    let deadline = Instant::now() + LIMIT;
    let mut looked = look_since(Instant::now(), deadline, &seen);
    // An election in between makes other epochs of them all.
    let answers = loop {
        let Some(before) = looked else { break Vec::new() };
        let answers = runtime.block_on(answers(arena, &before));
        looked = look_since(Instant::now(), deadline, &seen);
        if looked.as_ref().is_some_and(|now| now.states == before.states) || Instant::now() > deadline {
            break answers;
        }
    };
    answers.iter().for_each(|event| recorder.record(event));
}

/// A look that began after `since`, or what there is at the deadline.
fn look_since(since: Instant, deadline: Instant, seen: impl Fn() -> Option<Seen>) -> Option<Seen> {
    loop {
        let look = seen();
        if look.as_ref().is_some_and(|look| look.at >= since) || Instant::now() > deadline {
            return look;
        }
        std::thread::sleep(AGAIN);
    }
}

async fn answers(arena: &dyn Arena, seen: &Seen) -> Vec<Event> {
    let mut connections: BTreeMap<i32, Result<Connection, String>> = BTreeMap::new();
    let mut events = Vec::new();
    for ((topic, partition), state) in &seen.states {
        let broker = state.leader;
        // There is nobody to ask, which other rules judge.
        if broker < 0 {
            continue;
        }
        let connection = match connections.entry(broker) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let options = ConnectionOptions {
                    connect_timeout: ANSWER,
                    request_timeout: ANSWER,
                    ..Default::default()
                };
                let opened = Connection::connect(arena.address(broker), "chaos", options).await;
                none.insert(opened.map_err(|error| error.to_string()))
            }
        };
        let current = state.leader_epoch;
        // Nobody can believe in an epoch before the first: −1 asks for no check.
        for believed in [current - 1, current + 1].into_iter().filter(|epoch| *epoch >= 0) {
            let about = format!("{topic}/{partition}");
            let code = match connection {
                Ok(connection) => code(connection, topic, *partition, believed).await,
                Err(why) => Err(why.clone()),
            };
            events.push(match code {
                Ok(code) => Event::Believed { broker, about, current, believed, code },
                Err(why) => Event::Unasked { broker, about, believed, why },
            });
        }
    }
    events
}

/// 0: it was answered as if nothing were wrong.
async fn code(connection: &Connection, topic: &str, partition: usize, believed: i32) -> Result<i16, String> {
    let asked = OffsetForLeaderPartition {
        partition: i32::try_from(partition).unwrap_or(i32::MAX),
        current_leader_epoch: believed,
        leader_epoch: 0,
    };
    let topics = vec![OffsetForLeaderTopic { topic: topic.into(), partitions: vec![asked] }];
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
    let answer = connection.send_negotiated(&request).await.map_err(|error| error.to_string())?;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    found.map(|found| found.error_code).ok_or_else(|| String::from("the partition is not in the answer"))
}
