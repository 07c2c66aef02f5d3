//! A broker's process in the model: the real partitions, logs, fences and questions, with what the
//! broker's shells do around them written once more, without sockets and tasks.
//!
//! It takes one thing after the other (a message, a tick) and leaves what it sends in [`Out`].

mod candidate;
mod channels;
mod fetching;
mod roles;
mod serving;
mod session;
mod starting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker::clock::Now;
use broker::cluster_view::ClusterView;
use broker::control_fence::ControlFence;
use broker::isr_channel::{Next, Questions};
use broker::log::disk::SimulatedDisk;
use broker::log::{Disk, LogConfig, LogDirs, LogDirsOptions};
use broker::metadata::MetadataCache;
use broker::partition::{Proposed, Surroundings, TopicConfig};
use client::ids::BrokerId;
use client::wire::ErrorCode;
use client::wire::messages::{AlterPartitionResponse, UpdateMetadataRequest};
use tokio::sync::mpsc;

use self::candidate::Candidate;
use self::channels::Channels;
pub(super) use self::roles::Roles;
use self::serving::Serving;
pub(super) use self::serving::memory;
use self::session::ZkLink;
use self::starting::Starting;
use super::counts::Counts;
use super::groups::{Coordinator, Note};
use super::message::{Control, MS, Message, Place, SECOND, Tick, Time};
use super::reign::Work;
use super::verdict::Verdict;

pub(super) const LISTENER: &str = "PLAINTEXT";
/// Without an answer for so long, a request is given up.
const REQUEST_TIMEOUT: Time = SECOND;
const LAG_MAX: Time = 2 * SECOND;
const RETRY: Time = 50 * MS;

/// What a process sends and waits for, and what it is told of the world.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub now: Time,
    pub clock: Now,
    pub ids: &'a mut u64,
    pub counts: &'a mut Counts,
    pub sent: Vec<(Place, Message)>,
    pub ticks: Vec<(Time, Tick)>,
    pub verdicts: Vec<Verdict>,
    pub notes: Vec<Note>,
}

impl<'a> Out<'a> {
    pub(super) fn new(now: Time, clock: Now, ids: &'a mut u64, counts: &'a mut Counts) -> Out<'a> {
        let (sent, ticks, verdicts, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Out { now, clock, ids, counts, sent, ticks, verdicts, notes }
    }

    fn send(&mut self, to: Place, message: Message) {
        self.sent.push((to, message));
    }

    fn tell(&mut self, to: BrokerId, message: Message) {
        self.send(Place::Broker(to), message);
    }

    fn after(&mut self, delay: Time, tick: Tick) {
        self.ticks.push((self.now + delay, tick));
    }

    fn id(&mut self) -> u64 {
        *self.ids += 1;
        *self.ids
    }
}

/// What a clock shows `now`, to a machine whose wall clock is wrong by `skew_ms`.
pub(super) fn clock(base: Instant, now: Time, skew_ms: i64) -> Now {
    const START_MS: i64 = 1_700_000_000_000;
    let since_start = i64::try_from(now / 1000).unwrap_or(i64::MAX);
    Now { monotonic: base + Duration::from_micros(now), unix_ms: START_MS + since_start + skew_ms }
}

