//! The loop that asks one broker, with one request in flight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Moment;
use super::partitions::{Check, Plan, Round};
use super::{Shared, request};
use crate::cluster::ClusterError;
use crate::connection::{Connection, ConnectionError};
use crate::fetch_session::FetchSession;
use crate::ids::{BrokerId, TopicPartition};
use crate::wire::messages::{FetchResponse, OffsetForLeaderEpochResponse};
use crate::wire::{ApiKey, ErrorCode};

/// While some partitions are held back because what they have was not taken, a broker is not let wait for
/// records of the others for longer than this.
const HURRIED_WAIT: Duration = Duration::from_millis(50);

/// Leaders are looked after while a request is not answered within this time and that for which brokers hold it.
const ANSWERED_SOON: Duration = Duration::from_millis(500);

/// Fetches from one broker until no partition is read from it.
#[derive(Debug)]
pub(super) struct Task {
    shared: Arc<Shared>,
    broker: BrokerId,
    session: FetchSession,
    connection: Option<Connection>,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("it answered {0}")]
    Refused(ErrorCode),
    #[error("it does not answer, and leads none of the partitions any more")]
    LeftBehind,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, broker: BrokerId) -> Task {
        Task { shared, broker, session: FetchSession::default(), connection: None }
    }

    pub(super) async fn run(mut self) {
        let mut changes = self.shared.changes();
        loop {
            changes.mark_unchanged();
            match self.shared.plan(self.broker) {
                Plan::Leave => {
                    // What was read from here may have to be read from elsewhere.
                    self.shared.rearrange();
                    return;
                }
                Plan::Rest { until: None } => {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
                Plan::Rest { until: Some(until) } => {
                    // Whether something changed or the time has come, the next plan tells.
                    let _ = tokio::time::timeout_at(until.into(), changes.changed()).await;
                }
                Plan::Check(checks) => self.check(checks).await,
                Plan::Fetch(round) => self.fetch(round).await,
            }
        }
    }

    async fn fetch(&mut self, round: Round) {
        let cluster = self.shared.cluster.clone();
        let soon = self.shared.options.max_wait + ANSWERED_SOON;
        let concerned = round.sent.iter().map(|(id, sent)| (id, sent.leader.broker));
        let answer = tokio::select! {
            biased;
            answer = self.exchange(&round) => answer,
            () = cluster.left_behind(soon, concerned) => Err(RoundError::LeftBehind),
        };
        match answer {
            Ok(response) => self.take(&round, response),
            Err(RoundError::Refused(error)) if self.restarts_session(error) => {
                tracing::debug!(broker = %self.broker, %error, "the fetch session is begun anew");
            }
            Err(error) => {
                self.session.doubtful();
                self.connection = None;
                tracing::debug!(broker = %self.broker, %error, "cannot fetch; trying again");
                let moment = moment();
                let options = &self.shared.options;
                let mut partitions = self.shared.partitions();
                for (id, sent) in &round.sent {
                    partitions.unanswered(id, sent, options, moment);
                }
                drop(partitions);
                self.shared.rearrange();
                self.suspect(&round, round.sent.keys());
            }
        }
    }

    fn restarts_session(&mut self, error: ErrorCode) -> bool {
        match error {
            ErrorCode::FetchSessionIdNotFound => self.session.lost(),
            ErrorCode::InvalidFetchSessionEpoch | ErrorCode::FetchSessionTopicIdError => {
                self.session.doubtful();
            }
            _ => return false,
        }
        true
    }

    async fn exchange(&mut self, round: &Round) -> Result<FetchResponse, RoundError> {
        let connection = self.connected().await?;
        let options = &self.shared.options;
        let max_wait = match round.held_back {
            true => options.max_wait.min(HURRIED_WAIT),
            false => options.max_wait,
        };
        let next = self.session.next(round.asks.clone());
        let request = request::fetch(&next, options, max_wait);
        let version = version(&connection, ApiKey::Fetch, request::FETCH_BY_NAME).await?;
        let within = self.shared.cluster.options().connection.request_timeout + max_wait;
        let response = connection.send_within(&request, version, within).await?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {
                self.session.answered(response.session_id);
                Ok(response)
            }
            error => Err(RoundError::Refused(error)),
        }
    }

    fn take(&mut self, round: &Round, response: FetchResponse) {
        let moment = moment();
        let mut doubtful: Vec<TopicPartition> = Vec::new();
        // Within a session, a partition of which there is nothing new is left out.
        let mut unchanged: BTreeSet<&TopicPartition> = round.sent.keys().collect();
        let mut partitions = self.shared.partitions();
        for topic in response.responses {
            let name: Arc<str> = Arc::from(&*topic.topic);
            for data in topic.partitions {
                let id = TopicPartition::new(Arc::clone(&name), data.partition_index);
                // The names that are kept are those of the user, not one for each answer.
                let Some((id, sent)) = round.sent.get_key_value(&id) else { continue };
                unchanged.remove(id);
                if partitions.fetched(id, sent, self.broker, data, &self.shared.options, moment) {
                    doubtful.push(id.clone());
                }
            }
        }
        for id in unchanged {
            if let Some(slot) = round.sent.get(id).and_then(|sent| partitions.current(id, sent)) {
                slot.succeed();
                slot.empty_answers += 1;
            }
        }
        drop(partitions);
        self.shared.became_ready();
        self.shared.rearrange();
        self.suspect(round, doubtful.iter());
    }

    fn suspect<'a>(&self, round: &Round, ids: impl Iterator<Item = &'a TopicPartition>) {
        for id in ids {
            let seen = round.sent.get(id).map(|sent| sent.leader);
            self.shared.cluster.suspect(id, seen);
        }
    }

    async fn check(&mut self, checks: Vec<Check>) {
        let answered = self.exchange_epochs(&checks).await;
        let moment = moment();
        let options = &self.shared.options;
        let mut doubtful = Vec::new();
        let mut partitions = self.shared.partitions();
        match &answered {
            Ok(Some(response)) => {
                for check in &checks {
                    // One that was not answered is asked for again.
                    let Some(answer) = request::epoch_end(response, &check.id) else { continue };
                    if partitions.checked(check, answer, options, moment) {
                        doubtful.push(check);
                    }
                }
            }
            Ok(None) => checks.iter().for_each(|check| partitions.uncheckable(check)),
            Err(error) => {
                tracing::debug!(broker = %self.broker, %error, "cannot compare epochs; trying again");
                for check in &checks {
                    partitions.unanswered(&check.id, &check.sent(), options, moment);
                }
                doubtful.extend(&checks);
            }
        }
        drop(partitions);
        if answered.is_err() {
            self.connection = None;
        }
        self.shared.became_ready();
        self.shared.rearrange();
        for check in doubtful {
            self.shared.cluster.suspect(&check.id, Some(check.leader));
        }
    }

    /// `None`: the broker is too old to be asked.
    async fn exchange_epochs(
        &mut self,
        checks: &[Check],
    ) -> Result<Option<OffsetForLeaderEpochResponse>, RoundError> {
        let connection = self.connected().await?;
        let peer = connection.negotiate().await?;
        let key = ApiKey::OffsetForLeaderEpoch;
        let Some(version) = peer.latest(key).filter(|version| *version >= request::EPOCHS_FOR_CONSUMERS)
        else {
            return Ok(None);
        };
        Ok(Some(connection.send(&request::epoch_ends(checks), version).await?))
    }

    async fn connected(&mut self) -> Result<Connection, ClusterError> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        self.session.doubtful();
        let connection = self.shared.cluster.dedicated_connection(self.broker).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }
}

async fn version(connection: &Connection, api: ApiKey, most: i16) -> Result<i16, ConnectionError> {
    let peer = connection.negotiate().await?;
    peer.latest_up_to(api, most).ok_or_else(|| ConnectionError::NoCommonVersion {
        address: connection.address().into(),
        api,
        theirs: peer.range(api),
    })
}

fn moment() -> Moment {
    Moment { now: Instant::now(), chance: rand::random() }
}
