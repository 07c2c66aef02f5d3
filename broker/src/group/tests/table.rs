//! Every state, and what each event does in it.

use client::wire::Str;

use super::support::*;
use crate::group::*;

const STATES: [State; 5] =
    [State::Empty, State::PreparingRebalance, State::CompletingRebalance, State::Stable, State::Dead];

/// A group in this state. `a` leads and `b` follows where there are members; `p` has yet to come
/// back by its id where that holds nothing up.
fn at(state: State) -> Driven {
    match state {
        State::Empty => {
            let mut driven = Driven::stable(&["a"]);
            driven.leave("a").unwrap();
            driven.stored(Ok(()));
            driven
        }
        State::PreparingRebalance => {
            let mut driven = Driven::stable(&["a", "b", "c"]);
            driven.leave("c").unwrap();
            driven
        }
        State::CompletingRebalance => Driven::completing(&["a", "b"]),
        State::Stable => Driven::stable(&["a", "b"]),
        State::Dead => {
            let mut driven = at(State::Empty);
            driven.group.delete(driven.now()).unwrap();
            driven
        }
    }
}

fn happen(driven: &mut Driven, event: &str) -> String {
    let (what, who) = event.split_once(' ').unwrap_or((event, ""));
    let plain =
        |outcome: Result<(), GroupError>| outcome.map_or_else(|error| format!("{error:?}"), |()| "ok".into());
    let now = driven.now();
    let generation = driven.group.generation();
    let commit = |driven: &mut Driven, member_id: &str, generation| {
        let who = Identity { member_id, instance_id: None, generation };
        plain(driven.group.check_commit(who, Commit::Plain, now))
    };
    match what {
        "join" => {
            let join = driven.request(who);
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "join4" => {
            let join = Join { must_know_id: true, ..driven.request(who) };
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "changed" => {
            let join = Join { protocols: protocols(&["range"], "else"), ..driven.request(who) };
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "roundrobin" => {
            let join = Join { protocols: protocols(&["roundrobin"], "meta"), ..driven.request(who) };
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "connect" => {
            let join = Join { protocol_type: "connect".into(), ..driven.request(who) };
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "instance" => {
            let join = Join { instance_id: Some("i".into()), ..driven.request(who) };
            let ticket = driven.join(join);
            parked(driven, ticket)
        }
        "sync" => {
            let ticket = driven.sync(who, &[("a", "1"), ("b", "2")]);
            parked(driven, ticket)
        }
        "sync-old" => {
            let sync = Sync { generation: generation - 1, ..driven.sync_request(who, &[]) };
            let ticket = driven.sync_by(sync);
            parked(driven, ticket)
        }
        "sync-other" => {
            let sync = Sync { protocol: Some("sticky".into()), ..driven.sync_request(who, &[]) };
            let ticket = driven.sync_by(sync);
            parked(driven, ticket)
        }
        "sync-silent" => {
            let sync = Sync { protocol: None, protocol_type: None, ..driven.sync_request(who, &[]) };
            let ticket = driven.sync_by(sync);
            parked(driven, ticket)
        }
        "heartbeat" => plain(driven.heartbeat(who)),
        "heartbeat-old" => plain(driven.group.heartbeat(who, None, generation - 1, now)),
        "heartbeat-instance" => plain(driven.group.heartbeat(who, Some("i"), generation, now)),
        "leave" => plain(driven.leave(who)),
        "commit" => commit(driven, who, generation),
        "commit-old" => commit(driven, who, generation - 1),
        "commit-outside" => commit(driven, who, -1),
        "delete" => plain(driven.group.delete(now)),
        "offset-delete" => plain(driven.group.check_offset_delete()),
        "expire" => {
            driven.pass(SESSION);
            String::from("-")
        }
        other => panic!("{other}"),
    }
}

fn parked(driven: &Driven, ticket: Ticket) -> String {
    match driven.answers.get(&ticket) {
        None => String::from("waits"),
        Some(Answer::Joined(Ok(joined))) => {
            format!("generation {}, {} members", joined.generation, joined.members.len())
        }
        Some(Answer::Joined(Err(refused))) => format!("{:?}", refused.error),
        Some(Answer::Synced(Ok(synced))) => {
            format!("gets {:?}", Str::try_from(synced.assignment.clone()).unwrap())
        }
        Some(Answer::Synced(Err(error))) => format!("{error:?}"),
    }
}

const EVENTS: &[&str] = &[
    "join",
    "join4",
    "join a",
    "join b",
    "join x",
    "changed b",
    "roundrobin",
    "roundrobin b",
    "connect",
    "instance",
    "instance b",
    "sync a",
    "sync b",
    "sync x",
    "sync-old b",
    "sync-other b",
    "sync-silent b",
    "heartbeat b",
    "heartbeat x",
    "heartbeat-old b",
    "heartbeat-instance b",
    "leave b",
    "leave x",
    "commit b",
    "commit ",
    "commit x",
    "commit-old b",
    "commit-outside ",
    "commit-outside b",
    "commit-outside x",
    "delete",
    "offset-delete",
    "expire",
];

#[test]
fn each_event_in_each_state() {
    let mut seen = String::new();
    for event in EVENTS {
        for state in STATES {
            let mut driven = at(state);
            assert_eq!(driven.group.state(), state);
            let outcome = happen(&mut driven, event);
            let after = driven.group.state();
            let moves = if after == state { String::new() } else { format!(" -> {after}") };
            seen.push_str(&format!("{event:<20} {state:<19} {outcome}{moves}\n"));
        }
    }
    let expected = include_str!("table.txt");
    if seen != expected {
        let differs = seen.lines().zip(expected.lines()).filter(|(seen, expected)| seen != expected);
        for (seen, expected) in differs {
            eprintln!("expected {expected}\nseen     {seen}");
        }
        panic!("the table is now:\n{seen}");
    }
}
