//! Consumer groups in the simulation: members whose coordinators are the leaders of `__consumer_offsets`, and what
//! they are promised. They have a random stream of their own, and without them a run is what it would be had they
//! never been there.

mod append;
mod coordinator;
mod member;
mod message;
mod note;
mod promises;

use broker::group::TOPIC;
use client::ids::{BrokerId, TopicPartition};
use client::wire::Str;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(super) use self::coordinator::Coordinator;
use self::member::{Member, Step};
pub(super) use self::message::{Answer, Ask, Told};
pub(super) use self::note::Note;
use self::promises::GroupPromises;
use super::message::{MS, Message, Place, Stored, Time};
use super::run::{Event, Simulation, TOPIC as READ, leader_known};

/// Of [`TOPIC`].
const PARTITIONS: i32 = 2;
/// They belong to different partitions.
const GROUPS: [&str; 2] = ["g1", "g2"];
const MEMBERS: usize = 3;
const STEP: Time = 150 * MS;

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, number)
}

/// What an assignment says.
fn partitions_in(assignment: &[u8]) -> Vec<i32> {
    assignment.chunks_exact(4).filter_map(|chunk| Some(i32::from_be_bytes(chunk.try_into().ok()?))).collect()
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) partitions: Vec<TopicPartition>,
    members: Vec<Member>,
    promises: GroupPromises,
    random: StdRng,
}

impl Groups {
    pub(super) fn new(seed: u64) -> Groups {
        let member = |number: usize| {
            let group = GROUPS.get(number / MEMBERS).copied().unwrap_or_default();
            Member::new(Str::from(group), number, number == GROUPS.len() * MEMBERS - 1)
        };
        Groups {
            partitions: (0..PARTITIONS).map(partition).collect(),
            members: (0..GROUPS.len() * MEMBERS).map(member).collect(),
            promises: GroupPromises::default(),
            random: StdRng::seed_from_u64(seed ^ 0x6772_6f75_7073),
        }
    }

    pub(super) fn first_wakes(&self) -> Vec<usize> {
        (0..self.members.len()).collect()
    }
}

impl Simulation {
    /// Time passes for a member.
    pub(super) fn member_passes(&mut self, number: usize) {
        let Some(groups) = &mut self.groups else { return };
        let next = self.now + groups.random.random_range(STEP / 2..STEP * 3 / 2);
        self.at(next, Event::Member(number));
        self.with_member(number, Member::pass);
    }

