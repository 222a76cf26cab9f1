//! Which lines are in the journal, which may be read, and what is to be written next.
//!
//! Lines are gathered for a moment and written together, one batch at a time; readers get them when the disk has them.
//! A disk that fails, or does not answer in time, holds nobody up: lines then go out without the journal, which
//! is told, and are written later as far as they are still in memory.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How long the first line of a batch waits for others: what a commit may add to the delay of a text.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Lines that are written without waiting for more, and at most at a time.
const BATCH_LINES: u64 = 512;

/// How long readers wait for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a failed write rests before it is tried again.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// Where the lines are on their way to the disk and to the readers.
///
/// After any input: write what [`Durability::next_write`] says, let readers have what is below
/// [`Durability::released_seq`], and call [`Durability::handle_timeout`] at [`Durability::poll_timeout`].
#[derive(Debug)]
pub(super) struct Durability {
    has_journal: bool,
    next_seq: u64,
    /// Below: in the journal, or given up.
    settled_seq: u64,
    released_seq: u64,
    /// When the first line came that is in no batch.
    gathering_since: Option<Instant>,
    writing: Option<Writing>,
    outage: Option<Outage>,
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    end: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    retry_at: Instant,
    /// Lines that will never be in the journal.
    missing: u64,
    /// The journal has nearly caught up: from this number on lines wait for it again.
    ends_at: Option<u64>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Safe,
    Failed,
    /// Another journal is used, whose first line has the given number.
    Renumbered(u64),
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Lines go out that are not in the journal.
    Lost,
    /// They are again; so many lines will never be.
    Mended { missing: u64 },
}

impl Durability {
    /// Numbers lines from `next_seq` on. Without a journal a line is for readers at once.
    pub(super) const fn new(has_journal: bool, next_seq: u64) -> Self {
        Self {
            has_journal,
            next_seq,
            settled_seq: next_seq,
            released_seq: next_seq,
            gathering_since: None,
            writing: None,
            outage: None,
        }
    }

    /// A line was given the number [`Durability::next_seq`].
    pub(super) fn handle_line(&mut self, now: Instant) {
        self.next_seq += 1;
        self.gathering_since.get_or_insert(now);
        self.release();
    }

    /// What is to be written now, if anything; lines before `oldest_kept` are lost to the journal.
    pub(super) fn next_write(&mut self, oldest_kept: u64, now: Instant) -> Option<Range<u64>> {
        if self.writing.is_some() || !self.has_journal {
            return None;
        }
        if let Some(outage) = &mut self.outage {
            if now < outage.retry_at {
                return None;
            }
            outage.missing += oldest_kept.saturating_sub(self.settled_seq);
        }
        self.settled_seq = self.settled_seq.max(oldest_kept);
        let waiting = self.next_seq - self.settled_seq;
        let is_gathered = waiting >= BATCH_LINES
            || self.outage.is_some()
            || self.gathered_at().is_some_and(|at| at <= now);
        if waiting == 0 || !is_gathered {
            return None;
        }
        let end = self.settled_seq + waiting.min(BATCH_LINES);
        self.writing = Some(Writing { end, since: now });
        if end == self.next_seq {
            self.gathering_since = None;
        }
        Some(self.settled_seq..end)
    }

