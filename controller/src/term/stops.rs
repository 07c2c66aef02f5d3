//! Brokers whose machines stopped come back with logs that may lack their ends. Where another replica in
//! sync lost nothing it leads, and they follow it; Kafka would let such a leader go on if the controller
//! changed meanwhile, and its followers would cut off what it lacks.

use std::collections::BTreeSet;

use client::ids::{BrokerId, TopicPartition};
use client::znode::unclean_stop::UncleanStop;

use super::Term;
use super::partitions::Outcomes;
use crate::cluster::Leadership;
use crate::election;
use crate::world::{Rejection, Trouble, World, Write};

impl<W: World> Term<W> {
    /// Takes those that came back out of the ISRs they were in before, and from the lead.
    /// Nobody is told of it here.
    pub(super) async fn set_tail_losers_aside(&mut self, stops: &[UncleanStop]) -> Result<(), Trouble> {
        let losers: BTreeSet<BrokerId> = stops.iter().map(|stop| stop.broker).collect();
        let mut open: BTreeSet<TopicPartition> =
            losers.iter().flat_map(|&id| self.cluster.hosted_by(id)).cloned().collect();
        let mut outcomes = Outcomes::new();
        while !open.is_empty() {
            let decided: Vec<(TopicPartition, Leadership)> = open
                .iter()
                .filter_map(|partition| {
                    let current = self.cluster.leadership(partition)?;
                    let next = election::without_tail_losers(current, &losers)?;
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
        Ok(())
    }

    /// Takes the word of those away that count nowhere any more for what they held before.
    pub(super) async fn forget_stops(&mut self, stops: Vec<UncleanStop>) -> Result<(), Trouble> {
        if stops.is_empty() {
            return Ok(());
        }
        let (open, settled): (Vec<UncleanStop>, Vec<UncleanStop>) =
            stops.into_iter().partition(|stop| self.is_in_sync_with_others(stop.broker));
        for stop in open {
            tracing::warn!(broker = %stop.broker, "its machine stopped, and it could not be taken out of all ISRs");
        }
        let writes = settled.iter().map(|stop| Write::Delete { path: stop.path() }).collect();
        let results = self.world.commit(writes).await?;
        for (stop, result) in settled.iter().zip(results) {
            match result {
                Ok(_) | Err(Rejection::NoNode) => {
                    tracing::info!(broker = %stop.broker, "its machine had stopped: it follows where others lost nothing");
                }
                Err(reason) => {
                    tracing::warn!(path = stop.path(), %reason, "a stop that was acted on stays in ZooKeeper");
                }
            }
        }
        Ok(())
    }

    fn is_in_sync_with_others(&self, broker: BrokerId) -> bool {
        let counts = |p: &TopicPartition| {
            self.cluster.leadership(p).is_some_and(|state| state.isr.len() > 1 && state.isr.contains(&broker))
        };
        self.cluster.hosted_by(broker).any(|p| counts(p) && !self.cluster.is_to_delete(&p.topic))
    }
}
