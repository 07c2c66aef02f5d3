//! Notes of who was just taken out of ISRs, for the next controller: one a broker, and not one a partition, since
//! most leaders answer at once.

use std::collections::BTreeSet;

use client::ids::BrokerId;
use client::znode::departure::{self, DEPARTURES, Departure};

use super::Term;
use crate::standing::Outside;
use crate::world::{Rejection, Trouble, World, Write};

/// What is written before states.
#[derive(Debug, Default)]
pub(super) struct Notes {
    parents: Vec<Write>,
    notes: Vec<(BrokerId, Departure)>,
}

impl<W: World> Term<W> {
    /// Takes in what the last controller did not come to write down by partition.
    pub(super) async fn load_departures(&mut self) -> Result<(), Trouble> {
        if !self.parents.has(DEPARTURES) {
            return Ok(());
        }
        let listed = self.world.list(DEPARTURES).await?;
        let brokers: Vec<BrokerId> = listed.iter().filter_map(|child| departure::broker_of(child)).collect();
        let nodes = self.world.read(brokers.iter().copied().map(departure::path).collect()).await?;
        for (broker, node) in brokers.into_iter().zip(nodes) {
            let Some(node) = node else { continue };
            let departure = Departure::decode(&node.data).unwrap_or_else(|error| {
                tracing::error!(path = departure::path(broker), %error, "it counts for no partition");
                Departure::default()
            });
            for partition in self.shared_by(broker) {
                let Some(state) = self.cluster.leadership(&partition) else { continue };
                if departure.controller_epochs.contains(&state.controller_epoch)
                    && !state.isr.contains(&broker)
                {
                    let version = state.partition_epoch;
                    self.standing.change(&partition, |record| record.departed(broker, version));
                }
            }
            self.departures.insert(broker, departure);
        }
        Ok(())
    }

    /// Of those whom states leave out while nobody else knows the lists of these.
    pub(super) fn notes_of_departures(&self, lists: &[Outside]) -> Notes {
        let leaving: BTreeSet<BrokerId> =
            lists.iter().filter(|list| !list.is_kept).flat_map(Outside::all).collect();
        let mut notes = Notes::default();
        for broker in leaving {
            let mut departure = self.departures.get(&broker).cloned().unwrap_or_default();
            if !departure.controller_epochs.contains(&self.epoch) {
                departure.controller_epochs.push(self.epoch);
                notes.notes.push((broker, departure));
            }
        }
        if !notes.notes.is_empty() {
            notes.parents = self.parents.missing(DEPARTURES);
        }
        notes
    }

    /// What became of the notes.
    pub(super) fn take_in_notes<T>(&mut self, notes: Notes, results: &[Result<T, Rejection>]) {
        let results = results.iter().skip(notes.parents.len());
        for ((broker, departure), result) in notes.notes.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    self.parents.are_made(DEPARTURES);
                    self.departures.insert(broker, departure);
                }
                Err(reason) => {
                    self.parents.may_be_gone();
                    tracing::warn!(
                        %broker, %reason,
                        "the next controller will not know that this broker just left ISRs, if this one ends at once"
                    );
                }
            }
        }
    }

    /// Takes the notes away that say no more than answers and lists do.
    pub(super) async fn forget_departures(&mut self) -> Result<(), Trouble> {
        let open = self.standing.unkept_brokers();
        let over: Vec<BrokerId> = self.departures.keys().copied().filter(|id| !open.contains(id)).collect();
        if over.is_empty() {
            return Ok(());
        }
        let delete = |&id: &BrokerId| Write::Delete { path: departure::path(id) };
        let results = self.world.commit(over.iter().map(delete).collect()).await?;
        for (broker, result) in over.into_iter().zip(results) {
            match result {
                Ok(_) | Err(Rejection::NoNode) => drop(self.departures.remove(&broker)),
                Err(reason) => tracing::warn!(%broker, %reason, "the note of a departure stays for now"),
            }
        }
        Ok(())
    }
}

impl Notes {
    pub(super) fn len(&self) -> usize {
        self.parents.len() + self.notes.len()
    }

    /// `known`: who has a node already.
    pub(super) fn writes(&self, is_known: impl Fn(BrokerId) -> bool) -> impl Iterator<Item = Write> {
        let write = move |(broker, departure): &(BrokerId, Departure)| {
            let (path, data) = (departure::path(*broker), departure.encode());
            match is_known(*broker) {
                true => Write::Set { path, data, version: None },
                false => Write::Create { path, data },
            }
        };
        self.parents.iter().cloned().chain(self.notes.iter().map(write))
    }
}
