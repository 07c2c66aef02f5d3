//! A broker's registration, as Kafka does it (`KafkaZkClient.CheckedEphemeral`), and beside it the
//! companion that lets others remove it.

use super::error::{MultiError, ZkError};
use super::node::{SessionId, Stat};
use super::op::{CreateMode, Op, OpResult};
use super::session::Session;
use crate::ids::{BrokerEpoch, BrokerId, ZkVersion};
use crate::znode::broker;
use crate::znode::companion::{self, Companion};

/// The node may be lost and made again a few times by sessions that come and go; more is odd.
const TRIES: usize = 10;

/// The companion's place in the transaction.
const COMPANION: usize = 2;

/// The registration is there, and lives as long as the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The czxid of the node: a new one with every registration.
    pub epoch: BrokerEpoch,
    /// 1 at first, one more with every later change of the node.
    pub version: ZkVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Another broker with this id lives, or this one lived a moment ago and its session has not
    /// ended yet: that takes its session timeout.
    #[error(
        "broker {id} is registered in ZooKeeper by {}, as {endpoints}: either another broker has this id, \
         or an earlier run of this one ended without closing its session, which then ends by itself",
        owner_text(owner)
    )]
    Taken { id: BrokerId, owner: Option<SessionId>, endpoints: String, registered_ms: i64 },
    /// The session has registered the broker before, and the registration was removed. A session
    /// registers once: what removes a registration means that of this session.
    #[error("the session {session} has registered broker {id} before; another session can register it again")]
    Spent { id: BrokerId, session: SessionId },
    #[error(transparent)]
    Zk(#[from] ZkError),
}

fn owner_text(owner: &Option<SessionId>) -> String {
    owner.map_or_else(|| String::from("nobody's session"), |owner| format!("the session {owner}"))
}

impl Session {
    /// Registers a broker under `/brokers/ids`; the node vanishes with the session.
    ///
    /// `previous` is the session of this process before this one: its node, if the server has not
    /// dropped it yet, is deleted. Anybody else's is [`RegisterError::Taken`].
    ///
    /// With a `companion` others may remove the registration: see
    /// [`marked_registration`](Session::marked_registration).
    pub async fn register_broker(
        &self,
        id: BrokerId,
        registration: &[u8],
        previous: Option<SessionId>,
        companion: Option<&Companion>,
    ) -> Result<Registered, RegisterError> {
        let path = broker::path(id);
        if let Some(previous) = previous {
            // From here on nobody can mean its registration and remove the new one.
            match self.delete(&companion::path(id, previous.0), None).await {
                Ok(()) | Err(ZkError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Created without data, then set, in one transaction: so the update's stat tells the czxid.
        let mut ops = vec![
            Op::Create { path: path.clone(), data: Vec::new(), mode: CreateMode::Ephemeral },
            Op::set(&path, registration, Some(ZkVersion(0))),
        ];
        ops.extend(companion.map(|companion| Op::Create {
            path: companion::path(id, self.id().0),
            data: companion.encode(),
            mode: CreateMode::Ephemeral,
        }));
        let mut unknown = None;
        for _ in 0..TRIES {
            match self.multi(ops.clone()).await {
                Ok(results) => {
                    if let Some(stat) = results.iter().find_map(OpResult::stat) {
                        return Ok(Registered::of(stat));
                    }
                }
                Err(MultiError { index: Some(COMPANION), error: ZkError::NodeExists { .. } }) => {
                    return Err(RegisterError::Spent { id, session: self.id() });
                }
                Err(MultiError { index: Some(COMPANION), error: ZkError::NoNode { .. } }) => {
                    self.ensure(companion::BROKERS).await?;
                    continue;
                }
                Err(MultiError { error: ZkError::NodeExists { .. }, .. }) => {}
                Err(MultiError { error: error @ ZkError::Ambiguous { .. }, .. }) => unknown = Some(error),
                Err(failed) => return Err(failed.error.into()),
            }
            let Some(node) = self.get_if_exists(&path).await? else { continue };
            let owner = node.stat.ephemeral_owner;
            if owner == Some(self.id()) {
                return Ok(Registered::of(node.stat));
            }
            if owner.is_none() || owner != previous {
                let endpoints = broker::Registration::decode(&node.data).map_or_else(
                    |_| String::from("something that is no registration"),
                    |taken| taken.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                );
                let registered_ms = node.stat.ctime_ms;
                return Err(RegisterError::Taken { id, owner, endpoints, registered_ms });
            }
            tracing::info!(broker = %id, session = %self.id(), previous = ?owner, "replacing the registration of our previous session");
            match self.delete(&path, Some(node.version())).await {
                Ok(())
                | Err(ZkError::NoNode { .. } | ZkError::BadVersion { .. } | ZkError::Ambiguous { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let reason = format!("it vanished again each of {TRIES} times");
        Err(unknown.unwrap_or(ZkError::Refused { operation: "registration", path, reason }).into())
    }
}

impl Registered {
    fn of(stat: Stat) -> Registered {
        Registered { epoch: BrokerEpoch(stat.czxid), version: stat.version }
    }
}
