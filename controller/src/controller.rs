//! A broker's controller candidate: it stands for election as long as its process has a session
//! with ZooKeeper, and reigns when it wins, until it is fenced, the session ends or the broker stops.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::ids::{BrokerId, ControllerEpoch, Uuid, ZkVersion};
use client::zk::{CreateMode, Election, Session, WatchPool, ZkConfig, ZkError};
use client::znode::controller as controller_znode;
use client::znode::feature::{self, Features};
use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};

use crate::channel::{Answers, Channel};
use crate::cluster::Broker;
use crate::commit::Znodes;
use crate::handle::{Call, ControllerHandle};
use crate::lookout::{Lookout, Watchman};
use crate::plan::ControlRequest;
use crate::requests::Sender;
use crate::term::{Settings, Term};
use crate::topics::draw_topic_id;
use crate::vital;
use crate::watches::Watches;
use crate::world::{Event, Node, Rejection, Trouble, World, Write};

/// Kafka looks for leaders to move back this long after a controller took over, and then at
/// `leader.imbalance.check.interval.seconds`.
const FIRST_REBALANCE: Duration = Duration::from_secs(5);

/// Pauses after an election that was won in vain. Kafka has none, and goes through 70 epochs a second.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is decided when the broker stops is told for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Which is to leave time to write down what nobody answered.
const ANSWERS: Duration = Duration::from_millis(500);

/// What only this controller knows is written down once it is as old as this, or twice as old. By then a leader that
/// is there has answered.
const LISTS_DUE: Duration = Duration::from_millis(500);