/// A question on its way to the controller.
#[derive(Debug)]
struct Asking {
    id: u64,
    version: i16,
    controller: BrokerId,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Process {
    me: BrokerId,
    boot: String,
    /// Until it is registered for the first time.
    starting: Option<Starting>,
    fence: ControlFence,
    cache: Arc<MetadataCache>,
    /// The controller epoch of the last UpdateMetadata request, and the request's number.
    last_metadata: (i32, u64),
    roles: Roles,
    proposals: mpsc::UnboundedReceiver<Proposed>,
    questions: Questions,
    asking: Option<Asking>,
    zk: ZkLink,
    candidate: Candidate,
    channels: Channels,
    serving: Serving,
    coordinator: Coordinator,
    /// A LeaderAndIsr was carried out: before, the checkpoint files know more than we do.
    assigned: bool,
    leaving: bool,
    asked_to_leave: u32,
    /// Set when the directory of all logs fails.
    disk_failed: Arc<AtomicBool>,
    /// It may stop now: its leadership was given away.
    pub(super) has_left: bool,
}

/// How the partitions of every topic behave. `flushes`: records are synced before they are acknowledged.
pub(super) fn topic_config(flushes: bool) -> TopicConfig {
    let log = LogConfig {
        segment_bytes: 6_000,
        segment_index_bytes: 240,
        index_interval_bytes: 500,
        // The broker syncs in a task of its own; here the append does.
        flush_messages: if flushes { 1 } else { LogConfig::default().flush_messages },
        ..LogConfig::default()
    };
    TopicConfig { log, min_insync_replicas: 2, flush_before_ack: flushes, ..TopicConfig::default() }
}

/// What a process is started on.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub disk: &'a SimulatedDisk,
    /// Tells the boots of its machine apart.
    pub boot: String,
    pub flushes: bool,
    pub seed: u64,
}

