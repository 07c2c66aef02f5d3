//! Partitions get their first leader, or a new one (`PartitionStateMachine.scala`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::ids::{BrokerId, ControllerEpoch, TopicPartition, ZkVersion};

use super::Term;
use crate::cluster::{Leadership, PartitionState};
use crate::election::{self, Unclean};
use crate::plan::Batch;
use crate::standing::{Cause, Choice, Haste, Outside};
use crate::states::partition_may;
use crate::store;
use crate::world::{Rejection, Trouble, World};

/// How a leader is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The leader is gone. `Allowed` elects from outside the ISR if need be, whatever the
    /// configuration says.
    Offline(Unclean),
    Preferred,
    ControlledShutdown,
}

/// Why a partition has no new leader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ElectionFailure {
    #[error("it cannot get a leader in state {0:?}")]
    State(PartitionState),
    #[error("none of its replicas ({}) is online", list(.0))]
    NoneOnline(Vec<BrokerId>),
    #[error("no replica may lead: assigned {}, in sync {}, online {}", list(.assigned), list(.isr), list(.online))]
    NoCandidate { assigned: Vec<BrokerId>, isr: Vec<BrokerId>, online: Vec<BrokerId> },
    #[error("every replica in sync lost the end of its log with its machine; {} are asked how far theirs reach", list(.0))]
    Asking(Vec<BrokerId>),
    #[error(
        "every replica in sync lost the end of its log with its machine; {} have not said yet how far theirs reach",
        list(.0)
    )]
    Listening(Vec<BrokerId>),
    #[error(
        "every replica in sync ({}) lost the end of its log with its machine, and {} of {} may hold more: start that \
         broker. To do without what only it holds, let an unclean election choose from those that are there \
         (kafka-leader-election --election-type unclean, or unclean.leader.election.enable=true on the topic)",
        list(.isr), if *.any { "one" } else { "each" }, list(.waits_for)
    )]
    MayLackRecords { isr: Vec<BrokerId>, waits_for: Vec<BrokerId>, any: bool },
    #[error("its state was written by a controller of epoch {0}, later than this one")]
    LaterController(ControllerEpoch),
    #[error("it has no state in ZooKeeper")]
    NoState,
    #[error("its state could not be written: {0}")]
    NotWritten(Rejection),
}

/// What became of each partition.
pub(super) type Outcomes = BTreeMap<TopicPartition, Result<(), ElectionFailure>>;

/// Conditional writes that somebody else keeps overtaking are given up after this many rounds;
/// only brokers of inter-broker protocol 2.6 and earlier write states besides us, and rarely.
const ROUNDS: usize = 20;

impl<W: World> Term<W> {
    /// Every partition without a leader gets one, if it can.
    pub(super) async fn elect_for_leaderless(&mut self) -> Result<(), Trouble> {
        let leaderless = self.cluster.leaderless();
        self.bring_online(leaderless, Strategy::Offline(Unclean::Forbidden)).await.map(drop)
    }

    /// New partitions get their first leader, others one by the strategy. The replicas concerned
    /// are told, and then all brokers.
    pub(super) async fn bring_online(
        &mut self,
        partitions: Vec<TopicPartition>,
        strategy: Strategy,
    ) -> Result<Outcomes, Trouble> {
        let mut outcomes = Outcomes::new();
        let (mut new, mut known) = (Vec::new(), Vec::new());
        for partition in partitions {
            match self.cluster.partition_state(&partition) {
                PartitionState::New => new.push(partition),
                state if partition_may(state, PartitionState::Online) => known.push(partition),
                state => {
                    outcomes.insert(partition, Err(ElectionFailure::State(state)));
                }
            }
        }
        let mut batch = Batch::default();
        self.initialize(new, &mut batch, &mut outcomes).await?;
        self.elect(known, strategy, &mut batch, &mut outcomes).await?;
        for (partition, outcome) in &outcomes {
            match outcome {
                Ok(()) => {}
                Err(reason @ (ElectionFailure::Asking(_) | ElectionFailure::Listening(_))) => {
                    tracing::info!(%partition, %reason, "no leader elected yet");
                }
                Err(reason) => tracing::warn!(%partition, ?strategy, %reason, "no leader elected"),
            }
        }
        self.send(batch);
        self.ask_for_log_ends(&outcomes);
        self.forget_settled_stops().await?;
        Ok(outcomes)
    }