    /// The journal's answer to the last batch.
    pub(super) fn handle_written(&mut self, written: Written, now: Instant) -> Option<Change> {
        let writing = self.writing.take()?;
        match written {
            Written::Safe => {
                self.settled_seq = writing.end;
                let change = self.end_outage(now);
                self.release();
                change
            }
            Written::Failed => self.lose(now),
            Written::Renumbered(first_seq) => {
                let outage = self.outage.take();
                let missing = outage.map_or(0, |outage| outage.missing);
                let missing = missing + self.next_seq - self.settled_seq;
                self.next_seq = self.next_seq.max(first_seq);
                (self.settled_seq, self.released_seq) = (self.next_seq, self.next_seq);
                self.gathering_since = None;
                Some(Change::Mended { missing })
            }
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Change> {
        let is_late = self.writing?.since + PATIENCE <= now;
        if is_late && !self.is_free() {
            self.lose(now)
        } else {
            None
        }
    }

    /// The journal is out of order from the start, or cannot be asked.
    pub(super) fn lose(&mut self, now: Instant) -> Option<Change> {
        let is_new = self.outage.is_none();
        let missing = self.outage.map_or(0, |outage| outage.missing);
        let retry_at = now + RETRY_TIME;
        self.outage = Some(Outage {
            retry_at,
            missing,
            ends_at: None,
        });
        self.release();
        is_new.then_some(Change::Lost)
    }

    /// When to call [`Durability::handle_timeout`] and [`Durability::next_write`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if !self.has_journal {
            return None;
        }
        match (self.writing, self.outage) {
            (Some(writing), _) if !self.is_free() => Some(writing.since + PATIENCE),
            (Some(_), _) => None,
            (None, Some(outage)) if self.settled_seq < self.next_seq => Some(outage.retry_at),
            (None, _) => self.gathered_at(),
        }
    }

    /// Number of the next line.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Readers may have the lines below.
    pub(super) const fn released_seq(&self) -> u64 {
        self.released_seq
    }

    /// Lines that nobody may read yet; none while the journal is out of order.
    pub(super) const fn withheld(&self) -> u64 {
        self.next_seq - self.released_seq
    }

    /// Whether lines wait for others, and it is not yet time to write them. Where they go out without the journal, none
    /// waits.
    pub(super) fn is_gathering(&self, now: Instant) -> bool {
        !self.is_free() && self.gathered_at().is_some_and(|at| now < at)
    }

    fn gathered_at(&self) -> Option<Instant> {
        self.gathering_since.map(|since| since + GATHER_TIME)
    }

    /// Whether readers get lines without waiting for the disk.
    fn is_free(&self) -> bool {
        !self.has_journal || self.outage.is_some_and(|outage| outage.ends_at.is_none())
    }

    fn release(&mut self) {
        let safe = if self.is_free() {
            self.next_seq
        } else {
            self.settled_seq
        };
        self.released_seq = self.released_seq.max(safe);
    }

    /// An outage is over when every line is written that went out during it.
    fn end_outage(&mut self, now: Instant) -> Option<Change> {
        let outage = self.outage.as_mut()?;
        outage.retry_at = now;
        if self.next_seq - self.settled_seq <= BATCH_LINES {
            outage.ends_at.get_or_insert(self.next_seq);
        }
        if outage.ends_at.is_none_or(|end| self.settled_seq < end) {
            return None;
        }
        let missing = self.outage.take()?.missing;
        Some(Change::Mended { missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDEST: u64 = 0;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn with_lines(lines: u64, now: Instant) -> Durability {
        let mut durability = Durability::new(true, 0);
        (0..lines).for_each(|_| durability.handle_line(now));
        durability
    }

    #[test]
    fn lines_are_gathered_and_released_when_they_are_written() {
        let now = Instant::now();
        let mut durability = with_lines(3, now);
        assert_eq!(durability.next_write(OLDEST, now + ms(99)), None);
        assert_eq!(durability.poll_timeout(), Some(now + ms(100)));
        assert_eq!(durability.next_write(OLDEST, now + ms(100)), Some(0..3));
        durability.handle_line(now + ms(21));
        assert_eq!(durability.released_seq(), 0);
        assert_eq!(durability.handle_written(Written::Safe, now + ms(22)), None);
        assert_eq!(durability.released_seq(), 3);
        assert_eq!(durability.next_write(OLDEST, now + ms(121)), Some(3..4));
    }

    #[test]
    fn full_batch_does_not_wait() {
        let now = Instant::now();
        let mut durability = with_lines(600, now);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..512));
        assert_eq!(durability.handle_written(Written::Safe, now), None);
        assert_eq!(durability.next_write(OLDEST, now), None);
        assert_eq!(durability.next_write(OLDEST, now + ms(100)), Some(512..600));
    }

    #[test]
    fn failed_write_releases_lines_is_told_once_and_tried_again() {
        let now = Instant::now();
        let mut durability = with_lines(2, now);
        let mut now = now + ms(100);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..2));
        let change = durability.handle_written(Written::Failed, now);
        assert_eq!((change, durability.released_seq()), (Some(Change::Lost), 2));
        durability.handle_line(now);
        assert_eq!(durability.released_seq(), 3, "live lines go on");

