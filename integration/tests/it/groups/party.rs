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
    members: Vec<Member>,
    left: Vec<Said>,
    /// Members that there ever were.
    count: usize,
}

/// What must outlive a coordinator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    generation: i32,
    members: BTreeSet<String>,
    owners: Vec<BTreeSet<i32>>,
    /// Callbacks of each member.
    told: Vec<Vec<Told>>,
}

impl Party {
    /// Two members.
    pub(super) fn start(library: Library, stage: &Stage) -> Party {
        let mut party = Party { library, members: Vec::new(), left: Vec::new(), count: 0 };
        party.add_member(stage);
        party.add_member(stage);
        party
    }

    pub(super) fn group(&self) -> String {
        format!("{:?}", self.library)
    }

    pub(super) fn add_member(&mut self, stage: &Stage) {
        let (bootstrap, group) = (stage.cluster.bootstrap(), self.group());
        let meeting =
            Meeting { bootstrap: &bootstrap, group: &group, topic: TOPIC, folder: stage.cluster.folder() };
        self.count += 1;
        self.members.push(Member::start(self.library, meeting, &self.count.to_string(), &[]));
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

    fn owners(&self) -> Vec<BTreeSet<i32>> {
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
