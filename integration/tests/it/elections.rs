//! ElectLeaders in all versions, to two Apache brokers and to two of ours, of which one or the other is away: the
//! answers are compared to the letter, but for the order of topics.

use client::connection::{Connection, ConnectionOptions};
use client::wire::messages::ElectLeadersRequest;
use client::wire::messages::elect_leaders_request::TopicPartitions;
use controller::term::{PREFERRED, UNCLEAN};
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::{Observer, State};
use integration::runtime;
use integration::wait;

use crate::brokers::{Brokers, create_topic};
use crate::comparison::assert_same_answers;

const SETTINGS: &[(&str, &str)] = &[("auto.leader.rebalance.enable", "false")];

/// Partitions of `t`: all but the first prefer broker 2.
const COUNT: usize = 8;

#[test]
fn elections_by_request_are_answered_as_by_apache() {
    let (expected, seen) = std::thread::scope(|scope| {
        let apache = scope.spawn(|| {
            let mut apache = ApacheCluster::start(2, SETTINGS);
            let observer = Observer::connect(&apache.zookeeper.connect_string());
            hold_dialogue(&mut apache, &observer)
        });
        let mut ours = Cluster::start(2, SETTINGS);
        let observer = Observer::connect(&ours.zookeeper.connect_string());
        let seen = hold_dialogue(&mut ours, &observer);
        (apache.join().expect("the reference answers"), seen)
    });
    assert_same_answers(&expected, &seen, 40);
}

fn hold_dialogue(cluster: &mut impl Brokers, observer: &Observer) -> Vec<String> {
    let preferring_two = ["2:1"; COUNT - 1].join(",");
    create_topic(cluster, "t", &format!("1:2,{preferring_two}"), &[]);
    create_topic(cluster, "u", "2", &[]);
    wait_for(observer, "all in sync", |t| t.isr.len() == 2);

    cluster.kill(2);
    wait_for(observer, "broker 1 leads", |t| t.leader == 1 && t.isr == [1]);
    let mut dialogue = Dialogue { address: cluster.address(1), said: Vec::new() };
    for version in 0..=2 {
        dialogue.ask("whom nobody can follow", version, PREFERRED, Some(&[("t", &[0, 1]), ("u", &[0])]));
        dialogue.ask("what there is not", version, PREFERRED, Some(&[("t", &[-1, 8]), ("nope", &[0])]));
        dialogue.ask("nothing", version, PREFERRED, Some(&[]));
        dialogue.ask("no partitions", version, PREFERRED, Some(&[("t", &[])]));
        dialogue.ask("all", version, PREFERRED, None);
        if version >= 1 {
            dialogue.ask(
                "who is alive, and who is not",
                version,
                UNCLEAN,
                Some(&[("t", &[0, 1]), ("u", &[0])]),
            );
            dialogue.ask("all", version, UNCLEAN, None);
            for odd in [2, -1] {
                dialogue.ask("in an unknown way", version, odd, Some(&[("t", &[0]), ("nope", &[0])]));
                dialogue.ask("all in an unknown way", version, odd, None);
            }
        }
    }

    cluster.start(2);
    wait_for(observer, "all in sync again", |t| t.leader == 1 && t.isr.len() == 2);
    wait::until("u is led", PATIENCE, || {
        observer.states("u", 1)?.iter().all(|u| u.leader == 2).then_some(())
    });
    dialogue.address = cluster.address(2);
    for version in 0..=2 {
        dialogue.ask("who is not controller", version, PREFERRED, Some(&[("t", &[1]), ("nope", &[0])]));
        dialogue.ask("who is not controller, all", version, PREFERRED, None);
    }
    dialogue.address = cluster.address(1);
    for (version, number) in [(0, 1), (1, 2), (2, 3)] {
        dialogue.ask("once", version, PREFERRED, Some(&[("t", &[0, number])]));
        dialogue.ask("and again", version, PREFERRED, Some(&[("t", &[number])]));
    }
    dialogue.ask("twice at once", 2, PREFERRED, Some(&[("t", &[4, 4]), ("t", &[4, 5])]));
    dialogue.ask("all that are left", 2, PREFERRED, None);
    dialogue.ask("all once more", 2, PREFERRED, None);
    wait_for(observer, "the preferred lead", |_| {
        let leaders = observer.states("t", COUNT).unwrap_or_default();
        leaders.iter().skip(1).all(|t| t.leader == 2)
    });

    cluster.kill(1);
    wait_for(observer, "broker 2 leads alone", |t| t.leader == 2 && t.isr == [2]);
    cluster.kill(2);
    cluster.start(1);
    wait_for(observer, "nobody leads", |t| t.leader == -1 && t.isr == [2]);
    dialogue.ask("who is not in sync", 2, PREFERRED, Some(&[("t", &[0, 1])]));
    dialogue.ask("who is not in sync", 1, UNCLEAN, Some(&[("t", &[0, 1])]));
    dialogue.ask("who leads now", 2, UNCLEAN, Some(&[("t", &[0, 1])]));
    dialogue.ask("all that have nobody", 2, UNCLEAN, None);
    wait_for(observer, "broker 1 leads alone", |t| t.leader == 1 && t.isr == [1]);
    dialogue.said
}

/// Of each partition of `t`.
fn wait_for(observer: &Observer, what: &str, is_so: impl Fn(&State) -> bool) {
    wait::until(what, PATIENCE, || observer.states("t", COUNT)?.iter().all(&is_so).then_some(()));
}

/// Partitions by topic.
type Asked<'a> = &'a [(&'a str, &'a [i32])];

struct Dialogue {
    address: String,
    said: Vec<String>,
}

impl Dialogue {
    fn ask(&mut self, what: &str, version: i16, election_type: i8, asked: Option<Asked<'_>>) {
        let named = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
            topic: (*topic).into(),
            partitions: partitions.to_vec(),
        };
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions: asked.map(|topics| topics.iter().map(named).collect()),
            timeout_ms: 10_000,
        };
        let mut response = runtime::run(async {
            let connection = Connection::connect(&*self.address, "tests", ConnectionOptions::default()).await;
            connection.expect("the broker listens").send(&request, version).await.expect("it answers")
        });
        response.replica_election_results.sort_by(|a, b| a.topic.cmp(&b.topic));
        for topic in &mut response.replica_election_results {
            topic.partition_result.sort_by_key(|result| result.partition_id);
        }
        self.said.push(format!("{what}, type {election_type}, v{version}: {response:?}"));
    }
}
