//! Our assignors against Apache's on the same random groups.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use client::consumer::assignor::{Assigned, Assignor, Member, Subscription};
use client::ids::TopicPartition;
use client::wire::Str;
use integration::apache::{Release, java_folder};
use integration::process::succeed;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CASES: usize = 400;
const ASSIGNORS: [Assignor; 4] =
    [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

/// A group in some state: fresh, stable, or with members that came, left or missed generations.
struct Case {
    counts: BTreeMap<Arc<str>, i32>,
    members: Vec<Member>,
    same_topics: bool,
}

#[test]
fn our_assignors_divide_as_apaches_do() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let cases: Vec<Case> = (0..CASES).map(|_| case(&mut random)).collect();
    let mut input = String::new();
    cases.iter().for_each(|case| write_case(&mut input, case));
    let mut java = Release::V3_9.java_source(&java_folder().join("Assign.java"));
    let output = succeed(&mut java, input.as_bytes(), Duration::from_secs(60));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), CASES * ASSIGNORS.len(), "{output}");
    for (case, lines) in cases.iter().zip(lines.chunks(ASSIGNORS.len())) {
        for (assignor, line) in ASSIGNORS.into_iter().zip(lines) {
            compare(assignor, case, &apaches(assignor, line));
        }
    }
}

/// Range and round-robin are the same. The sticky ones leave a choice: ours must be as even, and where all
/// members want the same topics it must keep as much.
fn compare(assignor: Assignor, case: &Case, apaches: &Assigned) {
    let members: Vec<Member> = case.members.iter().cloned().map(|member| telling(member, assignor)).collect();
    let ours = assignor.assign(&members, &case.counts);
    let mut shown = String::new();
    write_case(&mut shown, case);
    let both = format!("{assignor}\n{shown}ours    {ours:?}\nApache's {apaches:?}");
    match assignor {
        Assignor::Range | Assignor::RoundRobin => assert_eq!(&ours, apaches, "{both}"),
        Assignor::Sticky => {
            assert!(unevenness(&ours) <= unevenness(apaches), "{both}");
            if case.same_topics {
                assert_eq!(unevenness(&ours), unevenness(apaches), "{both}");
                assert!(kept(case, &ours) >= kept(case, apaches), "{both}");
            }
        }
        Assignor::CooperativeSticky => {
            if case.same_topics {
                assert!(kept(case, &ours) >= kept(case, apaches), "{both}");
            }
        }
    }
}

fn unevenness(assigned: &Assigned) -> usize {
    assigned.values().map(|partitions| partitions.len() * partitions.len()).sum()
}

fn kept(case: &Case, assigned: &Assigned) -> usize {
    let kept = |member: &Member| assigned[&member.id].intersection(&member.subscription.owned).count();
    case.members.iter().map(kept).sum()
}

fn telling(mut member: Member, assignor: Assignor) -> Member {
    let generation = member.subscription.generation.unwrap_or(-1);
    member.subscription.user_data = assignor.user_data(&member.subscription.owned, generation);
    member
}

fn case(random: &mut StdRng) -> Case {
    let counts: BTreeMap<Arc<str>, i32> = (0..random.random_range(1..5))
        .map(|topic| (format!("t{topic}").into(), random.random_range(1..9)))
        .collect();
    let same_topics = random.random_bool(0.5);
    let mut free: Vec<TopicPartition> = counts
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|p| TopicPartition::new(topic.clone(), p)))
        .collect();
    let mut members = Vec::new();
    for at in 0..random.random_range(1..7) {
        let wanted = |_: &&Arc<str>| same_topics || random.random_bool(0.6);
        let mut topics: BTreeSet<Arc<str>> = counts.keys().filter(wanted).cloned().collect();
        // Where a member wants nothing, Apache's sticky assignors give it what it does not want.
        topics.extend(counts.keys().take(usize::from(topics.is_empty())).cloned());
        // What it has: of its topics, nobody else's, all since one generation.
        let is_new = random.random_bool(0.3);
        let mut owned = BTreeSet::new();
        free.retain(|partition| {
            let takes = !is_new && topics.contains(&partition.topic) && random.random_bool(0.35);
            if takes {
                owned.insert(partition.clone());
            }
            !takes
        });
        members.push(Member {
            id: Str::from(format!("m{at}")),
            instance_id: random.random_bool(0.3).then(|| Str::from(format!("i{}", 9 - at))),
            subscription: Subscription {
                topics,
                owned,
                generation: (!is_new).then_some(4),
                ..Default::default()
            },
        });
    }
    Case { counts, members, same_topics }
}

fn write_case(out: &mut String, case: &Case) {
    for (topic, count) in &case.counts {
        writeln!(out, "topic {topic} {count}").expect("a string takes all");
    }
    for Member { id, instance_id, subscription } in &case.members {
        let instance = instance_id.as_deref().unwrap_or("-");
        let generation = subscription.generation.unwrap_or(-1);
        let owned = subscription.owned.iter().map(|p| format!("{}:{}", p.topic, p.partition));
        let (topics, owned) = (list(subscription.topics.iter().map(|topic| topic.to_string())), list(owned));
        writeln!(out, "member {id} {instance} {generation} {topics} {owned}").expect("a string takes all");
    }
    out.push_str("assign\n");
}

fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn apaches(assignor: Assignor, line: &str) -> Assigned {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some(assignor.name()), "{line}");
    let member = |word: &str| {
        let (id, partitions) = word.split_once('=').expect("MEMBER=PARTITIONS");
        let partition = |word: &str| {
            let (topic, number) = word.split_once(':').expect("TOPIC:NUMBER");
            TopicPartition::new(topic, number.parse().expect("a number"))
        };
        let partitions = partitions.split(',').filter(|word| !word.is_empty()).map(partition).collect();
        (Str::from(id), partitions)
    };
    words.map(member).collect()
}
