//! How fast small records are written, checked and read: `cargo run --release --example record_speed`.

use std::hint::black_box;
use std::time::Instant;

use client::ids::TopicPartition;
use client::record::{
    AnyBatch, BatchBuilder, BatchOptions, BuildError, Codec, NewRecord, Origin, ProduceRules, TimestampType,
    payload, records, validate,
};

const RECORDS: usize = 10_000;
const ROUNDS: usize = 300;
const NOW: i64 = 1_800_000_000_000;

fn main() {
    let partition = TopicPartition::new("speed", 0);
    let rules = ProduceRules {
        partition: &partition,
        origin: Origin::Client,
        max_message_bytes: 16 << 20,
        segment_bytes: 1 << 30,
        compacted: true,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        compression: None,
        decompressed_max_bytes: 64 << 20,
    };
    for codec in Codec::ALL {
        let batch = build(codec).expect("the records are small");
        let parsed = AnyBatch::parse(&batch).expect("it was just built");
        println!("{codec}: {RECORDS} records in {} bytes", batch.len());
        measure("build", || build(codec).map(|batch| batch.len()).unwrap_or(0));
        measure("crc + iterate", || {
            let header = parsed.header().expect("format 2");
            let opened = payload(&parsed, 64 << 20).map(|payload| {
                records(header, &payload).flatten().map(|record| record.value.map_or(0, <[u8]>::len)).sum()
            });
            usize::from(parsed.check_crc().is_ok()) + opened.unwrap_or(0)
        });
        measure("validate", || {
            validate(&batch, &rules, NOW).map(|validated| validated.batch.len()).unwrap_or(0)
        });
    }
}

fn build(codec: Codec) -> Result<Vec<u8>, BuildError> {
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: codec.into(), ..BatchOptions::default() })?;
    for index in 0..RECORDS {
        let key = (index as u64).to_be_bytes();
        builder.push(&NewRecord {
            timestamp: NOW + index as i64 / 100,
            key: Some(&key),
            value: Some(b"a value of twenty or thirty bytes"),
            headers: &[],
        })?;
    }
    builder.finish()
}

fn measure(name: &str, mut work: impl FnMut() -> usize) {
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(work());
    }
    let per_second = (RECORDS * ROUNDS) as f64 / started.elapsed().as_secs_f64();
    println!("  {name:<14}{:>7.1} million records/s", per_second / 1e6);
}
