//! What requests mean: one file an API. Each has `answer(&Context, &Request, body) -> response`
//! (async where it waits) and, where it has errors of its own, one exhaustive `From` of them into
//! `ErrorCode`. [`dispatch`] is the only place that decodes bodies and encodes responses.
//!
//! Never closes a connection for what a client may rightly ask; only what cannot be parsed, is not
//! claimed, or asked for no answer and failed (Produce with acks 0).

#[cfg(test)]
pub(crate) mod admin_testing;
mod allocate_producer_ids;
mod alter_partition;
mod api_versions;
mod authorized;
mod controlled_shutdown;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod elect_leaders;
mod failure;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leader_and_isr;
mod leave_group;
mod list_groups;
mod list_offsets;
mod lookup;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod stop_replica;
mod sync_group;
#[cfg(test)]
pub(crate) mod testing;
mod topic_creation;
mod topic_on_demand;
mod update_metadata;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;

use client::wire::{ApiKey, Encoded, Message, Reader, Str, frame, versions};

use crate::admin::Admin;
use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::fetch_session::FetchSessions;
use crate::metadata::MetadataCache;
use crate::producer_ids::ProducerIds;
use crate::replicas::Replicas;

/// One request, its body not yet decoded.
#[derive(Debug)]
pub struct Request {
    /// The name of the listener it came in by.
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
    pub key: ApiKey,
    pub version: i16,
    pub body: Reader,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    Response(Encoded),
    /// The client asked for none (Produce with acks 0).
    NoResponse,
    /// The connection ends, without an answer.
    Close {
        why: String,
    },
}

/// What the APIs need of the broker.
#[derive(Debug)]
pub struct Context {
    pub config: Arc<Config>,
    pub metadata: Arc<MetadataCache>,
    pub replicas: Arc<Replicas>,
    pub coordinator: Arc<Coordinator>,
    pub admin: Admin,
    pub fetch_sessions: FetchSessions,
    pub producer_ids: Arc<ProducerIds>,
}

/// Answers a request.
pub async fn dispatch(context: Arc<Context>, mut request: Request) -> Reply {
    if !versions::is_claimed(request.key, request.version) {
        return match request.key {
            ApiKey::ApiVersions => api_versions::unsupported(&request),
            key => Reply::Close { why: format!("{key} version {} is not supported", request.version) },
        };
    }
    match serve(&context, &mut request).await {
        Ok(reply) | Err(reply) => reply,
    }
}

