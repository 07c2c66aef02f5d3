//! Many groups of one member each that beats and commits without pause, and finds its coordinator again
//! as clients do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::connection::{Connection, ConnectionOptions};
use client::wire::ErrorCode;
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use client::wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupResponse, OffsetCommitRequest, OffsetFetchRequest,
};
use integration::cluster::{Cluster, PATIENCE};
use integration::runtime::runtime;
use integration::wait;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::records::{try_join, try_sync};
use super::view::TOPIC;

/// Between one commit of a group and its next.
const PAUSE: Duration = Duration::from_millis(50);

/// What happened to a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Saw {
    /// The highest offset that was sent, and the highest that was acknowledged.
    pub(super) sent: i64,
    pub(super) acknowledged: i64,
    pub(super) commits: usize,
    pub(super) beats: usize,
    /// Commits that were to be tried again with the same coordinator.
    pub(super) put_off: usize,
    pub(super) joins: usize,
    /// Answers that no member should get.
    pub(super) surprises: Vec<String>,
}

pub(super) struct Crowd {
    addresses: Vec<String>,
    saw: BTreeMap<String, Arc<Mutex<Saw>>>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    runtime: Runtime,
}

impl Crowd {
    pub(super) fn start(cluster: &Cluster, groups: &[String]) -> Crowd {
        let runtime = runtime();
        let addresses: Vec<String> = cluster.ids().into_iter().map(|id| cluster.address(id)).collect();
        let stop = watch::Sender::new(false);
        let saw: BTreeMap<String, Arc<Mutex<Saw>>> =
            groups.iter().map(|group| (group.clone(), Arc::default())).collect();
        let tasks = saw.iter().map(|(group, saw)| {
            let worker = Worker { addresses: addresses.clone(), group: group.clone(), saw: Arc::clone(saw) };
            let mut stopped = stop.subscribe();
            runtime.spawn(async move {
                tokio::select! {
                    () = worker.work() => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            })
        });
        let tasks = tasks.collect();
        Crowd { addresses, saw, stop, tasks, runtime }
    }

    /// Waits until `count` of each group has grown by `more`.
    #[track_caller]
    pub(super) fn wait_for_more(&self, what: &str, more: usize, count: impl Fn(&Saw) -> usize) {
        let targets: Vec<usize> = self.look().values().map(|saw| count(saw) + more).collect();
        wait::until(&format!("{more} more {what} of each group"), PATIENCE, || {
            self.look().values().zip(&targets).all(|(saw, target)| count(saw) >= *target).then_some(())
        });
    }

    pub(super) fn look(&self) -> BTreeMap<String, Saw> {
        let look = |saw: &Mutex<Saw>| saw.lock().expect("nobody panics under it").clone();
        self.saw.iter().map(|(group, saw)| (group.clone(), look(saw))).collect()
    }

    /// Stops; no committed offset may be older than what was acknowledged, or invented.
    #[track_caller]
    pub(super) fn finish(mut self) -> BTreeMap<String, Saw> {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            self.runtime.block_on(task).expect("a member does not panic");
        }
        let saw = self.look();
        for (group, saw) in &saw {
            let worker =
                Worker { addresses: self.addresses.clone(), group: group.clone(), saw: Arc::default() };
            let found = self.runtime.block_on(worker.committed());
            assert!(
                (saw.acknowledged..=saw.sent).contains(&found),
                "{group} has committed {found}: {} was acknowledged, {} sent",
                saw.acknowledged,
                saw.sent
            );
        }
        saw
    }
}

/// One group's member.
struct Worker {
    addresses: Vec<String>,
    group: String,
    saw: Arc<Mutex<Saw>>,
}

/// What follows from an answer.
enum Next {
    GoOn,
    /// Another broker coordinates, or this one does not answer.
    Find,
    Join,
}