impl Process {
    /// Starts a broker on what its disk holds. `None`: the disk does not let it.
    pub(super) fn start(me: BrokerId, ground: Ground<'_>, out: &mut Out<'_>) -> Option<Process> {
        let Ground { disk, boot, flushes, seed } = ground;
        let options = LogDirsOptions {
            disk: Disk::Simulated(disk.clone()),
            paths: vec![PathBuf::from("/data")],
            recovery_threads: 1,
            delete_delay_ms: 5_000,
        };
        let disk_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&disk_failed);
        let dirs =
            LogDirs::open(options, Arc::new(move |_, _| failed.store(true, Ordering::Relaxed))).ok()?;
        let starting = Starting::look(me, &dirs, &boot);
        let cache = Arc::new(MetadataCache::new());
        let view = ClusterView::new(&cache, Arc::from(LISTENER));
        let (sender, proposals) = mpsc::unbounded_channel();
        let lag_max = Duration::from_micros(LAG_MAX);
        let around = Arc::new(Surroundings { me, lag_max, view, proposals: sender });
        let mut process = Process {
            me,
            boot,
            starting: Some(starting),
            fence: ControlFence::default(),
            roles: Roles::new(me, dirs, around, topic_config(flushes), seed, out.clock),
            cache,
            last_metadata: (0, 0),
            proposals,
            questions: Questions::default(),
            asking: None,
            zk: ZkLink::default(),
            candidate: Candidate::default(),
            channels: Channels::default(),
            serving: Serving::default(),
            coordinator: Coordinator::default(),
            assigned: false,
            leaving: false,
            asked_to_leave: 0,
            disk_failed,
            has_left: false,
        };
        process.connect_to_zookeeper(out);
        out.after(250 * MS, Tick::Zk);
        Some(process)
    }

    pub(super) fn roles(&self) -> &Roles {
        &self.roles
    }

    pub(super) fn cache(&self) -> &MetadataCache {
        &self.cache
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Its epoch; 0 before the first, when nothing is accepted from the network yet.
    pub(super) fn registration(&self) -> i64 {
        self.fence.registration().0
    }

    pub(super) fn has_lost_its_disk(&self) -> bool {
        self.disk_failed.load(Ordering::Relaxed)
    }

    pub(super) fn is_controller(&self) -> bool {
        self.candidate.reign().is_some()
    }

    /// Asks the controller to be let go, to stop cleanly then.
    pub(super) fn leave(&mut self, out: &mut Out<'_>) {
        self.leaving = true;
        self.ask_to_leave(out);
    }

    /// Stops cleanly: the logs are closed and the session ends with a goodbye.
    pub(super) fn stop(mut self, out: &mut Out<'_>) {
        self.coordinator.stop(out);
        self.say_goodbye(out);
        self.roles.close(out.clock);
    }

    pub(super) fn take(&mut self, from: Place, message: Message, out: &mut Out<'_>) {
        match message {
            Message::ZkReply { id, reply } => self.zk_replied(id, reply, out),
            Message::WatchFired { session, watch } => self.watch_fired(session, watch, out),
            Message::Control { id, request } => self.control(from, id, &request, out),
            Message::Controlled { id, error, partitions } => {
                self.controlled(from, id, error, partitions, out)
            }
            Message::Measured { id, response } => self.measured(from, id, &response, out),
            Message::Alter { id, request, version } => match self.candidate.reign_mut() {
                Some(reign) => reign.put(Work::Alter { from, id, request, version }),
                None => {
                    let error_code = ErrorCode::NotController.code();
                    let response = AlterPartitionResponse { error_code, ..AlterPartitionResponse::default() };
                    out.send(from, Message::Altered { id, response });
                }
            },
            Message::Altered { id, response } => self.altered(id, &response, out),
            Message::Leave { request } => match self.candidate.reign_mut() {
                Some(reign) => reign.put(Work::Leave { from, request }),
                None => out.send(from, Message::MayLeave { granted: false }),
            },
            // If not, it asks again by itself.
            Message::MayLeave { granted: true } if self.leaving => self.finish(out),
            Message::MayLeave { .. } => {}
            Message::Fetch { id, follower, asks } => self.serve_fetch(from, id, follower, asks, out),
            Message::Fetched { id, parts } => self.fetched(from, id, parts, out),
            Message::Ends { id, partition, epoch } => self.serve_ends(from, id, &partition, epoch, out),
            Message::EndsFound { id, found } => self.ends_found(from, id, found, out),
            Message::Produce { id, partition, batch } => {
                self.serve_produce(from, id, &partition, &batch, out)
            }
            Message::Consume { id, partition, offset, epoch } => {
                self.serve_consume(from, id, &partition, (offset, epoch), out)
            }
            Message::Group { id, group, ask } => {
                self.coordinator.take((from, id), &group, *ask, &self.roles, out);
            }
            Message::Zk { .. }
            | Message::Produced { .. }
            | Message::Consumed { .. }
            | Message::GroupAnswered { .. } => {}
        }
        self.settle(out);
    }

    pub(super) fn tick(&mut self, tick: Tick, out: &mut Out<'_>) {
        match tick {
            Tick::Zk => {
                self.tend_session(out);
                out.after(250 * MS, Tick::Zk);
            }
            Tick::Register => self.register(out),
            Tick::CheckLag => {
                for partition in self.roles.all() {
                    partition.check_lag(out.clock);
                }
                out.after(LAG_MAX / 2, Tick::CheckLag);
            }
            Tick::Watermarks => {
                if self.assigned {
                    self.roles.checkpoint_watermarks();
                }
                out.after(SECOND, Tick::Watermarks);
            }
            Tick::RecoveryPoints => {
                self.roles.checkpoint_recovery_points(out.clock);
                out.after(5 * SECOND, Tick::RecoveryPoints);
            }
            Tick::Flush => {
                self.roles.flush(out.clock);
                out.after(SECOND, Tick::Flush);
            }
            Tick::Rebalance => self.rebalance(out),
            Tick::Fetcher(leader) => self.fetch_from(leader, out),
            Tick::FetchTimeout(leader, id) => self.fetch_timed_out(leader, id, out),
            Tick::Parked(id) => self.serving.deadline(id, &self.roles, out),
            Tick::AskIsr => self.ask_isr(out),
            Tick::AlterTimeout(id) => {
                if self.asking.as_ref().is_some_and(|asking| asking.id == id) {
                    self.asking = None;
                    self.ask_isr(out);
                }
            }
            Tick::ChannelTimeout(to, id) => self.channels.timed_out(to, id, out),
            Tick::Leave => self.ask_to_leave(out),
            Tick::Lists(epoch) => self.lists_due(epoch, out),
            Tick::LoadGroups(number, since) => self.coordinator.load(number, since, &self.roles, out),
            Tick::Groups => self.coordinator.expire(out),
            Tick::Stop => self.has_left = true,
        }
        self.settle(out);
    }

    /// What follows from whatever happened.
    fn settle(&mut self, out: &mut Out<'_>) {
        if self.asking.is_none() {
            self.hear_proposals(out);
        }
        let mut anything_changed = self.roles.look();
        if self.coordinator.settle(&self.roles, anything_changed, out) {
            anything_changed |= self.roles.look();
        }
        self.serving.wake(&self.roles, anything_changed, out);
        self.let_controller_go_on(out);
    }

    /// Never while a request is under way: its answer is not about them.
    fn hear_proposals(&mut self, out: &mut Out<'_>) {
        let mut is_new = false;
        while let Ok(proposed) = self.proposals.try_recv() {
            out.counts.add("isr proposed");
            self.questions.add(proposed);
            is_new = true;
        }
        if is_new {
            self.ask_isr(out);
        }
    }

    fn control(&mut self, from: Place, id: u64, request: &Control, out: &mut Out<'_>) {
        // Nothing in the request tells it: what comes on a connection of before is read before what comes on the next.
        if let Control::UpdateMetadata(request) = request {
            let number = (request.controller_epoch, id);
            if number.0 == self.last_metadata.0 && number < self.last_metadata {
                out.counts.add("metadata of before");
                return;
            }
            self.last_metadata = self.last_metadata.max(number);
        }
        let (error, partitions) = match request {
            Control::LeaderAndIsr(request) => self.roles.assign(request, &self.fence, out),
            Control::StopReplica(request) => self.roles.stop(request, &self.fence, out),
            Control::UpdateMetadata(request) => (self.update_metadata(request, out), Vec::new()),
            Control::LogEnds(request) => {
                let response = self.roles.log_ends(request, out.clock);
                out.send(from, Message::Measured { id, response });
                return;
            }
        };
        if matches!(request, Control::LeaderAndIsr(_)) && error == ErrorCode::None {
            self.assigned = true;
        }
        if error != ErrorCode::None {
            out.counts.add("control request fenced");
        }
        out.send(from, Message::Controlled { id, error, partitions });
        self.fetch_from_all(out);
    }

    fn update_metadata(&mut self, request: &UpdateMetadataRequest, out: &mut Out<'_>) -> ErrorCode {
        let epochs = (
            client::ids::BrokerEpoch(request.broker_epoch),
            client::ids::ControllerEpoch(request.controller_epoch),
        );
        let code = match self.fence.admit(epochs.0, epochs.1, || self.cache.update(request)) {
            Ok(Ok(_)) => ErrorCode::None,
            Ok(Err(_)) => ErrorCode::StaleControllerEpoch,
            Err(fenced) => ErrorCode::from(fenced),
        };
        let controller = self.cache.snapshot().controller();
        if self.asking.as_ref().is_some_and(|asking| Some(asking.controller) != controller) {
            // The answer of a controller that was replaced may never come.
            self.asking = None;
            self.ask_isr(out);
        }
        code
    }

    fn ask_isr(&mut self, out: &mut Out<'_>) {
        let awaited = |proposed: &Proposed| {
            let partition = self.roles.get(&proposed.partition);
            partition.is_some_and(|partition| partition.awaits(&proposed.proposal))
        };
        self.questions.drop_void(awaited);
        if self.asking.is_some() || self.questions.is_empty() {
            return;
        }
        let Some(controller) = self.cache.snapshot().controller() else {
            out.after(RETRY, Tick::AskIsr);
            return;
        };
        let (request, version) = self.questions.request(self.me, self.fence.registration());
        let id = out.id();
        self.asking = Some(Asking { id, version, controller });
        out.tell(controller, Message::Alter { id, request, version });
        out.after(REQUEST_TIMEOUT, Tick::AlterTimeout(id));
    }

    fn altered(&mut self, id: u64, response: &AlterPartitionResponse, out: &mut Out<'_>) {
        let Some(asking) = self.asking.take_if(|asking| asking.id == id) else { return };
        let Process { questions, roles, .. } = self;
        let next = questions.answered(response, asking.version, |proposed, answer| {
            if let Some(partition) = roles.get(&proposed.partition) {
                partition.isr_answered(&proposed.proposal, &answer, out.clock);
            }
        });
        match next {
            Next::Go => self.ask_isr(out),
            Next::FindController | Next::RetryLater => {
                out.counts.add("isr asked again");
                out.after(RETRY, Tick::AskIsr);
            }
        }
    }
}
