//! The real controller ([`Term`]) in the model: its reads and writes travel to the model ZooKeeper
//! like any other message, so that a session can end, a rival be elected or the process die between
//! any two of them.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use client::ids::{BrokerEpoch, BrokerId, ControllerEpoch, Uuid, ZkVersion};
use client::wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, ControlledShutdownRequest, ControlledShutdownResponse,
};
use controller::cluster::Broker;
use controller::plan::ControlRequest;
use controller::term::{Settings, Term};
use controller::world::{Event, Node, Rejection, Trouble, World, Write};

use super::message::Place;
use super::zookeeper::{Op, Reply};

/// What the controller does beside asking ZooKeeper.
#[derive(Debug)]
pub(super) enum Deed {
    Connect(BrokerId, BrokerEpoch),
    Disconnect(BrokerId),
    Send(BrokerId, ControlRequest),
}

/// What is put to a reigning controller.
#[derive(Debug)]
pub(super) enum Work {
    Event(Event),
    Alter {
        from: Place,
        id: u64,
        request: AlterPartitionRequest,
        version: i16,
    },
    Leave {
        from: Place,
        request: ControlledShutdownRequest,
    },
    /// Its broker stops.
    LastWords,
}

/// An answer to what was asked of it.
#[derive(Debug)]
pub(super) enum Answer {
    Altered { to: Place, id: u64, response: AlterPartitionResponse },
    MayLeave { to: Place, response: ControlledShutdownResponse },
    SaidLastWords,
}

/// Between the controller and the model around it.
#[derive(Debug, Default)]
struct Port {
    asked: Vec<(u64, Op)>,
    replies: BTreeMap<u64, Reply>,
    deeds: Vec<Deed>,
    last: u64,
    topic_ids: u8,
}

#[derive(Clone, Debug)]
struct Desk {
    port: Arc<Mutex<Port>>,
    fence: ZkVersion,
    epoch: ControllerEpoch,
}

impl Desk {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, op: Op) -> Waiting {
        let mut port = self.port();
        port.last += 1;
        let id = port.last;
        port.asked.push((id, op));
        Waiting { port: Arc::clone(&self.port), id }
    }
}

/// Until ZooKeeper has answered.
struct Waiting {
    port: Arc<Mutex<Port>>,
    id: u64,
}

impl Future for Waiting {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reply> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        match port.replies.remove(&self.id) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        }
    }
}

impl World for Desk {
    async fn read(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>, Trouble> {
        match self.ask(Op::Read(paths)).await {
            Reply::Nodes(nodes) => Ok(nodes),
            _ => Err(Trouble::SessionOver),
        }
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        match self.ask(Op::List(path.to_owned())).await {
            Reply::Names(names) => Ok(names),
            _ => Err(Trouble::SessionOver),
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Result<ZkVersion, Rejection>>, Trouble> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(Op::Commit { fence: self.fence, writes }).await {
            Reply::Committed(results) => results,
            _ => Err(Trouble::SessionOver),
        }
    }

    fn connect(&mut self, id: BrokerId, broker: &Broker) {
        self.port().deeds.push(Deed::Connect(id, broker.epoch));
    }

    fn disconnect(&mut self, id: BrokerId) {
        self.port().deeds.push(Deed::Disconnect(id));
    }

    fn send(&mut self, to: BrokerId, request: ControlRequest) {
        self.port().deeds.push(Deed::Send(to, request));
    }

    fn watch_topic(&mut self, _: &Arc<str>) {}

    fn unwatch_topic(&mut self, _: &str) {}

    fn remembered_topic_id(&self, _: &str) -> Option<Uuid> {
        None
    }

    fn new_topic_id(&mut self) -> Uuid {
        let mut port = self.port();
        port.topic_ids = port.topic_ids.wrapping_add(1);
        let epoch = u128::try_from(self.epoch.0).unwrap_or(0);
        Uuid((epoch << 16 | u128::from(port.topic_ids)).to_be_bytes())
    }
}

type Job = Pin<Box<dyn Future<Output = (Option<Term<Desk>>, Result<Option<Answer>, Trouble>)> + Send>>;

/// A controller from its election to its end.
pub(super) struct Reign {
    pub epoch: ControllerEpoch,
    desk: Desk,
    term: Option<Term<Desk>>,
    job: Option<Job>,
    waiting: VecDeque<Work>,
}

impl std::fmt::Debug for Reign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reign").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What came of letting the controller go on.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub asked: Vec<(u64, Op)>,
    pub deeds: Vec<Deed>,
    pub answers: Vec<Answer>,
    /// The reign is over; stand again.
    pub over: bool,
}

impl Reign {
    pub(super) fn begin(epoch: ControllerEpoch, fence: ZkVersion) -> Reign {
        let desk = Desk { port: Arc::default(), fence, epoch };
        let world = desk.clone();
        let settings = Settings { min_insync_replicas: 2, ..Settings::default() };
        let job: Job = Box::pin(async move {
            match Term::take_over(world, epoch, settings).await {
                Ok(term) => (Some(term), Ok(None)),
                Err(trouble) => (None, Err(trouble)),
            }
        });
        Reign { epoch, desk, term: None, job: Some(job), waiting: VecDeque::new() }
    }

    pub(super) fn put(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none() && self.waiting.is_empty()
    }

    pub(super) fn replied(&mut self, id: u64, reply: Reply) {
        self.desk.port().replies.insert(id, reply);
    }

    /// Goes on until nothing more can be done without an answer.
    pub(super) fn go_on(&mut self) -> Progress {
        let mut progress = Progress::default();
        loop {
            if self.job.is_none() {
                let Some(work) = self.waiting.pop_front() else { break };
                let Some(term) = self.term.take() else { break };
                self.job = Some(begin(term, work));
            }
            let Some(job) = &mut self.job else { break };
            let Poll::Ready((term, outcome)) = job.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            else {
                break;
            };
            self.job = None;
            match outcome {
                Ok(answer) => progress.answers.extend(answer),
                Err(trouble) if trouble.is_final() || term.is_none() => {
                    progress.over = true;
                    return progress;
                }
                Err(_) => {}
            }
            self.term = term;
        }
        let mut port = self.desk.port();
        progress.asked = std::mem::take(&mut port.asked);
        progress.deeds = std::mem::take(&mut port.deeds);
        progress
    }
}

fn begin(mut term: Term<Desk>, work: Work) -> Job {
    Box::pin(async move {
        let done = match work {
            Work::Event(event) => term.handle(event).await.map(|()| None),
            Work::Alter { from, id, request, version } => term
                .alter_partition(&request, version)
                .await
                .map(|response| Some(Answer::Altered { to: from, id, response })),
            Work::Leave { from, request } => term
                .controlled_shutdown(&request)
                .await
                .map(|response| Some(Answer::MayLeave { to: from, response })),
            Work::LastWords => term.keep_all_lists().await.map(|()| Some(Answer::SaidLastWords)),
        };
        (Some(term), done)
    })
}
