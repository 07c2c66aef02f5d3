//! Which cluster this is, and the id of a broker that was given none: facts that ZooKeeper keeps.

use client::ids::{BrokerId, Uuid};
use client::zk::{Session, ZkError};
use client::znode::{broker, cluster};

/// The cluster's id, made by the first broker that ever joined (`/cluster/id`).
pub(crate) async fn cluster_id(session: &Session) -> Result<String, ClusterIdError> {
    loop {
        if let Some(node) = session.get_if_exists(cluster::PATH).await? {
            return cluster::decode(&node.data)
                .map_err(|error| ClusterIdError::Unreadable { reason: error.to_string() });
        }
        let id = std::iter::repeat_with(|| Uuid::from_random(rand::random()))
            .flatten()
            .next()
            .unwrap_or_default()
            .to_string();
        match session.create_recursive(cluster::PATH, cluster::encode(&id)).await {
            // Whoever was first has it; ours is read back like anybody's.
            Ok(()) | Err(ZkError::NodeExists { .. } | ZkError::Ambiguous { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterIdError {
    #[error(
        "the znode {} cannot be read: {reason}. It should hold what the first broker wrote, such as \
         {{\"version\":\"1\",\"id\":\"vPeOCWypqUOSepEvx0cbog\"}}",
        cluster::PATH
    )]
    Unreadable { reason: String },
    #[error(transparent)]
    Zk(#[from] ZkError),
}

/// An id nobody has: the data version of `/brokers/seqid` after a write, above `reserved.broker.max.id`.
pub(crate) async fn generate_broker_id(session: &Session, reserved_max: i32) -> Result<BrokerId, ZkError> {
    let version = match session.set(broker::SEQID, Vec::new(), None).await {
        Err(ZkError::NoNode { .. }) => {
            session.ensure(broker::SEQID).await?;
            session.set(broker::SEQID, Vec::new(), None).await?
        }
        other => other?,
    };
    Ok(BrokerId(version.version.0.saturating_add(reserved_max)))
}