impl Worker {
    async fn work(&self) {
        let mut place = self.find().await;
        let mut joined = self.join(&mut place).await;
        loop {
            let next = match self.beat(&place, &joined).await {
                Next::GoOn => self.commit(&place, &joined).await,
                other => other,
            };
            match next {
                Next::GoOn => {}
                Next::Find => place = self.find().await,
                Next::Join => joined = self.join(&mut place).await,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, note: impl FnOnce(&mut Saw)) {
        note(&mut self.saw.lock().expect("nobody panics under it"));
    }

    fn follow(&self, what: &str, code: ErrorCode) -> Next {
        match code {
            ErrorCode::None | ErrorCode::CoordinatorLoadInProgress => Next::GoOn,
            // The last one if the log's followers are slow.
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::RequestTimedOut => {
                Next::Find
            }
            other => {
                self.note(|saw| saw.surprises.push(format!("{what}: {}", other.name())));
                Next::Join
            }
        }
    }

    /// A connection to the coordinator, as soon as somebody knows of one that answers.
    async fn find(&self) -> Connection {
        let options = ConnectionOptions {
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            ..ConnectionOptions::default()
        };
        let find = FindCoordinatorRequest { key: self.group.as_str().into(), ..Default::default() };
        loop {
            for address in &self.addresses {
                let Ok(any) = Connection::connect(address.as_str(), "crowd", options.clone()).await else {
                    continue;
                };
                let Ok(found) = any.send(&find, 2).await else { continue };
                if found.error_code != 0 {
                    continue;
                }
                let address = format!("{}:{}", found.host, found.port);
                if let Ok(place) = Connection::connect(address.as_str(), "crowd", options.clone()).await {
                    return place;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn join(&self, place: &mut Connection) -> JoinGroupResponse {
        self.note(|saw| saw.joins += 1);
        let mut id = String::new();
        loop {
            let joined = try_join(place, &self.group, None, &id).await;
            match joined {
                Ok(joined) if joined.error_code == 0 => {
                    if let Ok((0, _)) = try_sync(place, &self.group, None, &joined).await {
                        return joined;
                    }
                }
                Ok(joined) if joined.error_code == ErrorCode::MemberIdRequired.code() => {
                    id = joined.member_id.to_string();
                    continue;
                }
                Ok(joined) if joined.error_code == ErrorCode::UnknownMemberId.code() => id.clear(),
                _ => *place = self.find().await,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn beat(&self, place: &Connection, joined: &JoinGroupResponse) -> Next {
        let beat = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: None,
        };
        let Ok(answer) = place.send(&beat, 4).await else { return Next::Find };
        if answer.error_code == 0 {
            self.note(|saw| saw.beats += 1);
        }
        self.follow("beat", ErrorCode::from_code(answer.error_code))
    }

    async fn commit(&self, place: &Connection, joined: &JoinGroupResponse) -> Next {
        let mut offset = 0;
        self.note(|saw| {
            saw.sent += 1;
            offset = saw.sent;
        });
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.as_str().into(),
            generation_id_or_member_epoch: joined.generation_id,
            member_id: joined.member_id.clone(),
            topics: vec![OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] }],
            ..OffsetCommitRequest::default()
        };
        let Ok(answer) = place.send(&request, 8).await else { return Next::Find };
        let code = answer.topics.first().and_then(|topic| topic.partitions.first()).map(|one| one.error_code);
        let code = ErrorCode::from_code(code.expect("there is one partition"));
        self.note(|saw| match code {
            ErrorCode::None => {
                saw.acknowledged = offset;
                saw.commits += 1;
            }
            ErrorCode::CoordinatorLoadInProgress => saw.put_off += 1,
            _ => {}
        });
        self.follow("commit", code)
    }

    /// What the group has committed at last.
    async fn committed(&self) -> i64 {
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![0] };
        let request = OffsetFetchRequest {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequest::default()
        };
        loop {
            let place = self.find().await;
            if let Ok(answer) = place.send(&request, 7).await
                && answer.error_code == 0
            {
                return answer.topics[0].partitions[0].committed_offset;
            }
        }
    }
}
