//! Following: one fetch at a time from each leader, and what its answer does to the logs. What to do
//! about an answer is the real fetcher's decision ([`Step`], [`Outcome`]).

use std::collections::BTreeMap;
use std::time::Duration;

use broker::fetcher::{Outcome, Step};
use broker::partition::Followed;
use broker::partition::follower::LeaderOffsets;
use client::fetch_session::Ask;
use client::ids::{BrokerEpoch, BrokerId, TopicPartition};
use client::wire::ErrorCode;
use client::wire::messages::fetch_response::PartitionData;

use super::serving::FETCH_WAIT;
use super::{MS, Message, Out, Place, Process, REQUEST_TIMEOUT, RETRY, Tick, Time};
use crate::sim::operator;
use client::wire::messages::ControlledShutdownRequest;

const MAX_BYTES: i32 = 1 << 20;
const BACKOFF: Duration = Duration::from_millis(200);
/// Of a whole connection that failed.
const FETCH_AGAIN: Time = 100 * MS;

/// What is under way with each leader.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    by_leader: BTreeMap<BrokerId, Open>,
}

#[derive(Debug)]
struct Open {
    id: u64,
    follower: (BrokerId, BrokerEpoch),
    asks: BTreeMap<TopicPartition, Ask>,
    /// The partition whose position the leader called out of range.
    ends_of: Option<TopicPartition>,
}

impl Open {
    fn message(&self) -> Message {
        Message::Fetch { id: self.id, follower: self.follower, asks: self.asks.clone() }
    }
}

impl Process {
    /// What the fetches under way ask of topics that stay, and whom. Those of others name their topics by id, or
    /// reach the next topic of that name (see [`Message::may_be_doubled`]).
    pub(in crate::sim) fn open_fetches(&self) -> Vec<(BrokerId, Message)> {
        let fetch = |(leader, open): (&BrokerId, &Open)| {
            let (id, follower, mut asks) = (open.id, open.follower, open.asks.clone());
            asks.retain(|partition, _| operator::stays(&partition.topic));
            (*leader, Message::Fetch { id, follower, asks })
        };
        self.serving.fetching.by_leader.iter().map(fetch).collect()
    }

    pub(super) fn fetch_from_all(&mut self, out: &mut Out<'_>) {
        for leader in self.roles.leaders() {
            self.fetch_from(leader, out);
        }
    }

    pub(super) fn fetch_from(&mut self, leader: BrokerId, out: &mut Out<'_>) {
        if self.serving.fetching.by_leader.contains_key(&leader) {
            return;
        }
        let Some(following) = self.roles.following(leader) else { return };
        let wanted = following.wanted(MAX_BYTES, out.clock.monotonic);
        if wanted.asks.is_empty() {
            if let Some(at) = wanted.next_at {
                let wait = at.saturating_duration_since(out.clock.monotonic);
                out.after(u64::try_from(wait.as_micros()).unwrap_or(0).max(1), Tick::Fetcher(leader));
            }
            return;
        }
        if !self.cache.snapshot().is_alive(leader) {
            out.after(FETCH_AGAIN, Tick::Fetcher(leader));
            return;
        }
        let id = out.id();
        let asks = wanted.asks;
        let follower = (self.me, self.fence.registration());
        let open = Open { id, follower, asks, ends_of: None };
        out.tell(leader, open.message());
        out.after(REQUEST_TIMEOUT + FETCH_WAIT, Tick::FetchTimeout(leader, id));
        self.serving.fetching.by_leader.insert(leader, open);
    }

    pub(super) fn fetch_timed_out(&mut self, leader: BrokerId, id: u64, out: &mut Out<'_>) {
        if self.open(leader, id).is_some() {
            out.counts.add("fetch timed out");
            self.serving.fetching.by_leader.remove(&leader);
            out.after(FETCH_AGAIN, Tick::Fetcher(leader));
        }
    }

    fn open(&self, leader: BrokerId, id: u64) -> Option<&Open> {
        self.serving.fetching.by_leader.get(&leader).filter(|open| open.id == id)
    }

