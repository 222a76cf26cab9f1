//! The parts in progress on disk: an append-only log in segments.
//!
//! A part is here from its first words until its text is out, a few seconds later as a rule. One
//! write carries the audio of all legs; a segment goes when nothing in it is needed any more.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files;
use super::record::Change;
use crate::call::label::PartLabel;
use crate::call::part::Closed;

/// A segment is closed at this size: ten seconds of 80 people speaking.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// What is kept of the buffer between two writes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    segment: Option<File>,
    /// Size of each segment, oldest first; the last is the one being written.
    sizes: VecDeque<u64>,
    /// Number of the oldest segment.
    oldest: u64,
    /// Parts that are needed, and the segment that each begins in.
    parts: BTreeMap<u64, u64>,
    buffer: Vec<u8>,
}

/// A part as the log of a daemon that is gone has it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) label: Box<PartLabel>,
    pub(super) g711: Vec<u8>,
    pub(super) closed: Option<Closed>,
}

impl Log {
    /// An empty log; segments that are there are written over.
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            segment: None,
            sizes: VecDeque::new(),
            oldest: 0,
            parts: BTreeMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Writes what happened. What is said of a part that is not in the log is left out: its
    /// beginning was lost with the disk.
    ///
    /// # Errors
    /// When the disk does not take it; the log is then empty, and what was in it is not needed.
    pub(super) fn append(&mut self, changes: Vec<Change>) -> io::Result<()> {
        if self.sizes.back().is_some_and(|&size| size >= SEGMENT_BYTES) {
            self.segment = None;
        }
        let written = self.sizes.len() as u64;
        let segment = self.oldest + written - u64::from(self.segment.is_some());
        for change in &changes {
            if matches!(change, Change::Opened(..)) {
                self.parts.insert(change.ordinal(), segment);
            } else if !self.parts.contains_key(&change.ordinal()) {
                continue;
            }
            change.encode(&mut self.buffer);
            if let Change::Released(ordinal) = change {
                self.parts.remove(ordinal);
            }
        }
        let outcome = self.write();
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        if outcome.is_err() {
            self.abandon();
        }
        outcome
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }

    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.segment.is_none() {
            let number = self.oldest + self.sizes.len() as u64;
            self.segment = Some(files::create(&segment_path(&self.folder, number))?);
            self.sizes.push_back(0);
        }
        if let (Some(file), Some(size)) = (&mut self.segment, self.sizes.back_mut()) {
            file.write_all(&self.buffer)?;
            *size += self.buffer.len() as u64;
        }
        self.trim()
    }

    /// Removes the segments in which no part begins that is needed, nor in any before them.
    fn trim(&mut self) -> io::Result<()> {
        while self.sizes.len() > 1 && self.parts.values().all(|&begun| begun > self.oldest) {
            fs::remove_file(segment_path(&self.folder, self.oldest))?;
            self.sizes.pop_front();
            self.oldest += 1;
        }
        Ok(())
    }

    /// A log with a hole would give a part with a hole: better none.
    fn abandon(&mut self) {
        for number in self.oldest..self.oldest + self.sizes.len() as u64 {
            // What cannot be removed from a failing disk is read after a restart, at worst in vain.
            fs::remove_file(segment_path(&self.folder, number)).ok();
        }
        self.oldest += self.sizes.len() as u64;
        self.sizes.clear();
        self.parts.clear();
        self.segment = None;
    }
}

/// Reads the parts that were in progress when the daemon that wrote the log went away.
///
/// # Errors
/// When a segment cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<BTreeMap<u64, Logged>> {
    let mut parts = BTreeMap::new();
    for path in files::with_extension(folder, EXTENSION)? {
        let bytes = fs::read(path)?;
        let mut rest = bytes.as_slice();
        while let Some((change, len)) = Change::decode(rest) {
            apply(change, &mut parts);
            rest = &rest[len..];
        }
    }
    Ok(parts)
}

/// Removes every segment.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    let mut segments = files::with_extension(folder, EXTENSION)?.into_iter();
    segments.try_for_each(fs::remove_file)
}

fn apply(change: Change, parts: &mut BTreeMap<u64, Logged>) {
    match change {
        Change::Opened(ordinal, label) => {
            let (g711, closed) = (Vec::new(), None);
            let logged = Logged {
                label,
                g711,
                closed,
            };
            parts.insert(ordinal, logged);
        }
        Change::Audio(ordinal, more) => {
            if let Some(part) = parts.get_mut(&ordinal) {
                part.g711.extend(more);
            }
        }
        Change::Closed(ordinal, closed) => {
            if let Some(part) = parts.get_mut(&ordinal) {
                part.closed = Some(closed);
            }
        }
        Change::Released(ordinal) => drop(parts.remove(&ordinal)),
    }
}

const EXTENSION: &str = "log";

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::spool::tests::label;

    fn opened(ordinal: u64) -> Change {
        Change::Opened(ordinal, Box::new(label("c", ordinal)))
    }

    fn audio(ordinal: u64, bytes: usize) -> Change {
        Change::Audio(ordinal, vec![0x55; bytes])
    }

    #[test]
    fn parts_in_progress_are_read_and_released_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().to_owned());
        log.append(vec![opened(1), opened(2), audio(1, 800), audio(2, 80)])
            .unwrap();
        log.append(vec![audio(1, 800), Change::Released(2)])
            .unwrap();
        let parts = read(folder.path()).unwrap();
        assert_eq!(parts.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!((parts[&1].g711.len(), parts[&1].closed), (1_600, None));
        assert_eq!(*parts[&1].label, label("c", 1));
    }

    #[test]
    fn segments_without_a_needed_part_are_removed_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().to_owned());
        let segments = || {
            files::with_extension(folder.path(), EXTENSION)
                .unwrap()
                .len()
        };
        let full = usize::try_from(SEGMENT_BYTES).unwrap();
        log.append(vec![opened(1), audio(1, full)]).unwrap();
        log.append(vec![opened(2), audio(2, full)]).unwrap();
        log.append(vec![Change::Released(2)]).unwrap();
        assert_eq!(
            segments(),
            3,
            "part 1 is needed, and what follows it stays readable"
        );
        log.append(vec![Change::Released(1)]).unwrap();
        assert_eq!(segments(), 1);
        assert!(log.bytes() < 1_000);
        assert!(read(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn disk_that_fails_leaves_no_part_with_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        fs::create_dir(&spool).unwrap();
        let mut log = Log::new(spool.clone());
        log.append(vec![
            opened(1),
            audio(1, usize::try_from(SEGMENT_BYTES).unwrap()),
        ])
        .unwrap();
        fs::remove_dir_all(&spool).unwrap();
        assert!(log.append(vec![audio(1, 80)]).is_err());
        fs::create_dir(&spool).unwrap();
        log.append(vec![audio(1, 80), opened(2)]).unwrap();
        let parts = read(&spool).unwrap();
        assert_eq!(parts.keys().collect::<Vec<_>>(), [&2]);
    }
}
