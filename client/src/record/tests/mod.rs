//! Tests that span the files of this folder.

mod round_trip;
mod validate;
