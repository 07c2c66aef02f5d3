//! Brokers whose machines stopped come back with logs that may lack their ends. Where another replica in
//! sync lost nothing it leads, and they follow it; Kafka would let such a leader go on if the controller
//! changed meanwhile, and its followers would cut off what it lacks. Where all members of the ISR lost
//! something, `standing` says who leads.

use std::collections::{BTreeMap, BTreeSet};

use client::ids::{BrokerId, TopicPartition};
use client::znode::commit::LogEnd;
use client::znode::unclean_stop::{Concern, UncleanStop};

use super::Term;
use super::partitions::{ElectionFailure, Outcomes, Strategy};
use crate::cluster::Leadership;
use crate::election::{self, Unclean};
use crate::plan::ControlRequest;
use crate::standing::{Cause, Record};
use crate::store::Word;
use crate::world::{Rejection, Trouble, World, Write};

impl<W: World> Term<W> {
    /// Takes those that came back out of the ISRs they were in before, and from the lead.
    /// Nobody is told of it here. Of brokers that are not there the word stays.
    pub(super) async fn set_tail_losers_aside(
        &mut self,
        mut stops: BTreeMap<UncleanStop, Word>,
    ) -> Result<(), Trouble> {
        stops.retain(|stop, _| self.cluster.brokers().contains_key(&stop.broker));
        let losers = self.concerned(&stops);
        let mut open: BTreeSet<TopicPartition> = losers.keys().cloned().collect();
        let mut outcomes = Outcomes::new();
        while !open.is_empty() {
            let decided: Vec<(TopicPartition, Leadership)> = open
                .iter()
                .filter_map(|partition| {
                    let (current, losers) = (self.cluster.leadership(partition)?, losers.get(partition)?);
                    let all_lost = current.isr.iter().all(|id| losers.contains(id));
                    let next = match all_lost {
                        true => election::without_leader(current),
                        false => election::without_tail_losers(current, losers),
                    }?;
                    Some((partition.clone(), Leadership { controller_epoch: self.epoch, ..next }))
                })
                .collect();
            let (_, overtaken) = self.write_states(decided, Cause::Stop, &mut outcomes).await?;
            self.refresh(&overtaken, &mut outcomes).await?;
            open = overtaken.into_iter().filter(|p| !outcomes.contains_key(p)).collect();
        }
        for (partition, outcome) in outcomes {
            if let Err(reason) = outcome {
                let losers = losers.get(&partition);
                tracing::warn!(%partition, ?losers, %reason, "a replica that may lack records stays in the ISR");
            }
        }
        self.remember_losers(stops).await?;
        self.forget_settled_stops().await
    }

    /// Whose log may lack its end, by partition.
    fn concerned(&self, stops: &BTreeMap<UncleanStop, Word>) -> BTreeMap<TopicPartition, BTreeSet<BrokerId>> {
        let mut losers: BTreeMap<TopicPartition, BTreeSet<BrokerId>> = BTreeMap::new();
        for (stop, word) in stops {
            for partition in self.shared_by(stop.broker).into_iter().filter(|p| word.concern.includes(p)) {
                losers.entry(partition).or_default().insert(stop.broker);
            }
        }
        losers
    }

    /// The partitions that this broker has replicas of, and others too: who is the only one to hold a
    /// partition has whatever is left of it.
    pub(super) fn shared_by(&self, broker: BrokerId) -> Vec<TopicPartition> {
        let is_shared =
            |p: &&TopicPartition| self.cluster.replicas(p).len() > 1 && !self.cluster.is_to_delete(&p.topic);
        self.cluster.hosted_by(broker).filter(is_shared).cloned().collect()
    }

    /// What those who stopped hold counts no more for having all that was acknowledged. Whose registration is of before
    /// the stop may still join ISRs by what it fetched then: that word is to be acted on again when it registers anew.
    pub(super) async fn remember_losers(
        &mut self,
        stops: BTreeMap<UncleanStop, Word>,
    ) -> Result<(), Trouble> {
        let mut changed = Vec::new();
        for (partition, losers) in self.concerned(&stops) {
            let isr = self.cluster.leadership(&partition).map_or(Vec::new(), |state| state.isr.clone());
            let lost = |record: &mut Record| losers.iter().filter(|&&id| record.lost_tail(id, &isr)).count();
            if self.standing.change(&partition, lost) > 0 {
                changed.push(partition);
            }
        }
        let is_followed = |(stop, word): &(UncleanStop, Word)| {
            self.cluster.brokers().get(&stop.broker).is_some_and(|broker| word.is_followed_by(broker))
        };
        let followed = stops.into_iter().filter(is_followed).map(|(stop, word)| (stop, word.concern));
        self.stops.extend(followed);
        self.rewrite_lists(&changed).await
    }

    /// Takes the word of those away on whom nothing depends any more; of the others, what it says of partitions
    /// that do not depend on them. Until that is done none of them may join an ISR: the next controller would take
    /// it out again for a stop of before.
    pub(super) async fn forget_settled_stops(&mut self) -> Result<(), Trouble> {
        let mut writes = Vec::new();
        for (stop, told) in &self.stops {
            let open: BTreeSet<TopicPartition> =
                self.standing.depending_on(stop.broker).filter(|p| told.includes(p)).cloned().collect();
            let is_settled = open.is_empty();
            let concern = Concern::Only(open);
            if is_settled {
                writes.push((stop.clone(), concern, Write::Delete { path: stop.path() }));
            } else if concern != *told {
                let set = Write::Set { path: stop.path(), data: concern.encode(), version: None };
                writes.push((stop.clone(), concern, set));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let results = self.world.commit(writes.iter().map(|(_, _, write)| write.clone()).collect()).await?;
        for ((stop, concern, write), result) in writes.into_iter().zip(results) {
            let is_settled = matches!(write, Write::Delete { .. });
            match result {
                Ok(_) | Err(Rejection::NoNode) if is_settled => tracing::info!(
                    broker = %stop.broker,
                    "its machine had stopped: replicas that hold more lead, and it follows them"
                ),
                Ok(_) => {}
                Err(reason) => {
                    tracing::warn!(path = stop.path(), %reason, "a stop that was acted on stays in ZooKeeper");
                }
            }
            match is_settled {
                true => drop(self.stops.remove(&stop)),
                false => drop(self.stops.insert(stop, concern)),
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
        ends: Vec<(TopicPartition, Option<LogEnd>)>,
    ) -> Result<(), Trouble> {
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
