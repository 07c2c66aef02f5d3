//! Being a member of the cluster: a ZooKeeper session, and this broker's registration in it.
//!
//! A session lives until the server ends it; a lost connection does not end it. When it is over, or the registration
//! was removed while this process lives, a new session is opened and the broker registers again, under a new broker
//! epoch. Everything that hangs on a session (candidacy, watches) follows [`Membership::sessions`] and falls with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::ids::{BrokerEpoch, BrokerId};
use client::zk::{RegisterError, Registered, Session, SessionId, ZkConfig, ZkError};
use client::znode::broker::{self, Endpoint, IDS, Registration};
use client::znode::companion::Companion;
use controller::vital;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Kafka waits as long before it tries again for a session.
const RETRY: Duration = Duration::from_secs(1);
/// How often a broker that waits for its former session's end looks whether it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A former session may outlive its own timeout by the server's rounding to ticks; beyond this
/// many timeouts another broker must be alive with this id.
const TIMEOUTS_MAX: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(
        "broker id {id} is taken: ZooKeeper still has its registration as {endpoints} after {} s, longer than a \
         session of a dead broker lives. Stop that broker, or give this one another broker.id",
        waited.as_secs()
    )]
    IdTaken { id: BrokerId, endpoints: String, waited: Duration },
    #[error(
        "the advertised listener {endpoint} is already registered by broker {other}. Each broker needs a host and \
         port of its own: check advertised.listeners"
    )]
    EndpointTaken { endpoint: Endpoint, other: BrokerId },
    #[error(
        "the registration of broker {id} in the session {session} was removed while it was being made: somebody took \
         this broker for dead. Start it again"
    )]
    Removed { id: BrokerId, session: SessionId },
    #[error(transparent)]
    Zk(#[from] ZkError),
}

/// What is registered under `/brokers/ids`, but for the time stamp.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub id: BrokerId,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    /// Whether others may remove the registration when this process is dead
    /// (`broker.death.detection.enable`), and not only the end of its session.
    pub may_be_removed: bool,
    /// See [`Companion::lock`].
    pub lock: Option<String>,
}

impl Identity {
    fn companion(&self, removals: u32) -> Option<Companion> {
        self.may_be_removed.then(|| Companion { removals, lock: self.lock.clone(), removed_by: None })
    }
}

/// This broker's membership. Dropping it leaves without a goodbye; see [`Membership::leave`].
#[derive(Debug)]
pub(crate) struct Membership {
    sessions: watch::Receiver<Option<Session>>,
    newest: Arc<Mutex<Session>>,
    keeper: JoinHandle<()>,
}

impl Membership {
    /// Keeps the broker registered, who is so in `session` since `first`. `registered` is called with each
    /// registration's epoch, before anyone is told of the session it is in.
    pub(crate) fn of(
        session: Session,
        first: Registered,
        zk: ZkConfig,
        identity: Identity,
        registered: impl Fn(BrokerEpoch) + Send + 'static,
    ) -> Membership {
        announce(&identity, &session, first);
        registered(first.epoch);
        let newest = Arc::new(Mutex::new(session.clone()));
        let (publish, sessions) = watch::channel(Some(session.clone()));
        let keeper = vital::spawn(
            "membership",
            keep(session, first, zk, identity, registered, publish, Arc::clone(&newest)),
        );
        Membership { sessions, newest, keeper }
    }

