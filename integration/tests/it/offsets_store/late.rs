//! Commits that ZooKeeper does not take in time, and those who read meanwhile: what is read is not older than
//! anything that was committed before.

use super::*;

/// The commit's request or its answer gets lost, and is found out about and made again only later.
#[test]
fn a_read_waits_for_the_commits_that_came_before_it() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let bench = Bench::start(&server, &proxy.connect_string(), PATIENCE).await;
        bench.commit("g", 0, 1).await.unwrap();
        for offset in 2..10 {
            let weather = if offset % 4 == 3 { Weather::AnswersLost } else { Weather::Silent };
            let committing = commit_into(weather, &proxy, &bench, offset).await;
            better(&proxy);
            let found = if offset % 2 == 0 {
                bench.fetch("g", 0).await.unwrap().expect("there is an offset")
            } else {
                bench.offsets.fetch_all(&"g".into()).await.unwrap().remove(0).1.unwrap()
            };
            assert_eq!(found.offset, offset);
            assert_eq!(committing.await.unwrap(), [Ok(())]);
        }
    });
}

/// Who committed was told that it failed, and somebody else reads and goes on.
#[test]
fn what_was_read_does_not_change_by_a_commit_that_failed_before() {
    with_zookeeper(|server| async move {
        let proxy = Proxy::start(&server.connect_string()).await;
        let bench = Bench::start(&server, &proxy.connect_string(), Duration::from_millis(500)).await;
        until_holds("ZooKeeper answers", PATIENCE, async || bench.commit("g", 0, 1).await == Ok(())).await;
        for (offset, weather) in (2..).zip([Weather::Silent, Weather::AnswersLost, Weather::Refusing]) {
            let committed = if weather == Weather::Refusing {
                proxy.set(weather);
                proxy.cut();
                assert_eq!(bench.fetch("g", 0).await, Err(OffsetError::Loading), "the connection is gone");
                bench.commit("g", 0, offset).await
            } else {
                commit_into(weather, &proxy, &bench, offset).await.await.unwrap().remove(0)
            };
            assert_eq!(committed, Err(OffsetError::Loading));
            assert_eq!(bench.fetch("g", 0).await, Err(OffsetError::Loading), "it may be done or not");
            better(&proxy);
            let mut found = None;
            until_holds("it can be read", PATIENCE, async || {
                found = bench.fetch("g", 0).await.ok().flatten();
                found.is_some()
            })
            .await;
            // Whoever did the commit later would have done it by now.
            until_holds("others commit", PATIENCE, async || bench.commit("h", 0, 1).await == Ok(())).await;
            let stands = bench.text("/consumers/g/offsets/t/0").await;
            assert_eq!(found.map(|found| found.offset.to_string()), stands, "{weather:?}");
        }
    });
}
