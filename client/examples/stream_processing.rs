//! Stream processing: consume, transform, produce.
//!
//! Reads lines of text with a group, splits them into words, and sends each word on, so that equal words are in
//! one partition. The group's offsets are committed only after every word of the lines before them was
//! acknowledged: a program that dies does some lines again, and loses none. Run several of them: they
//! share the work.
//!
//! ```text
//! cargo run --example stream_processing -- BOOTSTRAP_SERVERS GROUP FROM_TOPIC TO_TOPIC [LINES]
//! ```
//!
//! With LINES it ends after so many, and otherwise never.

use std::error::Error;
use std::time::Duration;

use client::consumer::ConsumerRecord;
use client::consumer::assignor::Assignor;
use client::consumer::group::{AutoOffsetReset, GroupConsumer};
use client::producer::{Producer, ProducerRecord};
use futures::future::try_join_all;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, group, from, to, lines @ ..] = arguments.as_slice() else {
        return Err("usage: stream_processing BOOTSTRAP_SERVERS GROUP FROM_TOPIC TO_TOPIC [LINES]".into());
    };
    let lines: Option<usize> = lines.first().map(|lines| lines.parse()).transpose()?;

    let producer = Producer::builder().bootstrap_servers(servers.as_str()).connect().await?;
    let mut consumer = GroupConsumer::builder()
        .bootstrap_servers(servers.as_str())
        .group_id(group.clone())
        .assignors([Assignor::CooperativeSticky])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .commit_by_hand()
        .connect()
        .await?;
    consumer.subscribe([from.as_str()])?;

    let (mut done, mut sent) = (0, 0);
    while lines.is_none_or(|lines| done < lines) {
        let records = consumer.poll(Duration::from_secs(1)).await?;
        let words: Vec<String> = records.iter().flat_map(words).collect();
        let deliveries = words.iter().map(|word| {
            producer.deliver(ProducerRecord::to(to.as_str()).key(word.clone()).value(word.clone()))
        });
        try_join_all(deliveries).await?;
        if !records.is_empty() {
            consumer.commit().await?;
        }
        done += records.len();
        sent += words.len();
    }
    consumer.close().await?;
    producer.close().await;
    println!("{done} lines, {sent} words");
    Ok(())
}

fn words(record: &ConsumerRecord) -> Vec<String> {
    let line = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).to_lowercase();
    line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(String::from).collect()
}
