//! What is shown of a group.

use bytes::Bytes;
use client::wire::Str;

use super::{Group, Phase, State};

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    pub id: Str,
    /// Empty if nobody ever joined.
    pub protocol_type: Str,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub state: State,
    pub protocol_type: Str,
    /// Empty unless stable, as is what depends on it: the members' metadata and assignments.
    pub protocol: Str,
    pub members: Vec<MemberDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: Str,
    pub instance_id: Option<Str>,
    pub client_id: Str,
    /// As `/10.0.0.1`.
    pub client_host: Str,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl Group {
    pub fn overview(&self) -> Overview {
        Overview {
            id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state(),
        }
    }

    pub fn describe(&self) -> Description {
        let protocol = self.protocol.clone().filter(|_| self.phase == Phase::Stable);
        let members = self.members.iter().map(|member| MemberDescription {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.as_ref().map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: protocol.as_ref().map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        Description {
            state: self.state(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol: protocol.unwrap_or_default(),
        }
    }
}
