//! The end of a group.

use super::coordinator::Call;
use super::{Coordinator, PerGroup};
use crate::admin::{Admin, AdminError, Failure};
use crate::connection::Connection;
use crate::wire::messages::DeleteGroupsRequest;
use crate::wire::{ErrorCode, Str};

const CALL: Call = Call {
    find: "deleteConsumerGroups(api=FIND_COORDINATOR)",
    ask: "deleteConsumerGroups(api=DELETE_GROUPS)",
};

impl Admin {
    /// Deletes groups that have no members, with their offsets.
    pub async fn delete_groups(&self, groups: &[String]) -> Result<PerGroup<()>, AdminError> {
        let ask = async |connection: &Connection, _: &Coordinator, groups: &[String]| {
            let request = DeleteGroupsRequest {
                groups_names: groups.iter().map(|group| Str::from(group.as_str())).collect(),
            };
            let response = self.exchange(connection, &request).await?;
            let answers =
                response.results.into_iter().map(|result| match ErrorCode::from_code(result.error_code) {
                    ErrorCode::None => (result.group_id.to_string(), Ok(())),
                    code => (result.group_id.to_string(), Err(code)),
                });
            Ok::<_, Failure>(answers.collect())
        };
        self.ask_coordinators(CALL, groups, ask).await
    }
}
