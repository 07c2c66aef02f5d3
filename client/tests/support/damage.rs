//! Requests that were valid before something happened to them.

use client::wire::messages::RequestHeader;
use client::wire::{ApiKey, Str, encode_to_bytes};
use rand::Rng;
use rand::rngs::StdRng;

use super::golden::Golden;

/// Every request of the corpus with a header before it.
pub(crate) fn valid_frames(corpus: &[Golden]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for golden in corpus.iter().filter(|golden| golden.kind == "request") {
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
        frames.push(frame);
    }
    frames
}

/// One of the frames, with bits flipped, an end cut off, a length that lies, a piece of another in it.
pub(crate) fn mutate(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
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