    /// Follows the session this broker is registered in; `None` between one's end and the next registration.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Session>> {
        self.sessions.clone()
    }

    /// The session of the moment. It may be over; what is asked of it then says so.
    pub(crate) fn session(&self) -> Session {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does not register any more, should the registration be lost from now on.
    pub(crate) fn retire(&self) {
        self.keeper.abort();
    }

    /// Closes the session: the registration vanishes at once.
    pub(crate) async fn leave(&self) {
        self.retire();
        if !self.session().close().await {
            tracing::warn!(
                "ZooKeeper could not be told goodbye: the registration stays until its session times out"
            );
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Registers the broker for the first time. A registration left by an earlier run of it is removed where it is known to
/// be that, and waited out otherwise.
pub(crate) async fn register(session: &Session, identity: &Identity) -> Result<Registered, JoinError> {
    check_endpoints(session, identity).await?;
    wait_out_and_register(session, identity).await
}

/// Opens a new session and registers again whenever the last one is over, or the registration is gone.
async fn keep(
    mut session: Session,
    mut now: Registered,
    zk: ZkConfig,
    identity: Identity,
    registered: impl Fn(BrokerEpoch) + Send + 'static,
    publish: watch::Sender<Option<Session>>,
    newest: Arc<Mutex<Session>>,
) {
    let mut removals = 0;
    loop {
        let removed = tokio::select! {
            _ = session.over() => false,
            () = removed(&session, identity.id, now.epoch) => true,
        };
        publish.send_replace(None);
        let previous = session.id();
        if removed {
            removals += 1;
            let by = session.removed_by(identity.id).await.ok().flatten();
            tracing::warn!(
                broker = %identity.id,
                epoch = %now.epoch,
                by = ?by,
                "our registration was removed though this process lives: to somebody it looked dead, since its \
                 listener refused connections. Is there a proxy or firewall in between? Registering again"
            );
            // What hangs on the session belongs to the registration that is gone.
            session.close().await;
        } else {
            tracing::warn!(
                broker = %identity.id,
                session = %previous,
                "ZooKeeper ended our session: the cluster took this broker for dead. Registering again"
            );
        }
        (session, now) = loop {
            match reregister(&zk, &identity, removals, previous, &newest).await {
                Ok((session, new)) => {
                    announce(&identity, &session, new);
                    registered(new.epoch);
                    break (session, new);
                }
                Err(error) => {
                    tracing::warn!(broker = %identity.id, %error, "not registered; trying again in {} s", RETRY.as_secs());
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        publish.send_replace(Some(session.clone()));
    }
}

/// Returns when the registration of this epoch is not there any more.
async fn removed(session: &Session, id: BrokerId, epoch: BrokerEpoch) {
    let path = broker::path(id);
    loop {
        match session.exists_watch(&path).await {
            Ok((Some(stat), mut watch)) if stat.czxid == epoch.0 => {
                watch.changed().await;
            }
            Ok(_) => return,
            // The session's end is noticed elsewhere; until the connection is back nobody can tell.
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn reregister(
    zk: &ZkConfig,
    identity: &Identity,
    removals: u32,
    previous: SessionId,
    newest: &Mutex<Session>,
) -> Result<(Session, Registered), RegisterError> {
    let session = Session::connect(zk.clone()).await?;
    *newest.lock().unwrap_or_else(PoisonError::into_inner) = session.clone();
    let (registration, companion) = (encode(identity), identity.companion(removals));
    let registered =
        session.register_broker(identity.id, &registration, Some(previous), companion.as_ref()).await?;
    Ok((session, registered))
}

/// Registers; while an earlier run's registration is there, waits for its session's end.
async fn wait_out_and_register(session: &Session, identity: &Identity) -> Result<Registered, JoinError> {
    let started = tokio::time::Instant::now();
    let limit = session.timeout() * TIMEOUTS_MAX;
    let companion = identity.companion(0);
    let mut told = false;
    loop {
        match session.register_broker(identity.id, &encode(identity), None, companion.as_ref()).await {
            Ok(registered) => return Ok(registered),
            Err(RegisterError::Zk(error)) => return Err(error.into()),
            Err(RegisterError::Spent { id, session }) => return Err(JoinError::Removed { id, session }),
            Err(RegisterError::Taken { id, owner, endpoints, .. }) => {
                if remove_own(session, identity).await? {
                    continue;
                }
                let waited = started.elapsed();
                if waited > limit {
                    return Err(JoinError::IdTaken { id, endpoints, waited });
                }
                if !told {
                    told = true;
                    tracing::info!(
                        broker = %id,
                        owner = ?owner,
                        %endpoints,
                        "broker id {id} is still registered by another session. If that is an earlier run of this broker, \
                         which did not shut down cleanly, ZooKeeper ends it within its timeout; waiting up to {} s",
                        limit.as_secs()
                    );
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// Removes the registration of an earlier run of this broker, if it is certain that it is that: the run held a lock
/// that this one holds now. `false`: it is not, or somebody else removed it first.
async fn remove_own(session: &Session, identity: &Identity) -> Result<bool, ZkError> {
    if identity.lock.is_none() {
        return Ok(false);
    }
    let earlier = session.marked_registration(identity.id).await?;
    let Some(earlier) = earlier.filter(|earlier| earlier.companion.lock == identity.lock) else {
        return Ok(false);
    };
    let removed = session.remove_registration(&earlier, identity.id, None).await?;
    if removed {
        tracing::info!(
            broker = %identity.id, epoch = %earlier.epoch,
            "removed the registration of an earlier run of this broker, which did not shut down cleanly"
        );
    }
    Ok(removed)
}

/// No two brokers may be reached at one address (`KafkaServer.createBrokerInfo`).
async fn check_endpoints(session: &Session, identity: &Identity) -> Result<(), JoinError> {
    let own = identity.id.to_string();
    let others: Vec<String> = session.children(IDS).await?.into_iter().filter(|id| *id != own).collect();
    let paths: Vec<String> = others.iter().map(|id| format!("{IDS}/{id}")).collect();
    for (id, node) in others.iter().zip(session.get_many(&paths).await?) {
        let Some(registration) = node.and_then(|node| Registration::decode(&node.data).ok()) else {
            continue;
        };
        for endpoint in &identity.endpoints {
            let taken =
                registration.endpoints.iter().any(|e| e.host == endpoint.host && e.port == endpoint.port);
            if let (true, Ok(other)) = (taken, id.parse()) {
                return Err(JoinError::EndpointTaken { endpoint: endpoint.clone(), other: BrokerId(other) });
            }
        }
    }
    Ok(())
}

fn encode(identity: &Identity) -> Vec<u8> {
    Registration {
        endpoints: identity.endpoints.clone(),
        rack: identity.rack.clone(),
        jmx_port: -1,
        timestamp_ms: crate::clock::Now::read().unix_ms,
        features: Default::default(),
    }
    .encode()
}

fn announce(identity: &Identity, session: &Session, registered: Registered) {
    let endpoints: Vec<String> = identity.endpoints.iter().map(ToString::to_string).collect();
    tracing::info!(
        broker = %identity.id,
        epoch = %registered.epoch,
        session = %session.id(),
        "registered in ZooKeeper as {}",
        endpoints.join(",")
    );
}
