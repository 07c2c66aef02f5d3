//! Sessions that do nothing but watch, as many as the watched paths need.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::config::ZkConfig;
use super::error::ZkError;
use super::node::{Node, Stat};
use super::session::Session;
use super::watch::{LARGEST_WATCHED, Watch};

/// A server takes 60 connections from one address by default (`maxClientCnxns`), and several
/// brokers may share it.
const MOST_SESSIONS: usize = 16;

/// Carries many watches. Cheap to clone; the sessions end with the last clone, and their watches
/// with them.
///
/// What a watch of one session tells orders nothing on another: a holder that wakes reads through
/// the pool again, which asks the session that woke it.
#[derive(Clone, Debug)]
pub struct WatchPool {
    config: Arc<ZkConfig>,
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    sessions: BTreeMap<u64, Session>,
    last: u64,
    /// Which session read a path last.
    of_path: HashMap<String, u64>,
}

impl WatchPool {
    /// Opens no session yet.
    pub fn new(config: ZkConfig) -> WatchPool {
        WatchPool { config: Arc::new(config), members: Arc::default() }
    }

    /// See [`Session::get_watch`].
    pub async fn get_watch(&self, path: &str) -> Result<(Option<Node>, Watch), ZkError> {
        loop {
            let (member, session) = self.session_for(path).await?;
            if let Some(done) = self.usable(member, session.get_watch(path).await).await {
                return done;
            }
        }
    }

    /// See [`Session::exists_watch`].
    pub async fn exists_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), ZkError> {
        loop {
            let (member, session) = self.session_for(path).await?;
            if let Some(done) = self.usable(member, session.exists_watch(path).await).await {
                return done;
            }
        }
    }

    /// See [`Session::children_watch`].
    pub async fn children_watch(&self, path: &str) -> Result<(Vec<String>, Watch), ZkError> {
        loop {
            let (member, session) = self.session_for(path).await?;
            if let Some(done) = self.usable(member, session.children_watch(path).await).await {
                return done;
            }
        }
    }

    /// Many nodes in the order of the paths, `None` where there is no node, without watches. Each is read
    /// through the session that read it last, so that what woke its holder is seen.
    pub async fn get_many(&self, paths: &[String]) -> Result<Vec<Option<Node>>, ZkError> {
        let mut nodes: Vec<Option<Node>> = vec![None; paths.len()];
        let mut unread: Vec<usize> = (0..paths.len()).collect();
        while !unread.is_empty() {
            let mut by_member: BTreeMap<u64, (Session, Vec<usize>, Vec<String>)> = BTreeMap::new();
            for index in unread.drain(..) {
                let Some(path) = paths.get(index) else { continue };
                let (member, session) = self.session_for(path).await?;
                let (_, indexes, paths) =
                    by_member.entry(member).or_insert_with(|| (session, Vec::new(), Vec::new()));
                indexes.push(index);
                paths.push(path.clone());
            }
            let reads = by_member.into_iter().map(|(member, (session, indexes, paths))| async move {
                let read = session.get_many(&paths).await;
                (indexes, self.usable(member, read).await)
            });
            for (indexes, read) in futures::future::join_all(reads).await {
                let Some(read) = read.transpose()? else {
                    unread.extend(indexes);
                    continue;
                };
                for (index, node) in indexes.into_iter().zip(read) {
                    if let Some(place) = nodes.get_mut(index) {
                        *place = node;
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// See [`Session::children`].
    pub async fn children(&self, path: &str) -> Result<Vec<String>, ZkError> {
        loop {
            let (member, session) = self.session_for(path).await?;
            if let Some(done) = self.usable(member, session.children(path).await).await {
                return done;
            }
        }
    }

    /// The session that read the path last, or one with room, or a new one.
    async fn session_for(&self, path: &str) -> Result<(u64, Session), ZkError> {
        if path.len() + self.config.connect.len() > LARGEST_WATCHED {
            return Err(ZkError::TooManyWatches { path: path.to_owned(), limit: LARGEST_WATCHED });
        }
        // Held while a session is opened: whoever comes meanwhile is likely to need it too.
        let mut members = self.members.lock().await;
        let has_room = |session: &Session| session.shared.budget.fits(path);
        let same =
            members.of_path.get(path).and_then(|member| Some((*member, members.sessions.get(member)?)));
        let found = same
            .filter(|(_, session)| has_room(session))
            .or_else(|| {
                members
                    .sessions
                    .iter()
                    .map(|(member, session)| (*member, session))
                    .find(|(_, session)| has_room(session))
            })
            .map(|(member, session)| (member, session.clone()));
        let (member, session) = match found {
            Some(found) => found,
            None if members.sessions.len() >= MOST_SESSIONS => {
                let limit = LARGEST_WATCHED * MOST_SESSIONS;
                return Err(ZkError::TooManyWatches { path: path.to_owned(), limit });
            }
            None => {
                let session = Session::connect(ZkConfig::clone(&self.config)).await?;
                members.last += 1;
                let member = members.last;
                members.sessions.insert(member, session.clone());
                (member, session)
            }
        };
        members.of_path.insert(path.to_owned(), member);
        Ok((member, session))
    }

    /// `None`: another session must be asked; this one is over, or filled up meanwhile.
    async fn usable<T>(&self, member: u64, result: Result<T, ZkError>) -> Option<Result<T, ZkError>> {
        match result {
            Err(ZkError::TooManyWatches { .. }) => None,
            Err(error) if error.is_session_over() => {
                self.members.lock().await.sessions.remove(&member);
                None
            }
            result => Some(result),
        }
    }

    /// Forgets which session read a path; for paths that will not be read again.
    pub async fn forget(&self, path: &str) {
        self.members.lock().await.of_path.remove(path);
    }

    /// How many sessions there are now.
    pub async fn sessions(&self) -> usize {
        self.members.lock().await.sessions.len()
    }

    /// Closes every session.
    pub async fn close(&self) {
        let sessions = std::mem::take(&mut *self.members.lock().await).sessions;
        futures::future::join_all(sessions.values().map(Session::close)).await;
    }
}
