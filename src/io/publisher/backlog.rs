//! The lines that readers may still ask for, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;

/// The last so many lines, by number.
#[derive(Debug)]
pub(super) struct Backlog {
    lines: VecDeque<Arc<str>>,
    capacity: usize,
    oldest_seq: u64,
}

impl Backlog {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            capacity,
            oldest_seq: 0,
        }
    }

    /// Adds the line with the number [`Backlog::next_seq`]; the oldest goes when it is full.
    pub(super) fn push(&mut self, line: Arc<str>) {
        if self.lines.len() == self.capacity {
            self.lines.pop_front();
            self.oldest_seq += 1;
        }
        self.lines.push_back(line);
    }

    /// Number of the oldest line kept.
    pub(super) const fn oldest_seq(&self) -> u64 {
        self.oldest_seq
    }

    /// Number that the next line will have.
    pub(super) fn next_seq(&self) -> u64 {
        self.oldest_seq + self.lines.len() as u64
    }

    /// The lines from `seq` on, up to about `max_bytes` and at least one, as they go on the wire; and the number after
    /// the last of them. `None` when `seq` is no longer kept.
    pub(super) fn read(&self, seq: u64, max_bytes: usize) -> Option<(String, u64)> {
        let skip = usize::try_from(seq.checked_sub(self.oldest_seq)?).ok()?;
        let (mut text, mut next) = (String::new(), seq);
        for line in self.lines.iter().skip(skip) {
            if !text.is_empty() && text.len() + line.len() > max_bytes {
                break;
            }
            text.push_str(line);
            next += 1;
        }
        Some((text, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(lines: u64, capacity: usize) -> Backlog {
        let mut backlog = Backlog::new(capacity);
        (0..lines).for_each(|seq| backlog.push(format!("line {seq}\n").into()));
        backlog
    }

    #[test]
    fn oldest_line_goes_when_it_is_full() {
        let backlog = backlog(5, 3);
        assert_eq!((backlog.oldest_seq(), backlog.next_seq()), (2, 5));
        assert_eq!(backlog.read(1, 1000), None);
        assert_eq!(backlog.read(3, 1000), Some(("line 3\nline 4\n".into(), 5)));
    }

    #[test]
    fn reader_that_is_up_to_date_gets_nothing() {
        assert_eq!(backlog(5, 10).read(5, 1000), Some((String::new(), 5)));
    }

    #[test]
    fn batch_is_bounded_but_never_empty() {
        let backlog = backlog(5, 10);
        assert_eq!(backlog.read(0, 1), Some(("line 0\n".into(), 1)));
        assert_eq!(backlog.read(0, 14), Some(("line 0\nline 1\n".into(), 2)));
    }
}