    pub(super) fn fetched(
        &mut self,
        from: Place,
        id: u64,
        parts: Vec<(TopicPartition, PartitionData)>,
        out: &mut Out<'_>,
    ) {
        let Place::Broker(leader) = from else { return };
        if self.open(leader, id).is_none() {
            return;
        }
        let Some(open) = self.serving.fetching.by_leader.remove(&leader) else { return };
        let Some(following) = self.roles.following(leader) else { return };
        let mut ends_of = None;
        for (partition, data) in parts {
            let Some(ask) = open.asks.get(&partition) else { continue };
            let Some(followed) = following.get(&partition, ask.leader_epoch) else { continue };
            let outcome = match Step::after(&data) {
                Step::Append => {
                    let answer = Followed::of(ask, &data);
                    Outcome::of(&partition, followed.append_as_follower(ask.leader_epoch, &answer, out.clock))
                }
                Step::Truncate(found) => {
                    let before = followed.status();
                    let cut = followed.truncate_as_follower(ask.leader_epoch, found, out.clock);
                    if let Ok(cut) = &cut {
                        out.counts.add_if(cut.to < before.end, "log cut by its leader's history");
                        out.counts.add_if(!cut.complete, "log cut in more than one step");
                        out.counts.add_if(cut.to < before.high_watermark, "log cut below its high watermark");
                    }
                    Outcome::of(&partition, cut)
                }
                Step::Reposition if ends_of.is_none() => {
                    ends_of = Some((partition, ask.leader_epoch));
                    continue;
                }
                Step::Fenced => Outcome::Fail,
                Step::Reposition | Step::NotThereYet(_) | Step::Failed(_) => Outcome::Delay,
            };
            out.counts.add_if(outcome == Outcome::Fail, "fetching stopped until told anew");
            following.settle(&partition, ask.leader_epoch, outcome, BACKOFF, out.clock.monotonic);
        }
        match ends_of {
            Some((partition, epoch)) => {
                out.counts.add("position outside the leader's log");
                let id = out.id();
                out.tell(leader, Message::Ends { id, partition: partition.clone(), epoch });
                out.after(REQUEST_TIMEOUT, Tick::FetchTimeout(leader, id));
                let open = Open { id, ends_of: Some(partition), ..open };
                self.serving.fetching.by_leader.insert(leader, open);
            }
            None => self.fetch_from(leader, out),
        }
    }

    pub(super) fn ends_found(
        &mut self,
        from: Place,
        id: u64,
        found: Result<LeaderOffsets, ErrorCode>,
        out: &mut Out<'_>,
    ) {
        let Place::Broker(leader) = from else { return };
        if self.open(leader, id).is_none() {
            return;
        }
        let Some(open) = self.serving.fetching.by_leader.remove(&leader) else { return };
        let (Some(following), Some(partition)) = (self.roles.following(leader), open.ends_of) else { return };
        if let Some(ask) = open.asks.get(&partition)
            && let Some(followed) = following.get(&partition, ask.leader_epoch)
        {
            let outcome = match found {
                Ok(ends) => Outcome::of(&partition, followed.reposition(ask.leader_epoch, ends, out.clock)),
                Err(ErrorCode::FencedLeaderEpoch) => Outcome::Fail,
                Err(_) => Outcome::Delay,
            };
            following.settle(&partition, ask.leader_epoch, outcome, BACKOFF, out.clock.monotonic);
        }
        self.fetch_from(leader, out);
    }

    pub(super) fn ask_to_leave(&mut self, out: &mut Out<'_>) {
        if !self.leaving || self.has_left {
            return;
        }
        // A few times (`controlled.shutdown.max.retries`); then it stops all the same.
        self.asked_to_leave += 1;
        if self.asked_to_leave > 4 {
            out.counts.add("stopped without the controller's leave");
            self.finish(out);
            return;
        }
        if let Some(controller) = self.cache.snapshot().controller() {
            let (broker_id, broker_epoch) = (self.me.0, self.fence.registration().0);
            let request = ControlledShutdownRequest { broker_id, broker_epoch };
            out.tell(controller, Message::Leave { request });
        }
        out.after(RETRY * 10, Tick::Leave);
    }
}
