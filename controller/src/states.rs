//! Which state may follow which, for partitions and replicas (controller.md's tables are those of
//! `PartitionStateMachine.scala` and `ReplicaStateMachine.scala`).

use crate::cluster::{PartitionState, ReplicaState};

/// Whether a partition may go from one state to the other.
pub fn partition_may(from: PartitionState, to: PartitionState) -> bool {
    use PartitionState::{New, NonExistent, Offline, Online};
    match to {
        New => from == NonExistent,
        Online | Offline => matches!(from, New | Online | Offline),
        NonExistent => from == Offline,
    }
}

/// Whether a replica may go from one state to the other; `None` is one that does not exist.
pub fn replica_may(from: Option<ReplicaState>, to: Option<ReplicaState>) -> bool {
    use ReplicaState::{DeletionIneligible, DeletionStarted, DeletionSuccessful, New, Offline, Online};
    match to {
        None => from == Some(DeletionSuccessful),
        Some(New) => from.is_none(),
        Some(Online | Offline) => matches!(from, Some(New | Online | Offline | DeletionIneligible)),
        Some(DeletionStarted) => from == Some(Offline),
        Some(DeletionSuccessful) => from == Some(DeletionStarted),
        Some(DeletionIneligible) => matches!(from, Some(Offline | DeletionStarted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_only_where_kafka_lets_them() {
        use PartitionState::{New, NonExistent, Offline, Online};
        let allowed = [
            (NonExistent, New),
            (New, Online),
            (Online, Online),
            (Offline, Online),
            (New, Offline),
            (Online, Offline),
            (Offline, Offline),
            (Offline, NonExistent),
        ];
        let all = [New, Online, Offline, NonExistent];
        for from in all {
            for to in all {
                assert_eq!(partition_may(from, to), allowed.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn replicas_go_only_where_kafka_lets_them() {
        use ReplicaState::{DeletionIneligible, DeletionStarted, DeletionSuccessful, New, Offline, Online};
        let all = [New, Online, Offline, DeletionStarted, DeletionSuccessful, DeletionIneligible];
        let to_state = |to: Option<ReplicaState>| {
            let from = all.map(Some).into_iter().chain([None]);
            from.filter(|&from| replica_may(from, to)).collect::<Vec<_>>()
        };
        let present = [New, Online, Offline, DeletionIneligible].map(Some).to_vec();
        assert_eq!(to_state(Some(Online)), present);
        assert_eq!(to_state(Some(Offline)), present);
        assert_eq!(to_state(Some(New)), [None]);
        assert_eq!(to_state(Some(DeletionStarted)), [Some(Offline)]);
        assert_eq!(to_state(Some(DeletionSuccessful)), [Some(DeletionStarted)]);
        assert_eq!(to_state(Some(DeletionIneligible)), [Some(Offline), Some(DeletionStarted)]);
        assert_eq!(to_state(None), [Some(DeletionSuccessful)]);
    }
}
