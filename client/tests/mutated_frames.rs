//! A million requests that were valid before something happened to them: none may make the decoder panic,
//! or take memory out of proportion to the frame; and what could be read can be written and read again.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::thread;

use bytes::Bytes;
use client::wire::{EncodeError, Reader, RequestBody, Writer, frame};
use rand::SeedableRng;
use rand::rngs::StdRng;

use counting_allocator::CountingAllocator;

#[path = "support/counting_allocator.rs"]
mod counting_allocator;
#[path = "support/damage.rs"]
mod damage;
#[path = "support/golden.rs"]
#[allow(dead_code, reason = "only the bytes of the requests matter here")]
mod golden;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const FRAMES: usize = 1_000_000;
const THREADS: usize = 2;
/// Structs of minimal elements are larger than their bytes on the wire, and an array may have reserved
/// twice what it holds, with the old half not yet freed.
const AMPLIFICATION: usize = 64;
/// The first reservations of two nested arrays.
const ALLOWANCE: usize = 128 * 1024;

#[derive(Default)]
struct Outcome {
    passed_header: usize,
    decoded: usize,
    /// Of frames above [`ALLOWANCE`], where it shows: the highest share of memory to frame.
    amplification: usize,
}

#[test]
fn mutated_frames_neither_panic_nor_take_much_memory() {
    let frames = damage::valid_frames(&golden::corpus());
    for frame in &frames {
        assert!(matches!(decode(frame.clone().into()), Reached::End(..)), "{frame:02x?}");
    }
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                scope.spawn({
                    let frames = &frames;
                    move || mutate_and_decode(frames, seed as u64)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let passed: usize = outcomes.iter().map(|o| o.passed_header).sum();
    let decoded: usize = outcomes.iter().map(|o| o.decoded).sum();
    let amplification = outcomes.iter().map(|o| o.amplification).max().unwrap();
    println!(
        "{FRAMES} frames: {:.1} % passed the header, {:.1} % decoded, memory at most {amplification} times a large frame",
        percent(passed),
        percent(decoded),
    );
    assert!(passed > FRAMES / 2 && decoded > FRAMES / 10 && decoded < passed, "the mutations do not bite");
}

fn percent(frames: usize) -> f64 {
    frames as f64 * 100.0 / FRAMES as f64
}

fn mutate_and_decode(frames: &[Vec<u8>], seed: u64) -> Outcome {
    let mut random = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    for _ in 0..FRAMES / THREADS {
        let frame = Shown(damage::mutate(frames, &mut random));
        let bytes = Bytes::from(frame.0.clone());
        let (result, peak) = counting_allocator::peak_of(|| decode(bytes));
        assert!(
            peak <= AMPLIFICATION * frame.0.len() + ALLOWANCE,
            "{peak} bytes for a frame of {}",
            frame.0.len()
        );
        if frame.0.len() > ALLOWANCE {
            outcome.amplification = outcome.amplification.max(peak / frame.0.len());
        }
        outcome.passed_header += usize::from(!matches!(result, Reached::Nothing));
        if let Reached::End(message, version) = result {
            outcome.decoded += 1;
            check_round_trip(&message, version);
        }
    }
    outcome
}

#[allow(clippy::large_enum_variant, reason = "one at a time, and boxing would be counted")]
enum Reached {
    Nothing,
    Body,
    End(RequestBody, i16),
}

fn decode(bytes: Bytes) -> Reached {
    let Ok((header, api, mut body)) = frame::parse_request(bytes) else { return Reached::Nothing };
    match RequestBody::decode(api, header.request_api_version, &mut body) {
        Ok(message) => Reached::End(message, header.request_api_version),
        Err(_) => Reached::Body,
    }
}

/// Bytes are compared, since a NaN is not equal to itself.
fn check_round_trip(message: &RequestBody, version: i16) {
    let encode = |message: &RequestBody| {
        let mut writer = Writer::new();
        message.encode(&mut writer, version).map(|()| writer.finish().into_bytes().unwrap())
    };
    let bytes = match encode(message) {
        Ok(bytes) => bytes,
        // The replacement characters for what was not UTF-8 are longer.
        Err(EncodeError::TooLong { .. }) => return,
        Err(error) => panic!("{version}: {error} in {message:?}"),
    };
    let mut reader = Reader::new(bytes.clone());
    let again = RequestBody::decode(message.key(), version, &mut reader).unwrap();
    assert_eq!((encode(&again).unwrap(), reader.remaining()), (bytes, 0), "{version}: {message:?}");
}

/// Prints the frame if the test fails over it.
struct Shown(Vec<u8>);

impl Drop for Shown {
    fn drop(&mut self) {
        if thread::panicking() {
            let hex: String = self.0.iter().take(4096).map(|byte| format!("{byte:02x}")).collect();
            println!("frame of {} bytes: {hex}", self.0.len());
        }
    }
}
