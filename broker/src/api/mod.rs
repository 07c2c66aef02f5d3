//! What requests mean: one file an API. Each has `answer(&Context, &Request, body) -> response`
//! (async where it waits) and, where it has errors of its own, one exhaustive `From` of them into
//! `ErrorCode`. [`dispatch`] is the only place that decodes bodies and encodes responses.
//!
//! Never closes a connection for what a client may rightly ask; only what cannot be parsed, is not
//! claimed, or asked for no answer and failed (Produce with acks 0).

#[cfg(test)]
pub(crate) mod admin_testing;
mod api_versions;
mod authorized;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod failure;
mod find_coordinator;
mod metadata;
#[cfg(test)]
pub(crate) mod testing;
mod topic_creation;
mod update_metadata;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;

use client::wire::messages::ApiVersionsRequest;
use client::wire::{ApiKey, Encoded, Message, Reader, Str, frame, versions};

use crate::admin::Admin;
use crate::config::Config;
use crate::fetch_session::FetchSessions;
use crate::metadata::MetadataCache;

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
    pub admin: Admin,
    pub fetch_sessions: FetchSessions,
}

/// Answers a request.
pub async fn dispatch(context: Arc<Context>, mut request: Request) -> Reply {
    if !versions::is_claimed(request.key, request.version) {
        return match request.key {
            ApiKey::ApiVersions => api_versions::unsupported(&request),
            key => Reply::Close { why: format!("{key:?} version {} is not supported", request.version) },
        };
    }
    match serve(&context, &mut request).await {
        Ok(reply) | Err(reply) => reply,
    }
}

/// `Err` is a reply as well, so that `?` ends a request whose body does not parse.
async fn serve(context: &Context, request: &mut Request) -> Result<Reply, Reply> {
    match request.key {
        ApiKey::ApiVersions => {
            let body: ApiVersionsRequest = request.decode()?;
            Ok(request.respond(&api_versions::answer(request, &body)))
        }
        ApiKey::Metadata => {
            let body = request.decode()?;
            let (version, listener) = (request.version, Arc::clone(&request.listener));
            Ok(request.respond(&metadata::answer(&context.admin, version, &listener, &body).await))
        }
        ApiKey::UpdateMetadata => {
            let body = request.decode()?;
            Ok(request.respond(&update_metadata::answer(&context.admin, &body)))
        }
        ApiKey::FindCoordinator => {
            let body = request.decode()?;
            Ok(request.respond(&find_coordinator::answer(request.version, &body)))
        }
        ApiKey::CreateTopics => {
            let body = request.decode()?;
            Ok(request.respond(&create_topics::answer(&context.admin, &body).await))
        }
        ApiKey::DeleteTopics => {
            let body = request.decode()?;
            Ok(request.respond(&delete_topics::answer(&context.admin, request.version, &body).await))
        }
        ApiKey::DescribeConfigs => {
            let body = request.decode()?;
            Ok(request.respond(&describe_configs::answer(&context.admin, &body).await))
        }
        ApiKey::CreatePartitions => {
            let body = request.decode()?;
            Ok(request.respond(&create_partitions::answer(&context.admin, &body).await))
        }
        ApiKey::DescribeCluster => {
            let body = request.decode()?;
            Ok(request.respond(&describe_cluster::answer(&context.admin, &request.listener, &body)))
        }
        key => Err(Reply::Close { why: format!("{key:?} is not served") }),
    }
}

impl Request {
    /// Reads the body. What follows it is ignored, as Kafka does.
    fn decode<M: Message>(&mut self) -> Result<M, Reply> {
        M::decode(&mut self.body, self.version).map_err(|error| Reply::Close {
            why: format!("the body of {:?} version {} cannot be read: {error}", self.key, self.version),
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
                Reply::Close { why: format!("the response to {:?} cannot be encoded: {error}", self.key) }
            }
        }
    }
}
