//! Brokers whose machines stopped come back with logs that may lack their ends. Where another replica in
//! sync lost nothing it leads, and they follow it; Kafka would let such a leader go on if the controller
//! changed meanwhile, and its followers would cut off what it lacks. Where all members of the ISR lost
//! something, `standing` says who leads.

use std::collections::{BTreeMap, BTreeSet};

use client::ids::{BrokerEpoch, BrokerId, TopicPartition};
use client::znode::commit::LogEnd;
use client::znode::unclean_stop::UncleanStop;

use super::Term;
use super::partitions::{ElectionFailure, Outcomes, Strategy};
use crate::cluster::Leadership;
use crate::election::{self, Unclean};
use crate::plan::ControlRequest;
use crate::world::{Rejection, Trouble, World, Write};

impl<W: World> Term<W> {
    /// Takes those that came back out of the ISRs they were in before, and from the lead.
    /// Nobody is told of it here. Of brokers that are not there the word stays.
    pub(super) async fn set_tail_losers_aside(&mut self, stops: Vec<UncleanStop>) -> Result<(), Trouble> {
        let losers: BTreeSet<BrokerId> = stops
            .iter()
            .map(|stop| stop.broker)
            .filter(|broker| self.cluster.brokers().contains_key(broker))
            .collect();
        let mut open: BTreeSet<TopicPartition> = losers.iter().flat_map(|&id| self.shared_by(id)).collect();
        let mut outcomes = Outcomes::new();
        while !open.is_empty() {
            let decided: Vec<(TopicPartition, Leadership)> = open
                .iter()
                .filter_map(|partition| {
                    let current = self.cluster.leadership(partition)?;
                    let all_lost = current.isr.iter().all(|id| losers.contains(id));
                    let next = match all_lost {
                        true => election::without_leader(current),
                        false => election::without_tail_losers(current, &losers),
                    }?;
                    Some((partition.clone(), Leadership { controller_epoch: self.epoch, ..next }))
                })
                .collect();
            let (_, overtaken) = self.write_states(decided, &mut outcomes).await?;
            self.refresh(&overtaken, &mut outcomes).await?;
            open = overtaken.into_iter().filter(|p| !outcomes.contains_key(p)).collect();
        }
        for (partition, outcome) in outcomes {
            if let Err(reason) = outcome {
                tracing::warn!(%partition, ?losers, %reason, "a replica that may lack records stays in the ISR");
            }
        }
        self.remember_losers(&stops, &losers).await?;
        self.forget_settled_stops().await
    }

    /// The partitions that this broker has replicas of, and others too: who is the only one to hold a
    /// partition has whatever is left of it.
    fn shared_by(&self, broker: BrokerId) -> Vec<TopicPartition> {
        let is_shared =
            |p: &&TopicPartition| self.cluster.replicas(p).len() > 1 && !self.cluster.is_to_delete(&p.topic);
        self.cluster.hosted_by(broker).filter(is_shared).cloned().collect()
    }

    /// What these hold counts no more for having all that was acknowledged.
    pub(super) async fn remember_losers(
        &mut self,
        stops: &[UncleanStop],
        losers: &BTreeSet<BrokerId>,
    ) -> Result<(), Trouble> {
        let mut changed = Vec::new();
        for &broker in losers {
            for partition in self.shared_by(broker) {
                let isr = self.cluster.leadership(&partition).map_or(Vec::new(), |state| state.isr.clone());
                if self.standing.change(&partition, |record| record.lost_tail(broker, &isr)) {
                    changed.push(partition);
                }
            }
        }
        self.stops.extend(stops.iter().filter(|stop| losers.contains(&stop.broker)).cloned());
        self.rewrite_lists(&changed).await
    }

    /// Takes the word of those away on whom nothing depends any more.
    pub(super) async fn forget_settled_stops(&mut self) -> Result<(), Trouble> {
        let (open, settled): (BTreeSet<UncleanStop>, BTreeSet<UncleanStop>) = std::mem::take(&mut self.stops)
            .into_iter()
            .partition(|stop| self.standing.depends_on(stop.broker));
        self.stops = open;
        if settled.is_empty() {
            return Ok(());
        }
        let writes = settled.iter().map(|stop| Write::Delete { path: stop.path() }).collect();
        let results = self.world.commit(writes).await?;
        for (stop, result) in settled.iter().zip(results) {
            match result {
                Ok(_) | Err(Rejection::NoNode) => tracing::info!(
                    broker = %stop.broker,
                    "its machine had stopped: replicas that hold more lead, and it follows them"
                ),
                Err(reason) => {
                    tracing::warn!(path = stop.path(), %reason, "a stop that was acted on stays in ZooKeeper");
                }
            }
        }
        Ok(())
    }

    /// Asks those whose logs an election has to compare.
    pub(super) fn ask_for_log_ends(&mut self, outcomes: &Outcomes) {
        let mut asked: BTreeMap<BrokerId, BTreeSet<TopicPartition>> = BTreeMap::new();
        for (partition, outcome) in outcomes {
            let Err(ElectionFailure::Asking(brokers)) = outcome else { continue };
            self.standing.change(partition, |record| record.asked(brokers));
            for &broker in brokers {
                asked.entry(broker).or_default().insert(partition.clone());
            }
        }
        for (broker, partitions) in asked {
            self.world.send(broker, ControlRequest::LogEnds(partitions));
        }
    }

    /// A broker says how far its logs reach.
    pub(super) async fn log_ends_answered(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        ends: Vec<(TopicPartition, Option<LogEnd>)>,
    ) -> Result<(), Trouble> {
        if self.cluster.brokers().get(&broker).map(|known| known.epoch) != Some(epoch) {
            return Ok(());
        }
        let mut due = Vec::new();
        for (partition, end) in ends {
            if self.standing.change(&partition, |record| record.told(broker, end)) {
                tracing::info!(%partition, %broker, ?end, "how far a log reaches");
                due.push(partition);
            }
        }
        due.retain(|partition| self.is_leaderless(partition) && !self.cluster.is_to_delete(&partition.topic));
        self.bring_online(due, Strategy::Offline(Unclean::Forbidden)).await.map(drop)
    }

    /// The replicas that are online and lost nothing that an ISR counts on.
    pub(super) fn whole_replicas(&self, partition: &TopicPartition) -> BTreeSet<BrokerId> {
        let losers: BTreeSet<BrokerId> = self.standing.losers(partition).collect();
        self.cluster.online_replicas(partition).into_iter().filter(|id| !losers.contains(id)).collect()
    }
}
