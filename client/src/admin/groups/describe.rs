//! Who is in a group, and what it does.

use super::coordinator::Call;
use super::{Coordinator, PerGroup};
use crate::admin::{Admin, AdminError, Failure};
use crate::connection::Connection;
use crate::ids::TopicPartition;
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::{ConsumerProtocolAssignment, DescribeGroupsRequest};
use crate::wire::{DecodeError, ErrorCode, Message, Reader, Str};

const CALL: Call = Call {
    find: "describeConsumerGroups(api=FIND_COORDINATOR)",
    ask: "describeConsumerGroups(api=DESCRIBE_GROUPS)",
};

/// The latest version of an assignment that is known; later ones begin alike (KIP-429).
const LATEST_ASSIGNMENT: i16 = 3;

/// A group as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`, or `Dead` for one that does not exist.
    pub state: String,
    pub protocol_type: String,
    /// The assignor of a stable group.
    pub protocol: String,
    /// In the coordinator's order.
    pub members: Vec<GroupMember>,
    pub coordinator: Coordinator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    pub client_id: String,
    /// `/` and its address.
    pub host: String,
    /// In the order of the leader's assignment; nothing while the group rebalances, or if the assignment is not
    /// that of a consumer.
    pub partitions: Vec<TopicPartition>,
}

impl Admin {
    /// Describes each group. One that does not exist is [`Dead`](GroupDescription::state), as brokers tell it.
    pub async fn describe_groups(&self, groups: &[String]) -> Result<PerGroup<GroupDescription>, AdminError> {
        let ask = async |connection: &Connection, coordinator: &Coordinator, groups: &[String]| {
            let request = DescribeGroupsRequest {
                groups: groups.iter().map(|group| Str::from(group.as_str())).collect(),
                include_authorized_operations: false,
            };
            let response = self.exchange(connection, &request).await?;
            let answers = response.groups.into_iter().map(|group| {
                let name = group.group_id.to_string();
                match ErrorCode::from_code(group.error_code) {
                    ErrorCode::None => (name, Ok(description(group, coordinator.clone()))),
                    // Only version 6 of the API says so; the earlier ones call such a group dead.
                    ErrorCode::GroupIdNotFound => (name, Ok(dead(coordinator.clone()))),
                    code => (name, Err(code)),
                }
            });
            Ok::<_, Failure>(answers.collect())
        };
        self.ask_coordinators(CALL, groups, ask).await
    }
}

fn description(group: DescribedGroup, coordinator: Coordinator) -> GroupDescription {
    let is_of_consumers = group.protocol_type.as_ref() as &str == "consumer";
    GroupDescription {
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        members: group.members.into_iter().map(|member| describe_member(member, is_of_consumers)).collect(),
        coordinator,
    }
}

fn dead(coordinator: Coordinator) -> GroupDescription {
    GroupDescription {
        state: "Dead".to_owned(),
        protocol_type: String::new(),
        protocol: String::new(),
        members: Vec::new(),
        coordinator,
    }
}

fn describe_member(member: DescribedGroupMember, is_of_consumers: bool) -> GroupMember {
    let partitions = match is_of_consumers && !member.member_assignment.is_empty() {
        true => read_assignment(Reader::new(member.member_assignment)).unwrap_or_default(),
        false => Vec::new(),
    };
    GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        partitions,
    }
}

/// The members' own bytes: whatever they hold must not end the description.
fn read_assignment(mut bytes: Reader) -> Result<Vec<TopicPartition>, DecodeError> {
    let version = bytes.i16()?.clamp(0, LATEST_ASSIGNMENT);
    let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version)?;
    let of_topic = |topic: crate::wire::messages::consumer_protocol_assignment::TopicPartition| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(&*name, partition))
    };
    Ok(assignment.assigned_partitions.into_iter().flat_map(of_topic).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn partitions(bytes: &'static [u8]) -> Vec<TopicPartition> {
        let member =
            DescribedGroupMember { member_assignment: Bytes::from_static(bytes), ..Default::default() };
        describe_member(member, true).partitions
    }

    #[test]
    fn assignments_of_all_versions_are_read_and_others_are_none() {
        let assigned = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x00\0\0\0\x05\xff\xff\xff\xff";
        assert_eq!(partitions(assigned), [TopicPartition::new("t", 0), TopicPartition::new("t", 5)]);
        assert_eq!(partitions(b"\0\x63\0\0\0\0\xff\xff\xff\xff"), []);
        assert_eq!(partitions(b""), []);
        assert_eq!(partitions(b"\0\x01\x7f\xff\xff\xff"), []);
        assert_eq!(partitions(b"whatever"), []);
    }
}
