//! Apache's brokers of 3.9 obey our controller: the best judge of what it sends.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::ids::BrokerId;
use client::zk::Session;
use client::znode::broker;
use client::znode::partition::{self, PartitionState};
use integration::apache::Release;
use integration::foreign::{consume_with_kcat, produce_with_kcat};
use integration::ports::free_port;
use integration::process::Process;
use integration::wait;
use tempfile::TempDir;

use super::member::Member;
use super::{create, with_zookeeper};
use controller::topics;

/// What brokers talk on. Our member has no other listener, so clients do not turn to it.
const LISTENER: &str = "BETWEEN";

/// For any single step.
const LIMIT: Duration = Duration::from_secs(60);

struct Apache {
    port: u16,
    folder: PathBuf,
    properties: PathBuf,
    process: Option<Process>,
}

impl Apache {
    fn new(connect: &str, id: i32, home: &Path) -> Apache {
        let (port, between, folder) = (free_port(), free_port(), home.join(id.to_string()));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let properties = folder.join("server.properties");
        let text = format!(
            "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port},BETWEEN://127.0.0.1:{between}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,BETWEEN:PLAINTEXT\n\
             inter.broker.listener.name={LISTENER}\nlog.dirs={}\nzookeeper.connect={connect}\n\
             zookeeper.session.timeout.ms=4000\ninter.broker.protocol.version=3.9\n\
             controlled.shutdown.retry.backoff.ms=500\nreplica.lag.time.max.ms=10000\n",
            folder.join("data").display()
        );
        std::fs::write(&properties, text).expect("a file can be written");
        let mut apache = Apache { port, folder, properties, process: None };
        apache.start();
        apache
    }

    fn start(&mut self) {
        let mut command = Release::V3_9.java("kafka.Kafka");
        self.process = Some(Process::start(command.arg(&self.properties), &self.folder.join("log")));
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// Waits until a partition's state is as wanted.
async fn becomes(
    zk: &Session,
    topic: &str,
    partition: i32,
    wanted: impl Fn(&PartitionState) -> bool,
) -> PartitionState {
    let path = partition::state_path(topic, partition);
    let waiting = async {
        loop {
            let (node, mut watch) = zk.get_watch(&path).await.expect("ZooKeeper answers");
            let state = node.and_then(|node| PartitionState::decode(&node.data).ok());
            if let Some(state) = state.filter(|state| wanted(state)) {
                return state;
            }
            watch.changed().await;
        }
    };
    let state = tokio::time::timeout(LIMIT, waiting).await;
    match state {
        Ok(state) => state,
        Err(_) => panic!("{topic}-{partition} stays {:?}", zk.get(&path).await),
    }
}

async fn registers(zk: &Session, id: i32) {
    let waiting = async {
        loop {
            let (stat, mut watch) =
                zk.exists_watch(&broker::path(BrokerId(id))).await.expect("ZooKeeper answers");
            if stat.is_some() {
                return;
            }
            watch.changed().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("an Apache broker starts");
}

#[test]
fn apaches_brokers_are_led_by_our_controller() {
    with_zookeeper(|connect| async move {
        let controller = Member::start_with_listener(&connect, 100, LISTENER).await;
        let zk = controller.session.clone();
        let home = TempDir::new().expect("a temporary folder can be made");
        let mut brokers: Vec<Apache> = (1..=3).map(|id| Apache::new(&connect, id, home.path())).collect();
        for id in 1..=3 {
            registers(&zk, id).await;
        }
        let bootstrap = brokers.iter().map(Apache::address).collect::<Vec<_>>().join(",");
        create(&zk, "t", 6, &[1, 2, 3]).await;
        for p in 0..6 {
            becomes(&zk, "t", p, |state| state.isr.len() == 3).await;
        }
        for address in brokers.iter().map(Apache::address) {
            // Apache's brokers register before they listen.
            let listening = move || {
                wait::until("a broker listens", LIMIT, || TcpStream::connect(&address).ok()).peer_addr()
            };
            tokio::task::spawn_blocking(listening).await.expect("it listens").expect("it is connected");
        }
        let values = |from: usize| (from..from + 1_000).map(|n| n.to_string()).collect::<Vec<_>>();
        let produce = |from| {
            let bootstrap = bootstrap.clone();
            let sending = move || produce_with_kcat(&bootstrap, "t", &values(from), &[]);
            tokio::task::spawn_blocking(sending)
        };
        produce(0).await.expect("kcat succeeds");

        // A leader dies, and comes back.
        brokers[0].process.take().expect("it runs").kill();
        for p in 0..6 {
            becomes(&zk, "t", p, |s| s.leader != BrokerId(1) && !s.isr.contains(&BrokerId(1))).await;
        }
        produce(1_000).await.expect("kcat succeeds");
        brokers[0].start();
        for p in 0..6 {
            becomes(&zk, "t", p, |state| state.isr.len() == 3).await;
        }

        // Another leaves as it should.
        let leaving = brokers[1].process.take().expect("it runs");
        let left = tokio::task::spawn_blocking(move || leaving.terminate(LIMIT));
        left.await.expect("it ends");
        assert!(!brokers[1].log().contains("unclean shutdown"), "{}", brokers[1].log());
        for p in 0..6 {
            becomes(&zk, "t", p, |s| s.leader.0 > 0 && s.leader != BrokerId(2) && s.isr.len() == 2).await;
        }
        produce(2_000).await.expect("kcat succeeds");
        brokers[1].start();
        for p in 0..6 {
            becomes(&zk, "t", p, |state| state.isr.len() == 3).await;
        }
        let found = {
            let bootstrap = bootstrap.clone();
            tokio::task::spawn_blocking(move || consume_with_kcat(&bootstrap, "t"))
        };
        let mut found: Vec<usize> = found
            .await
            .expect("kcat succeeds")
            .iter()
            .map(|value| value.parse().expect("a number"))
            .collect();
        found.sort();
        assert!(found.into_iter().eq(0..3_000));

        // Every replica is deleted, and then the topic.
        topics::request_deletion(&zk, "t").await.expect("the topic is there");
        let waiting = async {
            loop {
                let (stat, mut watch) =
                    zk.exists_watch("/admin/delete_topics/t").await.expect("ZooKeeper answers");
                if stat.is_none() {
                    return;
                }
                watch.changed().await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the topic is deleted");
        // Of each UpdateMetadata they complain that our member lacks the listener for clients.
        for broker in &brokers {
            let log = broker.log();
            let complaints =
                log.lines().filter(|line| line.starts_with("ERROR") && !line.contains("not identical"));
            assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
        }
    });
}
