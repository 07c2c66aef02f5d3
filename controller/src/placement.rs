//! Which brokers hold which partition: Kafka's assignment algorithm (`AdminUtils.scala`, KIP-36
//! for racks) and the checks of assignments that people write by hand.
//! Where to begin is an argument: whoever creates a topic draws it at random.

use std::collections::{BTreeMap, BTreeSet};

use client::ids::BrokerId;

/// Replicas by partition number. The first replica of a partition is its preferred leader.
pub type Replicas = BTreeMap<i32, Vec<BrokerId>>;

/// A broker that can be given replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: BrokerId,
    pub rack: Option<String>,
}

/// Where the algorithm begins. Any numbers will do; they are taken modulo the number of brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Index of the broker that leads the first partition.
    pub index: usize,
    /// Distance of the second replica from the first.
    pub shift: usize,
}

/// Why replicas cannot be placed so. The texts are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("Number of partitions must be larger than 0.")]
    NoPartitions,
    #[error("Replication factor must be larger than 0.")]
    NoReplicas,
    #[error("Replication factor: {factor} larger than available brokers: {brokers}.")]
    TooFewBrokers { factor: i16, brokers: usize },
    #[error(
        "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
         assignment without rack information."
    )]
    SomeRacksUnknown,
    #[error("All partitions should have the same number of replicas")]
    UnevenReplicas,
    #[error("Duplicate replica assignment found: {}", in_words(.0))]
    RepeatedReplica(Replicas),
    #[error("partitions should be a consecutive 0-based integer sequence")]
    NotConsecutive,
    #[error("Topic already has {current} partitions.")]
    SameCount { current: usize },
    #[error("Topic currently has {current} partitions, which is higher than the requested {requested}.")]
    FewerPartitions { current: usize, requested: i32 },
    #[error("Increasing the number of partitions by {wanted} but {given} assignments provided.")]
    WrongCount { wanted: usize, given: usize },
    #[error("Unknown broker(s) in replica assignment: {}.", list(.0))]
    UnknownBrokers(Vec<BrokerId>),
    #[error("Cannot have replication factor of 0 for partition id {partition}.")]
    EmptyReplicas { partition: i32 },
    #[error("Duplicate brokers not allowed in replica assignment: {} for partition id {partition}.", list(.replicas))]
    RepeatedBroker { partition: i32, replicas: Vec<BrokerId> },
    #[error(
        "Inconsistent replication factor between partitions, partition 0 has {expected} while partitions [{}] \
         have replication factors [{}], respectively.",
        list(&.others.iter().map(|(partition, _)| *partition).collect::<Vec<_>>()),
        list(&.others.iter().map(|(_, factor)| *factor).collect::<Vec<_>>())
    )]
    OtherFactor { expected: usize, others: Vec<(i32, usize)> },
    #[error(
        "partition 0 of the topic has no replicas in its assignment; write it before partitions are added"
    )]
    NoFirstPartition,
}

/// Places a new topic. If every broker names its rack, replicas are spread over racks; if only
/// some do, nothing is placed. Pass candidates without racks to ignore racks.
pub fn place(
    brokers: &[Candidate],
    partitions: i32,
    replication_factor: i16,
    start: Start,
) -> Result<Replicas, PlacementError> {
    place_from(brokers, 0, partitions, replication_factor, start)
}

/// Places the partitions from `existing.len()` up to `total`, going on where the topic's first
/// partition began. Returns only the added ones.
pub fn place_more(
    brokers: &[Candidate],
    existing: &Replicas,
    total: i32,
) -> Result<Replicas, PlacementError> {
    let added = count_to_add(existing, total)?;
    let (leader, factor) = first_partition(existing)?;
    let mut ids: Vec<BrokerId> = brokers.iter().map(|broker| broker.id).collect();
    ids.sort();
    let index = ids.iter().position(|&id| id >= leader).unwrap_or(0);
    let first = to_i32(existing.len());
    place_from(
        brokers,
        first,
        to_i32(added),
        i16::try_from(factor).unwrap_or(i16::MAX),
        Start { index, shift: index },
    )
}

/// Checks a complete assignment given for a new topic. Whether its brokers exist is not asked,
/// as Kafka does not either: a topic may be made ahead of its brokers.
pub fn check_new(assignment: &Replicas) -> Result<(), PlacementError> {
    let sizes: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if sizes.len() != 1 {
        return Err(PlacementError::UnevenReplicas);
    }
    if assignment.values().any(|replicas| repeats(replicas)) {
        return Err(PlacementError::RepeatedReplica(assignment.clone()));
    }
    if assignment.keys().zip(0..).any(|(&partition, expected)| partition != expected) {
        return Err(PlacementError::NotConsecutive);
    }
    // Kafka lets such a topic through, and its controller trips over it; nobody could ever lead it.
    match assignment.iter().find(|(_, replicas)| replicas.is_empty()) {
        Some((&partition, _)) => Err(PlacementError::EmptyReplicas { partition }),
        None => Ok(()),
    }
}