    /// Lets a member do something, and sends what it asks to the coordinator that metadata names.
    fn with_member(&mut self, number: usize, deed: impl FnOnce(&mut Member, &mut Step<'_>)) {
        let Simulation { groups: Some(groups), ids, counts, now, settings, clients, .. } = self else {
            return;
        };
        let Some(member) = groups.members.get_mut(number) else { return };
        let mut step = Step {
            now: *now,
            ids,
            random: &mut groups.random,
            counts,
            partitions: settings.partitions,
            draining: clients.draining,
            sent: Vec::new(),
        };
        deed(member, &mut step);
        let (sent, group) = (step.sent, member.group.clone());
        let of = partition(broker::group::partition_of(&group, PARTITIONS));
        for (id, ask) in sent {
            let by = self.groups.as_mut().map_or(0, |groups| groups.random.random());
            let Some((leader, _)) = leader_known(&self.machines, &of, by) else { continue };
            self.send(
                Place::Clients,
                Place::Broker(leader),
                Message::Group { id, group: group.clone(), ask: Box::new(ask) },
            );
        }
    }

    /// A member is told something.
    pub(super) fn member_told(&mut self, id: u64, answer: Answer) {
        let Simulation { groups: Some(groups), promises, now, .. } = self else { return };
        let Some(number) = groups.members.iter().position(|member| member.awaits(id, *now)) else { return };
        let Some(member) = groups.members.get(number) else { return };
        let (group, when) = (&member.group, (answer.epoch, answer.at));
        let of = partition(broker::group::partition_of(group, PARTITIONS));
        let excused = promises.excused_until(&of);
        groups.promises.excuse(group, excused);
        let breach = match &answer.told {
            _ if answer.epoch <= excused => None,
            Told::Joined(joined) => groups.promises.joined(group, joined.generation, when),
            Told::Synced(synced) => {
                let owned = partitions_in(&synced.assignment);
                let given = (member.owner(), &*owned);
                groups.promises.given(group, member.generation(), given, when, *now)
            }
            _ => None,
        };
        if let Some(breach) = breach {
            promises.broke(breach);
        }
        self.with_member(number, |member, step| member.told(id, answer.told, step));
    }

    /// A coordinator did something.
    pub(super) fn judge(&mut self, by: BrokerId, note: Note) {
        let Simulation { groups: Some(groups), promises, .. } = self else { return };
        let breach = match note {
            Note::Loaded { partition, epoch, batches } => {
                for (base, batch) in batches {
                    promises.stored(&partition, by, Stored { base, epoch }, batch);
                }
                None
            }
            Note::Acknowledged { partition, stored, batch, commit } => {
                promises.stored(&partition, by, stored, batch);
                let excused = promises.excused_until(&partition);
                commit.filter(|_| stored.epoch > excused).and_then(|commit| {
                    groups.promises.excuse(&commit.group, excused);
                    groups.promises.committed(&commit, stored, batch)
                })
            }
            Note::Fetched { partition, epoch, group, found } => {
                groups.promises.found((&partition, epoch), &group, &found, promises)
            }
        };
        if let Some(breach) = breach {
            promises.broke(format!("{breach} (at {by})"));
        }
    }

    /// What keeps a group from being whole; `None`: nothing.
    pub(super) fn what_groups_miss(&self) -> Option<String> {
        let groups = self.groups.as_ref()?;
        GROUPS.iter().find_map(|group| self.what_group_misses(groups, group))
    }

    fn what_group_misses(&self, groups: &Groups, group: &str) -> Option<String> {
        let Some((generation, described)) = self.coordinator_of(group).and_then(|(_, of)| of.describe(group))
        else {
            return Some(format!("group {group} has no coordinator"));
        };
        if described.state != broker::group::State::Stable {
            return Some(format!("group {group} is {}", described.state));
        }
        let mut owned = Vec::new();
        let members: Vec<&Member> = groups.members.iter().filter(|member| &*member.group == group).collect();
        for member in &members {
            let is_known = described.members.iter().any(|known| known.member_id == *member.member_id());
            if !member.is_steady() || member.generation() != generation || !is_known {
                return Some(format!("{member:?} is not in generation {generation}"));
            }
            owned.extend_from_slice(&member.owned);
        }
        if described.members.len() != members.len() {
            return Some(format!("group {group} has {} members", described.members.len()));
        }
        owned.sort_unstable();
        let all: Vec<i32> = (0..self.settings.partitions).collect();
        (owned != all).then(|| format!("group {group}: {owned:?} are given to members"))
    }

    /// At the end: every commit that was acknowledged is known.
    pub(super) fn check_groups(&mut self) {
        let all: Vec<i32> = (0..self.settings.partitions).collect();
        for group in GROUPS {
            let numbers =
                self.coordinator_of(group).and_then(|(by, of)| Some((by, of.numbers(group, &all)?)));
            let Some((by, (epoch, found))) = numbers else { continue };
            let partition = partition(broker::group::partition_of(group, PARTITIONS));
            self.judge(by, Note::Fetched { partition, epoch, group: Str::from(group), found });
        }
    }

    fn coordinator_of(&self, group: &str) -> Option<(BrokerId, &Coordinator)> {
        let leader = self.state(&partition(broker::group::partition_of(group, PARTITIONS)))?.leader;
        let process = self.machines.get(&leader)?.process.as_ref()?;
        Some((leader, process.coordinator()))
    }
}
