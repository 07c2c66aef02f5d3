//! What members ask of their coordinator, and what they are told.

use broker::group::{Join, Joined, Sync, Synced};
use client::ids::LeaderEpoch;
use client::wire::{ErrorCode, Str};

use crate::sim::message::Time;

/// Who asks, as a member of a generation.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Who {
    pub member_id: Str,
    pub instance_id: Option<Str>,
    pub generation: i32,
}

#[derive(Clone, Debug)]
pub(in crate::sim) enum Ask {
    Join(Join),
    Sync(Sync),
    Heartbeat(Who),
    Leave(Who),
    /// Offsets of partitions of the topic that the group reads; the number tells commits apart.
    Commit {
        who: Who,
        number: u64,
        offsets: Vec<(i32, i64)>,
    },
    FetchOffsets(Vec<i32>),
}

#[derive(Clone, Debug)]
pub(in crate::sim) enum Told {
    Joined(Joined),
    Synced(Synced),
    /// Heartbeat, LeaveGroup and OffsetCommit have no more to say.
    Done,
    Offsets(Vec<(i32, Option<i64>)>),
    /// With the member id to come back by, where there is one.
    Refused(ErrorCode, Option<Str>),
}

/// What a coordinator said, and when.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Answer {
    pub told: Told,
    /// The leader epoch of the group's partition at the coordinator.
    pub epoch: LeaderEpoch,
    pub at: Time,
}

impl Ask {
    pub(in crate::sim) fn shown(&self) -> String {
        match self {
            Ask::Join(join) => {
                let instance = join.instance_id.as_deref().unwrap_or("none");
                format!("join of {:?} ({}, instance {instance})", &*join.member_id, &*join.client_id)
            }
            Ask::Sync(sync) => {
                let given: Vec<String> = sync
                    .assignments
                    .iter()
                    .map(|(id, bytes)| format!("{}: {:?}", &**id, super::partitions_in(bytes)))
                    .collect();
                format!("sync of {:?} in generation {} {given:?}", &*sync.member_id, sync.generation)
            }
            Ask::Heartbeat(who) => format!("heartbeat of {}", who.shown()),
            Ask::Leave(who) => format!("leave of {}", who.shown()),
            Ask::Commit { who, number, offsets } => {
                format!("commit {number} of {}: {offsets:?}", who.shown())
            }
            Ask::FetchOffsets(partitions) => format!("committed offsets of {partitions:?}"),
        }
    }
}

impl Who {
    fn shown(&self) -> String {
        format!("{:?} in generation {}", &*self.member_id, self.generation)
    }
}

impl Answer {
    pub(in crate::sim) fn shown(&self) -> String {
        let told = match &self.told {
            Told::Joined(joined) => {
                let (id, leader) = (&*joined.member_id, &*joined.leader);
                let members: Vec<&str> = joined.members.iter().map(|member| &*member.member_id).collect();
                format!("{id} joined generation {} led by {leader}: {members:?}", joined.generation)
            }
            Told::Synced(synced) => format!("synced: {:?}", super::partitions_in(&synced.assignment)),
            Told::Done => "done".to_owned(),
            Told::Offsets(offsets) => format!("committed are {offsets:?}"),
            Told::Refused(error, id) => format!("{} {:?}", error.name(), id.as_deref()),
        };
        format!("{told}, in epoch {}", self.epoch)
    }
}
