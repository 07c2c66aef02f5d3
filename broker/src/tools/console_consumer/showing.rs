//! Records on their way to standard output.

use std::io::Write;

use client::consumer::ConsumerRecord;

use super::format::Formatter;
use super::log;
use crate::tools::console::Console;
use crate::tools::failure::Exception;

const SERIALIZATION: &str = "org.apache.kafka.common.errors.SerializationException";

/// Shows records, and counts them.
#[derive(Debug)]
pub(super) struct Showing<'a> {
    formatter: &'a Formatter,
    skip_on_error: bool,
    /// `None`: all.
    most: Option<u64>,
    pub(super) count: u64,
    shown: Vec<u8>,
}

/// Why no more is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Enough {
    /// As many as were asked for.
    All,
    /// Nobody reads standard output any more.
    Unread,
    /// A record cannot be shown.
    Unreadable(Exception),
}

impl<'a> Showing<'a> {
    pub(super) fn new(formatter: &'a Formatter, most: Option<u64>, skip_on_error: bool) -> Showing<'a> {
        Showing { formatter, skip_on_error, most, count: 0, shown: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.most.is_some_and(|most| self.count >= most)
    }

    /// Takes a record; what was taken is written by [`write`](Showing::write).
    pub(super) fn take(&mut self, record: &ConsumerRecord, console: &mut Console) -> Result<(), Enough> {
        self.count += 1;
        if let Err(unreadable) = self.formatter.write(record, &mut self.shown) {
            let exception = Exception::new(SERIALIZATION, unreadable.to_string());
            if !self.skip_on_error {
                return Err(Enough::Unreadable(exception));
            }
            log(console, "Error processing message, skipping this message: ", &exception);
        }
        if self.is_done() { Err(Enough::All) } else { Ok(()) }
    }

    /// Writes what was taken.
    pub(super) fn write(&mut self, console: &mut Console) -> Result<(), Enough> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&self.shown).and_then(|()| out.flush());
        self.shown.clear();
        written.map_err(|_| {
            console.complain("Unable to write to standard out, closing consumer.\n");
            Enough::Unread
        })
    }
}
