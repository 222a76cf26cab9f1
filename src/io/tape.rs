//! The datagrams that a worker has read and whose effect may not be on the disk yet: kept in memory that outlives the
//! process, so that a crash loses none of them.
//!
//! A tick is written before anything that it brings about is said or sent. What a checkpoint already knows is passed over
//! when the tape is played, by the clock of both.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
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

/// A reel takes hardly more than this: 160,000 packets a second. It is memory, also of a worker that is flooded.
const REEL_BYTES: usize = 32 << 20;

/// Ends the name of each file; before it stand the numbers of worker and reel.
const EXTENSION: &str = "tape";

/// The tape of a worker.
#[derive(Debug)]
pub struct Tape {
    reels: Vec<Reel>,
    current: usize,
    /// When the reel was put in, on the monotonic clock.
    begun: Duration,
    /// The tick that is not written yet, with room for its head.
    tick: Vec<u8>,
    is_failing: bool,
}

/// A file that is written over when its turn comes again: its memory is there already.
///
/// It holds ticks, each behind a [`TickHead`]; one that is all zeros ends it.
#[derive(Debug)]
struct Reel {
    file: File,
    written: usize,
    /// The most that it has taken since it was cut to nothing.
    room: usize,
}

/// Length and time of a tick: a `u32`, and a `u64` of nanoseconds on the monotonic clock, both little-endian.
type TickHead = [u8; 12];

const HEAD_BYTES: usize = size_of::<TickHead>();

/// Stands behind the last tick.
const END: TickHead = [0; HEAD_BYTES];

/// A datagram on a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taped {
    /// The tick that it was read in, on the monotonic clock.
    pub at: Duration,
    /// How long it had been there, to the microsecond.
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
    age_us: u32,
    port: u16,
    source: SocketAddr,
    len: u16,
}

/// More than any [`Head`] takes.
const MOST_HEAD_BYTES: usize = 48;

impl Tape {
    /// An empty tape for a worker; what an earlier process left on it is gone.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn open(directory: &Path, worker: usize) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let reel = |number| {
            let path = directory.join(format!("{worker}.{number}.{EXTENSION}"));
            options.open(path).map(Reel::new)
        };
        Ok(Self {
            reels: (0..REELS).map(reel).collect::<io::Result<_>>()?,
            current: 0,
            begun: clock::monotonic(),
            tick: END.to_vec(),
            is_failing: false,
        })
    }

    /// A datagram was read in this tick, and had been there for `age`.
    pub fn note(&mut self, age: Duration, port: u16, source: SocketAddr, bytes: &[u8]) {
        let head = Head {
            age_us: u32::try_from(age.as_micros()).unwrap_or(u32::MAX),
            port,
            source,
            len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        };
        let is_full = self.written() + self.tick.len() + bytes.len() > REEL_BYTES;
        let mut room = [0; MOST_HEAD_BYTES];
        if let Ok(written) = postcard::to_slice(&head, &mut room)
            && !is_full
        {
            self.tick.extend_from_slice(written);
            self.tick.extend_from_slice(&bytes[..usize::from(head.len)]);
        }
    }

    /// Writes what was read in the tick of `at`. It goes to memory, so there is nothing to wait for.
    pub fn write(&mut self, at: Duration) {
        let written = self.change_reel(at).and_then(|()| self.write_tick(at));
        self.tick.truncate(HEAD_BYTES);
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

    /// Puts the next reel in if it is time, also where nothing is written: one that is full takes nothing any more.
    fn change_reel(&mut self, at: Duration) -> io::Result<()> {
        if at.saturating_sub(self.begun) >= REEL {
            let next = (self.current + 1) % REELS;
            let expected = self.written();
            self.reels[next].empty(expected)?;
            (self.current, self.begun) = (next, at);
        }
        Ok(())
    }

    fn write_tick(&mut self, at: Duration) -> io::Result<()> {
        if self.tick.len() == HEAD_BYTES {
            return Ok(());
        }
        self.reels[self.current].write(at, &mut self.tick)
    }

    fn written(&self) -> usize {
        self.reels[self.current].written
    }
}

impl Reel {
    const fn new(file: File) -> Self {
        Self {
            file,
            written: 0,
            room: 0,
        }
    }

    /// Begins anew. What it holds beyond twice the `expected` is given back.
    fn empty(&mut self, expected: usize) -> io::Result<()> {
        if self.room > 2 * expected {
            self.file.set_len(0)?;
            self.room = 0;
        } else {
            self.file.write_all_at(&END, 0)?;
        }
        self.written = 0;
        Ok(())
    }

    /// Adds a tick, which has room for its head. The head is written last, so that a tick is there as a whole or not at all.
    fn write(&mut self, at: Duration, tick: &mut Vec<u8>) -> io::Result<()> {
        let len = tick.len() - HEAD_BYTES;
        tick.extend_from_slice(&END);
        // Also what a full disk takes only a part of.
        self.room = self.room.max(self.written + HEAD_BYTES + tick.len());
        let place = self.written as u64;
        let behind_head = place + HEAD_BYTES as u64;
        self.file.write_all_at(&tick[HEAD_BYTES..], behind_head)?;
        self.file.write_all_at(&tick_head(len, at), place)?;
        self.written += HEAD_BYTES + len;
        Ok(())
    }
}

fn tick_head(len: usize, at: Duration) -> TickHead {
    let len = u32::try_from(len).unwrap_or(0).to_le_bytes();
    let at = u64::try_from(at.as_nanos()).unwrap_or(0).to_le_bytes();
    let mut head = END;
    head[..len.len()].copy_from_slice(&len);
    head[len.len()..].copy_from_slice(&at);
    head
}

