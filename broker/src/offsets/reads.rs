//! Reads of many requests, together in multi-reads: ZooKeeper answers one of 250 nodes nearly as fast
//! as one of a single node.

use std::future::Future;
use std::sync::Arc;

use client::zk::{Node, Session, ZkError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::link::Link;

/// Nodes that are read together, unless one request alone asks for more.
const TOGETHER: usize = 250;

/// Multi-reads under way at a time.
const IN_FLIGHT: usize = 4;

/// Requests that wait for a multi-read; further ones wait for their turn.
const QUEUE: usize = 1024;

/// A request's paths, and where the nodes go.
#[derive(Debug)]
struct Asked<R> {
    paths: Vec<String>,
    answer: oneshot::Sender<Result<Vec<Option<R>>, ZkError>>,
}

/// What collects the reads. Ends its tasks when dropped.
#[derive(Debug)]
pub(super) struct Reads {
    nodes: mpsc::Sender<Asked<Node>>,
    children: mpsc::Sender<Asked<Vec<String>>>,
    tasks: [AbortHandle; 2],
}

impl Reads {
    /// Must be called within a runtime.
    pub(super) fn start(links: &watch::Sender<Option<Link>>) -> Reads {
        let (nodes, asked_nodes) = mpsc::channel(QUEUE);
        let (children, asked_children) = mpsc::channel(QUEUE);
        let get = |session: Session, paths: Vec<String>| async move { session.get_many(&paths).await };
        let list =
            |session: Session, paths: Vec<String>| async move { session.children_of_many(&paths).await };
        let tasks = [
            tokio::spawn(serve(asked_nodes, links.subscribe(), get)).abort_handle(),
            tokio::spawn(serve(asked_children, links.subscribe(), list)).abort_handle(),
        ];
        Reads { nodes, children, tasks }
    }

    /// Nodes in the order of the paths, `None` where there is none. Neighbours are seen at one moment
    /// if the first of them has an even place in the list and the paths are not very long.
    pub(super) async fn nodes(&self, paths: Vec<String>) -> Option<Result<Vec<Option<Node>>, ZkError>> {
        ask(&self.nodes, paths).await
    }

    /// Names of children, sorted, in the order of the paths.
    pub(super) async fn children(
        &self,
        paths: Vec<String>,
    ) -> Option<Result<Vec<Option<Vec<String>>>, ZkError>> {
        ask(&self.children, paths).await
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// `None`: nobody reads any more.
async fn ask<R>(
    queue: &mpsc::Sender<Asked<R>>,
    paths: Vec<String>,
) -> Option<Result<Vec<Option<R>>, ZkError>> {
    let (answer, answered) = oneshot::channel();
    queue.send(Asked { paths, answer }).await.ok()?;
    answered.await.ok()
}

async fn serve<R, F>(
    mut asked: mpsc::Receiver<Asked<R>>,
    mut links: watch::Receiver<Option<Link>>,
    read: impl Fn(Session, Vec<String>) -> F,
) where
    F: Future<Output = Result<Vec<Option<R>>, ZkError>>,
{
    let read = Arc::new(read);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            first = asked.recv(), if under_way.len() < IN_FLIGHT => {
                let Some(first) = first else { return };
                let Ok(link) = links.wait_for(Option::is_some).await.map(|link| link.clone()) else { return };
                let Some(link) = link else { continue };
                let together = collect(first, &mut asked);
                let read = Arc::clone(&read);
                under_way.push(async move {
                    let paths = together.iter().flat_map(|one| one.paths.iter().cloned()).collect();
                    match read(link.session.clone(), paths).await {
                        // One of them is to blame; the others must not suffer for it.
                        Err(error) if together.len() > 1 && is_definite(&error) => {
                            for alone in together {
                                share(read(link.session.clone(), alone.paths.clone()).await, vec![alone]);
                            }
                        }
                        outcome => share(outcome, together),
                    }
                });
            }
        }
    }
}

/// The first request, and those that wait behind it as far as they fit.
fn collect<R>(first: Asked<R>, asked: &mut mpsc::Receiver<Asked<R>>) -> Vec<Asked<R>> {
    let mut paths = first.paths.len();
    let mut together = vec![first];
    while paths < TOGETHER {
        let Ok(next) = asked.try_recv() else { break };
        paths += next.paths.len();
        together.push(next);
    }
    together
}

/// Whether the same would be said of the same request again.
fn is_definite(error: &ZkError) -> bool {
    !error.is_connection_trouble() && !error.is_session_over()
}

fn share<R>(read: Result<Vec<Option<R>>, ZkError>, together: Vec<Asked<R>>) {
    let mut read = read.map(Vec::into_iter);
    for Asked { paths, answer } in together {
        let share = match &mut read {
            Ok(nodes) => Ok(nodes.by_ref().take(paths.len()).collect()),
            Err(error) => Err(error.clone()),
        };
        // Whoever gave up needs no answer.
        let _ = answer.send(share);
    }
}
