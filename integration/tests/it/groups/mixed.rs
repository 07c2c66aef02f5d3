//! Our group consumer and Apache's in one group, whoever of them is killed, and their coordinator too:
//! every record is read, no partition has two owners, and no committed offset goes back.

use std::collections::BTreeSet;

use client::consumer::assignor::Assignor;
use integration::cluster::PATIENCE;
use integration::commits::Commits;
use integration::load::Load;
use integration::member::{Library, Meeting, Member, Said, now_ms};
use integration::ownership::{Change, Told, conflicts};
use integration::wait;

use super::view::{PARTITIONS, Stage, TOPIC};
use crate::group_consumer::member;
use crate::group_consumer::reader::{Reader, Saw};

const GROUP: &str = "mixed";
const PER_SECOND: u32 = 200;

/// So that the group misses a killed member soon.
const VERIFIABLE_SESSION: [&str; 2] = ["--session-timeout", "6000"];
const CONSOLE_SESSION: [&str; 2] = ["--consumer-property", "session.timeout.ms=6000"];

const COOPERATIVE: [&str; 2] =
    ["--assignment-strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"];

#[test]
fn range_groups_of_our_members_and_apaches_survive_either() {
    let stage = Stage::set();
    let mut group = Mixed::default();
    group.add_theirs(&stage, Library::Java, &VERIFIABLE_SESSION);
    group.add_theirs(&stage, Library::Console, &CONSOLE_SESSION);
    group.add_ours(&stage, Assignor::Range);
    group.add_ours(&stage, Assignor::Range);
    survive_either(stage, group);
}

#[test]
fn range_groups_of_every_client_survive_any() {
    let stage = Stage::set();
    let mut group = Mixed::default();
    group.add_theirs(&stage, Library::Java, &VERIFIABLE_SESSION);
    group.add_theirs(&stage, Library::Confluent, &[]);
    group.add_theirs(&stage, Library::KafkaPython, &[]);
    group.add_ours(&stage, Assignor::Range);
    survive_either(stage, group);
}

#[test]
fn cooperative_groups_of_our_members_and_apaches_survive_either() {
    let stage = Stage::set();
    let options = [VERIFIABLE_SESSION, COOPERATIVE].concat();
    let mut group = Mixed::default();
    group.add_theirs(&stage, Library::Java, &options);
    group.add_theirs(&stage, Library::Java, &options);
    group.add_ours(&stage, Assignor::CooperativeSticky);
    group.add_ours(&stage, Assignor::CooperativeSticky);
    survive_either(stage, group);
}

fn survive_either(mut stage: Stage, mut group: Mixed) {
    let load = Load::start(&stage.cluster.bootstrap(), TOPIC, PER_SECOND);
    let commits = Commits::watch(&stage.cluster.zookeeper.connect_string(), &[GROUP.to_owned()], TOPIC);
    group.wait_until_shared(&stage);
    group.wait_until_all_read();

    group.kill_one_of_theirs();
    let coordinator = stage.kill_coordinator();
    group.wait_until_shared(&stage);
    group.wait_until_all_read();
    stage.revive(coordinator);

    group.kill_one_of_ours();
    group.wait_until_shared(&stage);
    group.wait_until_all_read();

    let outcome = load.finish();
    assert_eq!(outcome.failed, 0, "the producer gave up on some records");
    wait::until("every value is read", PATIENCE, || {
        let values: BTreeSet<String> = group.values().into_iter().collect();
        outcome.acknowledged.is_subset(&values).then_some(())
    });
    commits.wait_until_at(GROUP, outcome.acknowledged.len());
    commits.assert_forward_only();
    let conflicts = conflicts(group.told());
    assert!(conflicts.is_empty(), "{conflicts:#?}");
}

#[derive(Default)]
struct Mixed {
    ours: Vec<(String, Reader)>,
    theirs: Vec<Member>,
    killed: Vec<Said>,
    /// Members that there ever were.
    count: usize,
}

impl Mixed {
    fn add_ours(&mut self, stage: &Stage, assignor: Assignor) {
        let builder = member(&stage.cluster.bootstrap(), GROUP).assignors([assignor]);
        let name = self.next_name("ours");
        self.ours.push((name, Reader::start(builder, TOPIC)));
    }

    fn add_theirs(&mut self, stage: &Stage, library: Library, options: &[&str]) {
        let bootstrap = stage.cluster.bootstrap();
        let folder = stage.cluster.folder();
        let meeting = Meeting { bootstrap: &bootstrap, group: GROUP, topic: TOPIC, folder };
        let name = self.next_name("theirs");
        self.theirs.push(Member::start(library, meeting, &name, options));
    }

    fn next_name(&mut self, whose: &str) -> String {
        self.count += 1;
        format!("{whose}-{}", self.count)
    }

    fn kill_one_of_theirs(&mut self) {
        self.killed.push(self.theirs.remove(0).kill());
    }

    fn kill_one_of_ours(&mut self) {
        let (name, reader) = self.ours.remove(0);
        let saw = reader.die();
        let mut told = saw.told(&name);
        told.push(Told { at_ms: now_ms(), member: name, change: Change::Gone });
        self.killed.push(Said { values: saw.values(), told });
    }

    /// Until those that are left are the group, and all that say so have a part.
    fn wait_until_shared(&self, stage: &Stage) {
        wait::until("the members share the partitions", PATIENCE, || {
            let ours = self.ours.iter().map(|(_, reader)| reader.assigned());
            let telling = self.theirs.iter().filter(|member| member.tells_partitions());
            let parts: Vec<BTreeSet<i32>> = ours.chain(telling.map(Member::partitions)).collect();
            let whole: BTreeSet<i32> = parts.iter().flatten().copied().collect();
            let once = parts.iter().map(BTreeSet::len).sum::<usize>() == whole.len();
            let members = self.ours.len() + self.theirs.len();
            // One that does not tell has the rest, which is something.
            let tell_all = parts.len() == members;
            let complete = if tell_all { whole.len() == PARTITIONS } else { whole.len() < PARTITIONS };
            let shared = once && complete && parts.iter().all(|part| !part.is_empty());
            let settled = || {
                let described = stage.described(GROUP);
                described.is_some_and(|(state, ids)| state == "Stable" && ids.len() == members)
            };
            (shared && settled()).then_some(())
        });
    }

    /// Until each member has read something new.
    fn wait_until_all_read(&self) {
        let counts = || -> Vec<usize> {
            let ours = self.ours.iter().map(|(_, reader)| reader.saw(|saw| saw.records.len()));
            ours.chain(self.theirs.iter().map(|member| member.values().len())).collect()
        };
        let before = counts();
        wait::until("every member reads", PATIENCE, || {
            before.iter().zip(counts()).all(|(before, now)| now > *before).then_some(())
        });
    }

    fn values(&self) -> Vec<String> {
        let killed = self.killed.iter().flat_map(|said| said.values.clone());
        let ours = self.ours.iter().flat_map(|(_, reader)| reader.saw(Saw::values));
        killed.chain(ours).chain(self.theirs.iter().flat_map(Member::values)).collect()
    }

    fn told(&self) -> Vec<Told> {
        let killed = self.killed.iter().flat_map(|said| said.told.clone());
        let ours = self.ours.iter().flat_map(|(name, reader)| reader.saw(|saw| saw.told(name)));
        killed.chain(ours).chain(self.theirs.iter().flat_map(Member::told)).collect()
    }
}

/// Of a failing test, what Apache's members have to say.
impl Drop for Mixed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.theirs {
                eprintln!("--- {}\n{}", member.name(), member.remarks());
            }
        }
    }
}
