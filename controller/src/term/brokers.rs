//! Brokers join, leave, come back and move (`KafkaController.processBrokerChange`).

use std::collections::BTreeMap;

use client::ids::{BrokerId, TopicPartition};
use client::znode::unclean_stop::UncleanStop;

use super::{Replica, Term};
use crate::cluster::Broker;
use crate::plan::Batch;
use crate::store::{self, Word};
use crate::world::{Trouble, World};

impl<W: World> Term<W> {
    pub(super) async fn brokers_changed(&mut self) -> Result<(), Trouble> {
        let registered = store::brokers(&self.world).await?;
        let changes = self.cluster.diff_brokers(&registered);
        if changes.is_empty() {
            return Ok(());
        }
        let (new, bounced, dead) = (&changes.new, &changes.bounced, &changes.dead);
        let stops = store::unclean_stops(&self.world).await?;
        let told_by = |ids: &[BrokerId]| -> BTreeMap<UncleanStop, Word> {
            let stops = stops.iter().filter(|(stop, _)| ids.contains(&stop.broker));
            stops.map(|(stop, word)| (stop.clone(), word.clone())).collect()
        };
        let (new_stops, bounced_stops) = (told_by(new), told_by(bounced));
        let now: Vec<BrokerId> = registered.keys().copied().collect();
        tracing::info!(?new, ?bounced, ?dead, modified = ?changes.modified, ?now, "brokers changed");
        for &id in changes.bounced.iter().chain(&changes.dead) {
            self.world.disconnect(id);
        }
        if !changes.new.is_empty() {
            self.connect(&registered, &changes.new);
            self.put_brokers(&registered, &changes.new);
            self.remember_losers(new_stops).await?;
            self.brokers_started(&changes.new).await?;
        }
        if !changes.bounced.is_empty() {
            // What the broker had before it restarted is gone like that of a dead one. Only then may it hear
            // anything: what was meant for its former life would be done, and answered, by this one.
            self.brokers_failed(&changes.bounced).await?;
            self.connect(&registered, &changes.bounced);
            self.put_brokers(&registered, &changes.bounced);
            self.remember_losers(bounced_stops).await?;
            self.brokers_started(&changes.bounced).await?;
        }
        if !changes.dead.is_empty() {
            self.brokers_failed(&changes.dead).await?;
        }
        if !changes.modified.is_empty() {
            self.put_brokers(&registered, &changes.modified);
            // The channel goes to the end point it was opened with.
            self.connect(&registered, &changes.modified);
            self.send_metadata([]);
        }
        self.forget_settled_stops().await
    }

    fn connect(&mut self, registered: &BTreeMap<BrokerId, Broker>, ids: &[BrokerId]) {
        for &id in ids {
            if let Some(broker) = registered.get(&id) {
                self.world.connect(id, broker);
            }
        }
    }

    fn put_brokers(&mut self, registered: &BTreeMap<BrokerId, Broker>, ids: &[BrokerId]) {
        for &id in ids {
            if let Some(broker) = registered.get(&id) {
                self.cluster.put_broker(id, broker.clone());
            }
        }
    }

    /// A broker has to know the others before it is told to follow them: metadata goes first.
    async fn brokers_started(&mut self, started: &[BrokerId]) -> Result<(), Trouble> {
        let others = self.cluster.brokers().keys().copied().filter(|id| !started.contains(id));
        let mut batch = Batch::default();
        batch.update_metadata(&self.cluster, others.collect::<Vec<_>>(), []);
        self.send(batch);

        let mut batch = Batch::default();
        let known = self.cluster.partitions().filter(|p| !self.cluster.is_to_delete(&p.topic));
        batch.update_metadata(&self.cluster, started.iter().copied(), known);
        self.send(batch);

        let hosted = self.hosted_by(started);
        let to_delete: Vec<_> =
            hosted.iter().map(|(p, _)| &p.topic).filter(|t| self.cluster.is_to_delete(t)).cloned().collect();
        self.replicas_online(hosted);
        self.elect_for_leaderless().await?;
        if !to_delete.is_empty() {
            self.resume_deletion_of(&to_delete).await?;
        }
        Ok(())
    }

    async fn brokers_failed(&mut self, failed: &[BrokerId]) -> Result<(), Trouble> {
        for &id in failed {
            self.cluster.remove_broker(id);
            self.standing.forget_reaches(id);
        }
        let replicas = self.hosted_by(failed);
        self.became_offline(replicas).await
    }

    fn hosted_by(&self, brokers: &[BrokerId]) -> Vec<Replica> {
        let of = |&id: &BrokerId| self.cluster.hosted_by(id).map(move |p| (p.clone(), id));
        brokers.iter().flat_map(of).collect()
    }

    /// Replicas are not there any more. Leaders first: those elections leave the ISR without the
    /// replicas that are gone, in the same write.
    pub(super) async fn became_offline(&mut self, replicas: Vec<Replica>) -> Result<(), Trouble> {
        let (to_delete, to_stay): (Vec<Replica>, Vec<Replica>) =
            replicas.into_iter().partition(|(p, _)| self.cluster.is_to_delete(&p.topic));
        let mut headless: Vec<TopicPartition> =
            to_stay.iter().map(|(p, _)| p).filter(|p| self.has_lost_its_leader(p)).cloned().collect();
        headless.sort();
        headless.dedup();
        let was_headless = self.cluster.leaderless().iter().any(|p| self.cluster.leadership(p).is_some());
        let nothing_happened = headless.is_empty() && !was_headless && to_stay.is_empty();

        self.set_offline(&headless);
        self.elect_for_leaderless().await?;
        self.replicas_offline(to_stay).await?;
        if !to_delete.is_empty() {
            self.deletion_failed(to_delete).await?;
        }
        if nothing_happened {
            self.send_metadata([]);
        }
        Ok(())
    }

    fn has_lost_its_leader(&self, partition: &TopicPartition) -> bool {
        self.cluster
            .leadership(partition)
            .is_some_and(|state| !self.cluster.is_online(state.leader, partition))
    }
}
