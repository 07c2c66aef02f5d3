//! Tests that span the files of this folder.

mod kafka;
mod round_trip;
mod validate;