/// The configuration of a controller, by Kafka's names.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// `broker.id`
    pub broker_id: BrokerId,
    /// `inter.broker.listener.name`
    pub inter_broker_listener_name: String,
    /// `controller.socket.timeout.ms`
    pub controller_socket_timeout: Duration,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`
    pub leader_imbalance_check_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_per_broker_percentage: i32,
    /// `unclean.leader.election.enable`, as the default of topics.
    pub unclean_leader_election_enable: bool,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `broker.death.detection.enable`, of Ottla's own: whether the registration of a dead process is
    /// removed before its session ends.
    pub death_detection_enable: bool,
    /// `min.insync.replicas`, as the default of topics.
    pub min_insync_replicas: usize,
}

impl ControllerConfig {
    /// Kafka's defaults.
    pub fn new(broker_id: BrokerId) -> ControllerConfig {
        ControllerConfig {
            broker_id,
            inter_broker_listener_name: String::from("PLAINTEXT"),
            controller_socket_timeout: Duration::from_secs(30),
            auto_leader_rebalance_enable: true,
            leader_imbalance_check_interval: Duration::from_secs(300),
            leader_imbalance_per_broker_percentage: 10,
            unclean_leader_election_enable: false,
            delete_topic_enable: true,
            death_detection_enable: true,
            min_insync_replicas: 1,
        }
    }
}

/// What a topic's id was when this broker last heard of it.
pub type RememberedTopicIds = Arc<dyn Fn(&str) -> Option<Uuid> + Send + Sync>;

/// What a candidate is made of.
pub struct ControllerParts {
    pub config: ControllerConfig,
    /// The session this broker is registered in, `None` while it is not. Candidacy and reign last
    /// as long as the session that is here.
    pub sessions: watch::Receiver<Option<Session>>,
    /// For sessions that only watch.
    pub watches: ZkConfig,
    pub remembered_topic_ids: RememberedTopicIds,
}

impl fmt::Debug for ControllerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerParts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct Controller {
    parts: ControllerParts,
    calls: mpsc::UnboundedReceiver<Call>,
    active: watch::Sender<Option<ControllerEpoch>>,
    stop: watch::Receiver<bool>,
}

/// Why a candidacy or reign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The broker stops.
    Stopped,
    SessionOver,
    /// Somebody else is controller, or nobody; stand again.
    Resigned,
    /// Elected in vain: the election was given up.
    Failed,
}

impl Controller {
    /// Starts a candidate, which runs until [`ControllerHandle::shutdown`].
    pub fn spawn(parts: ControllerParts) -> ControllerHandle {
        let (send_calls, calls) = mpsc::unbounded_channel();
        let (active, watch_active) = watch::channel(None);
        let (send_stop, stop) = watch::channel(false);
        vital::spawn("controller", Controller { parts, calls, active, stop }.run());
        ControllerHandle::new(send_calls, watch_active, send_stop)
    }

    async fn run(mut self) {
        while let Some(session) = self.next_session().await {
            if self.candidacy(session).await == End::Stopped {
                return;
            }
        }
    }

    /// The session to stand in, as soon as there is one. `None`: the broker stops.
    async fn next_session(&mut self) -> Option<Session> {
        loop {
            let session = self.parts.sessions.borrow_and_update().clone();
            if let Some(session) = session.filter(|session| !session.state().is_over()) {
                return Some(session);
            }
            tokio::select! {
                changed = self.parts.sessions.changed() => changed.ok()?,
                call = self.calls.recv() => self.refuse(call?),
                () = stopped(&mut self.stop) => return None,
            }
        }
    }

    /// Calls that need an active controller; what they tell is kept.
    fn refuse(&mut self, call: Call) {
        if let Call::UncleanElectionDefault(allowed) = call {
            self.parts.config.unclean_leader_election_enable = allowed;
        }
        call.refuse();
    }

    async fn candidacy(&mut self, session: Session) -> End {
        let mut pause = FIRST_PAUSE;
        loop {
            let end = match self.stand(&session).await {
                Ok(end) => end,
                Err(error) if error.is_session_over() => End::SessionOver,
                Err(error) => {
                    tracing::warn!(%error, "standing for controller failed; it is tried again");
                    End::Failed
                }
            };
            self.active.send_replace(None);
            match end {
                End::Stopped | End::SessionOver => return end,
                End::Resigned => pause = FIRST_PAUSE,
                End::Failed => {
                    if let Some(end) = self.idle(&session, pause).await {
                        return end;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Stands once: waits while there is a controller, or is elected and reigns.
    async fn stand(&mut self, session: &Session) -> Result<End, ZkError> {
        let (present, mut watch) = session.exists_watch(controller_znode::PATH).await?;
        if present.is_none() || present.is_some_and(|stat| stat.ephemeral_owner == Some(session.id())) {
            let me = self.parts.config.broker_id;
            match session.elect_controller(me, now_ms()).await? {
                Election::Won { epoch, epoch_version } => {
                    tracing::info!(broker = %me, %epoch, "elected: this broker is the controller now");
                    return Ok(self.reign(session, epoch, epoch_version).await);
                }
                Election::Lost { controller } => {
                    tracing::info!(controller = ?controller.map(|c| c.broker), "another broker was elected controller");
                }
            }
        }
        let _lookout = self.look_after_controller(session).await?;
        loop {
            tokio::select! {
                _ = watch.changed() => return Ok(End::Resigned),
                _ = session.over() => return Ok(End::SessionOver),
                () = stopped(&mut self.stop) => return Ok(End::Stopped),
                call = self.calls.recv() => match call {
                    Some(call) => self.refuse(call),
                    None => return Ok(End::Stopped),
                }
            }
        }
    }

    /// Nobody but the others can notice the death of the controller's process.
    async fn look_after_controller(&self, session: &Session) -> Result<Option<Lookout>, ZkError> {
        if !self.parts.config.death_detection_enable {
            return Ok(None);
        }
        let me = self.parts.config.broker_id;
        let controller = session.controller().await?.map(|controller| controller.broker);
        let listener = Arc::from(self.parts.config.inter_broker_listener_name.as_str());
        let watchman = Watchman { session: session.clone(), me, fence: None };
        let other = controller.filter(|id| *id != me);
        Ok(other.map(|id| Lookout::over_controller(watchman, id, listener)))
    }

    /// Waits without standing. `Some`: it is over.
    async fn idle(&mut self, session: &Session, pause: Duration) -> Option<End> {
        let waiting = sleep(pause);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                () = &mut waiting => return None,
                _ = session.over() => return Some(End::SessionOver),
                () = stopped(&mut self.stop) => return Some(End::Stopped),
                call = self.calls.recv() => match call {
                    Some(call) => self.refuse(call),
                    None => return Some(End::Stopped),
                }
            }
        }
    }

    async fn reign(&mut self, session: &Session, epoch: ControllerEpoch, epoch_version: ZkVersion) -> End {
        self.active.send_replace(Some(epoch));
        let mut stop = self.stop.clone();
        let end = tokio::select! {
            end = self.reign_to_the_end(session, epoch, epoch_version) => end,
            _ = session.over() => End::SessionOver,
            () = stopped_for(&mut stop, LAST_WORDS) => End::Stopped,
        };
        self.active.send_replace(None);
        tracing::info!(%epoch, reason = ?end, "resigned as controller");
        if matches!(end, End::Resigned | End::Failed) {
            // Nothing else would free a place that still names us while we may not write.
            if let Err(error) = session.delete_own_controller().await {
                tracing::warn!(%error, "our /controller could not be deleted");
            }
        }
        end
    }

    async fn reign_to_the_end(
        &mut self,
        session: &Session,
        epoch: ControllerEpoch,
        epoch_version: ZkVersion,
    ) -> End {
        let started = Instant::now();
        match self.take_over(session, epoch, epoch_version).await {
            Ok((term, events)) => {
                let after_ms = started.elapsed().as_millis();
                tracing::info!(%epoch, after_ms, "the controller has taken over");
                self.serve(session, term, events).await
            }
            Err(trouble @ Trouble::Refused { .. }) => {
                tracing::error!(%epoch, %trouble, "this broker cannot be controller; the election is given up");
                End::Failed
            }
            Err(trouble) => ended_by(&trouble),
        }
    }

    async fn take_over(
        &self,
        session: &Session,
        epoch: ControllerEpoch,
        epoch_version: ZkVersion,
    ) -> Result<(Term<Outside>, mpsc::UnboundedReceiver<Event>), Trouble> {
        ensure_feature_node(session).await?;
        let config = &self.parts.config;
        let (answers, events) = mpsc::unbounded_channel();
        let pool = WatchPool::new(self.parts.watches.clone());
        let outside = Outside {
            znodes: Znodes::new(session.clone(), epoch_version),
            watches: Watches::start(session, pool, answers.clone()),
            channels: BTreeMap::new(),
            lookouts: BTreeMap::new(),
            watchman: config.death_detection_enable.then(|| Watchman {
                session: session.clone(),
                me: config.broker_id,
                fence: Some(epoch_version),
            }),
            me: config.broker_id,
            epoch,
            listener: Arc::from(config.inter_broker_listener_name.as_str()),
            timeout: config.controller_socket_timeout,
            answers,
            remembered_topic_ids: self.parts.remembered_topic_ids.clone(),
        };
        let settings = Settings {
            unclean_leader_election: config.unclean_leader_election_enable,
            delete_topic: config.delete_topic_enable,
            leader_imbalance_per_broker_percentage: config.leader_imbalance_per_broker_percentage,
            min_insync_replicas: config.min_insync_replicas,
        };
        Ok((Term::take_over(outside, epoch, settings).await?, events))
    }

    async fn serve(
        &mut self,
        session: &Session,
        mut term: Term<Outside>,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) -> End {
        let period = self.parts.config.leader_imbalance_check_interval.max(Duration::from_secs(1));
        let mut rebalance = interval_at(Instant::now() + FIRST_REBALANCE.min(period), period);
        rebalance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lists = interval(LISTS_DUE);
        lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deposed = deposed(session.clone());
        tokio::pin!(deposed);
        let mut stop = self.stop.clone();
        loop {
            let done = tokio::select! {
                () = &mut deposed => return End::Resigned,
                () = stopped(&mut stop) => return say_last_words(term, events).await,
                event = events.recv() => match event {
                    Some(event) => term.handle(event).await,
                    None => return End::Stopped,
                },
                call = self.calls.recv() => match call {
                    Some(call) => self.answer(&mut term, call).await,
                    None => return End::Stopped,
                },
                _ = rebalance.tick(), if self.parts.config.auto_leader_rebalance_enable => {
                    term.handle(Event::LeadersDueForRebalance).await
                }
                // Answers that wait may make them needless.
                _ = lists.tick(), if events.is_empty() => term.handle(Event::ListsDue).await,
            };
            match done {
                Ok(()) => {}
                Err(trouble) if trouble.is_final() => return ended_by(&trouble),
                Err(trouble) => tracing::error!(%trouble, "an event could not be carried out and is dropped"),
            }
        }
    }

    /// Trouble that ends the reign also answers the call, as a broker that is not controller does.
    async fn answer(&mut self, term: &mut Term<Outside>, call: Call) -> Result<(), Trouble> {
        // A caller that went away needs no answer, so failed sends are no matter.
        match call {
            Call::AllocateProducerIds(request, reply) => {
                reply.send(term.allocate_producer_ids(&request).await?).ok();
            }
            Call::AlterPartition(request, version, reply) => {
                reply.send(term.alter_partition(&request, version).await?).ok();
            }
            Call::ControlledShutdown(request, reply) => {
                reply.send(term.controlled_shutdown(&request).await?).ok();
            }
            Call::ElectLeaders(request, reply) => {
                reply.send(term.elect_leaders(&request).await?).ok();
            }
            Call::UncleanElectionAllowed(topic) => term.unclean_election_allowed(Some(&topic)).await?,
            Call::UncleanElectionDefault(allowed) => {
                self.parts.config.unclean_leader_election_enable = allowed;
                term.set_unclean_election_default(allowed);
                if allowed {
                    term.unclean_election_allowed(None).await?;
                }
            }
        }
        Ok(())
    }
}

/// Until the next controller has taken over nobody else would tell what was decided; and it does not know who has not
/// answered.
async fn say_last_words(mut term: Term<Outside>, mut events: mpsc::UnboundedReceiver<Event>) -> End {
    timeout(ANSWERS, term.world().deliver()).await.ok();
    while let Ok(event) = events.try_recv() {
        if !matches!(event, Event::LeaderAndIsrAnswered { .. }) {
            continue;
        }
        if let Err(trouble) = term.handle(event).await {
            tracing::warn!(%trouble, "an answer could not be taken in while the controller stops");
        }
    }
    if let Err(trouble) = term.keep_all_lists().await {
        tracing::warn!(%trouble, "the next controller will not know which leaders have not answered");
    }
    term.world().deliver().await;
    End::Stopped
}

/// Returns when the broker stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that every handle is gone, and nobody will ask any more.
    stop.wait_for(|stop| *stop).await.map(drop).ok();
}

async fn stopped_for(stop: &mut watch::Receiver<bool>, time: Duration) {
    stopped(stop).await;
    sleep(time).await;
}

fn ended_by(trouble: &Trouble) -> End {
    tracing::warn!(%trouble, "the controller's reign is over");
    match trouble {
        Trouble::SessionOver => End::SessionOver,
        Trouble::Fenced | Trouble::Refused { .. } => End::Resigned,
    }
}

/// Returns when `/controller` is not this session's any more.
async fn deposed(session: Session) {
    loop {
        match session.exists_watch(controller_znode::PATH).await {
            Ok((Some(stat), mut watch)) if stat.ephemeral_owner == Some(session.id()) => {
                watch.changed().await;
            }
            Ok(_) => {
                tracing::warn!("/controller was deleted or taken by somebody else");
                return;
            }
            // The session's end is noticed elsewhere; until the connection is back nobody can tell.
            Err(_) => sleep(FIRST_PAUSE).await,
        }
    }
}

/// Kafka's brokers wait for the node (KIP-584); a cluster in ZooKeeper mode has no features in it.
/// One that is there is left as it is.
async fn ensure_feature_node(session: &Session) -> Result<(), Trouble> {
    loop {
        let created = match session.exists(feature::PATH).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {
                session.create(feature::PATH, Features::none().encode(), CreateMode::Persistent).await
            }
            Err(error) => Err(error),
        };
        match created {
            Ok(_) | Err(ZkError::NodeExists { .. }) => return Ok(()),
            Err(error) if error.is_connection_trouble() => {}
            Err(error) if error.is_session_over() => return Err(Trouble::SessionOver),
            Err(error) => {
                let path = String::from(feature::PATH);
                return Err(Trouble::Refused { path, reason: error.to_string() });
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The real world: ZooKeeper and brokers behind sockets. All of it ends with the reign.
struct Outside {
    znodes: Znodes,
    watches: Watches,
    channels: BTreeMap<BrokerId, Channel>,
    lookouts: BTreeMap<BrokerId, Lookout>,
    /// Who keeps them; `None`: nobody.
    watchman: Option<Watchman>,
    me: BrokerId,
    epoch: ControllerEpoch,
    listener: Arc<str>,
    timeout: Duration,
    answers: Answers,
    remembered_topic_ids: RememberedTopicIds,
}

impl Outside {
    /// Waits until the other brokers have heard all that they were sent, as far as they can be reached.
    fn deliver(&self) -> impl Future<Output = ()> + Send + use<> {
        let others = self.channels.iter().filter(|(id, channel)| **id != self.me && channel.is_prompt());
        join_all(others.map(|(_, channel)| channel.delivered()).collect::<Vec<_>>()).map(drop)
    }
}

impl World for Outside {
    async fn read(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>, Trouble> {
        self.znodes.read(&paths).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        self.znodes.list(path).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Result<ZkVersion, Rejection>>, Trouble> {
        self.znodes.commit(writes).await
    }

    /// A broker whose end points changed keeps its channel and what waits in it.
    fn connect(&mut self, id: BrokerId, broker: &Broker) {
        let address: Option<Arc<str>> =
            broker.endpoint(&self.listener).map(|endpoint| Arc::from(endpoint.address()));
        match (&self.watchman, &address) {
            (Some(watchman), Some(address)) if id != self.me => {
                self.lookouts.insert(id, Lookout::over(watchman.clone(), id, address.clone()));
            }
            _ => drop(self.lookouts.remove(&id)),
        }
        let sender = Sender { controller: self.me, epoch: self.epoch, receiver: broker.epoch };
        match self.channels.get(&id) {
            Some(channel) if channel.sender() == sender => channel.set_address(address),
            _ => {
                let (listener, answers) = (self.listener.clone(), self.answers.clone());
                let channel = Channel::open(id, address, sender, listener, self.timeout, answers);
                self.channels.insert(id, channel);
                self.watches.add_broker(id);
            }
        }
    }

    fn disconnect(&mut self, id: BrokerId) {
        self.channels.remove(&id);
        self.lookouts.remove(&id);
        self.watches.remove_broker(id);
    }

    fn send(&mut self, to: BrokerId, request: ControlRequest) {
        match self.channels.get(&to) {
            Some(channel) => channel.send(request),
            None => tracing::debug!(%to, %request, "dropped: there is no channel to the broker"),
        }
    }

    fn reaches(&self, broker: BrokerId) -> bool {
        self.channels.get(&broker).is_some_and(Channel::is_prompt)
    }

    fn watch_topic(&mut self, topic: &Arc<str>) {
        self.watches.add_topic(topic);
    }

    fn unwatch_topic(&mut self, topic: &str) {
        self.watches.remove_topic(topic);
    }

    fn remembered_topic_id(&self, topic: &str) -> Option<Uuid> {
        (self.remembered_topic_ids)(topic)
    }

    fn new_topic_id(&mut self) -> Uuid {
        draw_topic_id()
    }
}
