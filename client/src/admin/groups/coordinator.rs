//! Calls that only a group's coordinator answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::timeout_at;

use super::{PerGroup, refusal};
use crate::admin::attempts::Attempts;
use crate::admin::{Admin, AdminError, Failure};
use crate::cluster::host_and_port;
use crate::connection::Connection;
use crate::ids::BrokerId;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::{ApiKey, ErrorCode, Str};

/// `CoordinatorType.GROUP` of Kafka.
const GROUP: i8 = 0;
/// From this version on several groups are asked for at once (KIP-699).
const BATCHED: i16 = 4;
/// Groups of one request: their names and answers stay far below a broker's limit for a frame.
const BATCH: usize = 1_000;

/// The broker that looks after a group, as it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator {
    pub id: BrokerId,
    pub host: String,
    pub port: i32,
}

impl Coordinator {
    fn address(&self) -> Arc<str> {
        host_and_port(&self.host, self.port).into()
    }
}

/// The two halves of a call, as Kafka's admin client names them when time runs out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) find: &'static str,
    pub(super) ask: &'static str,
}

/// What a coordinator says of each group.
pub(super) type Answers<T> = Vec<(String, Result<T, ErrorCode>)>;

impl Admin {
    /// Asks the coordinators of the groups until each group has an answer that stands, or the time is up.
    pub(super) async fn ask_coordinators<T>(
        &self,
        call: Call,
        groups: &[String],
        ask: impl AsyncFn(&Connection, &Coordinator, &[String]) -> Result<Answers<T>, Failure>,
    ) -> Result<PerGroup<T>, AdminError> {
        let mut attempts = Attempts::begin(call.find, self.options.api_timeout);
        let deadline = attempts.deadline();
        let mut inquiry = Inquiry::about(groups);
        loop {
            attempts.doing(call.find);
            match timeout_at(deadline, self.find_coordinators(&inquiry.lost(), &mut attempts)).await {
                Err(_) => return Err(attempts.timed_out()),
                Ok(Ok(answers)) => inquiry.found(answers),
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(cause))) => attempts.failed(cause),
            }
            for (coordinator, groups) in inquiry.batches() {
                attempts.doing(call.ask);
                let asking = async {
                    let connection = self.connection(&coordinator.address()).await?;
                    attempts.sending();
                    ask(&connection, &coordinator, &groups).await
                };
                match timeout_at(deadline, asking).await {
                    Err(_) => return Err(attempts.timed_out()),
                    Ok(Ok(answers)) => inquiry.answered(answers),
                    Ok(Err(Failure::Final(error))) => return Err(error),
                    Ok(Err(Failure::Passing(cause))) => {
                        attempts.failed(cause);
                        inquiry.lose(&groups);
                    }
                }
            }
            if inquiry.open.is_empty() {
                return Ok(inquiry.results);
            }
            if !attempts.pause().await {
                return Err(attempts.timed_out());
            }
        }
    }

    /// The same for one group.
    pub(super) async fn ask_coordinator<T>(
        &self,
        call: Call,
        group: &str,
        ask: impl AsyncFn(&Connection) -> Result<Result<T, ErrorCode>, Failure>,
    ) -> Result<T, AdminError> {
        let ask = async |connection: &Connection, _: &Coordinator, groups: &[String]| {
            let mut answers = Vec::with_capacity(groups.len());
            for group in groups {
                answers.push((group.clone(), ask(connection).await?));
            }
            Ok(answers)
        };
        let mut results = self.ask_coordinators(call, &[group.to_owned()], ask).await?;
        // Every group that was asked about has a result.
        results.remove(group).unwrap_or_else(|| Err(refusal(ErrorCode::GroupIdNotFound)))
    }

    async fn find_coordinators(
        &self,
        groups: &[String],
        attempts: &mut Attempts,
    ) -> Result<Answers<Coordinator>, Failure> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.any_broker().await?;
        attempts.sending();
        let versions = connection.negotiate().await.map_err(|error| Failure::Passing(Some(error)))?;
        let is_batched = versions.latest(ApiKey::FindCoordinator).is_some_and(|version| version >= BATCHED);
        let mut answers = Vec::with_capacity(groups.len());
        for batch in groups.chunks(if is_batched { BATCH } else { 1 }) {
            let request = match batch {
                [group] if !is_batched => FindCoordinatorRequest {
                    key: Str::from(group.as_str()),
                    key_type: GROUP,
                    ..Default::default()
                },
                _ => FindCoordinatorRequest {
                    key_type: GROUP,
                    coordinator_keys: batch.iter().map(|group| Str::from(group.as_str())).collect(),
                    ..Default::default()
                },
            };
            let response = self.exchange(&connection, &request).await?;
            answers.extend(read_coordinators(batch, response));
        }
        Ok(answers)
    }
}

/// A move or a start of the coordinator, after which it will answer.
fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator
            | ErrorCode::UnstableOffsetCommit
    )
}

/// How far a call about several groups has come.
struct Inquiry<T> {
    /// Without an answer that stands.
    open: BTreeSet<String>,
    coordinators: BTreeMap<String, Coordinator>,
    results: PerGroup<T>,
}

impl<T> Inquiry<T> {
    fn about(groups: &[String]) -> Inquiry<T> {
        Inquiry {
            open: groups.iter().cloned().collect(),
            coordinators: BTreeMap::new(),
            results: PerGroup::new(),
        }
    }

    /// The open groups whose coordinator is not known.
    fn lost(&self) -> Vec<String> {
        self.open.iter().filter(|group| !self.coordinators.contains_key(*group)).cloned().collect()
    }

    fn lose(&mut self, groups: &[String]) {
        for group in groups {
            self.coordinators.remove(group);
        }
    }

