//! `/consumers/<group>` of one member, in one session: what it reads and writes there.

use std::collections::BTreeMap;

use super::assignment::ThreadId;
use super::error::{ClassicError, RebalanceError};
use crate::ids::{Offset, TopicPartition};
use crate::zk::{CreateMode, Op, Session, SessionId, Watch, ZkError};
use crate::znode::consumer::{self, ConsumerRegistration};

/// Members of a group by name.
pub(super) type Members = BTreeMap<String, ConsumerRegistration>;

/// Partitions that could not be claimed, with the text of their owner.
pub(super) type Refused = Vec<(TopicPartition, String)>;

/// All of it is written in the one session that the registration and the ownerships live as long as: an
/// offset that is committed here cannot be that of a member which has lost its partitions with its session.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) session: Session,
    pub(super) group: String,
    pub(super) consumer: String,
}

impl Registry {
    /// False: the name is taken by a session that is not `previous`.
    pub(super) async fn register(
        &self,
        registration: &ConsumerRegistration,
        previous: Option<SessionId>,
    ) -> Result<bool, ClassicError> {
        let path = consumer::id_path(&self.group, &self.consumer);
        loop {
            match self.session.create(&path, registration.encode(), CreateMode::Ephemeral).await {
                Ok(_) => return Ok(true),
                Err(ZkError::NoNode { .. }) => {
                    self.session.create_directories(&[&consumer::ids_path(&self.group)]).await?;
                    continue;
                }
                Err(ZkError::NodeExists { .. } | ZkError::Ambiguous { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(node) = self.session.get_if_exists(&path).await? else { continue };
            match node.stat.ephemeral_owner {
                Some(owner) if owner == self.session.id() => return Ok(true),
                Some(owner) if Some(owner) == previous => self.remove(&path).await?,
                _ => return Ok(false),
            }
        }
    }

    /// The members that there are, and a watch for a change of who there is.
    pub(super) async fn members(&self) -> Result<(Members, Watch), RebalanceError> {
        let (names, watch) = self.session.children_watch(&consumer::ids_path(&self.group)).await?;
        let paths: Vec<String> = names.iter().map(|name| consumer::id_path(&self.group, name)).collect();
        let nodes = self.session.get_many(&paths).await?;
        let mut members = Members::new();
        for (name, node) in names.into_iter().zip(nodes) {
            // One that left meanwhile: the watch tells.
            let Some(node) = node else { continue };
            members.insert(name, ConsumerRegistration::decode(&node.data)?);
        }
        Ok((members, watch))
    }

    /// Takes partitions for its threads, each by itself. Tells which belong to somebody else.
    pub(super) async fn claim(
        &self,
        wanted: &[(TopicPartition, ThreadId)],
    ) -> Result<Refused, RebalanceError> {
        let mut refused = Refused::new();
        let mut open: Vec<&(TopicPartition, ThreadId)> = wanted.iter().collect();
        while !open.is_empty() {
            let ops = open.iter().map(|(partition, thread)| Op::Create {
                path: consumer::owner_path(&self.group, &partition.topic, partition.partition),
                data: thread.to_string().into_bytes(),
                mode: CreateMode::Ephemeral,
            });
            let results = self.session.write_many(ops.collect()).await;
            let mut again = Vec::new();
            for (claim, result) in open.into_iter().zip(results) {
                let (partition, thread) = claim;
                match result {
                    Ok(_) => continue,
                    Err(ZkError::NoNode { .. }) => {
                        let parent = consumer::owners_path(&self.group, &partition.topic);
                        self.session.create_directories(&[&parent]).await?;
                        again.push(claim);
                        continue;
                    }
                    Err(ZkError::NodeExists { .. } | ZkError::Ambiguous { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                let path = consumer::owner_path(&self.group, &partition.topic, partition.partition);
                match self.session.get_if_exists(&path).await? {
                    None => again.push(claim),
                    Some(node) if node.stat.ephemeral_owner != Some(self.session.id()) => {
                        let owner = String::from_utf8_lossy(&node.data).into_owned();
                        refused.push((partition.clone(), owner));
                    }
                    Some(node) if node.data == thread.to_string().as_bytes() => {}
                    // Left by a release of unknown outcome.
                    Some(_) => {
                        self.remove(&path).await?;
                        again.push(claim);
                    }
                }
            }
            open = again;
        }
        Ok(refused)
    }

    /// Lets go of partitions, those that are ours.
    pub(super) async fn release(&self, partitions: &[TopicPartition]) -> Result<(), ZkError> {
        let mut open: Vec<String> =
            partitions.iter().map(|id| consumer::owner_path(&self.group, &id.topic, id.partition)).collect();
        while !open.is_empty() {
            let nodes = self.session.get_many(&open).await?;
            let ours = open.into_iter().zip(nodes).filter(|(_, node)| {
                node.as_ref().is_some_and(|node| node.stat.ephemeral_owner == Some(self.session.id()))
            });
            let ours: Vec<String> = ours.map(|(path, _)| path).collect();
            let ops = ours.iter().map(|path| Op::delete(path, None)).collect();
            open = Vec::new();
            for (path, result) in ours.into_iter().zip(self.session.write_many(ops).await) {
                match result {
                    Ok(_) | Err(ZkError::NoNode { .. }) => {}
                    // Done or not, and by now perhaps somebody else's.
                    Err(ZkError::Ambiguous { .. }) => open.push(path),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The offsets that the group has committed.
    pub(super) async fn offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, RebalanceError> {
        let paths: Vec<String> = partitions.iter().map(|id| self.offset_path(id)).collect();
        let nodes = self.session.get_many(&paths).await?;
        let mut offsets = BTreeMap::new();
        for (id, node) in partitions.iter().zip(nodes) {
            let offset = node.map(|node| consumer::decode_offset(&node.data)).transpose()?;
            // A classic consumer that did not know where to begin may have written −1.
            offsets.insert(id.clone(), offset.filter(|offset| offset.0 >= 0));
        }
        Ok(offsets)
    }

    /// Writes offsets, whatever was there before.
    pub(super) async fn commit(&self, offsets: &[(TopicPartition, Offset)]) -> Result<(), ZkError> {
        let ops = offsets
            .iter()
            .map(|(id, offset)| Op::set(self.offset_path(id), consumer::encode_offset(*offset), None));
        let results = self.session.write_many(ops.collect()).await;
        for ((id, offset), result) in offsets.iter().zip(results) {
            match result {
                Ok(_) => {}
                // The same write again does no harm: nobody else writes while the partition is ours.
                Err(ZkError::NoNode { .. } | ZkError::Ambiguous { .. }) => {
                    let parent = consumer::offsets_path(&self.group, &id.topic);
                    self.session.create_directories(&[&parent]).await?;
                    let data = consumer::encode_offset(*offset);
                    self.session.set_or_create(&self.offset_path(id), data).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn offset_path(&self, id: &TopicPartition) -> String {
        consumer::offset_path(&self.group, &id.topic, id.partition)
    }

    async fn remove(&self, path: &str) -> Result<(), ZkError> {
        match self.session.delete(path, None).await {
            Ok(()) | Err(ZkError::NoNode { .. } | ZkError::Ambiguous { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