    pub(super) fn set_offline(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let state = self.cluster.partition_state(partition);
            if partition_may(state, PartitionState::Offline) {
                self.cluster.set_partition_state(partition, PartitionState::Offline);
            } else {
                tracing::error!(%partition, ?state, "a partition in this state cannot go offline");
            }
        }
    }

    /// The first state of new partitions.
    async fn initialize(
        &mut self,
        partitions: Vec<TopicPartition>,
        batch: &mut Batch,
        outcomes: &mut Outcomes,
    ) -> Result<(), Trouble> {
        let mut states = BTreeMap::new();
        for partition in partitions {
            let online = self.cluster.online_replicas(&partition).into_iter().collect();
            let assigned = self.cluster.replicas(&partition);
            match election::initial(assigned, &online) {
                Some(state) => {
                    states.insert(partition, Leadership { controller_epoch: self.epoch, ..state });
                }
                None => {
                    let failure = ElectionFailure::NoneOnline(assigned.to_vec());
                    outcomes.insert(partition, Err(failure));
                }
            }
        }
        let writes = store::create_states(&self.without_leadership(states.keys()), &states);
        let state_writes = writes.len() - states.len();
        let results = self.world.commit(writes).await?;
        for ((partition, state), result) in states.into_iter().zip(results.into_iter().skip(state_writes)) {
            match result {
                Ok(version) => {
                    tracing::info!(
                        %partition, leader = %state.leader, isr = ?state.isr,
                        "first leader: the first assigned replica that is online"
                    );
                    let members = state.isr.clone();
                    self.cluster.put_leadership(&partition, Leadership { partition_epoch: version, ..state });
                    self.cluster.set_partition_state(&partition, PartitionState::Online);
                    batch.leader_and_isr(&self.cluster, &members, &partition, true);
                    outcomes.insert(partition, Ok(()));
                }
                Err(rejection) => {
                    outcomes.insert(partition, Err(ElectionFailure::NotWritten(rejection)));
                }
            }
        }
        Ok(())
    }

    /// Topics none of whose partitions has a state yet; the others have the parent node already.
    fn without_leadership<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) -> Vec<Arc<str>> {
        let topics: BTreeSet<Arc<str>> = partitions.map(|p| p.topic.clone()).collect();
        let has_none = |topic: &Arc<str>| {
            self.cluster.partitions_of(topic).iter().all(|p| self.cluster.leadership(p).is_none())
        };
        topics.into_iter().filter(has_none).collect()
    }

    async fn elect(
        &mut self,
        partitions: Vec<TopicPartition>,
        strategy: Strategy,
        batch: &mut Batch,
        outcomes: &mut Outcomes,
    ) -> Result<(), Trouble> {
        let unclean = self.unclean_for(&partitions, strategy).await?;
        let mut open = partitions;
        for _ in 0..ROUNDS {
            if open.is_empty() {
                return Ok(());
            }
            let mut decided = Vec::new();
            for partition in open {
                match self.decide(&partition, strategy, &unclean) {
                    Ok(state) => decided.push((partition, state)),
                    Err(failure) => drop(outcomes.insert(partition, Err(failure))),
                }
            }
            let (written, overtaken) = self.write_states(decided, Cause::Controller, outcomes).await?;
            for partition in written {
                self.cluster.set_partition_state(&partition, PartitionState::Online);
                let recipients = self.recipients(&partition, strategy);
                batch.leader_and_isr(&self.cluster, &recipients, &partition, false);
                outcomes.insert(partition, Ok(()));
            }
            self.refresh(&overtaken, outcomes).await?;
            open = overtaken.into_iter().filter(|p| !outcomes.contains_key(p)).collect();
        }
        let gave_up = || Err(ElectionFailure::NotWritten(Rejection::BadVersion));
        outcomes.extend(open.into_iter().map(|partition| (partition, gave_up())));
        Ok(())
    }

    fn decide(
        &self,
        partition: &TopicPartition,
        strategy: Strategy,
        unclean: &BTreeSet<Arc<str>>,
    ) -> Result<Leadership, ElectionFailure> {
        let current = self.cluster.leadership(partition).ok_or(ElectionFailure::NoState)?;
        if current.controller_epoch > self.epoch {
            return Err(ElectionFailure::LaterController(current.controller_epoch));
        }
        let assigned = self.cluster.replicas(partition);
        let with_leaving = |id: &&BrokerId| self.cluster.is_online_or_shutting_down(**id, partition);
        let online: BTreeSet<BrokerId> = match strategy {
            Strategy::ControlledShutdown => assigned.iter().filter(with_leaving).copied().collect(),
            Strategy::Offline(_) | Strategy::Preferred => self.whole_replicas(partition),
        };
        let next = match strategy {
            Strategy::Offline(forced) => {
                let haste = match (forced, unclean.contains(&partition.topic)) {
                    (Unclean::Allowed, _) => Haste::Forced,
                    (Unclean::Forbidden, true) => Haste::Unclean,
                    (Unclean::Forbidden, false) => Haste::None,
                };
                self.replace_leader(partition, current, haste)?
            }
            Strategy::Preferred => election::preferred(assigned, current, &online),
            Strategy::ControlledShutdown => {
                election::controlled_shutdown(assigned, current, &online, self.cluster.shutting_down())
            }
        };
        let next = next.ok_or_else(|| ElectionFailure::NoCandidate {
            assigned: assigned.to_vec(),
            isr: current.isr.clone(),
            online: online.into_iter().collect(),
        })?;
        Ok(Leadership { controller_epoch: self.epoch, ..next })
    }

    /// A leader in place of one that is gone. `None`: nobody may lead.
    fn replace_leader(
        &self,
        partition: &TopicPartition,
        current: &Leadership,
        haste: Haste,
    ) -> Result<Option<Leadership>, ElectionFailure> {
        let assigned = self.cluster.replicas(partition);
        let online: BTreeSet<BrokerId> = self.cluster.online_replicas(partition).into_iter().collect();
        let choice = self
            .standing
            .get(partition)
            .map_or(Choice::Usual, |record| record.choose(assigned, current, &online, haste));
        match choice {
            Choice::Usual => {
                let whole = self.whole_replicas(partition);
                let clean = election::offline(assigned, current, &whole, Unclean::Forbidden);
                Ok(match haste {
                    Haste::None => clean,
                    Haste::Unclean | Haste::Forced => {
                        clean.or_else(|| election::offline(assigned, current, &online, Unclean::Allowed))
                    }
                })
            }
            Choice::Ask(brokers) => Err(ElectionFailure::Asking(brokers)),
            Choice::Listen(brokers) => Err(ElectionFailure::Listening(brokers)),
            Choice::Wait { replicas, any } => {
                let isr = current.isr.clone();
                Err(ElectionFailure::MayLackRecords { isr, waits_for: replicas, any })
            }
            Choice::Elect(next) => Ok(Some(next)),
        }
    }

    /// Topics that may elect from outside the ISR. Their configuration is only read for
    /// partitions that have no in-sync replica online.
    async fn unclean_for(
        &self,
        partitions: &[TopicPartition],
        strategy: Strategy,
    ) -> Result<BTreeSet<Arc<str>>, Trouble> {
        let Strategy::Offline(forced) = strategy else { return Ok(BTreeSet::new()) };
        let lacks_clean = |p: &&TopicPartition| {
            let isr = self.cluster.leadership(p).map_or(&[][..], |state| &state.isr);
            !self.whole_replicas(p).iter().any(|id| isr.contains(id))
        };
        let topics: BTreeSet<Arc<str>> =
            partitions.iter().filter(lacks_clean).map(|p| p.topic.clone()).collect();
        if forced == Unclean::Allowed || topics.is_empty() {
            return Ok(topics);
        }
        let default = self.settings.unclean_leader_election;
        let read = store::unclean_election(&self.world, topics.into_iter().collect(), default).await?;
        Ok(read.into_iter().filter(|(_, allowed)| *allowed).map(|(topic, _)| topic).collect())
    }

    fn recipients(&self, partition: &TopicPartition, strategy: Strategy) -> Vec<BrokerId> {
        match strategy {
            Strategy::Offline(_) => self.cluster.online_replicas(partition),
            // Those that are not there are dropped when the batch is sent.
            Strategy::Preferred | Strategy::ControlledShutdown => self.cluster.replicas(partition).to_vec(),
        }
    }

    /// Commits states and takes in what was committed: the partitions written, and those that
    /// somebody else wrote first. Other failures go to the outcomes.
    pub(super) async fn write_states(
        &mut self,
        decided: Vec<(TopicPartition, Leadership)>,
        cause: Cause,
        outcomes: &mut Outcomes,
    ) -> Result<(Vec<TopicPartition>, Vec<TopicPartition>), Trouble> {
        let lists = self.outside_after(&decided, cause).await?;
        if lists.iter().any(|list| list.is_kept) {
            self.ensure_lists().await?;
        }
        let notes = self.notes_of_departures(&lists);
        let states = decided.iter().zip(&lists);
        let states = states.map(|((partition, state), list)| self.write_of(partition, state, list));
        let writes = notes.writes(|broker| self.departures.contains_key(&broker)).chain(states).collect();
        let mut results = self.world.commit(writes).await?;
        let of_states = results.split_off(notes.len());
        self.take_in_notes(notes, &results);
        let (mut written, mut overtaken) = (Vec::new(), Vec::new());
        for (((partition, state), outside), result) in decided.into_iter().zip(lists).zip(of_states) {
            match result {
                Ok(version) => {
                    self.take_in(&partition, state, version, outside);
                    written.push(partition);
                }
                Err(Rejection::BadVersion) => overtaken.push(partition),
                Err(rejection) => {
                    outcomes.insert(partition, Err(ElectionFailure::NotWritten(rejection)));
                }
            }
        }
        Ok((written, overtaken))
    }

    fn take_in(
        &mut self,
        partition: &TopicPartition,
        state: Leadership,
        version: ZkVersion,
        outside: Outside,
    ) {
        if let Some(before) = self.cluster.leadership(partition) {
            let leader_epoch = state.leader_epoch;
            let (from, to) = (before.leader, state.leader);
            let (isr_before, isr) = (&before.isr, &state.isr);
            if from != to {
                tracing::info!(%partition, %from, %to, %leader_epoch, ?isr_before, ?isr, "leader changed");
            } else {
                tracing::info!(%partition, leader = %to, %leader_epoch, ?isr_before, ?isr, "ISR changed");
            }
        }
        let state = Leadership { partition_epoch: version, ..state };
        self.standing.change(partition, |record| record.written(&state, outside));
        self.cluster.put_leadership(partition, state);
    }

    /// Takes in a state that somebody else wrote.
    pub(super) fn take_in_read(&mut self, partition: &TopicPartition, state: Leadership) {
        self.standing.change(partition, |record| record.read(&state));
        self.cluster.put_leadership(partition, state);
    }

    /// Reads states that somebody else wrote. Those that are gone or of a later controller fail.
    pub(super) async fn refresh(
        &mut self,
        partitions: &[TopicPartition],
        outcomes: &mut Outcomes,
    ) -> Result<(), Trouble> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut read = store::states(&self.world, partitions.to_vec()).await?;
        for partition in partitions {
            let failure = match read.remove(partition) {
                None => ElectionFailure::NoState,
                Some(state) if state.controller_epoch > self.epoch => {
                    ElectionFailure::LaterController(state.controller_epoch)
                }
                Some(state) => {
                    self.take_in_read(partition, state);
                    continue;
                }
            };
            outcomes.insert(partition.clone(), Err(failure));
        }
        Ok(())
    }
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(" ")
}
