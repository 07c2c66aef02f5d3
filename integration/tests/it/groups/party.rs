//! Members of one stock client library in one group.

use std::collections::BTreeSet;

use integration::cluster::PATIENCE;
use integration::load::Outcome;
use integration::member::{Library, Meeting, Member, Said};
use integration::ownership::{Told, conflicts};
use integration::wait;

use super::view::{PARTITIONS, Stage, TOPIC};

pub(super) struct Party {
    library: Library,
    kind: Kind,
    members: Vec<Member>,
    left: Vec<Said>,
    /// Members that there ever were.
    count: usize,
}

/// Of all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dynamic,
    /// With instance ids `i1`, `i2` and so on.
    Static,
}

/// What must outlive a coordinator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) generation: i32,
    members: BTreeSet<String>,
    pub(super) owners: Vec<BTreeSet<i32>>,
    /// Callbacks of each member.
    pub(super) told: Vec<Vec<Told>>,
}

impl Party {
    /// Two members.
    pub(super) fn start(library: Library, kind: Kind, stage: &Stage) -> Party {
        let mut party = Party { library, kind, members: Vec::new(), left: Vec::new(), count: 0 };
        party.add_member(stage);
        party.add_member(stage);
        party
    }

    pub(super) fn group(&self) -> String {
        format!("{:?}", self.library)
    }

    pub(super) fn add_member(&mut self, stage: &Stage) {
        self.count += 1;
        let member = self.new_member(stage, self.count);
        self.members.push(member);
    }

    /// The first member is killed, and back at once.
    pub(super) fn restart_first(&mut self, stage: &Stage) {
        self.left.push(self.members.remove(0).kill());
        let member = self.new_member(stage, 1);
        self.members.insert(0, member);
    }

    fn new_member(&self, stage: &Stage, number: usize) -> Member {
        let (bootstrap, group) = (stage.cluster.bootstrap(), self.group());
        let meeting =
            Meeting { bootstrap: &bootstrap, group: &group, topic: TOPIC, folder: stage.cluster.folder() };
        let instance = match self.library {
            Library::Java => vec!["--group-instance-id".to_owned(), format!("i{number}")],
            Library::Console => {
                vec!["--consumer-property".to_owned(), format!("group.instance.id=i{number}")]
            }
            Library::Confluent => vec![format!("group.instance.id=i{number}")],
            Library::KafkaPython => vec![format!("group_instance_id=i{number}")],
        };
        let options = if self.kind == Kind::Static { instance } else { Vec::new() };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        // One that is started again tells its own story.
        let name = format!("{number}-{}", self.left.len());
        Member::start(self.library, meeting, &name, &options)
    }

    /// The oldest member says goodbye.
    pub(super) fn let_one_leave(&mut self) {
        let mut member = self.members.remove(0);
        member.ask_to_leave();
        wait::until(&format!("a member of {} ends", self.group()), PATIENCE, || {
            member.has_left().then_some(())
        });
        self.left.push(member.kill());
    }

    /// Until all members have a part, and each partition one owner.
    pub(super) fn wait_until_shared(&self, stage: &Stage) {
        wait::until(&format!("{} shares its partitions", self.group()), PATIENCE, || {
            let owners = self.owners();
            let owned: BTreeSet<i32> = owners.iter().flatten().copied().collect();
            let has_part = |member: &Member| match member.tells_partitions() {
                true => !member.partitions().is_empty(),
                false => !member.values().is_empty(),
            };
            let all = self.members.iter().all(has_part);
            let once = owners.iter().map(BTreeSet::len).sum::<usize>() == owned.len();
            let whole = owned.len() == PARTITIONS || self.library == Library::Console;
            let settled = || {
                let described = stage.described(&self.group());
                described.is_some_and(|(state, ids)| state == "Stable" && ids.len() == self.members.len())
            };
            (all && once && whole && settled()).then_some(())
        });
    }

    pub(super) fn owners(&self) -> Vec<BTreeSet<i32>> {
        self.members.iter().map(Member::partitions).collect()
    }

    pub(super) fn seen(&self, stage: &Stage) -> Seen {
        let group = self.group();
        let (generation, members) = wait::until(&format!("{group} is coordinated"), PATIENCE, || {
            let (state, members) = stage.described(&group)?;
            assert_eq!(state, "Stable");
            Some((stage.generation(&group, members.first()?)?, members))
        });
        assert_eq!(members.len(), self.members.len(), "{group}: {members:?}");
        let told = self.members.iter().map(Member::told).collect();
        Seen { generation, members, owners: self.owners(), told }
    }

    pub(super) fn wait_until_read(&self, outcome: &Outcome) {
        wait::until(&format!("{} reads every value", self.group()), PATIENCE, || {
            let values: BTreeSet<String> = self.values().into_iter().collect();
            outcome.acknowledged.is_subset(&values).then_some(())
        });
    }

    /// Without a rebalance nobody reads again.
    pub(super) fn assert_read_once(&self) {
        let values = self.values();
        let distinct: BTreeSet<&String> = values.iter().collect();
        assert_eq!(distinct.len(), values.len(), "{} read some values again", self.group());
    }

    /// At no time two members had the same partition.
    pub(super) fn assert_one_owner(&self) {
        let gone = self.left.iter().flat_map(|said| said.told.clone());
        let told: Vec<Told> = self.members.iter().flat_map(Member::told).chain(gone).collect();
        let conflicts = conflicts(told);
        assert!(conflicts.is_empty(), "{}: {conflicts:#?}", self.group());
    }

    fn values(&self) -> Vec<String> {
        let gone = self.left.iter().flat_map(|said| said.values.clone());
        self.members.iter().flat_map(Member::values).chain(gone).collect()
    }
}

/// Of a failing test, what members have to say.
impl Drop for Party {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                eprintln!("--- {} {}\n{}", self.group(), member.name(), member.remarks());
            }
        }
    }
}
