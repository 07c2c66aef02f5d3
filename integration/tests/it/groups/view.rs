//! A group as its coordinator describes it, whichever broker that is, and the brokers behind it.

use std::collections::BTreeSet;

use client::wire::ErrorCode;
use client::wire::messages::create_topics_request::CreatableTopic;
use client::wire::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
};
use integration::cluster::{Cluster, PATIENCE};
use integration::observer::{Observer, State};
use integration::wait;

use super::ask_once;

/// Three brokers for groups that all have one coordinator, since there is one partition of
/// `__consumer_offsets`, and a topic of theirs. Both topics have all three brokers for replicas.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) observer: Observer,
}

pub(super) const TOPIC: &str = "t";
pub(super) const PARTITIONS: usize = 4;

impl Stage {
    pub(super) fn set() -> Stage {
        Stage::set_with(&[])
    }

    pub(super) fn set_with(properties: &[(&str, &str)]) -> Stage {
        let ours = [("offsets.topic.num.partitions", "1"), ("min.insync.replicas", "2")];
        let cluster = Cluster::start(3, &[&ours, properties].concat());
        let observer = Observer::connect(&cluster.zookeeper.connect_string());
        create_topic(&cluster, &observer);
        Stage { cluster, observer }
    }

    /// The broker that coordinates. The others follow it.
    pub(super) fn coordinator(&self) -> i32 {
        self.wait_until_in_sync();
        wait::until("the groups have a coordinator", PATIENCE, || coordinator(&self.cluster))
    }

    /// Kills the coordinator, and waits until others lead all that it led.
    pub(super) fn kill_coordinator(&mut self) -> i32 {
        let victim = self.coordinator();
        self.kill(victim);
        victim
    }

    /// Kills a broker that leads a partition of the topic; if possible one that does not coordinate.
    pub(super) fn kill_a_leader(&mut self) -> i32 {
        let coordinator = self.coordinator();
        let states = self.observer.states(TOPIC, PARTITIONS).expect("the topic is there");
        let leaders: BTreeSet<i32> = states.iter().map(|state| state.leader).collect();
        let victim = leaders.iter().copied().find(|id| *id != coordinator).unwrap_or(coordinator);
        self.kill(victim);
        victim
    }

    /// Looks at ZooKeeper by a new session: it may have ended the one before.
    pub(super) fn look_anew(&mut self) {
        self.observer = Observer::connect(&self.cluster.zookeeper.connect_string());
    }

    /// Stops a broker in good order.
    pub(super) fn stop(&mut self, id: i32) {
        let status = self.cluster.terminate(id);
        assert!(status.success(), "broker {id} ended with {status}");
        self.wait_until_led_without(id);
    }

    fn kill(&mut self, victim: i32) {
        self.cluster.kill(victim);
        self.wait_until_led_without(victim);
    }

    /// Until others lead all that the broker led.
    pub(super) fn wait_until_led_without(&self, broker: i32) {
        wait::until("leadership moves", PATIENCE, || {
            self.states()?.iter().all(|state| state.leader > 0 && state.leader != broker).then_some(())
        });
    }

    pub(super) fn wait_until_in_sync(&self) {
        wait::until("all replicas are in sync", PATIENCE, || {
            self.states()?.iter().all(|state| state.isr.len() == 3).then_some(())
        });
    }

    /// Starts a broker again, and waits until it has caught up.
    pub(super) fn revive(&mut self, id: i32) {
        self.cluster.start_broker(id);
        self.wait_until_in_sync();
    }

    fn states(&self) -> Option<Vec<State>> {
        let mut states = self.observer.states(TOPIC, PARTITIONS)?;
        states.extend(self.observer.states("__consumer_offsets", 1)?);
        Some(states)
    }

    /// The group's state and its members' ids, once its coordinator has loaded it.
    pub(super) fn described(&self, group: &str) -> Option<(String, BTreeSet<String>)> {
        let request =
            DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
        let at = self.cluster.address(coordinator(&self.cluster)?);
        let described = ask_once(&at, 5, &request)?.groups.pop()?;
        let members = described.members.iter().map(|member| member.member_id.to_string()).collect();
        (described.error_code == 0).then(|| (described.group_state.to_string(), members))
    }

    /// The only generation whose heartbeats the coordinator takes.
    pub(super) fn generation(&self, group: &str, member: &str) -> Option<i32> {
        let at = self.cluster.address(coordinator(&self.cluster)?);
        (1..20).find(|generation| {
            let beat = HeartbeatRequest {
                group_id: group.into(),
                generation_id: *generation,
                member_id: member.into(),
                group_instance_id: None,
            };
            ask_once(&at, 4, &beat).is_some_and(|answer| answer.error_code == 0)
        })
    }
}

fn create_topic(cluster: &Cluster, observer: &Observer) {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS as i32,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
    wait::until("the topic is made", PATIENCE, || {
        let asked = cluster.ids().into_iter().find_map(|id| {
            let created = ask_once(&cluster.address(id), 7, &request)?;
            let code = ErrorCode::from_code(created.topics.first()?.error_code);
            matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists).then_some(())
        });
        asked.filter(|()| observer.states(TOPIC, PARTITIONS).is_some())
    });
}

/// The coordinator, as a running broker says. Any group's is that of all.
fn coordinator(cluster: &Cluster) -> Option<i32> {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["any".into()], ..FindCoordinatorRequest::default() };
    let asked = cluster.ids().into_iter().find(|id| cluster.is_running(*id))?;
    let found = ask_once(&cluster.address(asked), 4, &request)?.coordinators.pop()?;
    (found.error_code == 0 && cluster.is_running(found.node_id)).then_some(found.node_id)
}