/// Checks replicas given by hand for the partitions from `existing.len()` up to `total`, and
/// numbers them.
pub fn check_more(
    existing: &Replicas,
    total: i32,
    given: &[Vec<BrokerId>],
    brokers: &BTreeSet<BrokerId>,
) -> Result<Replicas, PlacementError> {
    let wanted = count_to_add(existing, total)?;
    // Each once, in the order in which they were named, as Kafka tells them.
    let mut seen = brokers.clone();
    let unknown: Vec<BrokerId> = given.iter().flatten().copied().filter(|&id| seen.insert(id)).collect();
    if !unknown.is_empty() {
        return Err(PlacementError::UnknownBrokers(unknown));
    }
    if given.len() != wanted {
        return Err(PlacementError::WrongCount { wanted, given: given.len() });
    }
    let added: Replicas = (to_i32(existing.len())..).zip(given.iter().cloned()).collect();
    for (&partition, replicas) in &added {
        if replicas.is_empty() {
            return Err(PlacementError::EmptyReplicas { partition });
        }
        if repeats(replicas) {
            return Err(PlacementError::RepeatedBroker { partition, replicas: replicas.clone() });
        }
    }
    let (_, expected) = first_partition(existing)?;
    let other = |(&partition, replicas): (&i32, &Vec<BrokerId>)| (partition, replicas.len());
    let others: Vec<(i32, usize)> =
        added.iter().map(other).filter(|(_, factor)| *factor != expected).collect();
    match others.is_empty() {
        true => Ok(added),
        false => Err(PlacementError::OtherFactor { expected, others }),
    }
}

fn count_to_add(existing: &Replicas, total: i32) -> Result<usize, PlacementError> {
    let current = existing.len();
    match usize::try_from(total) {
        Ok(requested) if requested > current => Ok(requested - current),
        Ok(requested) if requested == current => Err(PlacementError::SameCount { current }),
        _ => Err(PlacementError::FewerPartitions { current, requested: total }),
    }
}

fn first_partition(existing: &Replicas) -> Result<(BrokerId, usize), PlacementError> {
    let replicas = existing.get(&0).ok_or(PlacementError::NoFirstPartition)?;
    let &leader = replicas.first().ok_or(PlacementError::NoFirstPartition)?;
    Ok((leader, replicas.len()))
}

fn place_from(
    brokers: &[Candidate],
    first: i32,
    partitions: i32,
    replication_factor: i16,
    start: Start,
) -> Result<Replicas, PlacementError> {
    if partitions <= 0 {
        return Err(PlacementError::NoPartitions);
    }
    if replication_factor <= 0 {
        return Err(PlacementError::NoReplicas);
    }
    let factor = usize::try_from(replication_factor).unwrap_or(0);
    if factor > brokers.len() {
        return Err(PlacementError::TooFewBrokers { factor: replication_factor, brokers: brokers.len() });
    }
    let ring = Ring::of(brokers)?;
    let mut shift = start.shift;
    let mut placed = Replicas::new();
    for partition in first..first.saturating_add(partitions) {
        let turn = usize::try_from(partition).unwrap_or(0);
        if turn > 0 && turn % brokers.len() == 0 {
            shift += 1;
        }
        placed.insert(partition, ring.replicas(turn.wrapping_add(start.index), shift, factor));
    }
    Ok(placed)
}

/// The brokers in the order they are dealt out: by id, or taking from each rack in turn.
struct Ring<'a> {
    brokers: Vec<(BrokerId, Option<&'a str>)>,
    /// How many racks there are; 0 if racks do not count.
    racks: usize,
}

impl<'a> Ring<'a> {
    fn of(brokers: &'a [Candidate]) -> Result<Ring<'a>, PlacementError> {
        let mut sorted: Vec<(BrokerId, Option<&str>)> =
            brokers.iter().map(|b| (b.id, b.rack.as_deref())).collect();
        sorted.sort();
        let with_rack = sorted.iter().filter(|(_, rack)| rack.is_some()).count();
        if with_rack == 0 {
            return Ok(Ring { brokers: sorted, racks: 0 });
        }
        if with_rack < sorted.len() {
            return Err(PlacementError::SomeRacksUnknown);
        }
        let mut by_rack: BTreeMap<Option<&str>, Vec<BrokerId>> = BTreeMap::new();
        for (id, rack) in sorted {
            by_rack.entry(rack).or_default().push(id);
        }
        let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..longest).flat_map(|turn| {
            by_rack.iter().filter_map(move |(&rack, ids)| ids.get(turn).map(|&id| (id, rack)))
        });
        Ok(Ring { brokers: in_turn.collect(), racks: by_rack.len() })
    }

