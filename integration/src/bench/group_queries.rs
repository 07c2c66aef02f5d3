//! How long an operator's tools wait on a broker with many groups: all of them listed, described, and
//! their offsets fetched.

use std::time::Instant;

use client::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use client::wire::messages::{DescribeGroupsRequest, ListGroupsRequest, OffsetFetchRequest};
use futures::StreamExt;
use futures::stream;

use crate::runtime::runtime;

use super::groups::Bench;

/// Groups that one request names.
const TOGETHER: usize = 500;

/// Requests under way at a time.
const AT_A_TIME: usize = 4;

pub fn run(groups: usize) -> String {
    let runtime = runtime();
    let bench = runtime.block_on(Bench::start(1));
    runtime.block_on(measure(bench, groups))
}

async fn measure(bench: Bench, groups: usize) -> String {
    let names: Vec<String> = (0..groups).map(|group| format!("group-{group}")).collect();
    bench.commit_once(&names, 1).await;
    let connection = bench.connection();

    let started = Instant::now();
    let listed = connection.send(&ListGroupsRequest::default(), 5).await.expect("the broker answers");
    let listing = started.elapsed();
    assert_eq!((listed.error_code, listed.groups.len()), (0, groups));

    let described = Instant::now();
    let ask = |names: &[String]| DescribeGroupsRequest {
        groups: names.iter().map(|name| name.as_str().into()).collect(),
        ..DescribeGroupsRequest::default()
    };
    let requests: Vec<DescribeGroupsRequest> = names.chunks(TOGETHER).map(ask).collect();
    let answers: Vec<_> = stream::iter(&requests)
        .map(|request| connection.send(request, 5))
        .buffered(AT_A_TIME)
        .map(|answer| answer.expect("the broker answers"))
        .collect()
        .await;
    let describing = described.elapsed();
    let good = answers.iter().flat_map(|answer| &answer.groups).filter(|group| group.error_code == 0);
    assert_eq!(good.count(), groups);

    let fetched = Instant::now();
    let ask = |names: &[String]| OffsetFetchRequest {
        groups: names
            .iter()
            .map(|name| OffsetFetchRequestGroup {
                group_id: name.as_str().into(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            })
            .collect(),
        ..OffsetFetchRequest::default()
    };
    let requests: Vec<OffsetFetchRequest> = names.chunks(TOGETHER).map(ask).collect();
    let answers: Vec<_> = stream::iter(&requests)
        .map(|request| connection.send(request, 9))
        .buffered(AT_A_TIME)
        .map(|answer| answer.expect("the broker answers"))
        .collect()
        .await;
    let fetching = fetched.elapsed();
    let found = answers.iter().flat_map(|answer| &answer.groups).flat_map(|group| &group.topics).count();
    assert_eq!(found, groups, "each group has offsets of one topic");
    format!(
        "{groups} groups of one partition: listed in {:.0} ms, described in {:.0} ms, all offsets fetched in {:.0} ms; \
         {:.2} s together",
        listing.as_secs_f64() * 1e3,
        describing.as_secs_f64() * 1e3,
        fetching.as_secs_f64() * 1e3,
        started.elapsed().as_secs_f64(),
    )
}
