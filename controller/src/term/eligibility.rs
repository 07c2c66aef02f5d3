//! Lists of eligible replicas: written together with the states they belong to, read at the beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{TopicPartition, Uuid, ZkVersion};
use client::znode::eligible_replicas::{self, ELIGIBLE_REPLICAS, EligibleReplicas};

use super::Term;
use crate::cluster::Leadership;
use crate::standing::{Cause, Outside, Record};
use crate::store;
use crate::world::{Rejection, Trouble, World, Write};

/// Deaths and elections wait until so many are written.
const KEPT_AT_ONCE: usize = 1_000;

impl<W: World> Term<W> {
    /// Takes in what still belongs to a partition's state, and takes the rest away: those states were
    /// written by controllers that know no such lists.
    pub(super) async fn load_eligible(&mut self) -> Result<(), Trouble> {
        if !self.parents.has(ELIGIBLE_REPLICAS) {
            return Ok(());
        }
        let listed = self.world.list(ELIGIBLE_REPLICAS).await?;
        let named: Vec<TopicPartition> =
            listed.iter().filter_map(|child| eligible_replicas::partition_of(child)).collect();
        let nodes = self.world.read(named.iter().map(eligible_replicas::path).collect()).await?;
        let mut foreign = Vec::new();
        let mut current = Vec::new();
        for (partition, node) in named.into_iter().zip(nodes) {
            let list = node.and_then(|node| EligibleReplicas::decode(&node.data).ok());
            match list.filter(|list| self.is_current(&partition, list)) {
                Some(list) => current.push((partition, list)),
                None => foreign.push(Write::Delete { path: eligible_replicas::path(&partition) }),
            }
        }
        let mins = self.min_insync(current.iter().map(|(partition, _)| partition).collect()).await?;
        for (partition, list) in &current {
            let isr = self.cluster.leadership(partition).map_or(0, |state| state.isr.len());
            let outside = Outside {
                eligible: list.replicas.clone(),
                uncertain: list.uncertain.clone(),
                is_short: mins.get(partition).is_some_and(|min| isr < *min),
                is_kept: true,
            };
            self.standing.change(partition, |record| record.load(outside, list.state_version));
        }
        if foreign.is_empty() {
            return Ok(());
        }
        self.world.commit(foreign).await.map(drop)
    }