    fn found(&mut self, answers: Answers<Coordinator>) {
        for (group, answer) in answers {
            match answer {
                Ok(coordinator) => drop(self.coordinators.insert(group, coordinator)),
                Err(code) if may_pass(code) => {}
                Err(code) => self.settle(group, Err(refusal(code))),
            }
        }
    }

    fn answered(&mut self, answers: Answers<T>) {
        for (group, answer) in answers {
            match answer {
                // It is the coordinator, and will answer when it has read what it needs.
                Err(ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit) => {}
                Err(code) if may_pass(code) => drop(self.coordinators.remove(&group)),
                answer => self.settle(group, answer.map_err(refusal)),
            }
        }
    }

    fn settle(&mut self, group: String, result: Result<T, AdminError>) {
        self.open.remove(&group);
        self.results.insert(group, result);
    }

    /// The open groups whose coordinator is known, by coordinator, in requests of a fair size.
    fn batches(&self) -> Vec<(Coordinator, Vec<String>)> {
        let mut by_broker: BTreeMap<BrokerId, (&Coordinator, Vec<String>)> = BTreeMap::new();
        for group in &self.open {
            if let Some(coordinator) = self.coordinators.get(group) {
                let (_, groups) =
                    by_broker.entry(coordinator.id).or_insert_with(|| (coordinator, Vec::new()));
                groups.push(group.clone());
            }
        }
        let mut batches = Vec::new();
        for (coordinator, groups) in by_broker.into_values() {
            batches.extend(groups.chunks(BATCH).map(|batch| (coordinator.clone(), batch.to_vec())));
        }
        batches
    }
}

fn read_coordinators(asked: &[String], response: FindCoordinatorResponse) -> Answers<Coordinator> {
    let read = |code: i16, id: i32, host: &Str, port: i32| match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(Coordinator { id: BrokerId(id), host: host.to_string(), port }),
        code => Err(code),
    };
    match (asked, response.coordinators.is_empty()) {
        ([group], true) => {
            let FindCoordinatorResponse { error_code, node_id, host, port, .. } = &response;
            vec![(group.clone(), read(*error_code, *node_id, host, *port))]
        }
        _ => {
            let found = response.coordinators.iter();
            found
                .map(|found| {
                    (found.key.to_string(), read(found.error_code, found.node_id, &found.host, found.port))
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::find_coordinator_response::Coordinator as Found;

    fn at(id: i32) -> Coordinator {
        Coordinator { id: BrokerId(id), host: "h".to_owned(), port: 9000 + id }
    }

    #[test]
    fn both_forms_of_the_answer_are_read() {
        let single =
            FindCoordinatorResponse { node_id: 1, host: Str::from("h"), port: 9001, ..Default::default() };
        assert_eq!(read_coordinators(&["g".to_owned()], single), [("g".to_owned(), Ok(at(1)))]);
        let refused = FindCoordinatorResponse { error_code: 15, ..Default::default() };
        let expected = [("g".to_owned(), Err(ErrorCode::CoordinatorNotAvailable))];
        assert_eq!(read_coordinators(&["g".to_owned()], refused), expected);
        let found = |key: &str, id, error_code| Found {
            key: Str::from(key),
            node_id: id,
            host: Str::from("h"),
            port: 9000 + id,
            error_code,
            error_message: None,
        };
        let batch = FindCoordinatorResponse {
            coordinators: vec![found("g", 2, 0), found("h", -1, 30)],
            ..Default::default()
        };
        let expected =
            [("g".to_owned(), Ok(at(2))), ("h".to_owned(), Err(ErrorCode::GroupAuthorizationFailed))];
        assert_eq!(read_coordinators(&["g".to_owned(), "h".to_owned()], batch), expected);
    }

    #[test]
    fn requests_go_to_each_coordinator_and_hold_no_more_than_a_batch() {
        let groups: Vec<String> = (0..BATCH + 1).map(|n| format!("g{n}")).collect();
        let mut inquiry = Inquiry::<()>::about(&groups);
        inquiry.found(groups.iter().map(|group| (group.clone(), Ok(at(1)))).collect());
        inquiry.found(vec![("g7".to_owned(), Ok(at(2)))]);
        inquiry.lose(&["g8".to_owned()]);
        assert_eq!(inquiry.lost(), ["g8"]);
        let batches = inquiry.batches();
        let sizes: Vec<(i32, usize)> = batches.iter().map(|(at, groups)| (at.id.0, groups.len())).collect();
        assert_eq!(sizes, [(1, BATCH - 1), (2, 1)]);
    }

    #[test]
    fn only_answers_that_stand_end_the_inquiry() {
        let names = ["loads", "moved", "gone", "done"].map(str::to_owned);
        let mut inquiry = Inquiry::<i32>::about(&names);
        inquiry.found(names.iter().map(|group| (group.clone(), Ok(at(1)))).collect());
        inquiry.answered(vec![
            ("loads".to_owned(), Err(ErrorCode::CoordinatorLoadInProgress)),
            ("moved".to_owned(), Err(ErrorCode::NotCoordinator)),
            ("gone".to_owned(), Err(ErrorCode::GroupIdNotFound)),
            ("done".to_owned(), Ok(5)),
        ]);
        assert_eq!(inquiry.lost(), ["moved"]);
        assert_eq!(inquiry.batches(), [(at(1), vec!["loads".to_owned()])]);
        assert!(matches!(inquiry.results.get("done"), Some(Ok(5))));
        let refused = inquiry.results.get("gone").and_then(|result| result.as_ref().err());
        assert_eq!(refused.map(AdminError::to_string).as_deref(), Some("The group id does not exist."));
        inquiry.found(vec![("moved".to_owned(), Err(ErrorCode::InvalidGroupId))]);
        assert_eq!(inquiry.open.len(), 1);
    }
}
