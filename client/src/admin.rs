//! What an operator asks of a cluster: topics, their configuration, their reassignments; consumer groups and
//! their offsets.
//!
//! A call goes to any broker, to the controller or to a group's coordinator, whichever may answer it, and is repeated until it is
//! answered or its time is up: a broker that cannot be reached is passed over for the next one, and one
//! that is no longer the controller makes the admin look for the controller again. As in Kafka's own
//! admin client, a call whose connection broke is sent again although it may have been carried out.

mod attempts;
mod configs;
mod error;
mod groups;
mod log_offsets;
mod reassignments;
mod settle;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout_at;

use crate::cluster::host_and_port;
pub use crate::cluster::{Bootstrap, BootstrapError};
use crate::connection::{Connection, ConnectionError, ConnectionOptions};
use crate::ids::BrokerId;
use crate::wire::messages::{MetadataRequest, MetadataResponse};
use crate::wire::{ErrorCode, Request, Str};
use attempts::Attempts;
pub use configs::ConfigEntry;
pub use error::AdminError;
pub use groups::{
    Coordinator, GroupDescription, GroupListing, GroupMember, GroupOffset, GroupOffsets, PerGroup,
};
pub use log_offsets::OffsetAt;
pub use reassignments::Reassignment;
pub use topics::{
    DescribedTopics, NewPartitions, NewTopic, PartitionDescription, Placement, TopicDescription, TopicListing,
};

/// Limits of an [`Admin`]; the defaults are those of Kafka's admin client.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// `client.id`.
    pub client_id: Str,
    /// `request.timeout.ms`: from one request to its response.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: for a call with all its repetitions.
    pub api_timeout: Duration,
}

impl Default for AdminOptions {
    fn default() -> AdminOptions {
        AdminOptions {
            client_id: Str::from_static("adminclient-1"),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
        }
    }
}

/// A client of a cluster, not connected before the first call.
#[derive(Debug)]
pub struct Admin {
    options: AdminOptions,
    bootstrap: Bootstrap,
    links: Mutex<Links>,
}

/// Connections, and what is known of where they may go.
#[derive(Debug, Default)]
struct Links {
    open: BTreeMap<Arc<str>, Connection>,
    brokers: BTreeMap<BrokerId, Arc<str>>,
    /// Those that could not be reached, or did not answer, the last time.
    failed: BTreeSet<Arc<str>>,
    controller: Option<Arc<str>>,
}

/// Who may answer a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    AnyBroker,
    Controller,
}

/// Why one attempt brought no answer.
enum Failure {
    /// Another attempt may do better. `None`: no broker says that it is the controller.
    Passing(Option<ConnectionError>),
    /// It would fail with every broker.
    Final(AdminError),
}

impl Admin {
    pub fn new(bootstrap: Bootstrap, options: AdminOptions) -> Admin {
        Admin { options, bootstrap, links: Mutex::default() }
    }

    /// Asks until there is an answer that is not "I am not the controller", or the time is up.
    async fn call<R: Request>(
        &self,
        name: &'static str,
        target: Target,
        request: impl Fn(Duration) -> R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, AdminError> {
        let mut attempts = Attempts::begin(name, self.options.api_timeout);
        loop {
            let request = request(attempts.remaining());
            let Ok(reached) = timeout_at(attempts.deadline(), self.reach(target)).await else {
                return Err(attempts.timed_out());
            };
            let outcome = match reached {
                Ok(connection) => {
                    attempts.sending();
                    match timeout_at(attempts.deadline(), self.exchange(&connection, &request)).await {
                        Ok(outcome) => outcome,
                        Err(_) => return Err(attempts.timed_out()),
                    }
                }
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(response) if code(&response) == ErrorCode::NotController => self.links().controller = None,
                Ok(response) => return Ok(response),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(cause)) => attempts.failed(cause),
            }
            if !attempts.pause().await {
                return Err(attempts.timed_out());
            }
        }
    }

    /// A connection to who may answer.
    async fn reach(&self, target: Target) -> Result<Connection, Failure> {
        match target {
            Target::AnyBroker => self.any_broker().await,
            Target::Controller => self.controller().await,
        }
    }

    async fn exchange<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
    ) -> Result<R::Response, Failure> {
        let result = connection.send_negotiated(request).await;
        result.map_err(|error| match error {
            ConnectionError::NoCommonVersion { .. } | ConnectionError::Encode { .. } => {
                Failure::Final(error.into())
            }
            _ => {
                self.give_up(connection.address());
                Failure::Passing(Some(error))
            }
        })
    }

    /// Forgets a connection. Its broker is tried again after the others.
    fn give_up(&self, address: &str) {
        let mut links = self.links();
        links.open.remove(address);
        links.failed.insert(address.into());
        // Where the controller was may be where nothing is now.
        links.controller = None;
    }

    /// An open connection, or one to the first broker that can be reached and says which versions it speaks.
    async fn any_broker(&self) -> Result<Connection, Failure> {
        let (open, known, failed) = {
            let links = self.links();
            let open = links.open.values().find(|connection| !connection.is_closed()).cloned();
            (open, links.brokers.values().cloned().collect::<Vec<_>>(), links.failed.clone())
        };
        if let Some(open) = open {
            return Ok(open);
        }
        let mut candidates: Vec<&Arc<str>> = self.bootstrap.addresses().iter().chain(&known).collect();
        candidates.sort_by_key(|address| failed.contains(*address));
        let mut last = None;
        for address in candidates {
            match self.connection(address).await {
                Ok(connection) => return Ok(connection),
                Err(Failure::Passing(error)) => last = error,
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Passing(last))
    }

    async fn controller(&self) -> Result<Connection, Failure> {
        let known = self.links().controller.clone();
        let address = match known {
            Some(address) => address,
            None => self.find_controller().await?,
        };
        self.connection(&address).await.inspect_err(|_| self.links().controller = None)
    }

    async fn find_controller(&self) -> Result<Arc<str>, Failure> {
        let request = MetadataRequest {
            topics: Some(Vec::new()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let connection = self.any_broker().await?;
        let response = self.exchange(&connection, &request).await?;
        self.learn(&response);
        self.links().controller.clone().ok_or(Failure::Passing(None))
    }

    /// Remembers where the brokers are, and which is the controller.
    fn learn(&self, metadata: &MetadataResponse) {
        let brokers = metadata.brokers.iter();
        let brokers: BTreeMap<BrokerId, Arc<str>> = brokers
            .map(|broker| (BrokerId(broker.node_id), host_and_port(&broker.host, broker.port).into()))
            .collect();
        let mut links = self.links();
        links.controller = brokers.get(&BrokerId(metadata.controller_id)).cloned();
        links.brokers = brokers;
    }

    /// A connection to a broker that has said which versions it speaks.
    async fn connection(&self, address: &Arc<str>) -> Result<Connection, Failure> {
        let open = self.links().open.get(address).filter(|connection| !connection.is_closed()).cloned();
        if let Some(open) = open {
            return Ok(open);
        }
        match self.connect(address).await {
            Ok(connection) => {
                let mut links = self.links();
                links.failed.remove(address);
                links.open.insert(address.clone(), connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.give_up(address);
                Err(Failure::Passing(Some(error)))
            }
        }
    }

    async fn connect(&self, address: &Arc<str>) -> Result<Connection, ConnectionError> {
        let options =
            ConnectionOptions { request_timeout: self.options.request_timeout, ..Default::default() };
        let connection =
            Connection::connect(address.clone(), self.options.client_id.clone(), options).await?;
        connection.negotiate().await?;
        Ok(connection)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // Nothing panics while it holds the lock; were it so, the maps are still whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
