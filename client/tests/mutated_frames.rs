//! A million requests that were valid before something happened to them: none may make the decoder panic,
//! or take memory out of proportion to the frame; and what could be read can be written and read again.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::thread;

use bytes::Bytes;
use client::wire::messages::RequestHeader;
use client::wire::{ApiKey, EncodeError, Reader, RequestBody, Str, Writer, encode_to_bytes, frame};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use counting_allocator::CountingAllocator;

#[path = "support/counting_allocator.rs"]
mod counting_allocator;
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
    let frames = valid_frames();
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
        let frame = Shown(mutate(frames, &mut random));
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

/// Every request of the corpus with a header before it.
fn valid_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for golden in golden::corpus().into_iter().filter(|golden| golden.kind == "request") {
        let key = golden.key.unwrap();
        let header = RequestHeader {
            request_api_key: key,
            request_api_version: golden.version,
            correlation_id: frames.len() as i32,
            client_id: Some(Str::from_static("mutant")),
        };
        let header_version = ApiKey::try_from(key).unwrap().request_header_version(golden.version);
        let mut frame = encode_to_bytes(&header, header_version).unwrap().to_vec();
        frame.extend_from_slice(&golden.bytes);
        let reached = decode(frame.clone().into());
        assert!(matches!(reached, Reached::End(..)), "{} v{}", golden.name, golden.version);
        frames.push(frame);
    }
    frames
}

fn mutate(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut frame = frames[random.random_range(0..frames.len())].clone();
    match random.random_range(0..100) {
        0..30 => flip_bits(&mut frame, random),
        30..50 => frame.truncate(random.random_range(0..frame.len())),
        50..75 => inflate_length(&mut frame, random),
        75..90 => splice(&mut frame, &frames[random.random_range(0..frames.len())], random),
        // Much of one byte after a large count: as many minimal elements as can be.
        _ => {
            inflate_length(&mut frame, random);
            let filler = if random.random_bool(0.7) { random.random_range(0..3) } else { random.random() };
            frame.resize(frame.len() + random.random_range(0..200_000), filler);
        }
    }
    frame
}

fn flip_bits(frame: &mut [u8], random: &mut StdRng) {
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..frame.len());
        frame[at] ^= 1 << random.random_range(0..8);
    }
}

/// Puts a number that is large, or just at an edge, where a length may have been.
fn inflate_length(frame: &mut [u8], random: &mut StdRng) {
    let edges = [0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000];
    let number: u32 =
        if random.random_bool(0.5) { edges[random.random_range(0..edges.len())] } else { random.random() };
    let bytes = match random.random_range(0..3) {
        0 => number.to_be_bytes().to_vec(),
        1 => (number as u16).to_be_bytes().to_vec(),
        _ => uvarint(number),
    };
    let at = random.random_range(0..frame.len());
    for (to, from) in frame[at..].iter_mut().zip(bytes) {
        *to = from;
    }
}

fn uvarint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Replaces a piece by a piece of another frame.
fn splice(frame: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let start = random.random_range(0..frame.len());
    let end = random.random_range(start..=frame.len());
    let from = random.random_range(0..other.len());
    let to = random.random_range(from..=other.len());
    frame.splice(start..end, other[from..to].iter().copied());
}
