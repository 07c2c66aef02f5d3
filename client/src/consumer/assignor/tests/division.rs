//! Who gets what. The first table's answers are those of Apache Kafka 3.9.1's assignors; an integration test
//! compares random cases with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Assigned, Assignor, Member, Subscription};
use crate::ids::TopicPartition;
use crate::wire::Str;

type Counts = BTreeMap<Arc<str>, i32>;

fn counts(text: &str) -> Counts {
    let topic = |word: &str| {
        let (name, count) = word.split_once('=').unwrap();
        (Arc::from(name), count.parse().unwrap())
    };
    text.split_whitespace().map(topic).collect()
}

fn partitions(text: &str) -> BTreeSet<TopicPartition> {
    let partition = |word: &str| {
        let (topic, number) = word.split_once(':').unwrap();
        TopicPartition::new(topic, number.parse().unwrap())
    };
    text.split(',').filter(|word| !word.is_empty()).map(partition).collect()
}

/// `id[/instance] topics [owned@generation]`
fn member(text: &str) -> Member {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (id, instance) = words[0].split_once('/').map_or((words[0], None), |(id, i)| (id, Some(i)));
    let owned = words.get(2).map(|owned| owned.split_once('@').unwrap());
    Member {
        id: Str::from(id),
        instance_id: instance.map(Str::from),
        subscription: Subscription {
            topics: words[1].split(',').map(Arc::from).collect(),
            owned: owned.map(|(owned, _)| partitions(owned)).unwrap_or_default(),
            generation: owned.map(|(_, generation)| generation.parse().unwrap()),
            ..Default::default()
        },
    }
}

