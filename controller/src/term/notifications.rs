//! What brokers leave under `/isr_change_notification` and `/log_dir_event_notification`, and what
//! they answer about failed log directories.

use std::collections::BTreeSet;

use client::ids::{BrokerId, TopicPartition};
use client::wire::ErrorCode;
use client::znode::{admin, notification};

use super::{Replica, Term};
use crate::cluster::Leadership;
use crate::standing::Record;
use crate::store;
use crate::world::{Node, RoleAnswer, Trouble, World, Write};

impl<W: World> Term<W> {
    /// Brokers of inter-broker protocol 2.6 and earlier wrote states themselves.
    pub(super) async fn isrs_changed(&mut self) -> Result<(), Trouble> {
        let (paths, nodes) = self.notifications(notification::ISR_CHANGES).await?;
        if paths.is_empty() {
            return Ok(());
        }
        let named =
            nodes.iter().filter_map(|node| notification::decode_isr_change(&node.data).ok()).flatten();
        let partitions: BTreeSet<TopicPartition> = named.filter(|p| self.cluster.has_partition(p)).collect();
        let read = store::states(&self.world, partitions.iter().cloned().collect()).await?;
        for (partition, state) in read {
            self.take_in_read(&partition, state);
        }
        self.send_metadata(&partitions);
        self.delete(paths).await
    }

    /// Brokers lost log directories. Which replicas that concerns they say when they are told
    /// their roles again.
    pub(super) async fn log_dirs_failed(&mut self) -> Result<(), Trouble> {
        let (paths, nodes) = self.notifications(notification::LOG_DIR_EVENTS).await?;
        if paths.is_empty() {
            return Ok(());
        }
        let brokers: BTreeSet<BrokerId> =
            nodes.iter().filter_map(|node| notification::decode_log_dir_event(&node.data).ok()).collect();
        for &broker in &brokers {
            tracing::warn!(%broker, "a log directory of a broker has failed; it is asked which replicas are gone");
            let replicas: Vec<Replica> =
                self.cluster.hosted_by(broker).map(|p| (p.clone(), broker)).collect();
            self.replicas_online(replicas);
        }
        self.delete(paths).await
    }

    /// The notifications there are, with what could be read of them.
    async fn notifications(&self, parent: &str) -> Result<(Vec<String>, Vec<Node>), Trouble> {
        let names = self.world.list(parent).await?;
        let paths: Vec<String> = names.iter().map(|name| format!("{parent}/{name}")).collect();
        let nodes = self.world.read(paths.clone()).await?.into_iter().flatten().collect();
        Ok((paths, nodes))
    }

    async fn delete(&self, paths: Vec<String>) -> Result<(), Trouble> {
        self.world.commit(paths.into_iter().map(|path| Write::Delete { path }).collect()).await.map(drop)
    }

    /// What an earlier controller did not get to: reading all states makes it needless.
    pub(super) async fn drop_notifications(&self) -> Result<(), Trouble> {
        for parent in [notification::LOG_DIR_EVENTS, notification::ISR_CHANGES] {
            let names = self.world.list(parent).await?;
            self.delete(names.iter().map(|name| format!("{parent}/{name}")).collect()).await?;
        }
        Ok(())
    }

    /// A broker tells of each replica whether its directory works, and a leader that it knows the ISR. Other errors
    /// are everyday traffic: a role told twice is answered STALE_CONTROLLER_EPOCH.
    pub(super) async fn roles_answered(
        &mut self,
        broker: BrokerId,
        roles: &[RoleAnswer],
    ) -> Result<(), Trouble> {
        let mut lost: Vec<Replica> = Vec::new();
        let mut heard = Vec::new();
        for RoleAnswer { partition, version, error } in roles {
            if !self.cluster.replicas(partition).contains(&broker) {
                continue;
            }
            let leads_by_it =
                |state: &Leadership| state.leader == broker && state.partition_epoch == *version;
            if matches!(error, ErrorCode::None | ErrorCode::StaleControllerEpoch)
                && self.cluster.leadership(partition).is_some_and(leads_by_it)
                && self.standing.change(partition, Record::leader_heard)
            {
                heard.push(partition.clone());
            }
            match error {
                ErrorCode::None if self.cluster.set_dir_online(broker, partition) => {
                    tracing::info!(%partition, %broker, "a replica's log directory works again");
                }
                ErrorCode::KafkaStorageError if self.cluster.set_dir_offline(broker, partition.clone()) => {
                    tracing::warn!(%partition, %broker, "a replica's log directory has failed");
                    lost.push((partition.clone(), broker));
                }
                _ => {}
            }
        }
        if !lost.is_empty() {
            self.became_offline(lost).await?;
        }
        self.rewrite_lists(&heard).await
    }

    /// Reassignments are not carried out yet by this controller; one that is under way in the
    /// topic's node is kept as it is.
    pub(super) async fn reassignment_requested(&mut self) -> Result<(), Trouble> {
        let path = admin::REASSIGN_PARTITIONS;
        let node = self.world.read(vec![path.to_owned()]).await?.into_iter().next().flatten();
        if node.is_some() {
            tracing::warn!(
                path,
                "this controller does not carry out reassignments: the node is left as it is and nothing moves; \
                 delete the node to withdraw the request"
            );
        }
        Ok(())
    }
}
