//! Members of stock clients, with default settings, while brokers are killed under load: every record
//! is read, no partition has two owners, and no committed offset goes back.

use integration::cluster::PATIENCE;
use integration::commits::Commits;
use integration::load::Load;
use integration::member::Library;

use super::party::{Kind, Party, Seen};
use super::view::{Stage, TOPIC};

const LIBRARIES: [Library; 4] = [Library::Java, Library::Console, Library::Confluent, Library::KafkaPython];
const PER_SECOND: u32 = 200;

#[test]
fn stock_clients_do_not_notice_that_their_coordinator_dies() {
    let breaks: [fn(&mut Stage) -> i32; 2] = [Stage::kill_coordinator, Stage::kill_a_leader];
    do_not_notice(&breaks);
}

#[test]
fn stock_clients_do_not_notice_a_rolling_restart() {
    let stop = |stage: &mut Stage, id| {
        stage.stop(id);
        id
    };
    do_not_notice(&[1, 2, 3].map(|id| move |stage: &mut Stage| stop(stage, id)));
}

/// Groups go on in the same generation, and nobody calls back, whenever a broker is taken away and given back.
fn do_not_notice(breaks: &[impl Fn(&mut Stage) -> i32]) {
    let mut stage = Stage::set();
    let parties = LIBRARIES.map(|library| Party::start(library, Kind::Dynamic, &stage));
    let load = Load::start(&stage.cluster.bootstrap(), TOPIC, PER_SECOND);
    let groups = parties.each_ref().map(Party::group);
    let commits = Commits::watch(&stage.cluster.zookeeper.connect_string(), &groups, TOPIC);
    for party in &parties {
        party.wait_until_shared(&stage);
    }
    let before: Vec<Seen> = parties.iter().map(|party| party.seen(&stage)).collect();

    for take_away in breaks {
        load.wait_for_more(200, PATIENCE);
        let id = take_away(&mut stage);
        load.wait_for_more(200, PATIENCE);
        for (party, before) in parties.iter().zip(&before) {
            assert_eq!(&party.seen(&stage), before);
        }
        stage.revive(id);
    }

    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");
    for (party, before) in parties.iter().zip(&before) {
        party.wait_until_read(&outcome);
        commits.wait_until_at(&party.group(), outcome.acknowledged.len());
        assert_eq!(&party.seen(&stage), before);
        party.assert_read_once();
        party.assert_one_owner();
    }
    commits.assert_forward_only();
    println!("{} values, read once by each of {groups:?}", outcome.acknowledged.len());
}

#[test]
fn members_of_stock_clients_come_and_go_while_brokers_die() {
    let mut stage = Stage::set();
    let mut parties = LIBRARIES.map(|library| Party::start(library, Kind::Dynamic, &stage));
    let load = Load::start(&stage.cluster.bootstrap(), TOPIC, PER_SECOND);
    let groups = parties.each_ref().map(Party::group);
    let commits = Commits::watch(&stage.cluster.zookeeper.connect_string(), &groups, TOPIC);
    for party in &parties {
        party.wait_until_shared(&stage);
    }

    // In the middle of the rebalances that others join for.
    for party in &mut parties {
        party.add_member(&stage);
    }
    let coordinator = stage.kill_coordinator();
    for party in &parties {
        party.wait_until_shared(&stage);
    }
    stage.revive(coordinator);
    let leader = stage.kill_a_leader();
    for party in &mut parties {
        party.let_one_leave();
    }
    for party in &parties {
        party.wait_until_shared(&stage);
    }
    stage.revive(leader);

    assert_nothing_missed(load, &parties, commits);
}

/// A static member is killed with the coordinator, and comes back: nobody else hears of either, and it goes on
/// with what it had.
#[test]
fn static_members_of_stock_clients_restart_while_their_coordinator_dies() {
    let mut stage = Stage::set();
    let mut parties = [Library::Java, Library::Confluent, Library::KafkaPython]
        .map(|library| Party::start(library, Kind::Static, &stage));
    let load = Load::start(&stage.cluster.bootstrap(), TOPIC, PER_SECOND);
    let groups = parties.each_ref().map(Party::group);
    let commits = Commits::watch(&stage.cluster.zookeeper.connect_string(), &groups, TOPIC);
    for party in &parties {
        party.wait_until_shared(&stage);
    }
    let before: Vec<Seen> = parties.iter().map(|party| party.seen(&stage)).collect();

    let coordinator = stage.kill_coordinator();
    for party in &mut parties {
        party.restart_first(&stage);
    }
    for party in &parties {
        party.wait_until_shared(&stage);
    }
    load.wait_for_more(200, PATIENCE);
    for (party, before) in parties.iter().zip(&before) {
        let now = party.seen(&stage);
        assert_eq!((now.generation, &now.owners), (before.generation, &before.owners), "{}", party.group());
        assert_eq!(now.told[1], before.told[1], "{}", party.group());
    }
    stage.revive(coordinator);

    assert_nothing_missed(load, &parties, commits);
}

/// Each party read all that was acknowledged, each partition by one owner at a time, and never committed backward.
fn assert_nothing_missed(load: Load, parties: &[Party], commits: Commits) {
    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");
    for party in parties {
        party.wait_until_read(&outcome);
        commits.wait_until_at(&party.group(), outcome.acknowledged.len());
        party.assert_one_owner();
    }
    commits.assert_forward_only();
}