fn shown(assigned: &Assigned) -> String {
    let member = |(id, partitions): (&Str, &BTreeSet<TopicPartition>)| {
        let partitions: Vec<String> =
            partitions.iter().map(|p| format!("{}:{}", p.topic, p.partition)).collect();
        format!("{id}={}", partitions.join(","))
    };
    assigned.iter().map(member).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(assignor: Assignor, topics: &str, members: &[&str], expected: &str) {
    let members: Vec<Member> = members.iter().map(|text| member(text)).collect();
    assert_eq!(shown(&assignor.assign(&members, &counts(topics))), expected);
}

#[test]
fn range_gives_the_first_members_one_more_of_each_topic() {
    check(Assignor::Range, "a=3 b=3", &["m1 a,b", "m2 a,b"], "m1=a:0,a:1,b:0,b:1 m2=a:2,b:2");
    check(Assignor::Range, "a=1", &["m1 a", "m2 a"], "m1=a:0 m2=");
    check(Assignor::Range, "a=2", &["m1 a,gone", "m2 b"], "m1=a:0,a:1 m2=");
    // Members with an instance id come first, by it.
    check(Assignor::Range, "a=3", &["m1 a", "m2/z a", "m3/y a"], "m1=a:2 m2=a:1 m3=a:0");
}

#[test]
fn round_robin_goes_on_where_the_last_topic_ended() {
    check(Assignor::RoundRobin, "a=3 b=3", &["m1 a,b", "m2 a,b"], "m1=a:0,a:2,b:1 m2=a:1,b:0,b:2");
    check(
        Assignor::RoundRobin,
        "a=1 b=2 c=3",
        &["m1 a", "m2 a,b", "m3 a,b,c"],
        "m1=a:0 m2=b:0 m3=b:1,c:0,c:1,c:2",
    );
    check(Assignor::RoundRobin, "a=2", &["m1/z a", "m2/y a", "m3 b"], "m1=a:1 m2=a:0 m3=");
}

#[test]
fn sticky_keeps_what_it_can() {
    let cooperative = Assignor::CooperativeSticky;
    check(cooperative, "a=3 b=2", &["m1 a,b", "m2 a,b"], "m1=a:0,a:2,b:1 m2=a:1,b:0");
    // A member joins: what moves to it is with nobody in this round.
    check(cooperative, "a=4", &["m1 a a:0,a:1,a:2,a:3@1", "m2 a"], "m1=a:0,a:1 m2=");
    check(cooperative, "a=4", &["m1 a a:0,a:1@2", "m2 a"], "m1=a:0,a:1 m2=a:2,a:3");
    // A member left: the others keep theirs.
    check(cooperative, "a=4", &["m1 a a:3@5", "m2 a a:0@5"], "m1=a:1,a:3 m2=a:0,a:2");
    // The claim since the later generation holds, but the other still has the partition.
    check(cooperative, "a=2", &["m1 a a:0,a:1@3", "m2 a a:0@4"], "m1=a:1 m2=");
    // Balanced only over a chain: m1 to m2 and m2 to m3.
    check(
        cooperative,
        "a=3 b=2",
        &["m1 a a:0,a:1,a:2@1", "m2 a,b b:0,b:1@1", "m3 b"],
        "m1=a:0,a:1 m2=b:0 m3=",
    );
}

prop_compose! {
    fn cases()(topic_counts in prop::collection::vec(0..7_i32, 1..5))
        (members in prop::collection::vec(member_of(topic_counts.len()), 1..7), topic_counts in Just(topic_counts))
        -> (Vec<Member>, Counts)
    {
        let name = |at: usize| -> Arc<str> { format!("t{at}").into() };
        let members = members.into_iter().enumerate().map(|(at, (instance, topics, owned, generation))| {
            let owned: BTreeSet<TopicPartition> =
                owned.into_iter().map(|(topic, partition)| TopicPartition::new(name(topic), partition)).collect();
            Member {
                id: Str::from(format!("m{at}")),
                instance_id: instance.then(|| Str::from(format!("i{at}"))),
                subscription: Subscription {
                    topics: topics.into_iter().map(name).collect(),
                    user_data: Assignor::Sticky.user_data(&owned, generation),
                    owned,
                    generation: Some(generation).filter(|generation| *generation >= 0),
                    rack: None,
                },
            }
        });
        (members.collect(), topic_counts.into_iter().enumerate().map(|(at, count)| (name(at), count)).collect())
    }
}

type MemberParts = (bool, BTreeSet<usize>, BTreeSet<(usize, i32)>, i32);

fn member_of(topics: usize) -> impl Strategy<Value = MemberParts> {
    let owned = prop::collection::btree_set((0..topics, 0..7_i32), 0..9);
    (any::<bool>(), prop::collection::btree_set(0..topics, 0..=topics), owned, -1..4_i32)
}

/// Each partition that somebody subscribed to has one owner, who subscribed to it.
fn assert_whole(assigned: &Assigned, members: &[Member], counts: &Counts) {
    let mut given = BTreeSet::new();
    for member in members {
        for partition in &assigned[&member.id] {
            assert!(member.subscription.topics.contains(&partition.topic), "{partition} of {}", member.id);
            assert!((0..counts[&partition.topic]).contains(&partition.partition), "{partition}");
            assert!(given.insert(partition.clone()), "{partition} given twice");
        }
    }
    for (topic, count) in counts {
        if members.iter().any(|member| member.subscription.topics.contains(topic)) {
            assert!((0..*count).all(|p| given.contains(&TopicPartition::new(topic.clone(), p))), "{topic}");
        }
    }
}

/// No partition could go to a member with two fewer.
fn assert_even(assigned: &Assigned, members: &[Member]) {
    for (giver, partitions) in assigned {
        for taker in members {
            let movable = partitions.iter().any(|p| taker.subscription.topics.contains(&p.topic));
            assert!(!movable || partitions.len() < assigned[&taker.id].len() + 2, "{giver} to {}", taker.id);
        }
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner((members, counts) in cases()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            assert_whole(&assignor.assign(&members, &counts), &members, &counts);
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter((members, counts) in cases()) {
        let reversed: Vec<Member> = members.iter().rev().cloned().collect();
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
            prop_assert_eq!(assignor.assign(&members, &counts), assignor.assign(&reversed, &counts));
        }
    }

    #[test]
    fn sticky_is_even_and_settles((mut members, counts) in cases()) {
        let assigned = Assignor::Sticky.assign(&members, &counts);
        assert_even(&assigned, &members);
        for member in &mut members {
            member.subscription.user_data = Assignor::Sticky.user_data(&assigned[&member.id], 9);
        }
        prop_assert_eq!(Assignor::Sticky.assign(&members, &counts), assigned);
    }

    #[test]
    fn cooperative_never_gives_what_another_has_and_is_done_in_two_rounds((mut members, counts) in cases()) {
        let first = Assignor::CooperativeSticky.assign(&members, &counts);
        for member in &members {
            for other in members.iter().filter(|other| other.id != member.id) {
                prop_assert!(first[&member.id].is_disjoint(&other.subscription.owned));
            }
        }
        for member in &mut members {
            member.subscription.owned = first[&member.id].clone();
            member.subscription.generation = Some(9);
        }
        let second = Assignor::CooperativeSticky.assign(&members, &counts);
        assert_whole(&second, &members, &counts);
        assert_even(&second, &members);
        for member in &members {
            prop_assert!(first[&member.id].is_subset(&second[&member.id]), "a second round only adds");
        }
    }
}