        assert_eq!(durability.next_write(OLDEST, now + ms(999)), None);
        assert_eq!(durability.poll_timeout(), Some(now + ms(1000)));
        now += ms(1000);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..3));
        assert_eq!(durability.handle_written(Written::Failed, now), None);
        now += ms(1000);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..3));
        let change = durability.handle_written(Written::Safe, now);
        assert_eq!(change, Some(Change::Mended { missing: 0 }));
    }

    #[test]
    fn disk_that_hangs_holds_readers_up_for_two_seconds() {
        let now = Instant::now();
        let mut durability = with_lines(1, now);
        let now = now + ms(100);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..1));
        assert_eq!(durability.poll_timeout(), Some(now + ms(2000)));
        assert_eq!(durability.handle_timeout(now + ms(1999)), None);
        assert_eq!(
            durability.handle_timeout(now + ms(2000)),
            Some(Change::Lost)
        );
        assert_eq!(durability.released_seq(), 1);
        let change = durability.handle_written(Written::Safe, now + ms(9000));
        assert_eq!(change, Some(Change::Mended { missing: 0 }));
    }

    #[test]
    fn lines_that_memory_forgot_during_an_outage_are_counted_and_the_rest_is_caught_up_with() {
        let now = Instant::now();
        let mut durability = with_lines(1000, now);
        durability.next_write(OLDEST, now);
        durability.handle_written(Written::Failed, now);
        let now = now + ms(1000);
        assert_eq!(durability.next_write(300, now), Some(300..812));
        assert_eq!(durability.handle_written(Written::Safe, now), None);
        assert_eq!(durability.next_write(300, now), Some(812..1000));
        let change = durability.handle_written(Written::Safe, now);
        assert_eq!(change, Some(Change::Mended { missing: 300 }));
    }

    #[test]
    fn outage_ends_under_constant_traffic() {
        let now = Instant::now();
        let mut durability = with_lines(1, now);
        durability.next_write(OLDEST, now + ms(100));
        durability.handle_written(Written::Failed, now);
        let now = now + ms(1000);
        assert_eq!(durability.next_write(OLDEST, now), Some(0..1));
        durability.handle_line(now);
        assert_eq!(durability.released_seq(), 2);
        assert_eq!(durability.handle_written(Written::Safe, now), None);
        durability.handle_line(now);
        assert_eq!(
            durability.released_seq(),
            2,
            "from here on lines wait for the disk"
        );
        assert_eq!(durability.next_write(OLDEST, now), Some(1..3));
        let change = durability.handle_written(Written::Safe, now);
        assert_eq!(change, Some(Change::Mended { missing: 0 }));
        assert_eq!(durability.released_seq(), 3);
    }

    #[test]
    fn another_journal_begins_after_what_went_out() {
        let now = Instant::now();
        let mut durability = with_lines(5, now);
        durability.next_write(OLDEST, now + ms(100));
        durability.handle_line(now);
        let change = durability.handle_written(Written::Renumbered(3), now);
        assert_eq!(change, Some(Change::Mended { missing: 6 }));
        assert_eq!((durability.next_seq(), durability.released_seq()), (6, 6));

        durability.handle_line(now);
        durability.next_write(OLDEST, now + ms(100));
        durability.handle_written(Written::Renumbered(100), now);
        assert_eq!(
            (durability.next_seq(), durability.released_seq()),
            (100, 100)
        );
    }

    #[test]
    fn without_a_journal_a_line_is_for_readers_at_once() {
        let now = Instant::now();
        let mut durability = Durability::new(false, 0);
        durability.handle_line(now);
        assert_eq!((durability.released_seq(), durability.withheld()), (1, 0));
        assert_eq!(durability.next_write(OLDEST, now + ms(100)), None);
        assert_eq!(durability.poll_timeout(), None);
    }
}
