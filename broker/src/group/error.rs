use client::wire::ErrorCode;

/// Why a group refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error("the group was deleted")]
    Dead,
    #[error("another broker coordinates the group now")]
    Moved,
    #[error("the group has no such member")]
    UnknownMember,
    #[error("the static member of this instance id has another member id by now")]
    FencedInstance,
    #[error("the generation is not the group's present one")]
    IllegalGeneration,
    #[error("the protocol type or protocols do not go with those of the other members")]
    InconsistentProtocol,
    #[error("the session timeout is outside of what the broker allows")]
    InvalidSessionTimeout,
    #[error("the group has as many members as it may")]
    Full,
    #[error("the member has to join again by the id it was given")]
    MemberIdRequired,
    #[error("the group is rebalancing")]
    Rebalancing,
    #[error("the group has members")]
    NotEmpty,
    #[error("the request contradicts itself")]
    Contradiction,
    #[error("the group's state could not be stored: {}", code.name())]
    NotStored { code: ErrorCode },
}

impl From<GroupError> for ErrorCode {
    fn from(error: GroupError) -> ErrorCode {
        match error {
            GroupError::Dead => ErrorCode::CoordinatorNotAvailable,
            GroupError::Moved => ErrorCode::NotCoordinator,
            GroupError::UnknownMember => ErrorCode::UnknownMemberId,
            GroupError::FencedInstance => ErrorCode::FencedInstanceId,
            GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
            GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
            GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupError::Full => ErrorCode::GroupMaxSizeReached,
            GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
            GroupError::Rebalancing => ErrorCode::RebalanceInProgress,
            GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
            GroupError::Contradiction => ErrorCode::UnknownServerError,
            GroupError::NotStored { code } => code,
        }
    }
}
