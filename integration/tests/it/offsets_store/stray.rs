//! A commit that ZooKeeper carries out long after its connection was given up. A server that was stopped does so
//! with what it finds in its sockets, if it finds an attempt to take the session back there too.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

const MULTI: i32 = 14;
const BAD_VERSION: i32 = -103;

#[test]
fn a_commit_that_is_carried_out_late_changes_nothing() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let bench = Bench::start(&server, &proxy.connect_string(), PATIENCE).await;
        bench.commit("g", 0, 1).await.unwrap();
        let committing = commit_into(Weather::Silent, &proxy, &bench, 2).await;
        better(&proxy);
        assert_eq!(committing.await.unwrap(), [Ok(())]);
        bench.commit("g", 0, 3).await.unwrap();
        let strays = multis(&proxy.take_lost_requests());
        assert_eq!(strays.len(), 1, "only the second commit was lost");
        for stray in strays {
            let codes = carry_out(&server.connect_string(), &stray);
            assert_eq!(bench.text("/consumers/g/offsets/t/0").await.as_deref(), Some("3"), "{codes:?}");
            assert_eq!(
                codes.get(..2),
                Some(&[0, BAD_VERSION][..]),
                "the leader is the same, the stamp is not"
            );
        }
    });
}

/// The deletion is found undone and made again, and what is committed afterwards has the versions of before.
#[test]
fn a_deletion_that_is_carried_out_late_deletes_nothing_newer() {
    with_zookeeper(|server| async move {
        let proxy = Arc::new(Proxy::start(&server.connect_string()).await);
        let bench = Bench::start(&server, &proxy.connect_string(), PATIENCE).await;
        bench.offsets.close();
        // The tombstone comes between what a deletion reads and what it writes.
        let weather = Arc::new(Mutex::new(Some(Weather::Silent)));
        let changing = Arc::clone(&proxy);
        let offsets = bench.store.open(Coordinated {
            tombstones: Arc::new(move |_| {
                let changed = weather.lock().expect("nobody panicked").take();
                changed.into_iter().for_each(|weather| changing.set(weather));
                Box::pin(std::future::ready(Ok(())))
            }),
            ..coordinated(EPOCH, &bench.log_end, &bench.tombstones)
        });
        commit(&offsets, "g", 0, 1).await.unwrap();
        let mut lost = proxy.lost();
        let deleting = tokio::spawn({
            let offsets = Arc::clone(&offsets);
            async move { offsets.delete(&"g".into(), &[at(0)]).await }
        });
        lost.wait_for(|lost| *lost >= A_REQUEST).await.expect("the proxy runs");
        better(&proxy);
        assert_eq!(deleting.await.unwrap(), Ok(()));
        assert_eq!(bench.text("/consumers/g/offsets/t/0").await, None);
        commit(&offsets, "g", 0, 2).await.unwrap();
        let strays = multis(&proxy.take_lost_requests());
        assert_eq!(strays.len(), 1, "only the first deletion was lost");
        for stray in strays {
            let codes = carry_out(&server.connect_string(), &stray);
            assert_eq!(bench.text("/consumers/g/offsets/t/0").await.as_deref(), Some("2"), "{codes:?}");
            assert_eq!(codes.get(..2), Some(&[0, BAD_VERSION][..]));
        }
    });
}

/// What follows the number of each multi among these requests.
fn multis(mut requests: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = requests.split_first_chunk() {
        let (request, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let (_number, request) = request.split_at(4);
        if request.starts_with(&MULTI.to_be_bytes()) {
            found.push(request.to_vec());
        }
        requests = rest;
    }
    found
}

/// Has a multi carried out in a session of its own; gives the error codes of a refusal, write by write.
fn carry_out(server: &str, multi: &[u8]) -> Vec<i32> {
    let mut stream = TcpStream::connect(server).expect("ZooKeeper listens");
    let session_ms = 8_000_i32;
    let mut connect = [0; 45];
    connect[12..16].copy_from_slice(&session_ms.to_be_bytes());
    connect[27] = 16; // the length of an empty password
    exchange(&mut stream, &connect);
    let number = [0, 0, 0, 1];
    let answer = exchange(&mut stream, &[&number, multi].concat());
    // Behind the answer's head: type, whether it is the last, and the code, twice.
    let results = answer.get(16..).unwrap_or_default().chunks_exact(13);
    results.map(|result| i32::from_be_bytes(result[9..].try_into().expect("four bytes"))).collect()
}

fn exchange(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    let length = u32::try_from(request.len()).expect("it is short").to_be_bytes();
    stream.write_all(&[&length, request].concat()).expect("ZooKeeper reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("ZooKeeper answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("ZooKeeper answers");
    answer
}
