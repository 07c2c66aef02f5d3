//! Apache's broker and ours, asked the same.

use std::path::PathBuf;

use integration::apache_cluster::ApacheCluster;
use integration::cluster::Cluster;

/// Brokers of either kind.
pub(crate) trait Brokers {
    fn address(&self, id: i32) -> String;
    fn bootstrap(&self) -> String;
    fn data(&self, id: i32) -> PathBuf;
    fn kill(&mut self, id: i32);
    fn start(&mut self, id: i32);
}

impl Brokers for Cluster {
    fn address(&self, id: i32) -> String {
        self.address(id)
    }

    fn bootstrap(&self) -> String {
        self.bootstrap()
    }

    fn data(&self, id: i32) -> PathBuf {
        self.data(id)
    }

    fn kill(&mut self, id: i32) {
        self.kill(id);
    }

    fn start(&mut self, id: i32) {
        self.start_broker(id);
    }
}

impl Brokers for ApacheCluster {
    fn address(&self, id: i32) -> String {
        self.address(id)
    }

    fn bootstrap(&self) -> String {
        self.bootstrap()
    }

    fn data(&self, id: i32) -> PathBuf {
        self.data(id)
    }

    fn kill(&mut self, id: i32) {
        self.kill(id);
    }

    fn start(&mut self, id: i32) {
        self.start_broker(id);
    }
}

/// One broker of each, with the same settings. To be called on a runtime of several threads.
pub(crate) fn one_of_each(settings: &[(&str, &str)]) -> (ApacheCluster, Cluster) {
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let apache = scope.spawn(|| ApacheCluster::start(1, settings));
            let ours = Cluster::start(1, settings);
            (apache.join().expect("the reference starts"), ours)
        })
    })
}

/// Answer by answer, and more than `many` of them.
#[track_caller]
pub(crate) fn assert_same_answers(expected: &[String], seen: &[String], many: usize) {
    let differing: Vec<String> = expected
        .iter()
        .zip(seen)
        .filter(|(expected, seen)| expected != seen)
        .map(|(expected, seen)| format!("Apache: {expected}\nours:   {seen}"))
        .collect();
    assert_eq!(expected.len(), seen.len());
    assert!(expected.len() > many, "{} answers", expected.len());
    assert!(differing.is_empty(), "{} of {} differ:\n{}", differing.len(), seen.len(), differing.join("\n"));
}
