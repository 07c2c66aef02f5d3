//! Apache's broker and ours, asked the same.

use integration::apache_cluster::ApacheCluster;
use integration::cluster::Cluster;

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
