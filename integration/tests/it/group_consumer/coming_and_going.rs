//! Members that come, go, die and come back, on three brokers of ours.

use std::collections::BTreeSet;
use std::time::Duration;

use client::consumer::assignor::Assignor;
use integration::cluster::PATIENCE;
use integration::load::Load;
use integration::member::now_ms;
use integration::observer::Observer;
use integration::ownership::{Change, Told, conflicts};
use integration::wait;

use super::ours::{PARTITIONS, cluster, coordinator};
use super::reader::{Heard, Reader};
use super::{create, member, positions_are_the_users};

const ALL: usize = PARTITIONS as usize;

/// Who keeps a partition is never asked to give it up, no partition has two owners, and every record is read.
#[test]
fn cooperative_members_come_and_go_while_their_coordinator_dies() {
    let mut cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", PARTITIONS, 3);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let load = Load::start(&bootstrap, "t", 200);
    let start = || Reader::start(member(&bootstrap, "c").assignors([Assignor::CooperativeSticky]), "t");
    let each_has = |readers: &[&Reader], count: usize| {
        for reader in readers {
            reader.wait_for(&format!("{count} partitions"), |saw| saw.assigned.len() == count);
        }
    };
    let first = start();
    each_has(&[&first], ALL);
    let second = start();
    each_has(&[&first, &second], ALL / 2);
    cluster.kill(coordinator(&observer, "c"));
    let third = start();
    each_has(&[&first, &second, &third], ALL / 3);

    let second = second.die();
    let gone = Told { at_ms: now_ms(), member: "second".to_owned(), change: Change::Gone };
    each_has(&[&first, &third], ALL / 2);
    let third = third.finish();
    each_has(&[&first], ALL);
    let sent = load.finish();
    let others: BTreeSet<String> = second.values().into_iter().chain(third.values()).collect();
    wait::until("everything is read", PATIENCE, || {
        let read: BTreeSet<String> = first.saw(|saw| saw.values()).into_iter().collect();
        sent.acknowledged.iter().all(|value| read.contains(value) || others.contains(value)).then_some(())
    });
    let first = first.finish();

    let mut told = [first.told("first"), second.told("second"), third.told("third")].concat();
    told.push(gone);
    assert_eq!(conflicts(told), Vec::<String>::new());
    let sizes: Vec<(&str, usize)> = first
        .heard
        .iter()
        .map(|heard| match heard {
            Heard::Assigned(partitions) => ("assigned", partitions.len()),
            Heard::Revoked(partitions) => ("revoked", partitions.len()),
            Heard::Lost(partitions) => ("lost", partitions.len()),
        })
        .filter(|(_, size)| *size > 0)
        .collect();
    let moved =
        [("assigned", 6), ("revoked", 3), ("revoked", 1), ("assigned", 1), ("assigned", 3), ("revoked", 6)];
    assert_eq!(sizes, moved, "it heard of nothing but what moved");
}

/// Its partitions wait for it, nobody else notices, and it goes on where it was.
#[test]
fn a_static_member_comes_back_to_another_coordinator() {
    let mut cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", PARTITIONS, 3);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    let load = Load::start(&bootstrap, "t", 200);
    let fixed = |name: &'static str| {
        let builder = member(&bootstrap, "s").group_instance_id(name);
        Reader::start(builder.with(|options| options.session_timeout = Duration::from_secs(30)), "t")
    };
    let (one, two) = (fixed("one"), fixed("two"));
    for reader in [&one, &two] {
        reader.wait_for("half of the partitions", |saw| saw.assigned.len() == 3 && saw.records.len() > 50);
    }
    let (had, group) = (two.assigned(), || one.saw(|saw| (saw.generation, saw.heard.clone())));
    let before = group();
    let first_life = two.finish();
    cluster.kill(coordinator(&observer, "s"));
    let two = fixed("two");
    two.wait_for("its partitions", |saw| saw.assigned == had && saw.records.len() > 50);
    assert_eq!(two.saw(|saw| saw.generation), before.0);
    let sent = load.finish();
    let read = || {
        let now = [&one, &two].map(|reader| reader.saw(|saw| saw.values()));
        [first_life.values(), now.concat()].concat()
    };
    wait::until("everything is read", PATIENCE, || {
        let read: BTreeSet<String> = read().into_iter().collect();
        sent.acknowledged.is_subset(&read).then_some(())
    });
    assert_eq!(group(), before, "nobody else noticed");
    let read = read();
    assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len(), "nothing is read twice");
    one.finish();
    two.finish();
}

#[test]
fn positions_outlive_their_coordinator() {
    let mut cluster = cluster();
    let bootstrap = cluster.bootstrap();
    create(&bootstrap, "t", 1, 3);
    let observer = Observer::connect(&cluster.zookeeper.connect_string());
    positions_are_the_users(&bootstrap, || cluster.kill(coordinator(&observer, "h")));
}
