//! What is kept of a run, and the verdict on it.

use std::fs;
use std::io;
use std::path::Path;

use super::arena::Node;
use crate::checker::{History, HistoryError, Verdict, judge, judge_cluster};
use crate::runtime::own_thread;
use client::zk::{Session, ZkConfig};

/// The verdict on what was written down in a run's folder.
pub fn verdict_of(folder: &Path) -> Result<Verdict, HistoryError> {
    let history = History::read(&folder.join("history"))?;
    let mut verdict = judge(&history);
    verdict.findings.extend(judge_cluster(&history).findings);
    Ok(verdict)
}

/// Copies what would vanish with the arena: a broker's log directory.
pub(super) fn keep_log_dir(folder: &Path, broker: i32, data: &Path) -> io::Result<()> {
    copy(data, &folder.join(Node::Broker(broker).to_string()).join("data"))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            let index = entry.path().extension().is_some_and(|e| e == "index" || e == "timeindex");
            // Indexes are rebuilt from logs, and take more room.
            if !index {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Every znode with its version and data, a line each.
pub(super) fn dump_znodes(zookeeper: &str) -> String {
    own_thread().block_on(async {
        let config = ZkConfig::new(zookeeper).with_timeout(std::time::Duration::from_secs(10));
        let session = match Session::connect(config).await {
            Ok(session) => session,
            Err(error) => return format!("{error}\n"),
        };
        let mut lines = Vec::new();
        let mut open = vec![String::from("/")];
        while let Some(path) = open.pop() {
            let Ok(Some(node)) = session.get_if_exists(&path).await else { continue };
            let data = String::from_utf8_lossy(&node.data).into_owned();
            lines.push(format!("{path} v{} {data:?}", node.stat.version.0));
            let children = session.children(&path).await.unwrap_or_default();
            let below = path.trim_end_matches('/');
            open.extend(children.into_iter().map(|child| format!("{below}/{child}")));
        }
        session.close().await;
        lines.sort();
        lines.join("\n") + "\n"
    })
}