    /// How many have to be in sync: `min.insync.replicas`, but never more than there are.
    async fn min_insync<'a>(
        &self,
        partitions: Vec<&'a TopicPartition>,
    ) -> Result<BTreeMap<&'a TopicPartition, usize>, Trouble> {
        let topics: BTreeSet<Arc<str>> = partitions.iter().map(|partition| partition.topic.clone()).collect();
        let default = self.settings.min_insync_replicas;
        let mins = store::min_insync(&self.world, topics.into_iter().collect(), default).await?;
        let min = |partition: &TopicPartition| {
            let asked = mins.get(&partition.topic).copied().unwrap_or(default);
            asked.min(self.cluster.replicas(partition).len())
        };
        Ok(partitions.into_iter().map(|partition| (partition, min(partition))).collect())
    }

    fn is_current(&self, partition: &TopicPartition, list: &EligibleReplicas) -> bool {
        let version = self.cluster.leadership(partition).map(|state| state.partition_epoch);
        version == Some(list.state_version) && self.cluster.topic_id(&partition.topic) == Some(list.topic_id)
    }

    /// Who counts outside the ISRs once these states are written. Only where somebody is left out the topic's
    /// `min.insync.replicas` is read.
    pub(super) async fn outside_after(
        &self,
        decided: &[(TopicPartition, Leadership)],
        cause: Cause,
    ) -> Result<Vec<Outside>, Trouble> {
        let nothing = Record::default();
        let judged = |(partition, next): &(TopicPartition, Leadership), min: usize| -> Outside {
            let Some(before) = self.cluster.leadership(partition) else { return Outside::default() };
            if self.cluster.is_to_delete(&partition.topic) {
                return Outside::default();
            }
            let record = self.standing.get(partition).unwrap_or(&nothing);
            let mut outside = record.outside_after(before, next, min, cause);
            outside.retain(self.cluster.replicas(partition));
            outside
        };
        let concerned = decided.iter().filter(|state| !judged(state, usize::MAX).is_empty());
        let mins = self.min_insync(concerned.map(|(partition, _)| partition).collect()).await?;
        // Of those that leave nobody out it does not matter.
        let min = |partition: &TopicPartition| mins.get(partition).copied().unwrap_or_default();
        Ok(decided.iter().map(|state| judged(state, min(&state.0))).collect())
    }

    /// The write of a state, and with it that of its list.
    pub(super) fn write_of(&self, partition: &TopicPartition, next: &Leadership, outside: &Outside) -> Write {
        let state = store::set_state(partition, next);
        // The version that the state will have.
        let version = ZkVersion(next.partition_epoch.0.wrapping_add(1));
        match self.list(partition, version, outside) {
            Some(list) => Write::Together(vec![state, list]),
            None => state,
        }
    }

    /// `None`: there is no list, and none is needed.
    fn list(&self, partition: &TopicPartition, version: ZkVersion, outside: &Outside) -> Option<Write> {
        let path = eligible_replicas::path(partition);
        let is_noted = self.standing.get(partition).is_some_and(Record::is_noted);
        if outside.is_empty() || !outside.is_kept {
            return is_noted.then_some(Write::Delete { path });
        }
        let topic_id: Uuid = self.cluster.topic_id(&partition.topic)?;
        let (replicas, uncertain) = (outside.eligible.clone(), outside.uncertain.clone());
        let data = EligibleReplicas { topic_id, state_version: version, replicas, uncertain }.encode();
        Some(match is_noted {
            true => Write::Set { path, data, version: None },
            false => Write::Create { path, data },
        })
    }

    /// The parents of lists, before the first one.
    pub(super) async fn ensure_lists(&mut self) -> Result<(), Trouble> {
        let missing = self.parents.missing(ELIGIBLE_REPLICAS);
        if missing.is_empty() {
            return Ok(());
        }
        for result in self.world.commit(missing).await? {
            match result {
                Ok(_) | Err(Rejection::NodeExists) => {}
                Err(reason) => tracing::warn!(%reason, "lists of eligible replicas cannot be kept"),
            }
        }
        self.parents.are_made(ELIGIBLE_REPLICAS);
        Ok(())
    }

    /// Lists that nobody else knows are kept if they last: leaders that are there answer sooner.
    pub(super) async fn keep_lasting_lists(&mut self) -> Result<(), Trouble> {
        let unkept: BTreeSet<TopicPartition> = self.standing.unkept().cloned().collect();
        let lasting = self.unkept.intersection(&unkept).take(KEPT_AT_ONCE).cloned().collect();
        self.unkept = unkept;
        self.keep_lists(lasting).await?;
        self.forget_departures().await
    }

    /// Leaves the next controller all that this one knows.
    pub async fn keep_all_lists(&mut self) -> Result<(), Trouble> {
        self.keep_lists(self.standing.unkept().cloned().collect()).await?;
        self.forget_departures().await
    }

    async fn keep_lists(&mut self, mut partitions: Vec<TopicPartition>) -> Result<(), Trouble> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.ensure_lists().await?;
        partitions.retain(|partition| self.standing.change(partition, Record::keep));
        self.rewrite_lists(&partitions).await
    }

    /// Forgets what is known beyond the states of a topic that is gone; gives the lists that ZooKeeper has.
    pub(super) fn forget_standing(&mut self, topic: &str) -> Vec<String> {
        let partitions = self.cluster.partitions_of(topic).into_iter();
        let noted = partitions.filter(|p| self.standing.remove(p).is_some_and(|record| record.is_noted()));
        noted.map(|partition| eligible_replicas::path(&partition)).collect()
    }

    /// Writes lists that changed while their states did not.
    pub(super) async fn rewrite_lists(&mut self, partitions: &[TopicPartition]) -> Result<(), Trouble> {
        if partitions.is_empty() {
            return Ok(());
        }
        let writes = partitions.iter().filter_map(|partition| {
            let state = self.cluster.leadership(partition)?;
            let outside = self.standing.get(partition)?.outside(state);
            Some((partition, self.list(partition, state.partition_epoch, outside)?))
        });
        let (written, writes): (Vec<&TopicPartition>, Vec<Write>) = writes.unzip();
        let are_lists: Vec<bool> =
            writes.iter().map(|write| !matches!(write, Write::Delete { .. })).collect();
        let results = self.world.commit(writes).await?;
        for ((partition, is_list), result) in written.into_iter().zip(are_lists).zip(results) {
            match result {
                Ok(_) => self.standing.change(partition, |record| record.note(is_list)),
                Err(Rejection::NoNode) => {
                    self.parents.may_be_gone();
                    self.standing.change(partition, |record| record.note(false));
                }
                Err(Rejection::NodeExists) => self.standing.change(partition, Record::found),
                Err(reason) => {
                    tracing::warn!(%partition, %reason, "a list of eligible replicas cannot be written");
                }
            }
        }
        Ok(())
    }
}
