//! The datagrams that a worker has read and whose effect may not be on the disk yet: kept in memory that outlives the
//! process, so that a crash loses none of them.
//!
//! A tick is written before anything that it brings about is said or sent. What a checkpoint already knows is passed over
//! when the tape is played, by the clock of both.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::io::clock;

/// Pieces of a tape: the one that is written, and those that are older than it.
const REELS: usize = 4;

/// What one reel holds. Together those before the newest go back much further than a checkpoint does.
const REEL: Duration = Duration::from_secs(1);

/// How far a tape goes back at least.
#[cfg(test)]
pub(crate) const LEAST: Duration = Duration::from_secs(REEL.as_secs() * (REELS as u64 - 1));

/// A reel takes no more than this: 160,000 packets a second. It is memory, also of a worker that is flooded.
const REEL_BYTES: usize = 32 << 20;

/// Ends the name of each file; before it stand the numbers of worker and reel.
const EXTENSION: &str = "tape";

/// The tape of a worker.
#[derive(Debug)]
pub struct Tape {
    reels: Vec<File>,
    current: usize,
    /// When the reel was put in, on the monotonic clock.
    begun: Duration,
    written: usize,
    /// The tick that is not written yet.
    tick: Vec<u8>,
    is_failing: bool,
}

/// A datagram on a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taped {
    /// The tick that it was read in, on the monotonic clock.
    pub at: Duration,
    /// How long it had been there.
    pub age: Duration,
    /// The port that it came to.
    pub port: u16,
    /// Where it came from.
    pub source: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What stands before the bytes of a datagram.
#[derive(Serialize, Deserialize)]
struct Head {
    at: Duration,
    age: Duration,
    port: u16,
    source: SocketAddr,
    len: u16,
}

impl Tape {
    /// An empty tape for a worker; what an earlier process left on it is gone.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn open(directory: &Path, worker: usize) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let reel = |number| options.open(directory.join(format!("{worker}.{number}.{EXTENSION}")));
        Ok(Self {
            reels: (0..REELS).map(reel).collect::<io::Result<_>>()?,
            current: 0,
            begun: clock::monotonic(),
            written: 0,
            tick: Vec::new(),
            is_failing: false,
        })
    }

    /// A datagram was read in the tick of `at`, and had been there for `age`.
    pub fn note(
        &mut self,
        (at, age): (Duration, Duration),
        port: u16,
        source: SocketAddr,
        bytes: &[u8],
    ) {
        let head = Head {
            at,
            age,
            port,
            source,
            len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        };
        if self.written + self.tick.len() + bytes.len() > REEL_BYTES {
            return;
        }
        let tick = std::mem::take(&mut self.tick);
        self.tick = postcard::to_extend(&head, tick).unwrap_or_default();
        self.tick.extend_from_slice(&bytes[..usize::from(head.len)]);
    }

    /// Writes what was read in a tick. It goes to memory, so there is nothing to wait for.
    pub fn write(&mut self, at: Duration) {
        if self.tick.is_empty() {
            return;
        }
        let written = self.write_tick(at);
        self.tick.clear();
        match written {
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                warn!(%error, "datagrams are not kept: a crash now would lose those of the last moment");
            }
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!("datagrams are kept again");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn write_tick(&mut self, at: Duration) -> io::Result<()> {
        if at.saturating_sub(self.begun) >= REEL {
            self.current = (self.current + 1) % REELS;
            (self.begun, self.written) = (at, 0);
            let reel = &mut self.reels[self.current];
            reel.set_len(0)?;
            reel.rewind()?;
        }
        self.reels[self.current].write_all(&self.tick)?;
        self.written += self.tick.len();
        Ok(())
    }
}

/// What the workers of the process before have read last, oldest first.
pub fn read(directory: &Path) -> Vec<Taped> {
    let mut taped = Vec::new();
    for path in files(directory) {
        match fs::read(&path) {
            Ok(bytes) => taped.extend(Taped::read_all(&bytes)),
            Err(error) => warn!(%error, path = %path.display(), "a tape cannot be read"),
        }
    }
    taped.sort_by_key(|taped: &Taped| taped.at);
    taped
}

impl Taped {
    /// The datagrams of a reel; the last may be cut off, for it was being written.
    fn read_all(mut bytes: &[u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (head, rest) = postcard::take_from_bytes::<Head>(bytes).ok()?;
            let (datagram, rest) = rest.split_at_checked(usize::from(head.len))?;
            bytes = rest;
            Some(Self {
                at: head.at,
                age: head.age,
                port: head.port,
                source: head.source,
                bytes: datagram.to_vec(),
            })
        })
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_tape = |path: &PathBuf| path.extension().is_some_and(|end| end == EXTENSION);
    paths.filter(is_tape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_millis(7);

    fn source() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 4_000))
    }

    #[test]
    fn tape_holds_the_last_three_seconds_and_no_more_than_four() {
        let folder = tempfile::tempdir().unwrap();
        let mut tape = Tape::open(folder.path(), 0).unwrap();
        let zero = tape.begun;
        for tick in 0..3_000 {
            let at = zero + Duration::from_millis(5 * tick);
            tape.note((at, AGE), 20_000, source(), &tick.to_be_bytes());
            tape.write(at);
        }
        let taped = read(folder.path());
        let numbers: Vec<u64> = taped
            .iter()
            .map(|taped| u64::from_be_bytes(taped.bytes.clone().try_into().unwrap()))
            .collect();
        let first = numbers[0];
        assert_eq!(numbers, (first..3_000).collect::<Vec<_>>());
        assert!((2_200..=2_400).contains(&first), "{first}");
    }

    #[test]
    fn datagram_that_was_being_written_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut tape = Tape::open(folder.path(), 0).unwrap();
        tape.note((tape.begun, AGE), 20_000, source(), &[1; 172]);
        tape.note((tape.begun, AGE), 20_002, source(), &[2; 172]);
        let cut = tape.tick.len() - 1;
        tape.tick.truncate(cut);
        tape.write(tape.begun);
        let taped = read(folder.path());
        let first = Taped {
            at: tape.begun,
            age: AGE,
            port: 20_000,
            source: source(),
            bytes: vec![1; 172],
        };
        assert_eq!(taped, [first]);
    }

    #[test]
    fn flood_fills_a_reel_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut tape = Tape::open(folder.path(), 0).unwrap();
        for _ in 0..2 * REEL_BYTES / 2_048 {
            tape.note((tape.begun, AGE), 20_000, source(), &[0; 2_048]);
            tape.write(tape.begun);
        }
        assert!(tape.written <= REEL_BYTES);
    }
}
