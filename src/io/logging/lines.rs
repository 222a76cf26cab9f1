//! Log lines on their way out: whoever logs never waits for who reads.
//!
//! A terminal that is stopped, or a pipe that nobody empties, would otherwise hold up the threads that receive calls.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait; one more is lost, which is told when there is room again.
const QUEUE_LINES: usize = 8192;

/// How long the last lines may take when the daemon ends.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// How often a full queue is tried then.
const POLL: Duration = Duration::from_millis(10);

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    /// Tell when everything before is written.
    Finish(SyncSender<()>),
}

impl Lines {
    /// Starts the thread that writes.
    pub(super) fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_room(QUEUE_LINES, sink)
    }

    fn with_room(lines: usize, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, orders) = sync_channel(lines);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_there = Arc::clone(&lost);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(sink, &orders, &lost_there))?;
        Ok(Self { queue, lost })
    }

    /// Waits for what was logged so far, but not for long.
    pub(super) fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        let mut order = Order::Finish(done);
        for _ in 0..CLOSING_TIME.as_millis() / POLL.as_millis() {
            match self.queue.try_send(order) {
                Ok(()) => {
                    // Who does not read in time goes without.
                    return is_done.recv_timeout(CLOSING_TIME).unwrap_or_default();
                }
                Err(TrySendError::Full(refused)) => order = refused,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(POLL);
        }
    }
}

/// Takes a line whole, as a formatter hands it over.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Order::Write(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends when nobody can log any more. A line that cannot be written is lost: there is nowhere to tell it.
fn write_all(mut sink: impl Write, orders: &Receiver<Order>, lost: &AtomicU64) {
    for order in orders {
        match order {
            Order::Write(line) => {
                sink.write_all(&line).ok();
            }
            Order::Finish(done) => done.send(()).unwrap_or_default(),
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            writeln!(
                sink,
                "callscribe: {lines} log lines were lost: they were not read in time"
            )
            .ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes a piece of text each time it is let.
    struct Slow {
        written: Sender<String>,
        turns: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.turns.recv().unwrap_or_default();
            let written = String::from_utf8_lossy(text).into_owned();
            self.written.send(written).unwrap_or_default();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_and_what_is_lost_is_told() {
        let (written, texts) = channel();
        let (turn, turns) = channel();
        let mut lines = Lines::with_room(2, Slow { written, turns }).unwrap();
        for number in 0..10 {
            let line = format!("line {number}\n");
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(turn);
        lines.finish();
        drop(lines);
        let told: String = texts.iter().collect();
        assert!(told.starts_with("line 0\n"), "{told}");
        assert!(
            told.contains(" log lines were lost: they were not read in time\n"),
            "{told}"
        );
    }

    #[test]
    fn end_waits_for_the_last_line() {
        let (written, texts) = channel();
        let (_, turns) = channel();
        let mut lines = Lines::to(Slow { written, turns }).unwrap();
        lines.write_all(b"the last line\n").unwrap();
        lines.finish();
        assert_eq!(texts.try_recv().unwrap(), "the last line\n");
    }
}