/// What a head says; `None` at the end of the reel.
fn read_tick_head(head: TickHead) -> Option<(usize, Duration)> {
    let [a, b, c, d, at @ ..] = head;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let at = Duration::from_nanos(u64::from_le_bytes(at));
    (len > 0).then_some((len, at))
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
    /// The datagrams of a reel.
    fn read_all(mut bytes: &[u8]) -> impl Iterator<Item = Self> {
        let ticks = std::iter::from_fn(move || {
            let (&head, rest) = bytes.split_first_chunk()?;
            let (len, at) = read_tick_head(head)?;
            let (tick, rest) = rest.split_at_checked(len)?;
            bytes = rest;
            Some((at, tick))
        });
        ticks.flat_map(|(at, tick)| Self::read_tick(at, tick))
    }

    fn read_tick(at: Duration, mut bytes: &[u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (head, rest) = postcard::take_from_bytes::<Head>(bytes).ok()?;
            let (datagram, rest) = rest.split_at_checked(usize::from(head.len))?;
            bytes = rest;
            Some(Self {
                at,
                age: Duration::from_micros(u64::from(head.age_us)),
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

    /// A tape on which a tick of so many datagrams is written each 5 ms, each datagram with its number.
    struct Written {
        folder: tempfile::TempDir,
        tape: Tape,
        zero: Duration,
        ticks: u64,
        datagrams: u64,
    }

    impl Written {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tape = Tape::open(folder.path(), 0).unwrap();
            Self {
                zero: tape.begun,
                folder,
                tape,
                ticks: 0,
                datagrams: 0,
            }
        }

        fn write(&mut self, ticks: u64, datagrams: usize) {
            for _ in 0..ticks {
                self.note(datagrams);
                let at = self.at();
                self.tape.write(at);
                self.ticks += 1;
            }
        }

        fn note(&mut self, datagrams: usize) {
            for _ in 0..datagrams {
                let bytes = self.datagrams.to_be_bytes();
                self.tape.note(AGE, 20_000, source(), &bytes);
                self.datagrams += 1;
            }
        }

        fn at(&self) -> Duration {
            self.zero + Duration::from_millis(5) * u32::try_from(self.ticks).unwrap()
        }

        /// The numbers that are on the tape, and the files' length.
        fn read(&self) -> (Vec<u64>, u64) {
            let taped = read(self.folder.path());
            let number = |taped: Taped| u64::from_be_bytes(taped.bytes.try_into().unwrap());
            let lens = files(self.folder.path());
            let lens = lens.iter().map(|path| fs::metadata(path).unwrap().len());
            (taped.into_iter().map(number).collect(), lens.sum())
        }
    }

    #[test]
    fn tape_holds_the_last_three_seconds_and_no_more_than_four() {
        let mut written = Written::new();
        written.write(3_000, 1);
        let (numbers, _) = written.read();
        let first = numbers[0];
        assert_eq!(numbers, (first..3_000).collect::<Vec<_>>());
        assert!((2_200..=2_400).contains(&first), "{first}");
    }

    #[test]
    fn datagram_is_read_as_it_was_noted() {
        let mut written = Written::new();
        let (tape, at) = (&mut written.tape, written.zero);
        let sources =
            ["127.0.0.1:4000", "[2001:db8::1]:65535"].map(|source| source.parse().unwrap());
        for source in sources {
            tape.note(AGE, 20_000, source, &[7; 172]);
        }
        tape.write(at);
        let expected = sources.map(|source| Taped {
            at,
            age: AGE,
            port: 20_000,
            source,
            bytes: vec![7; 172],
        });
        assert_eq!(read(written.folder.path()), expected);
    }

    #[test]
    fn reel_that_is_written_over_gives_nothing_of_what_it_held() {
        let mut written = Written::new();
        // Ticks of other lengths, so that the old ones begin elsewhere.
        written.write(1_000, 3);
        let before = written.datagrams;
        written.write(801, 1);
        let (numbers, _) = written.read();
        assert_eq!(numbers, (numbers[0]..before + 801).collect::<Vec<_>>());
        assert!(numbers[0] >= before, "{}", numbers[0]);
    }

    #[test]
    fn tick_that_was_being_written_is_not_there_and_those_before_it_are() {
        let mut written = Written::new();
        written.write(1_000, 1);
        written.note(3);
        // The process dies between body and head.
        let reel = &written.tape.reels[written.tape.current];
        let body = &written.tape.tick[HEAD_BYTES..];
        let place = (reel.written + HEAD_BYTES) as u64;
        reel.file.write_all_at(body, place).unwrap();
        let (numbers, _) = written.read();
        assert_eq!(numbers.last(), Some(&999));
    }

    #[test]
    fn memory_of_a_busy_hour_is_given_back() {
        let mut written = Written::new();
        written.write(1_000, 50);
        let (_, busy) = written.read();
        written.write(1_000, 1);
        let (_, calm) = written.read();
        assert!(calm < busy / 20, "{calm} of {busy}");
    }

    #[test]
    fn flood_fills_a_reel_and_no_more() {
        let mut written = Written::new();
        let (tape, at) = (&mut written.tape, written.zero);
        for _ in 0..2 * REEL_BYTES / 2_048 {
            tape.note(AGE, 20_000, source(), &[0; 2_048]);
            tape.write(at);
        }
        assert!(tape.written() <= REEL_BYTES);
        tape.write(at + REEL);
        let later = at + REEL + Duration::from_millis(20);
        tape.note(AGE, 20_000, source(), &[1]);
        tape.write(later);
        let taped = read(written.folder.path());
        assert_eq!(taped.last().map(|taped| taped.at), Some(later));
    }
}
