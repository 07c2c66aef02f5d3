//! `/brokers/topics/<topic>/partitions/<partition>/state`: who leads a partition, and who is in
//! sync. The node's data version is the partition epoch; only the controller writes it.

use super::json::{self, Fields, Object};
use super::{ZnodeError, topic};
use crate::ids::{BrokerId, ControllerEpoch, LeaderEpoch};

const NODE: &str = "a partition's state";

/// The parent of a topic's partitions, without data.
pub fn partitions_path(topic: &str) -> String {
    format!("{}/partitions", topic::path(topic))
}

/// The parent of a partition's state, without data.
pub fn path(topic: &str, partition: i32) -> String {
    format!("{}/{partition}", partitions_path(topic))
}

pub fn state_path(topic: &str, partition: i32) -> String {
    format!("{}/state", path(topic, partition))
}

/// Whether the leader may have lost records (KIP-704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderRecovery {
    #[default]
    Recovered,
    /// Elected from outside the in-sync set; until its first ISR change.
    Recovering,
}

impl LeaderRecovery {
    /// The number on the wire and in the node.
    pub fn code(self) -> i8 {
        match self {
            LeaderRecovery::Recovered => 0,
            LeaderRecovery::Recovering => 1,
        }
    }

    pub fn from_code(code: i8) -> Option<LeaderRecovery> {
        match code {
            0 => Some(LeaderRecovery::Recovered),
            1 => Some(LeaderRecovery::Recovering),
            _ => None,
        }
    }
}

/// What a partition's state node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// [`BrokerId::NONE`]: nobody leads; `isr` then keeps its last members.
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// In the order in which it was proposed.
    pub isr: Vec<BrokerId>,
    pub recovery: LeaderRecovery,
    /// The epoch of the controller that wrote the node last.
    pub controller_epoch: ControllerEpoch,
}

impl PartitionState {
    /// Version 1 of the node; the recovery state is written only while recovering.
    pub fn encode(&self) -> Vec<u8> {
        let mut node = Object::new()
            .number("controller_epoch", self.controller_epoch.0)
            .number("leader", self.leader.0)
            .number("version", 1);
        if self.recovery != LeaderRecovery::Recovered {
            node = node.number("leader_recovery_state", self.recovery.code());
        }
        node.number("leader_epoch", self.leader_epoch.0).raw("isr", &json::brokers(&self.isr)).into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<PartitionState, ZnodeError> {
        const RECOVERY: &str = "leader_recovery_state";
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let code = fields.i32_or(RECOVERY, 0)?;
        let recovery = i8::try_from(code).ok().and_then(LeaderRecovery::from_code).ok_or_else(|| {
            ZnodeError::Unexpected {
                node: NODE,
                field: RECOVERY,
                expected: "0 or 1",
                found: code.to_string(),
            }
        })?;
        Ok(PartitionState {
            leader: BrokerId(fields.i32("leader")?),
            leader_epoch: LeaderEpoch(fields.i32("leader_epoch")?),
            isr: fields.brokers("isr")?,
            recovery,
            controller_epoch: ControllerEpoch(fields.i32("controller_epoch")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: PartitionState, text: &str) {
        assert_eq!(String::from_utf8(state.encode()).unwrap(), text);
        assert_eq!(PartitionState::decode(text.as_bytes()), Ok(state));
    }

    #[test]
    fn states_are_written_as_kafka_does() {
        let state = PartitionState {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(5),
            isr: vec![BrokerId(1), BrokerId(2)],
            recovery: LeaderRecovery::Recovered,
            controller_epoch: ControllerEpoch(17),
        };
        check(
            state.clone(),
            r#"{"controller_epoch":17,"leader":1,"version":1,"leader_epoch":5,"isr":[1,2]}"#,
        );
        check(
            PartitionState {
                leader_epoch: LeaderEpoch(3),
                isr: vec![BrokerId(1)],
                recovery: LeaderRecovery::Recovering,
                controller_epoch: ControllerEpoch(4),
                ..state
            },
            r#"{"controller_epoch":4,"leader":1,"version":1,"leader_recovery_state":1,"leader_epoch":3,"isr":[1]}"#,
        );
        assert_eq!(state_path("t", 3), "/brokers/topics/t/partitions/3/state");
    }

    #[test]
    fn unknown_keys_pass_and_missing_ones_do_not() {
        let read = PartitionState::decode(
            br#"{"isr":[3],"extra":{},"leader":-1,"leader_epoch":9,"version":1,"controller_epoch":2}"#,
        );
        assert_eq!(read.unwrap().leader, BrokerId::NONE);
        let text = |data: &str| PartitionState::decode(data.as_bytes()).unwrap_err().to_string();
        assert_eq!(text(r#"{"leader":1}"#), "a partition's state lacks the field 'leader_epoch'");
        assert_eq!(
            text(r#"{"leader_recovery_state":7}"#),
            "a partition's state has 7 in the field 'leader_recovery_state', where 0 or 1 belongs"
        );
    }
}
