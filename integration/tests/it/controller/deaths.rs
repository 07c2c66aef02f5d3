//! Brokers whose processes die while their sessions live on.

use std::collections::BTreeMap;
use std::time::Duration;

use client::ids::{BrokerEpoch, BrokerId, TopicPartition};
use client::zk::{Session, ZkConfig};
use client::znode::broker::{self, Endpoint, Registration, SecurityProtocol};
use client::znode::companion::Companion;
use client::znode::directories;
use client::znode::eligible_replicas::{self, EligibleReplicas};
use client::znode::partition;
use integration::wait;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Member, create, known, next_member, with_zookeeper};

/// A session of this length outlasts each of these tests.
const SESSION: Duration = Duration::from_secs(10);
/// What takes milliseconds, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// A registration in a session of its own, and a listener as its process: both can go by themselves.
struct Body {
    id: BrokerId,
    session: Session,
    epoch: BrokerEpoch,
    process: AbortHandle,
    /// Connections that it has taken.
    taken: watch::Receiver<usize>,
}

impl Body {
    async fn start(connect: &str, id: i32, companion: Option<Companion>) -> Body {
        Body::start_as(connect, id, companion, Manner::Holds).await
    }

    async fn start_as(connect: &str, id: i32, companion: Option<Companion>, manner: Manner) -> Body {
        let listener = TcpListener::bind(("127.0.0.1", integration::ports::free_port())).await;
        let listener = listener.expect("the port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (takes, taken) = watch::channel(0);
        let process = tokio::spawn(live(listener, manner, takes)).abort_handle();
        let session = Session::connect(ZkConfig::new(connect).with_timeout(SESSION)).await;
        let session = session.expect("ZooKeeper is there");
        session.create_directories(&directories::AT_START).await.expect("directories can be made");
        let registration = Registration {
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".into(),
                security_protocol: SecurityProtocol::Plaintext,
                host: "127.0.0.1".into(),
                port: port.into(),
            }],
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: BTreeMap::new(),
        };
        let data = registration.encode();
        let registered = session.register_broker(BrokerId(id), &data, None, companion.as_ref()).await;
        let epoch = registered.expect("the id is free").epoch;
        Body { id: BrokerId(id), session, epoch, process, taken }
    }

    /// What was never met is not missed.
    async fn has_taken(&self, connections: usize) {
        let taken = self.taken.clone().wait_for(|taken| *taken >= connections).await.map(drop);
        taken.expect("it lives");
    }

    /// Its connections end and its port refuses; its session lives on.
    fn die(&self) {
        self.process.abort();
    }

    async fn is_registered(&self) -> bool {
        let stat = self.session.exists(&broker::path(self.id)).await.expect("ZooKeeper answers");
        stat.is_some_and(|stat| stat.czxid == self.epoch.0)
    }

    async fn is_removed_soon(&self) {
        let what = format!("the registration of broker {} is removed", self.id);
        wait::until_holds(&what, SOON, async || !self.is_registered().await).await;
    }
}

#[derive(Clone, Copy)]
enum Manner {
    /// Takes connections and says nothing.
    Holds,
    /// Takes connections and ends them.
    TurnsAway,
}

async fn live(listener: TcpListener, manner: Manner, takes: watch::Sender<usize>) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        match manner {
            Manner::Holds => held.push(stream),
            Manner::TurnsAway => drop(stream),
        }
        takes.send_modify(|taken| *taken += 1);
    }
}

#[test]
fn a_dead_process_loses_its_registration_before_its_session_ends() {
    with_zookeeper(|connect| async move {
        let controller = Member::start(&connect, 1).await;
        let marked = || Some(Companion::default());
        let first = Body::start(&connect, 11, marked()).await;
        // Of Kafka's own, or with the property off.
        let unmarked = Body::start(&connect, 12, None).await;
        let suspect =
            Body::start(&connect, 13, Some(Companion { removals: 1, ..Companion::default() })).await;
        let full = Body::start_as(&connect, 14, marked(), Manner::TurnsAway).await;
        let alive = Body::start(&connect, 15, marked()).await;
        let last = Body::start(&connect, 16, marked()).await;
        // The controller's channel, and its lookout.
        for body in [&first, &suspect, &full, &alive, &last] {
            body.has_taken(2).await;
        }
        unmarked.has_taken(1).await;

        unmarked.die();
        suspect.die();
        first.die();
        first.is_removed_soon().await;
        let by = first.session.removed_by(first.id).await;
        assert_eq!(by, Ok(Some(BrokerId(controller.id))), "whoever is removed can see by whom");
        // As long again, and the others would have gone, were they to go.
        last.die();
        last.is_removed_soon().await;
        for (body, why) in [
            (&unmarked, "it does not understand it"),
            (&suspect, "it came back from the dead a moment ago"),
            (&full, "it only has too many connections"),
            (&alive, "it lives"),
        ] {
            assert!(body.is_registered().await, "broker {} was removed, though {why}", body.id);
        }
    });
}

#[test]
fn a_dead_controller_is_deposed_by_the_others() {
    with_zookeeper(|connect| async move {
        // A session that is controller, with no controller behind it.
        let controller = Body::start(&connect, 1, Some(Companion::default())).await;
        let elected = controller.session.elect_controller(controller.id, 0).await;
        elected.expect("nobody else stands");
        let member = Member::start(&connect, 2).await;
        controller.has_taken(1).await;
        assert!(!member.is_active());

        controller.die();
        controller.is_removed_soon().await;
        wait::until_holds("the other broker is controller", SOON, async || member.is_active()).await;
    });
}

#[test]
fn a_leader_that_does_not_answer_is_told_to_the_next_controller() {
    with_zookeeper(|connect| async move {
        let first = next_member(&connect, 1).await;
        let leader = Body::start(&connect, 2, None).await;
        let [third, fourth] = [next_member(&connect, 3).await, next_member(&connect, 4).await];
        let zk = first.session.clone();
        create(&zk, "t", 1, &[2, 1, 3]).await;
        create(&zk, "u", 1, &[2, 1, 4]).await;
        third.learns("t", 0, known(2, 0, &[2, 1, 3])).await;
        third.learns("u", 0, known(2, 0, &[2, 1, 4])).await;
        let names = async |topic, id| {
            let path = eligible_replicas::path(&TopicPartition::new(topic, 0));
            let Ok(node) = zk.get(&path).await else { return false };
            let list = EligibleReplicas::decode(&node.data).expect("the controller wrote it");
            list.uncertain == [BrokerId(id)]
        };

        fourth.leave().await;
        third.learns("u", 0, known(2, 1, &[2, 1])).await;
        wait::until_holds("the list is written", SOON, async || names("u", 4).await).await;
        assert!(!names("t", 3).await, "nobody left");

        let mut written = zk.get_watch(&partition::state_path("t", 0)).await.expect("it is there").1;
        third.leave().await;
        written.changed().await;
        first.controller.shutdown().await;
        assert!(names("t", 3).await, "its last words");
        drop(leader);
    });
}
