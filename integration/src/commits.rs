//! The offsets that groups commit, read in ZooKeeper again and again: they must not go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::PATIENCE;
use crate::observer::Observer;
use crate::wait;

/// Looks at the offsets of some groups for one topic until it is asked what it saw.
#[derive(Debug)]
pub struct Commits {
    topic: String,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Vec<String>>>,
    observer: Observer,
}

impl Commits {
    pub fn watch(zookeeper: &str, groups: &[String], topic: &str) -> Commits {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, observer) = (Arc::clone(&stop), Observer::connect(zookeeper));
        let (groups, of) = (groups.to_vec(), topic.to_owned());
        let watcher = std::thread::spawn(move || {
            let mut last = BTreeMap::new();
            let mut back = Vec::new();
            while !until.load(Ordering::Relaxed) {
                for (group, (partition, offset)) in all(&observer, &groups, &of) {
                    let before: i64 =
                        last.insert((group.clone(), partition.clone()), offset).unwrap_or_default();
                    if offset < before {
                        back.push(format!("{group}, partition {partition}: from {before} to {offset}"));
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            for group in groups {
                assert!(last.keys().any(|(seen, _)| *seen == group), "{group} committed nothing");
            }
            back
        });
        Commits {
            topic: topic.to_owned(),
            stop,
            watcher: Some(watcher),
            observer: Observer::connect(zookeeper),
        }
    }

    /// Waits until the group's offsets come to as many records.
    #[track_caller]
    pub fn wait_until_at(&self, group: &str, records: usize) {
        wait::until(&format!("{group} commits {records} records"), PATIENCE, || {
            let sum: i64 = committed(&self.observer, group, &self.topic).values().sum();
            (sum == records as i64).then_some(())
        });
    }

    /// Ends the watch, and fails if any offset went back.
    #[track_caller]
    pub fn assert_forward_only(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let watcher = self.watcher.take().expect("it watches until now");
        let back = watcher.join().expect("the watcher does not panic");
        assert!(back.is_empty(), "committed offsets went back: {back:?}");
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn all<'a>(
    observer: &'a Observer,
    groups: &'a [String],
    topic: &'a str,
) -> impl Iterator<Item = (&'a String, (String, i64))> {
    let of =
        move |group: &'a String| committed(observer, group, topic).into_iter().map(move |one| (group, one));
    groups.iter().flat_map(of)
}

fn committed(observer: &Observer, group: &str, topic: &str) -> BTreeMap<String, i64> {
    let folder = format!("/consumers/{group}/offsets/{topic}");
    let offset = |partition: String| {
        let node = observer.get(&format!("{folder}/{partition}"))?;
        let text = String::from_utf8(node.data).expect("an offset is text");
        Some((partition, text.parse().expect("an offset is a number")))
    };
    observer.children(&folder).into_iter().filter_map(offset).collect()
}
