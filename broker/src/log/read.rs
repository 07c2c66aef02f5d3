//! Reading: ranges of files for fetches, and the aborted transactions in them.

use client::ids::Offset;
use client::wire::Records;

use super::error::LogError;
use super::log::Log;
use super::segment::{BatchPlace, Segment};
use super::txn_index::AbortedTxn;

/// A range of one segment that starts with a whole batch and may end in the middle of one.
#[derive(Clone, Debug)]
pub struct LogSlice {
    /// Not read from a real disk: it can be sent as it lies in the file.
    pub records: Records,
    /// Bytes of the first batch; a slice that is shorter holds no whole batch. 0 for an empty slice.
    pub first_batch_len: usize,
    /// What else the reader may see lies in later segments: this place will not have more.
    pub in_older_segment: bool,
    place: Option<SlicePlace>,
}

#[derive(Clone, Copy, Debug)]
struct SlicePlace {
    segment: Offset,
    end_position: u64,
}

impl LogSlice {
    fn empty() -> LogSlice {
        LogSlice {
            records: Records::Memory(Default::default()),
            first_batch_len: 0,
            in_older_segment: false,
            place: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }
}

impl Log {
    /// The batches from the one that holds `from` on, whole even if it begins earlier, out of one segment: up to
    /// `bound` (exclusive; the high watermark, last stable offset or end of the log, as the reader may see) and
    /// `max_bytes`. With `at_least_one`, the first batch is returned whole however large it is.
    ///
    /// From a bound to the end of the log there is nothing to read; outside the log is an error.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        bound: Offset,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        self.home.check_online()?;
        if from < self.start || from > self.end {
            return Err(self.out_of_range(from));
        }
        self.home.note(self.try_read(from, max_bytes, bound.min(self.end), at_least_one))
    }

    fn try_read(
        &self,
        from: Offset,
        max_bytes: usize,
        bound: Offset,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        if from >= bound {
            return Ok(LogSlice::empty());
        }
        let Some((segment, first)) = self.locate(from, bound)? else { return Ok(LogSlice::empty()) };
        let end = self.readable_end(segment, bound)?;
        let readable = usize::try_from(end.saturating_sub(first.position)).unwrap_or(usize::MAX);
        if readable == 0 {
            return Ok(LogSlice::empty());
        }
        let wanted = if at_least_one { max_bytes.max(first.size) } else { max_bytes };
        let len = wanted.min(readable);
        let place = SlicePlace { segment: segment.base(), end_position: first.position + len as u64 };
        let records = segment.log_file()?.slice(first.position, len)?;
        let in_older_segment = segment.base() < self.floor_base(bound);
        Ok(LogSlice { records, first_batch_len: first.size, in_older_segment, place: Some(place) })
    }

    /// The batch that holds `from`, or the next one: in this segment, or a later one if compaction took the rest
    /// of this one.
    fn locate(&self, from: Offset, bound: Offset) -> Result<Option<(&Segment, BatchPlace)>, LogError> {
        for (base, segment) in self.segments.range(self.floor_base(from)..) {
            if *base >= bound {
                break;
            }
            if let Some(place) = segment.locate(from)? {
                return Ok(Some((segment, place)));
            }
        }
        Ok(None)
    }

    fn readable_end(&self, segment: &Segment, bound: Offset) -> Result<u64, LogError> {
        match bound >= self.next_base(segment) {
            true => Ok(segment.size()),
            false => segment.end_position_before(bound),
        }
    }

    /// Where the next segment begins, or the log ends.
    fn next_base(&self, segment: &Segment) -> Offset {
        let later = self.segments.range(segment.base() + 1..).next();
        later.map_or(self.end, |(base, _)| *base)
    }

    /// The aborted transactions that a reader of committed data has to skip in a slice read from `from` on.
    pub fn aborted_transactions(&self, from: Offset, slice: &LogSlice) -> Result<Vec<AbortedTxn>, LogError> {
        self.home.check_online()?;
        let Some(place) = slice.place else { return Ok(Vec::new()) };
        self.home.note(self.try_aborted(from, place))
    }

    fn try_aborted(&self, from: Offset, place: SlicePlace) -> Result<Vec<AbortedTxn>, LogError> {
        let Some(first) = self.segments.get(&place.segment) else { return Ok(Vec::new()) };
        let bound = first.offset_bound_at(place.end_position)?.unwrap_or_else(|| self.next_base(first));
        let mut aborted = Vec::new();
        for segment in self.segments.range(place.segment..).map(|(_, segment)| segment) {
            for txn in segment.aborted.entries()? {
                if txn.last_offset >= from && txn.first_offset < bound {
                    aborted.push(txn);
                }
                // What was undecided up to here lies behind the slice, and so does every later abort of it.
                if txn.last_stable_offset >= bound {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }

    pub(super) fn out_of_range(&self, offset: Offset) -> LogError {
        LogError::OffsetOutOfRange { offset, start: self.start, end: self.end }
    }
}