/// `Err` is a reply as well, so that `?` ends a request whose body does not parse.
async fn serve(context: &Arc<Context>, request: &mut Request) -> Result<Reply, Reply> {
    match request.key {
        ApiKey::Produce => {
            let body = request.decode()?;
            Ok(match produce::answer(context, request, body).await {
                Ok(produced) => produced_reply(request, &produced),
                Err(produce::NullRecords) => Reply::Close { why: "records to produce are null".to_owned() },
            })
        }
        ApiKey::Fetch => {
            let body = request.decode()?;
            Ok(request.respond(&fetch::answer(context, request, body).await))
        }
        ApiKey::ListOffsets => {
            let body = request.decode()?;
            Ok(request.respond(&list_offsets::answer(context, request.version, &body)))
        }
        ApiKey::Metadata => {
            let body = request.decode()?;
            let (version, listener) = (request.version, Arc::clone(&request.listener));
            Ok(request.respond(&metadata::answer(&context.admin, version, &listener, &body).await))
        }
        ApiKey::LeaderAndIsr => {
            let body = request.decode()?;
            Ok(request.respond(&leader_and_isr::answer(context, request.version, body).await))
        }
        ApiKey::StopReplica => {
            let body = request.decode()?;
            Ok(request.respond(&stop_replica::answer(context, body).await))
        }
        ApiKey::UpdateMetadata => {
            let body = request.decode()?;
            let (response, deleted) = update_metadata::answer(&context.admin, &body);
            context.coordinator.topics_deleted(deleted);
            Ok(request.respond(&response))
        }
        ApiKey::ControlledShutdown => {
            let body = request.decode()?;
            Ok(request.respond(&controlled_shutdown::answer(context, body).await))
        }
        ApiKey::FindCoordinator => {
            let body = request.decode()?;
            let (version, listener) = (request.version, Arc::clone(&request.listener));
            Ok(request.respond(&find_coordinator::answer(context, version, &listener, &body).await))
        }
        ApiKey::JoinGroup => {
            let body = request.decode()?;
            Ok(request.respond(&join_group::answer(context, request, body).await))
        }
        ApiKey::OffsetCommit => {
            let body = request.decode()?;
            Ok(request.respond(&offset_commit::answer(context, request.version, body).await))
        }
        ApiKey::OffsetFetch => {
            let body = request.decode()?;
            Ok(request.respond(&offset_fetch::answer(context, request.version, body).await))
        }
        ApiKey::OffsetDelete => {
            let body = request.decode()?;
            Ok(request.respond(&offset_delete::answer(context, body).await))
        }
        ApiKey::Heartbeat => {
            let body = request.decode()?;
            Ok(request.respond(&heartbeat::answer(context, &body)))
        }
        ApiKey::LeaveGroup => {
            let body = request.decode()?;
            Ok(request.respond(&leave_group::answer(context, request.version, body)))
        }
        ApiKey::SyncGroup => {
            let body = request.decode()?;
            Ok(request.respond(&sync_group::answer(context, request.version, body).await))
        }
        ApiKey::DescribeGroups => {
            let body = request.decode()?;
            Ok(request.respond(&describe_groups::answer(context, &body)))
        }
        ApiKey::ListGroups => {
            let body = request.decode()?;
            Ok(request.respond(&list_groups::answer(context, &body)))
        }
        ApiKey::DeleteGroups => {
            let body = request.decode()?;
            Ok(request.respond(&delete_groups::answer(context, body).await))
        }
        ApiKey::ApiVersions => {
            let body = request.decode()?;
            Ok(request.respond(&api_versions::answer(request, &body)))
        }
        ApiKey::CreateTopics => {
            let body = request.decode()?;
            Ok(request.respond(&create_topics::answer(&context.admin, &body).await))
        }
        ApiKey::DeleteTopics => {
            let body = request.decode()?;
            Ok(request.respond(&delete_topics::answer(&context.admin, request.version, &body).await))
        }
        ApiKey::DeleteRecords => {
            let body = request.decode()?;
            Ok(request.respond(&delete_records::answer(context, &body).await))
        }
        ApiKey::InitProducerId => {
            let body = request.decode()?;
            Ok(request.respond(&init_producer_id::answer(context, &body).await))
        }
        ApiKey::OffsetForLeaderEpoch => {
            let body = request.decode()?;
            Ok(request.respond(&offset_for_leader_epoch::answer(context, &body)))
        }
        ApiKey::DescribeConfigs => {
            let body = request.decode()?;
            Ok(request.respond(&describe_configs::answer(&context.admin, &body).await))
        }
        ApiKey::ElectLeaders => {
            let body = request.decode()?;
            Ok(request.respond(&elect_leaders::answer(&context.admin, body).await))
        }
        ApiKey::CreatePartitions => {
            let body = request.decode()?;
            Ok(request.respond(&create_partitions::answer(&context.admin, &body).await))
        }
        ApiKey::AlterPartition => {
            let body = request.decode()?;
            Ok(request.respond(&alter_partition::answer(context, request.version, body).await))
        }
        ApiKey::DescribeCluster => {
            let body = request.decode()?;
            Ok(request.respond(&describe_cluster::answer(&context.admin, &request.listener, &body)))
        }
        ApiKey::DescribeProducers => {
            let body = request.decode()?;
            Ok(request.respond(&describe_producers::answer(context, &body)))
        }
        ApiKey::AllocateProducerIds => {
            let body = request.decode()?;
            Ok(request.respond(&allocate_producer_ids::answer(context, body).await))
        }
        key => Err(Reply::Close { why: format!("{key} is not served") }),
    }
}

/// With acks=0 there is no response, and a failure can only be told by closing the connection.
fn produced_reply(request: &Request, produced: &produce::Produced) -> Reply {
    match (produced.unanswered, produced.first_error) {
        (false, _) => request.respond(&produced.response),
        (true, None) => Reply::NoResponse,
        (true, Some(error)) => {
            Reply::Close { why: format!("records sent with acks=0 were refused ({})", error.name()) }
        }
    }
}

impl Request {
    /// Reads the body, once. What follows it is ignored, as Kafka does. Its frame is held from then on
    /// only by the bytes and records in what was read.
    fn decode<M: Message>(&mut self) -> Result<M, Reply> {
        M::decode(&mut std::mem::take(&mut self.body), self.version).map_err(|error| Reply::Close {
            why: format!("the body of {} version {} cannot be read: {error}", self.key, self.version),
        })
    }

    fn respond(&self, response: &impl Message) -> Reply {
        self.respond_at(self.version, response)
    }

    fn respond_at(&self, version: i16, response: &impl Message) -> Reply {
        match frame::encode_response(self.key, version, self.correlation_id, response) {
            Ok(encoded) => Reply::Response(encoded),
            Err(error) => {
                tracing::error!(key = ?self.key, version, %error, "a response cannot be encoded; this is a bug");
                Reply::Close { why: format!("the response to {} cannot be encoded: {error}", self.key) }
            }
        }
    }
}
