//! Duplicates, gaps, epochs and wrapped sequences: our broker's answers and Apache's, line by line.

use client::record::{Codec, Compression};
use client::wire::ErrorCode;
use client::wire::messages::{AllocateProducerIdsRequest, InitProducerIdRequest};
use integration::apache_cluster::ApacheCluster;
use integration::cluster::{Cluster, PATIENCE};
use integration::runtime::run;
use tokio::time::{Instant, sleep};

use super::asker::{Asker, Sent, init, sent};
use super::now_ms;

const MAX: i32 = i32::MAX;

#[test]
fn every_answer_is_apaches() {
    let apache = ApacheCluster::start(1, &[]);
    let ours = Cluster::start(1, &[]);
    // One that is not expired, and the same for both.
    let timestamp = now_ms();
    let (expected, found) = run(async {
        let expected = conversation(&Asker::connect(&apache.address(1), "idem", timestamp).await).await;
        (expected, conversation(&Asker::connect(&ours.address(1), "idem", timestamp).await).await)
    });
    let different: Vec<_> =
        found.iter().zip(&expected).filter(|(found, expected)| found != expected).collect();
    assert!(different.is_empty(), "ours, and Apache's: {different:#?}");
    assert_eq!(found.len(), expected.len());
    // That the conversation is about what it should be about.
    let said = |what: &str| found.iter().filter(|line| line.contains(what)).count();
    assert!(said("OutOfOrderSequenceNumber") >= 10, "{found:#?}");
    assert!(said("InvalidProducerEpoch") >= 3, "{found:#?}");
    assert!(said("None at 0,") >= 3, "duplicates are answered with where they are: {found:#?}");
}

async fn conversation(broker: &Asker) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches() {
        lines.push(format!("{batch:?}: {}", broker.produce(batch).await));
    }
    lines.extend(broker.described(&[("idem", 0), ("idem", 1), ("unknown", 0), ("b@d", 0)]).await);
    lines.extend(inits(broker).await);
    lines
}

/// In this order, each as the last five of its producer make it.
fn batches() -> Vec<Sent> {
    let gzip = Compression::from(Codec::Gzip);
    let mut batches = vec![
        sent(5, 0, 0, 3),
        sent(5, 0, 0, 3),
        sent(5, 0, 3, 2),
        sent(5, 0, 0, 3),
        // Parts of batches, gaps.
        sent(5, 0, 0, 2),
        sent(5, 0, 1, 2),
        sent(5, 0, 2, 2),
        sent(5, 0, 0, 5),
        sent(5, 0, 6, 1),
        sent(5, 0, MAX, 1),
        // After four more the first is not remembered any more.
        sent(5, 0, 5, 1),
        sent(5, 0, 6, 1),
        sent(5, 0, 7, 1),
        sent(5, 0, 8, 1),
        sent(5, 0, 0, 3),
        sent(5, 0, 3, 2),
        sent(5, 0, 5, 1),
        sent(5, 0, 8, 1),
        Sent { acks: 1, ..sent(5, 0, 8, 1) },
        Sent { acks: 1, ..sent(5, 0, 8, 2) },
        // A new epoch begins at 0 and knows nothing of the former.
        sent(5, 1, 9, 1),
        sent(5, 1, 0, 2),
        sent(5, 1, 0, 2),
        sent(5, 0, 9, 1),
        sent(5, 0, 8, 1),
        sent(5, 1, 2, 1),
        sent(5, 4, 0, 1),
        sent(5, 3, 0, 1),
        sent(5, 4, 1, 1),
        // A producer nobody knows may begin anywhere.
        sent(6, 0, 77, 2),
        sent(6, 0, 77, 2),
        sent(6, 0, 79, 1),
        sent(6, 0, 76, 1),
        sent(6, 0, 0, 1),
        // Sequences go on at 0 after the last.
        sent(7, 0, MAX - 1, 2),
        sent(7, 0, 0, 2),
        sent(7, 0, MAX - 1, 2),
        sent(7, 0, 0, 2),
        sent(7, 0, 3, 1),
        sent(8, 0, MAX, 3),
        sent(8, 0, 0, 1),
        sent(8, 0, 2, 1),
        sent(8, 0, MAX, 3),
        sent(8, 0, MAX, 2),
        // What is stored is not what was sent, but it is known again.
        Sent { compression: gzip, ..sent(9, 0, 0, 50) },
        Sent { compression: gzip, ..sent(9, 0, 0, 50) },
        sent(9, 0, 0, 50),
        Sent { compression: gzip, ..sent(9, 0, 49, 50) },
        // No epoch, no sequence, no id.
        sent(10, -1, 0, 1),
        sent(10, -1, 1, 1),
        sent(10, 0, 9, 1),
        sent(10, -1, 2, 1),
        sent(11, 0, -1, 1),
        sent(11, 0, -2, 1),
        sent(-1, -1, 5, 1),
        sent(-1, -1, 5, 1),
        sent(-1, 3, 0, 1),
        sent(12, i16::MAX, 0, 1),
        sent(12, i16::MIN, 0, 1),
    ];
    // Six in a row, then each of them again.
    batches.extend((0..6).map(|n| sent(13, 0, n, 1)));
    batches.extend((0..6).map(|n| sent(13, 0, n, 1)));
    batches
}

async fn inits(broker: &Asker) -> Vec<String> {
    let mut lines = Vec::new();
    let started = Instant::now();
    // Apache's first answer is COORDINATOR_LOAD_IN_PROGRESS.
    while broker.init(4, &init(None, 0)).await.error_code != 0 {
        assert!(started.elapsed() < PATIENCE, "no producer ids");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    for version in 0..=5 {
        let answer = broker.init(version, &init(None, -5)).await;
        lines.push(format!("version {version}: {}", said(answer.error_code, answer.producer_epoch)));
        assert!(answer.producer_id >= 0, "{answer:?}");
    }
    let known = |transactional_id, timeout, producer_id, producer_epoch| InitProducerIdRequest {
        producer_id,
        producer_epoch,
        ..init(transactional_id, timeout)
    };
    for (version, body) in [
        (3, known(None, 0, 7, -1)),
        (3, known(None, 0, -1, 7)),
        (3, known(None, 0, 7, 7)),
        (0, init(Some(""), 1000)),
        (5, init(Some(""), -1)),
        (4, init(Some("x"), 0)),
        (4, init(Some("x"), -1)),
        (4, init(Some("x"), 900_000)),
        (4, init(Some("x"), 900_001)),
        (0, init(Some("x"), 1000)),
        (5, init(Some("x"), 1000)),
        (4, known(Some("x"), 1000, 7, -1)),
        (4, known(Some("x"), 0, 7, -1)),
        (4, known(Some("x"), 1000, 7, 7)),
    ] {
        let answer = broker.init(version, &body).await;
        let got_none = answer.producer_id == -1;
        let said = said(answer.error_code, answer.producer_epoch);
        lines.push(format!("version {version} {body:?}: {said}, none {got_none}"));
    }
    for (broker_id, broker_epoch) in [(1, -1), (1, i64::MAX), (2, -1)] {
        let answer = broker.ask(0, &AllocateProducerIdsRequest { broker_id, broker_epoch }).await;
        lines.push(format!("ids for {broker_id} {broker_epoch}: {answer:?}"));
    }
    lines
}

fn said(code: i16, epoch: i16) -> String {
    format!("{:?}, epoch {epoch}", ErrorCode::from_code(code))
}
