//! The newest lines, which are kept in memory.

use std::collections::VecDeque;
use std::ops::Range;

use crate::io::journal::Record;

/// The last so many lines, by number.
#[derive(Debug)]
pub(super) struct Backlog {
    lines: VecDeque<Record>,
    capacity: usize,
    oldest_seq: u64,
}

impl Backlog {
    pub(super) const fn new(capacity: usize, next_seq: u64) -> Self {
        Self {
            lines: VecDeque::new(),
            capacity,
            oldest_seq: next_seq,
        }
    }

    /// Adds the line with the number [`Backlog::next_seq`]; the oldest goes when it is full.
    pub(super) fn push(&mut self, line: Record) {
        if self.lines.len() == self.capacity {
            self.lines.pop_front();
            self.oldest_seq += 1;
        }
        self.lines.push_back(line);
    }

    /// The next line has this number: when it is not the one after the last, those before it are forgotten.
    pub(super) fn skip_to(&mut self, next_seq: u64) {
        if next_seq != self.next_seq() {
            self.lines.clear();
            self.oldest_seq = next_seq;
        }
    }

    /// Number of the oldest line kept.
    pub(super) const fn oldest_seq(&self) -> u64 {
        self.oldest_seq
    }

    /// Number that the next line will have.
    pub(super) fn next_seq(&self) -> u64 {
        self.oldest_seq + self.lines.len() as u64
    }

    /// The lines with these numbers, as far as they are kept.
    pub(super) fn records(&self, range: Range<u64>) -> Vec<Record> {
        let place = |seq: u64| usize::try_from(seq.saturating_sub(self.oldest_seq));
        let (skip, end) = (place(range.start), place(range.end));
        let lines = self.lines.iter().take(end.unwrap_or(usize::MAX));
        lines.skip(skip.unwrap_or(usize::MAX)).cloned().collect()
    }

    /// The lines from `seq` on and below `end`, up to about `max_bytes` and at least one, as they go on the wire; and the
    /// number after the last of them. `None` when `seq` is no longer kept.
    pub(super) fn read(&self, seq: u64, end: u64, max_bytes: usize) -> Option<(String, u64)> {
        let skip = usize::try_from(seq.checked_sub(self.oldest_seq)?).ok()?;
        let (mut text, mut next) = (String::new(), seq);
        for record in self.lines.iter().skip(skip) {
            let is_full = !text.is_empty() && text.len() + record.line.len() > max_bytes;
            if is_full || next >= end {
                break;
            }
            text.push_str(&record.line);
            next += 1;
        }
        Some((text, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = u64::MAX;

    fn backlog(lines: u64, capacity: usize) -> Backlog {
        let mut backlog = Backlog::new(capacity, 0);
        let record = |seq| Record {
            at_ms: 0,
            call_id: None,
            event: "dtmf",
            line: format!("line {seq}\n").into(),
        };
        (0..lines).for_each(|seq| backlog.push(record(seq)));
        backlog
    }

    #[test]
    fn line_that_is_not_released_is_not_read() {
        assert_eq!(
            backlog(5, 10).read(3, 4, 1000),
            Some(("line 3\n".into(), 4))
        );
        assert_eq!(backlog(5, 10).read(4, 4, 1000), Some((String::new(), 4)));
    }

    #[test]
    fn records_are_taken_by_number_as_far_as_they_are_kept() {
        let backlog = backlog(5, 3);
        let lines = |range| -> Vec<_> {
            let records = backlog.records(range);
            records
                .iter()
                .map(|record| record.line.to_string())
                .collect()
        };
        assert_eq!(lines(1..4), ["line 2\n", "line 3\n"]);
        assert_eq!(lines(4..9), ["line 4\n"]);
    }

    #[test]
    fn oldest_line_goes_when_it_is_full() {
        let backlog = backlog(5, 3);
        assert_eq!((backlog.oldest_seq(), backlog.next_seq()), (2, 5));
        assert_eq!(backlog.read(1, ALL, 1000), None);
        assert_eq!(
            backlog.read(3, ALL, 1000),
            Some(("line 3\nline 4\n".into(), 5))
        );
    }

    #[test]
    fn reader_that_is_up_to_date_gets_nothing() {
        assert_eq!(backlog(5, 10).read(5, ALL, 1000), Some((String::new(), 5)));
    }

    #[test]
    fn batch_is_bounded_but_never_empty() {
        let backlog = backlog(5, 10);
        assert_eq!(backlog.read(0, ALL, 1), Some(("line 0\n".into(), 1)));
        assert_eq!(
            backlog.read(0, ALL, 14),
            Some(("line 0\nline 1\n".into(), 2))
        );
    }
}
