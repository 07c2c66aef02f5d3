//! What a broker makes of a request that names the leader epoch its asker believes in (KIP-320).
//!
//! Told from the epoch the replica is in and the error it answers, not from its own comparison of the two.

use std::cmp::Ordering;

use broker::partition::Status;
use client::ids::{BrokerId, LeaderEpoch, TopicPartition};
use client::wire::ErrorCode;

use super::message::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Fetch,
    ListOffsets,
    OffsetForLeaderEpoch,
}

/// A request of one partition.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub api: Api,
    pub asker: Place,
    pub partition: TopicPartition,
    pub named: LeaderEpoch,
}

/// See the module's doc.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub question: Question,
    /// The replica's, as it answered; `None`: there is none.
    pub status: Option<Status>,
    pub error: ErrorCode,
}

impl Verdict {
    /// How the named epoch compares with that of the replica. `None`: it has no log to say so of.
    fn compared(&self) -> Option<Ordering> {
        let status = self.status.filter(|status| !status.offline)?;
        Some(self.question.named.cmp(&status.epoch))
    }

    /// The error that is due because the epochs differ.
    fn due(&self) -> Option<ErrorCode> {
        match self.compared()? {
            Ordering::Less => Some(ErrorCode::FencedLeaderEpoch),
            Ordering::Greater => Some(ErrorCode::UnknownLeaderEpoch),
            Ordering::Equal => None,
        }
    }

    /// The name under which epochs that differ are counted.
    pub(super) fn rarity(&self) -> Option<&'static str> {
        let is_older = self.compared().filter(|compared| compared.is_ne())?.is_lt();
        Some(match (self.question.asker, self.question.api, is_older) {
            (Place::Clients, _, true) => "consumer of an older leader epoch",
            (Place::Clients, _, false) => "consumer of a newer leader epoch",
            (_, Api::Fetch, true) => "fetch of an older leader epoch",
            (_, Api::Fetch, false) => "fetch of a newer leader epoch",
            (_, _, true) => "leader's ends asked in an older epoch",
            (_, _, false) => "leader's ends asked in a newer epoch",
        })
    }

    /// Only the leader of exactly the named epoch answers without an error, and whoever is in another says which of
    /// both is older.
    pub(super) fn breach(&self, broker: BrokerId) -> Option<String> {
        let leads = self.status.is_some_and(|status| status.is_leader() && !status.offline);
        let is_due = match self.due() {
            Some(due) => self.error == due,
            None => self.error != ErrorCode::None || leads,
        };
        if is_due {
            return None;
        }
        let Question { api, asker, partition, named } = &self.question;
        let role = match self.status {
            None => "has no replica".to_owned(),
            Some(status) if status.offline => "has no log".to_owned(),
            Some(status) if status.epoch == LeaderEpoch::NONE => "knows of no epoch".to_owned(),
            Some(status) if leads => format!("leads in epoch {}", status.epoch),
            Some(status) => format!("follows in epoch {}", status.epoch),
        };
        let due = self.due().map_or_else(|| "an error".to_owned(), |due| due.name().to_owned());
        let error = self.error.name();
        Some(format!(
            "{partition}: {broker} {role}, and answered {error} where {due} is due, to {api:?} of {asker:?}, which names \
             epoch {named}"
        ))
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn status(epoch: i32, leads: bool) -> Status {
        let epoch = LeaderEpoch(epoch);
        Status { epoch, leading_since: leads.then_some(epoch), may_confirm: leads, ..Status::UNASSIGNED }
    }

    fn verdict(named: i32, status: Option<Status>, error: ErrorCode) -> Verdict {
        let partition = TopicPartition::new("t", 0);
        let question =
            Question { api: Api::Fetch, asker: Place::Clients, partition, named: LeaderEpoch(named) };
        Verdict { question, status, error }
    }

    fn breach(named: i32, status: Option<Status>, error: ErrorCode) -> Option<String> {
        verdict(named, status, error).breach(BrokerId(1))
    }

    #[test]
    fn the_leader_of_the_named_epoch_answers_as_it_likes() {
        for error in [ErrorCode::None, ErrorCode::OffsetOutOfRange] {
            assert_eq!(breach(5, Some(status(5, true)), error), None);
        }
    }

    #[test]
    fn a_leader_in_another_epoch_says_which_is_older() {
        assert_eq!(breach(4, Some(status(5, true)), ErrorCode::FencedLeaderEpoch), None);
        assert_eq!(breach(6, Some(status(5, true)), ErrorCode::UnknownLeaderEpoch), None);
        assert_eq!(
            breach(4, Some(status(5, true)), ErrorCode::None).as_deref(),
            Some(
                "t-0: 1 leads in epoch 5, and answered NONE where FENCED_LEADER_EPOCH is due, to Fetch of Clients, \
                 which names epoch 4"
            )
        );
        for (named, error) in [
            (4, ErrorCode::UnknownLeaderEpoch),
            (4, ErrorCode::NotLeaderOrFollower),
            (6, ErrorCode::FencedLeaderEpoch),
            (6, ErrorCode::None),
        ] {
            assert!(breach(named, Some(status(5, true)), error).is_some(), "{named} {error:?}");
        }
    }

    #[test]
    fn who_does_not_lead_answers_an_error() {
        let offline = Status { offline: true, ..status(5, true) };
        for (status, error) in [
            (None, ErrorCode::NotLeaderOrFollower),
            (Some(status(5, false)), ErrorCode::NotLeaderOrFollower),
            (Some(offline), ErrorCode::KafkaStorageError),
        ] {
            assert_eq!(breach(5, status, error), None, "{status:?}");
            assert!(breach(5, status, ErrorCode::None).is_some(), "{status:?}");
        }
        assert!(breach(4, Some(status(5, false)), ErrorCode::NotLeaderOrFollower).is_some());
    }

    #[test]
    fn epochs_that_differ_are_counted_whatever_is_answered() {
        let rarity = |named| verdict(named, Some(status(5, true)), ErrorCode::None).rarity();
        assert_eq!(rarity(4), Some("consumer of an older leader epoch"));
        assert_eq!(rarity(5), None);
        assert_eq!(rarity(6), Some("consumer of a newer leader epoch"));
    }
}