    /// The leader at `first`, then followers from `shift` on. With racks, a broker is passed over
    /// while its rack has a replica and another rack has none, or while it has one itself.
    fn replicas(&self, first: usize, shift: usize, factor: usize) -> Vec<BrokerId> {
        let count = self.brokers.len();
        let shift = if self.racks == 0 { shift } else { shift.wrapping_mul(self.racks) };
        let nth = |index: usize| self.brokers.get(index % count);
        let mut replicas: Vec<BrokerId> = Vec::with_capacity(factor);
        let mut racks: BTreeSet<&str> = BTreeSet::new();
        let mut step = 0;
        let mut next = nth(first);
        while let Some(&(id, rack)) = next {
            let rack_is_free = rack.is_none_or(|rack| !racks.contains(rack)) || racks.len() == self.racks;
            if rack_is_free && !replicas.contains(&id) {
                replicas.push(id);
                racks.extend(rack);
            }
            if replicas.len() == factor {
                break;
            }
            // More than one replica, so more than one broker: the divisor is not 0.
            let distance = 1 + (shift % (count - 1) + step) % (count - 1);
            next = nth(first % count + distance);
            step += 1;
        }
        replicas
    }
}

fn repeats(replicas: &[BrokerId]) -> bool {
    replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len()
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// As Kafka shows it: `HashMap(0 -> ArrayBuffer(1, 1))`.
fn in_words(replicas: &Replicas) -> String {
    let partitions: Vec<String> = replicas
        .iter()
        .map(|(partition, ids)| format!("{partition} -> ArrayBuffer({})", list(ids)))
        .collect();
    format!("HashMap({})", partitions.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(ids: impl IntoIterator<Item = i32>) -> Vec<Candidate> {
        ids.into_iter().map(|id| Candidate { id: BrokerId(id), rack: None }).collect()
    }

    fn racked(brokers: &[(i32, &str)]) -> Vec<Candidate> {
        brokers.iter().map(|&(id, rack)| Candidate { id: BrokerId(id), rack: Some(rack.into()) }).collect()
    }

    fn shown(replicas: &Replicas) -> Vec<String> {
        replicas
            .values()
            .map(|ids| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn replicas(lists: &[&[i32]]) -> Replicas {
        (0..).zip(lists.iter().map(|ids| ids.iter().map(|&id| BrokerId(id)).collect())).collect()
    }

    #[test]
    fn brokers_take_turns_and_followers_shift_with_each_round() {
        // The worked example in the comment of Kafka's AdminUtils.assignReplicasToBrokers.
        let placed = place(&brokers(0..5), 10, 3, Start { index: 0, shift: 0 }).expect("five brokers");
        let expected =
            ["0 1 2", "1 2 3", "2 3 4", "3 4 0", "4 0 1", "0 2 3", "1 3 4", "2 4 0", "3 0 1", "4 1 2"];
        assert_eq!(shown(&placed), expected);
    }

    #[test]
    fn one_broker_is_enough_for_one_replica() {
        let placed = place(&brokers([7]), 3, 1, Start { index: 5, shift: 9 }).expect("one broker");
        assert_eq!(shown(&placed), ["7", "7", "7"]);
    }

    #[test]
    fn racks_alternate_and_none_is_used_twice_before_all_are() {
        // Racks and expected lists: Kafka's AdminRackAwareTest.testAssignmentWithRackAware and the
        // example for alternated brokers there.
        let candidates =
            racked(&[(0, "rack1"), (1, "rack2"), (2, "rack2"), (3, "rack3"), (4, "rack3"), (5, "rack1")]);
        let ring = Ring::of(&candidates).expect("all have racks");
        assert_eq!(ring.brokers.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 1, 3, 5, 2, 4]);

        let rack = |id: &BrokerId| candidates.iter().find(|c| c.id == *id).and_then(|c| c.rack.clone());
        for index in 0..6 {
            for shift in 0..6 {
                let placed = place(&candidates, 12, 3, Start { index, shift }).expect("six brokers");
                let mut led = BTreeMap::<BrokerId, usize>::new();
                for ids in placed.values() {
                    assert_eq!(ids.iter().map(rack).collect::<BTreeSet<_>>().len(), 3, "{ids:?}");
                    *led.entry(ids[0]).or_default() += 1;
                }
                assert!(led.len() == 6 && led.values().all(|&count| count == 2), "{led:?}");
            }
        }
    }

    #[test]
    fn more_replicas_than_racks_use_every_rack_and_no_broker_twice() {
        let candidates = racked(&[(0, "a"), (1, "b"), (2, "b"), (3, "c"), (4, "c"), (5, "a")]);
        for factor in 4..=6 {
            let placed = place(&candidates, 12, factor, Start { index: 2, shift: 1 }).expect("six brokers");
            for ids in placed.values() {
                assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), factor as usize);
            }
        }
        let uneven = racked(&[(0, "a"), (1, "b"), (2, "b"), (3, "b")]);
        let placed = place(&uneven, 4, 2, Start::default()).expect("four brokers");
        for ids in placed.values() {
            assert!(
                ids.contains(&BrokerId(0)),
                "rack a has one broker, so it holds a replica of all: {ids:?}"
            );
        }
    }

    #[test]
    fn added_partitions_go_on_from_the_first_leader() {
        let existing = replicas(&[&[2, 0, 1]]);
        let added = place_more(&brokers(0..3), &existing, 4).expect("room");
        // Index and shift both 2 as broker 2 leads partition 0 (AdminZkClient.addPartitions).
        assert_eq!(shown(&added), ["0 1 2", "1 2 0", "2 1 0"]);
        assert_eq!(added.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn impossible_requests_say_why() {
        let text = |result: Result<Replicas, PlacementError>| result.expect_err("impossible").to_string();
        let three = brokers(1..=3);
        assert_eq!(
            text(place(&three, 0, 1, Start::default())),
            "Number of partitions must be larger than 0."
        );
        assert_eq!(text(place(&three, 1, 0, Start::default())), "Replication factor must be larger than 0.");
        assert_eq!(
            text(place(&three, 1, 9, Start::default())),
            "Replication factor: 9 larger than available brokers: 3."
        );
        let mut mixed = three.clone();
        mixed[1].rack = Some("r".into());
        assert_eq!(place(&mixed, 1, 1, Start::default()), Err(PlacementError::SomeRacksUnknown));

        let two = replicas(&[&[1], &[2]]);
        assert_eq!(text(place_more(&three, &two, 2)), "Topic already has 2 partitions.");
        assert_eq!(
            text(place_more(&three, &two, 1)),
            "Topic currently has 2 partitions, which is higher than the requested 1."
        );
    }

    #[test]
    fn assignments_by_hand_are_checked() {
        let ids = |ids: &[i32]| ids.iter().map(|&id| BrokerId(id)).collect::<Vec<_>>();
        assert_eq!(check_new(&replicas(&[&[1, 2], &[2, 1]])), Ok(()));
        assert_eq!(check_new(&replicas(&[&[1], &[2, 1]])), Err(PlacementError::UnevenReplicas));
        assert_eq!(
            check_new(&replicas(&[&[1, 1]])).expect_err("repeated").to_string(),
            "Duplicate replica assignment found: HashMap(0 -> ArrayBuffer(1, 1))"
        );
        assert_eq!(check_new(&Replicas::from([(1, ids(&[1]))])), Err(PlacementError::NotConsecutive));
        assert_eq!(check_new(&replicas(&[&[], &[]])), Err(PlacementError::EmptyReplicas { partition: 0 }));

        let existing = replicas(&[&[1]]);
        let known = BTreeSet::from([BrokerId(1), BrokerId(2)]);
        let more = |given: &[&[i32]], total| {
            let given: Vec<Vec<BrokerId>> = given.iter().map(|list| ids(list)).collect();
            check_more(&existing, total, &given, &known)
        };
        assert_eq!(more(&[&[2]], 2), Ok(Replicas::from([(1, ids(&[2]))])));
        let refusals: [(&[&[i32]], &str); 5] = [
            (&[&[1], &[2]], "Increasing the number of partitions by 1 but 2 assignments provided."),
            (&[&[9]], "Unknown broker(s) in replica assignment: 9."),
            (&[&[1, 1]], "Duplicate brokers not allowed in replica assignment: 1, 1 for partition id 1."),
            (&[&[]], "Cannot have replication factor of 0 for partition id 1."),
            (
                &[&[1, 2]],
                "Inconsistent replication factor between partitions, partition 0 has 1 while partitions [1] have \
                 replication factors [2], respectively.",
            ),
        ];
        for (given, text) in refusals {
            assert_eq!(more(given, 2).expect_err("refused").to_string(), text);
        }
    }
}
