//! What the coordinator's answers mean.

use std::time::Instant;

use bytes::Bytes;

use super::{After, Identity, Membership, Phase, Refusal};
use crate::consumer::assignor::{self, Assigned, Assignment, Assignor, Subscription};
use crate::wire::ErrorCode;
use crate::wire::messages::{JoinGroupResponse, SyncGroupResponse, sync_group_request};

impl Membership {
    /// JoinGroup was answered.
    pub(in super::super) fn joined(
        &mut self,
        attempt: u64,
        answer: JoinGroupResponse,
        now: Instant,
    ) -> After {
        if attempt != self.attempt {
            return After::Go;
        }
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => self.join_succeeded(answer, now),
            ErrorCode::MemberIdRequired => {
                self.identity.member_id = kept(&answer.member_id);
                After::Go
            }
            // It could not be written down in time that this member took its predecessor's place.
            ErrorCode::RebalanceInProgress => After::Pause,
            error => self.refused(error),
        }
    }

    fn join_succeeded(&mut self, answer: JoinGroupResponse, now: Instant) -> After {
        let protocol = answer.protocol_name.as_deref().unwrap_or_default();
        let Some(assignor) = self.offered(protocol) else {
            let protocol = protocol.to_owned();
            let group = self.settings.group_id.to_string();
            self.enter(Phase::Failed { refusal: Refusal::UnknownProtocol { group, protocol }, told: false });
            return After::Go;
        };
        self.identity = Identity { member_id: kept(&answer.member_id), generation: answer.generation_id };
        self.protocol_name = answer.protocol_name.as_ref().map(kept);
        self.next_beat = Some(now + self.settings.heartbeat_interval);
        self.leads = answer.leader == answer.member_id;
        if self.leads {
            let members = answer.members.iter();
            let members = members.map(|member| assignor::Member {
                id: kept(&member.member_id),
                instance_id: member.group_instance_id.as_ref().map(kept),
                subscription: self.subscription(&member.member_id, &member.metadata),
            });
            self.enter(Phase::Dividing {
                assignor,
                members: members.collect(),
                skip: answer.skip_assignment,
            });
        } else {
            self.enter(Phase::Syncing { assignments: Vec::new() });
        }
        After::Go
    }

    /// A member that cannot be understood gets nothing, and the others go on.
    fn subscription(&self, member: &str, metadata: &Bytes) -> Subscription {
        Subscription::decode(Bytes::copy_from_slice(metadata)).unwrap_or_else(|cause| {
            tracing::warn!(group = %self.settings.group_id, member, %cause, "a member gets no partitions");
            Subscription::default()
        })
    }

    fn offered(&self, protocol: &str) -> Option<Assignor> {
        self.settings.assignors.iter().copied().find(|assignor| assignor.name() == protocol)
    }

    /// The partitions were divided. Without anything in it: the former division stands.
    pub(in super::super) fn divided(&mut self, attempt: u64, assigned: &Assigned) {
        if attempt != self.attempt {
            return;
        }
        let mut assignments = Vec::new();
        for (member_id, partitions) in assigned {
            let assignment = Assignment { partitions: partitions.clone(), user_data: None };
            match assignment.encode() {
                Ok(assignment) => assignments.push(sync_group_request::SyncGroupRequestAssignment {
                    member_id: member_id.clone(),
                    assignment,
                }),
                Err(cause) => {
                    let group = self.settings.group_id.to_string();
                    let refusal = Refusal::Unwritable { group, cause: cause.to_string() };
                    self.enter(Phase::Failed { refusal, told: false });
                    return;
                }
            }
        }
        self.enter(Phase::Syncing { assignments });
    }

    /// SyncGroup was answered.
    pub(in super::super) fn synced(&mut self, attempt: u64, answer: SyncGroupResponse) -> After {
        if attempt != self.attempt {
            return After::Go;
        }
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {
                match Assignment::decode(Bytes::copy_from_slice(&answer.assignment)) {
                    Ok(assignment) => self.enter(Phase::Installing { assigned: assignment.partitions }),
                    Err(cause) => {
                        let group = self.settings.group_id.to_string();
                        let refusal = Refusal::Unreadable { group, cause };
                        self.enter(Phase::Failed { refusal, told: false });
                    }
                }
                After::Go
            }
            // Somebody else came meanwhile.
            ErrorCode::RebalanceInProgress => {
                self.enter(Phase::Preparing);
                self.advance();
                After::Go
            }
            error => self.refused(error),
        }
    }

    /// A request on the way to a generation got no answer: whether it was heard is not known, so it is made
    /// again as it was. A coordinator that heard it answers the same.
    pub(in super::super) fn unanswered(&self) -> After {
        After::FindCoordinator
    }

    /// A request cannot be sent in any version that the coordinator speaks.
    pub(in super::super) fn unsendable(&mut self, attempt: u64, cause: String) {
        if attempt == self.attempt {
            let group = self.settings.group_id.to_string();
            self.enter(Phase::Failed { refusal: Refusal::Unwritable { group, cause }, told: false });
        }
    }

    /// The heartbeat of `identity` was answered.
    pub(in super::super) fn beat_answered(
        &mut self,
        identity: &Identity,
        error: ErrorCode,
        now: Instant,
    ) -> After {
        if *identity != self.identity {
            return After::Go;
        }
        self.next_beat = Some(now + self.settings.heartbeat_interval);
        self.heard(error)
    }

    /// A commit of `identity` was refused.
    pub(in super::super) fn commit_refused(&mut self, identity: &Identity, error: ErrorCode) {
        if *identity == self.identity {
            self.heard(error);
        }
    }

    /// What the coordinator says of the present generation.
    fn heard(&mut self, error: ErrorCode) -> After {
        match error {
            ErrorCode::RebalanceInProgress => {
                if self.phase == Phase::Stable {
                    self.want_rejoin();
                }
                After::Go
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                self.refused(error);
                After::Go
            }
            ErrorCode::None => After::Go,
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => After::FindCoordinator,
            _ => After::Pause,
        }
    }

    fn refused(&mut self, error: ErrorCode) -> After {
        match error {
            ErrorCode::CoordinatorLoadInProgress => After::Pause,
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => After::FindCoordinator,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.reset();
                self.enter(Phase::Preparing);
                self.advance();
                After::Pause
            }
            ErrorCode::FencedInstanceId => {
                let instance = self.settings.instance_id.as_deref().unwrap_or_default().to_owned();
                self.fail(|group| Refusal::Fenced { group, instance });
                After::Go
            }
            error if error.is_retriable() => After::FindCoordinator,
            code => {
                self.fail(|group| Refusal::Refused { group, code });
                After::Go
            }
        }
    }

    fn fail(&mut self, refusal: impl FnOnce(String) -> Refusal) {
        self.reset();
        let refusal = refusal(self.settings.group_id.to_string());
        self.enter(Phase::Failed { refusal, told: false });
    }
}

/// Out of the frame it came in.
fn kept(text: &crate::wire::Str) -> crate::wire::Str {
    crate::wire::Str::from(&**text)
}
