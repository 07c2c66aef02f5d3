//! Log collection: the lines of some files go to a topic, each file's in their order, so that whoever wants to
//! search, count or keep them reads one log instead of many machines.
//!
//! ```text
//! log_collection BROKERS TOPIC FILE...
//! ```
//!
//! Lines are gathered for a moment and compressed together; a line counts as collected once all in-sync
//! replicas have it.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use client::producer::{Producer, ProducerRecord};
use client::record::Codec;
use futures::{SinkExt, stream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("which brokers?")?;
    let topic = arguments.next().ok_or("which topic?")?;

    let producer = Producer::builder()
        .bootstrap_servers(brokers)
        .client_id("log-collection")
        .compression(Codec::Zstd)
        .linger(Duration::from_millis(50))
        .connect()
        .await?;
    for file in arguments {
        let mut collected = 0_u64;
        let lines = BufReader::new(File::open(&file)?).lines();
        let records = lines.map(|line| {
            collected += 1;
            // The same key, so the same partition: the order within a file is kept.
            let record = ProducerRecord::to(topic.as_str()).key(file.clone()).value(line?);
            Ok(record.header("host", host()))
        });
        let mut records = stream::iter(records);
        // Done when the last line was acknowledged; a line that cannot be delivered ends the program.
        producer.sink().sink_map_err(Box::<dyn Error>::from).send_all(&mut records).await?;
        println!("{file}: {collected} lines");
    }
    producer.close().await;
    Ok(())
}

fn host() -> String {
    std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}
