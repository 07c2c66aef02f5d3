//! The removal of another broker's registration, of which it is known that its process is gone.
//!
//! A delete in ZooKeeper can ask for a data version, and every registration starts at the same one;
//! it cannot ask for the czxid, which is what tells registrations apart. Their companions do: each
//! has its session in its name, and a session registers once. So the removal is one multi with an
//! update of the companion at version 0. It does nothing
//!
//! - if the session has ended: its companion went with it, before anybody else could register;
//! - if the registration was removed already, by whomever: the companion is at version 1;
//! - to a registration of Kafka's own, which has no companion.
//!
//! And whoever registers the broker anew does so in another session, beside another companion, after
//! the companion of its own session before is gone.

use super::error::{MultiError, ZkError};
use super::node::SessionId;
use super::op::Op;
use super::session::Session;
use crate::ids::{BrokerEpoch, BrokerId, ZkVersion};
use crate::znode::companion::{self, Companion};
use crate::znode::{broker, controller};

/// A registration that may be removed, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    pub id: BrokerId,
    pub epoch: BrokerEpoch,
    pub companion: Companion,
    session: SessionId,
    version: ZkVersion,
    /// The data version of `/controller_epoch` while `/controller` was of the same session.
    reign: Option<ZkVersion>,
}

impl Session {
    /// The broker's registration, if there is one and it may be removed.
    pub async fn marked_registration(&self, id: BrokerId) -> Result<Option<Marked>, ZkError> {
        // Read first: an election since then changes it, and whose `/controller` is matters only
        // as long as there was none.
        let election = self.exists(controller::EPOCH_PATH).await?.map(|stat| stat.version);
        let Some(registration) = self.exists(&broker::path(id)).await? else { return Ok(None) };
        let Some(session) = registration.ephemeral_owner else { return Ok(None) };
        let Some(node) = self.get_if_exists(&companion::path(id, session.0)).await? else { return Ok(None) };
        if node.stat.czxid != registration.czxid || node.version() != ZkVersion(0) {
            return Ok(None);
        }
        let companion = match Companion::decode(&node.data) {
            Ok(companion) => companion,
            Err(error) => {
                tracing::warn!(broker = %id, %error, "this registration is left to its session");
                return Ok(None);
            }
        };
        let owner = self.exists(controller::PATH).await?.and_then(|stat| stat.ephemeral_owner);
        let reign = election.filter(|_| owner == Some(session));
        let (epoch, version) = (BrokerEpoch(registration.czxid), registration.version);
        Ok(Some(Marked { id, epoch, companion, session, version, reign }))
    }

    /// Removes the registration, and `/controller` if it was of the same session. `by` is who says
    /// so; `fence` is the version of `/controller_epoch` that a controller's writes depend on.
    ///
    /// `false`: it is not as it was read any more.
    pub async fn remove_registration(
        &self,
        marked: &Marked,
        by: BrokerId,
        fence: Option<ZkVersion>,
    ) -> Result<bool, ZkError> {
        let last_words = Companion { removed_by: Some(by), ..marked.companion.clone() };
        let mut ops: Vec<Op> = marked
            .reign
            .into_iter()
            .flat_map(|epoch| [Op::check(controller::EPOCH_PATH, epoch), Op::delete(controller::PATH, None)])
            .collect();
        ops.push(Op::set(
            companion::path(marked.id, marked.session.0),
            last_words.encode(),
            Some(ZkVersion(0)),
        ));
        ops.push(Op::delete(broker::path(marked.id), Some(marked.version)));
        let done = match fence {
            Some(epoch) => self.fenced_batch(ops, epoch).await,
            None => self.multi(ops).await,
        };
        match done {
            Ok(_) => Ok(true),
            Err(MultiError { error: ZkError::NoNode { .. } | ZkError::BadVersion { .. }, .. }) => Ok(false),
            Err(failed) => Err(failed.error),
        }
    }

    /// Who removed the registration that this session made; `None` if nobody did in the way of
    /// [`remove_registration`](Session::remove_registration).
    pub async fn removed_by(&self, id: BrokerId) -> Result<Option<BrokerId>, ZkError> {
        let node = self.get_if_exists(&companion::path(id, self.id().0)).await?;
        Ok(node.and_then(|node| Companion::decode(&node.data).ok()?.removed_by))
    }
}
