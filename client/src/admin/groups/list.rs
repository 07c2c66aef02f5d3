//! Which groups there are. Every broker knows those that it coordinates.

use tokio::time::timeout_at;

use crate::admin::attempts::Attempts;
use crate::admin::{Admin, AdminError, Failure};
use crate::wire::messages::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::{ErrorCode, Str};

/// What Kafka's admin client calls finding the brokers to ask.
pub(crate) const FIND_BROKERS: &str = "findAllBrokers";

/// A group that a coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub group: String,
    /// `consumer`, or empty for a group that only commits; others are no consumer groups.
    pub protocol_type: String,
    /// As in [`GroupDescription`](super::GroupDescription); empty if the broker does not tell.
    pub state: String,
    /// `classic` or `consumer`; empty if the broker does not tell.
    pub group_type: String,
}

impl GroupListing {
    /// A group of consumers, or of nobody.
    pub fn is_consumer_group(&self) -> bool {
        self.protocol_type.is_empty() || self.protocol_type == "consumer"
    }
}

impl Admin {
    /// The groups of all brokers, those of one broker after those of another.
    ///
    /// `states` and `types` leave only such groups, if they are not empty; brokers before Kafka 2.6 and 3.8 know
    /// nothing of them, which is an error then.
    pub async fn list_groups(
        &self,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<GroupListing>, AdminError> {
        let words = |words: &[String]| words.iter().map(|word| Str::from(word.as_str())).collect();
        let request = ListGroupsRequest { states_filter: words(states), types_filter: words(types) };
        let mut attempts = Attempts::begin(FIND_BROKERS, self.options.api_timeout);
        let addresses = loop {
            let finding = async {
                self.find_controller().await?;
                let brokers: Vec<_> = self.links().brokers.values().cloned().collect();
                Ok::<_, Failure>(brokers)
            };
            match timeout_at(attempts.deadline(), finding).await {
                Err(_) => return Err(attempts.timed_out()),
                Ok(Ok(brokers)) => break brokers,
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(cause))) => attempts.failed(cause),
            }
            if !attempts.pause().await {
                return Err(attempts.timed_out());
            }
        };
        let mut listings = Vec::new();
        for address in addresses {
            let mut attempts = Attempts::begin("listGroups", attempts.remaining());
            let deadline = attempts.deadline();
            let response = loop {
                let asking = async {
                    let connection = self.connection(&address).await?;
                    attempts.sending();
                    self.exchange(&connection, &request).await
                };
                match timeout_at(deadline, asking).await {
                    Err(_) => return Err(attempts.timed_out()),
                    Ok(Ok(response)) if is_early(&response) => {}
                    Ok(Ok(response)) => break response,
                    Ok(Err(Failure::Final(error))) => return Err(error),
                    Ok(Err(Failure::Passing(cause))) => attempts.failed(cause),
                }
                if !attempts.pause().await {
                    return Err(attempts.timed_out());
                }
            };
            AdminError::check(response.error_code, None)?;
            listings.extend(response.groups.into_iter().map(|group| GroupListing {
                group: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                group_type: group.group_type.to_string(),
            }));
        }
        Ok(listings)
    }
}

/// The broker still loads its groups.
fn is_early(response: &ListGroupsResponse) -> bool {
    matches!(
        ErrorCode::from_code(response.error_code),
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable
    )
}
