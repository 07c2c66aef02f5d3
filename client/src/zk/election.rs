//! The election of the controller
//! (Kafka's `KafkaZkClient.registerControllerAndIncrementControllerEpoch`).

use super::error::{MultiError, ZkError};
use super::node::Node;
use super::op::{CreateMode, Op, OpResult};
use super::session::Session;
use crate::ids::{BrokerId, ControllerEpoch, ZkVersion};
use crate::znode::ZnodeError;
use crate::znode::controller::{
    ControllerRegistration, EPOCH_PATH, INITIAL_EPOCH, PATH, decode_epoch, encode_epoch,
};

/// How an election ended for the one who stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Election {
    /// This broker is the controller.
    Won {
        epoch: ControllerEpoch,
        /// The data version of `/controller_epoch` that fences every write of this controller. It
        /// need not be the same number as the epoch.
        epoch_version: ZkVersion,
    },
    /// Somebody else is. `None`: somebody was, and is gone already; stand again.
    Lost { controller: Option<ControllerRegistration> },
}

impl Session {
    /// Stands for controller. Arm a watch on `/controller` before.
    ///
    /// A `/controller` node of this very session, left by an election whose outcome was never
    /// learned, is deleted first: only an election that is known to be won makes a controller.
    pub async fn elect_controller(&self, broker: BrokerId, now_ms: i64) -> Result<Election, ZkError> {
        if let Some(node) = self.get_if_exists(PATH).await? {
            if node.stat.ephemeral_owner != Some(self.id()) {
                return Ok(Election::Lost { controller: Some(read_controller(&node)?) });
            }
            tracing::info!(%broker, "deleting our own /controller, left by an election of unknown outcome");
            self.delete_own_controller().await?;
        }
        let (epoch, version) = self.controller_epoch().await?;
        let next = ControllerEpoch(epoch.0.wrapping_add(1));
        let ops = vec![
            Op::Create {
                path: PATH.to_owned(),
                data: ControllerRegistration::of(broker, now_ms).encode(),
                mode: CreateMode::Ephemeral,
            },
            Op::set(EPOCH_PATH, encode_epoch(next), Some(version)),
        ];
        match self.multi(ops).await {
            Ok(results) => match results.last().and_then(OpResult::stat) {
                Some(stat) => Ok(Election::Won { epoch: next, epoch_version: stat.version }),
                None => self.election_outcome(next).await,
            },
            Err(MultiError {
                error: ZkError::NodeExists { .. } | ZkError::BadVersion { .. } | ZkError::Ambiguous { .. },
                ..
            }) => self.election_outcome(next).await,
            Err(failed) => Err(failed.error),
        }
    }

    /// What an election that did not plainly succeed led to. A lost answer may hide a victory.
    async fn election_outcome(&self, ours: ControllerEpoch) -> Result<Election, ZkError> {
        let Some(node) = self.get_if_exists(PATH).await? else {
            return Ok(Election::Lost { controller: None });
        };
        let controller = read_controller(&node)?;
        if node.stat.ephemeral_owner == Some(self.id()) {
            let (epoch, epoch_version) = self.controller_epoch().await?;
            if epoch == ours {
                return Ok(Election::Won { epoch, epoch_version });
            }
        }
        Ok(Election::Lost { controller: Some(controller) })
    }

    /// The epoch and the data version of its node, which is created if it is missing.
    pub async fn controller_epoch(&self) -> Result<(ControllerEpoch, ZkVersion), ZkError> {
        loop {
            if let Some(node) = self.get_if_exists(EPOCH_PATH).await? {
                let epoch = decode_epoch(&node.data).map_err(|error| unreadable(EPOCH_PATH, &error))?;
                return Ok((epoch, node.version()));
            }
            match self.create(EPOCH_PATH, encode_epoch(INITIAL_EPOCH), CreateMode::Persistent).await {
                Ok(_) | Err(ZkError::NodeExists { .. } | ZkError::Ambiguous { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who is controller now.
    pub async fn controller(&self) -> Result<Option<ControllerRegistration>, ZkError> {
        self.get_if_exists(PATH).await?.as_ref().map(read_controller).transpose()
    }

    /// Deletes `/controller` if it is this session's, so that the next election can begin. To be
    /// used by a controller whose writes are fenced while it is still named there: an outsider
    /// wrote `/controller_epoch`, and nothing else would end that.
    pub async fn delete_own_controller(&self) -> Result<(), ZkError> {
        let Some(node) = self.get_if_exists(PATH).await? else { return Ok(()) };
        if node.stat.ephemeral_owner != Some(self.id()) {
            return Ok(());
        }
        match self.delete(PATH, Some(node.version())).await {
            Ok(()) | Err(ZkError::NoNode { .. } | ZkError::BadVersion { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn read_controller(node: &Node) -> Result<ControllerRegistration, ZkError> {
    ControllerRegistration::decode(&node.data).map_err(|error| unreadable(PATH, &error))
}

fn unreadable(path: &str, error: &ZnodeError) -> ZkError {
    ZkError::Refused { operation: "reading", path: path.to_owned(), reason: error.to_string() }
}
