//! Reads. One whose answer is lost is sent again until its time is up.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use zookeeper_client::{Error, MultiReadResult, OneshotWatcher};

use super::attachment::{Attachment, Gate};
use super::error::{Failure, ZkError};
use super::node::{Node, Stat};
use super::op::LARGEST_REQUEST;
use super::session::{Outcome, Send, Session};
use super::watch::Watch;

/// Nodes in one multi-read. Its answer is some 50 KiB for partition states.
const MULTI_READ: usize = 250;

type Answer<'a, R> = BoxFuture<'a, Result<R, Failure>>;

impl Session {
    /// A node, or [`ZkError::NoNode`].
    pub async fn get(&self, path: &str) -> Result<Node, ZkError> {
        self.read(path, send_get).await
    }

    pub async fn get_if_exists(&self, path: &str) -> Result<Option<Node>, ZkError> {
        ZkError::absent_is_none(self.get(path).await)
    }

    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, ZkError> {
        self.read(path, send_exists).await
    }

    /// The names of a node's children, sorted, or [`ZkError::NoNode`].
    pub async fn children(&self, path: &str) -> Result<Vec<String>, ZkError> {
        self.read(path, send_children).await
    }

    /// Many nodes, in the order of the paths; `None` where there is no node. They are read in
    /// several requests, so not at one moment.
    pub async fn get_many(&self, paths: &[String]) -> Result<Vec<Option<Node>>, ZkError> {
        let chunks = chunks(paths);
        let mut nodes = Vec::with_capacity(paths.len());
        for (chunk, outcome) in chunks.iter().zip(self.shared.pipeline(&chunks, send_multi_read).await) {
            match outcome {
                Outcome::Answered(Ok(read)) if read.len() == chunk.len() => nodes.extend(read),
                Outcome::Unsent(error) => return Err(error),
                // A lost answer; or a server older than 3.6, which knows no multi-read.
                Outcome::Answered(_) | Outcome::Silent { .. } => {
                    for node in self.read_each(chunk, send_get).await {
                        nodes.push(ZkError::absent_is_none(node)?);
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// The children of many nodes, sorted, in the order of the paths; `None` where there is no node.
    /// They are read in several requests, so not at one moment.
    pub async fn children_of_many(&self, paths: &[String]) -> Result<Vec<Option<Vec<String>>>, ZkError> {
        let chunks = chunks(paths);
        let mut found = Vec::with_capacity(paths.len());
        for (chunk, outcome) in chunks.iter().zip(self.shared.pipeline(&chunks, send_multi_children).await) {
            match outcome {
                Outcome::Answered(Ok(read)) if read.len() == chunk.len() => found.extend(read),
                Outcome::Unsent(error) => return Err(error),
                // As in `get_many`.
                Outcome::Answered(_) | Outcome::Silent { .. } => {
                    for children in self.read_each(chunk, send_children).await {
                        found.push(ZkError::absent_is_none(children)?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// A node if it exists, and a watch: for a change of its data or its deletion if it does, for
    /// its creation if it does not.
    pub async fn get_watch(&self, path: &str) -> Result<(Option<Node>, Watch), ZkError> {
        loop {
            let share = self.shared.budget.take(path)?;
            match self.read(path, send_get_watch).await {
                Ok((node, armed)) => return Ok((Some(node), Watch::new(armed, share))),
                Err(ZkError::NoNode { .. }) => {}
                Err(error) => return Err(error),
            }
            let (stat, armed) = self.read(path, send_exists_watch).await?;
            if stat.is_none() {
                return Ok((None, Watch::new(armed, share)));
            }
            // It was created in between: read it.
        }
    }

    /// Whether a node exists, and a watch for its creation, deletion or a change of its data.
    pub async fn exists_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), ZkError> {
        let share = self.shared.budget.take(path)?;
        let (stat, armed) = self.read(path, send_exists_watch).await?;
        Ok((stat, Watch::new(armed, share)))
    }

    /// A node's children, sorted, and a watch for a change of the list.
    pub async fn children_watch(&self, path: &str) -> Result<(Vec<String>, Watch), ZkError> {
        let share = self.shared.budget.take(path)?;
        let (children, armed) = self.read(path, send_children_watch).await?;
        Ok((children, Watch::new(armed, share)))
    }

    async fn read<R>(&self, path: &str, send: Send<Arc<str>, R, Failure>) -> Result<R, ZkError> {
        let patience = self.shared.config.operation_timeout;
        self.read_each(&[path], send).await.pop().unwrap_or_else(|| Err(self.shared.unavailable(patience)))
    }

    async fn read_each<R>(
        &self,
        paths: &[impl AsRef<str>],
        send: Send<Arc<str>, R, Failure>,
    ) -> Vec<Result<R, ZkError>> {
        let started = Instant::now();
        let patience = self.shared.config.operation_timeout;
        let mut results: Vec<Option<Result<R, ZkError>>> = Vec::new();
        results.resize_with(paths.len(), || None);
        loop {
            let mut open: Vec<&mut Option<Result<R, ZkError>>> = Vec::new();
            let mut items: Vec<Arc<str>> = Vec::new();
            for (result, path) in results.iter_mut().zip(paths).filter(|(result, _)| result.is_none()) {
                open.push(result);
                items.push(Arc::from(path.as_ref()));
            }
            if items.is_empty() {
                break;
            }
            for (result, outcome) in open.into_iter().zip(self.shared.pipeline(&items, send).await) {
                *result = match outcome {
                    Outcome::Answered(Ok(read)) => Some(Ok(read)),
                    Outcome::Answered(Err(Failure::Answer(error))) | Outcome::Unsent(error) => {
                        Some(Err(error))
                    }
                    Outcome::Answered(Err(Failure::NoAnswer(_))) if started.elapsed() < patience => None,
                    Outcome::Answered(Err(Failure::NoAnswer(_))) | Outcome::Silent { .. } => {
                        Some(Err(self.shared.unavailable(started.elapsed())))
                    }
                };
            }
        }
        results.into_iter().flatten().collect()
    }
}

/// Cuts paths into multi-reads that the server takes.
fn chunks(paths: &[String]) -> Vec<Vec<String>> {
    let mut chunks: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for path in paths {
        bytes += path.len();
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MULTI_READ && bytes < LARGEST_REQUEST / 2 => {
                chunk.push(path.clone())
            }
            _ => {
                bytes = path.len();
                chunks.push(vec![path.clone()]);
            }
        }
    }
    chunks
}

/// A watch as the crate gives it, and the gate of the connection that it is armed on.
pub(super) struct Armed {
    pub(super) watcher: OneshotWatcher,
    pub(super) gate: Arc<Gate>,
}

impl Armed {
    fn on(attachment: &Attachment, watcher: OneshotWatcher) -> Armed {
        Armed { watcher, gate: Arc::clone(&attachment.gate) }
    }
}

fn failed(error: Error, path: &str) -> Failure {
    Failure::of(error, "read", path)
}

fn send_get<'a>(attachment: &'a Attachment, path: &'a Arc<str>) -> Answer<'a, Node> {
    let answer = attachment.client.get_data(path);
    async move {
        let (data, stat) = answer.await.map_err(|error| failed(error, path))?;
        Ok(Node { data, stat: stat.into() })
    }
    .boxed()
}

fn send_exists<'a>(attachment: &'a Attachment, path: &'a Arc<str>) -> Answer<'a, Option<Stat>> {
    let answer = attachment.client.check_stat(path);
    async move { Ok(answer.await.map_err(|error| failed(error, path))?.map(Stat::from)) }.boxed()
}

fn send_children<'a>(attachment: &'a Attachment, path: &'a Arc<str>) -> Answer<'a, Vec<String>> {
    let answer = attachment.client.get_children(path);
    async move {
        let (mut children, _) = answer.await.map_err(|error| failed(error, path))?;
        children.sort_unstable();
        Ok(children)
    }
    .boxed()
}

fn send_get_watch<'a>(attachment: &'a Attachment, path: &'a Arc<str>) -> Answer<'a, (Node, Armed)> {
    let answer = attachment.client.get_and_watch_data(path);
    async move {
        let (data, stat, watcher) = answer.await.map_err(|error| failed(error, path))?;
        Ok((Node { data, stat: stat.into() }, Armed::on(attachment, watcher)))
    }
    .boxed()
}

fn send_exists_watch<'a>(
    attachment: &'a Attachment,
    path: &'a Arc<str>,
) -> Answer<'a, (Option<Stat>, Armed)> {
    let answer = attachment.client.check_and_watch_stat(path);
    async move {
        let (stat, watcher) = answer.await.map_err(|error| failed(error, path))?;
        Ok((stat.map(Stat::from), Armed::on(attachment, watcher)))
    }
    .boxed()
}

fn send_children_watch<'a>(
    attachment: &'a Attachment,
    path: &'a Arc<str>,
) -> Answer<'a, (Vec<String>, Armed)> {
    let answer = attachment.client.get_and_watch_children(path);
    async move {
        let (mut children, _, watcher) = answer.await.map_err(|error| failed(error, path))?;
        children.sort_unstable();
        Ok((children, Armed::on(attachment, watcher)))
    }
    .boxed()
}

fn send_multi_read<'a>(
    attachment: &'a Attachment,
    paths: &'a Vec<String>,
) -> BoxFuture<'a, Result<Vec<Option<Node>>, Error>> {
    let mut reader = attachment.client.new_multi_reader();
    for path in paths {
        if let Err(error) = reader.add_get_data(path) {
            return std::future::ready(Err(error)).boxed();
        }
    }
    let answer = reader.commit();
    async move {
        let read = answer.await?.into_iter().map(|result| match result {
            MultiReadResult::Data { data, stat } => Ok(Some(Node { data, stat: stat.into() })),
            MultiReadResult::Error { err: Error::NoNode } => Ok(None),
            MultiReadResult::Error { err } => Err(err),
            other => Err(Error::UnexpectedError(format!("a multi-read of data answered {other:?}"))),
        });
        read.collect()
    }
    .boxed()
}

fn send_multi_children<'a>(
    attachment: &'a Attachment,
    paths: &'a Vec<String>,
) -> BoxFuture<'a, Result<Vec<Option<Vec<String>>>, Error>> {
    let mut reader = attachment.client.new_multi_reader();
    for path in paths {
        if let Err(error) = reader.add_get_children(path) {
            return std::future::ready(Err(error)).boxed();
        }
    }
    let answer = reader.commit();
    async move {
        let read = answer.await?.into_iter().map(|result| match result {
            MultiReadResult::Children { mut children } => {
                children.sort_unstable();
                Ok(Some(children))
            }
            MultiReadResult::Error { err: Error::NoNode } => Ok(None),
            MultiReadResult::Error { err } => Err(err),
            other => Err(Error::UnexpectedError(format!("a multi-read of children answered {other:?}"))),
        });
        read.collect()
    }
    .boxed()
}
