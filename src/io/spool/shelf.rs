//! The parts that wait for the recogniser: a file each, and what is known of them in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Owner, files};
use crate::call::label::PartLabel;
use crate::call::part::Closed;
use crate::event::GapReason;

/// The parts that wait. They are taken oldest first; one that failed again goes behind the others.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    parts: BTreeMap<u64, Waiting>,
    ready: BTreeSet<(u32, u64)>,
    bytes: u64,
}

/// What is kept in memory of a part on disk.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    bytes: u64,
    opened_at: Timestamp,
    owner: Option<Owner>,
    reason: GapReason,
    closed: Closed,
    failures: u32,
    is_taken: bool,
}

/// The first line of a part's file; its audio in G.711 follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) label: PartLabel,
    pub(super) closed: Closed,
    pub(super) reason: GapReason,
}

/// A part off the shelf, to be recognised.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its place on the shelf.
    pub(crate) ordinal: u64,
    /// What it is.
    pub(crate) label: PartLabel,
    /// Who waits for its text.
    pub(crate) owner: Owner,
    /// How often it has failed off the shelf.
    pub(crate) failures: u32,
    /// Its audio.
    pub(crate) g711: Vec<u8>,
}

/// A part that is on the shelf no longer, without a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) owner: Option<Owner>,
    pub(super) reason: GapReason,
}

impl Shelf {
    /// The shelf as it was left; every part on it is without an owner.
    pub(super) fn open(folder: PathBuf) -> io::Result<(Self, BTreeMap<u64, Header>)> {
        for path in files::with_extension(&folder, files::UNFINISHED)? {
            fs::remove_file(path)?;
        }
        let mut shelf = Self {
            folder,
            parts: BTreeMap::new(),
            ready: BTreeSet::new(),
            bytes: 0,
        };
        let mut headers = BTreeMap::new();
        for path in files::with_extension(&shelf.folder, EXTENSION)? {
            match (files::number_of(&path), read_header(&path)) {
                (Some(ordinal), Ok((header, _))) => {
                    shelf.note(ordinal, &header, fs::metadata(&path)?.len(), None);
                    headers.insert(ordinal, header);
                }
                (_, Err(error)) => {
                    tracing::error!(path = %path.display(), %error, "unreadable part in the spool");
                }
                (None, Ok(_)) => {}
            }
        }
        Ok((shelf, headers))
    }

    /// Puts a part on the shelf.
    pub(super) fn put(
        &mut self,
        ordinal: u64,
        header: &Header,
        g711: &[u8],
        owner: Option<Owner>,
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
        files::replace(&self.path(ordinal), &[&line, g711])?;
        let bytes = (line.len() + g711.len()) as u64;
        self.note(ordinal, header, bytes, owner);
        Ok(())
    }

    /// Somebody waits for the text of a part. `false` if it is not there any more.
    pub(super) fn assign(&mut self, ordinal: u64, owner: Owner, closed: Closed) -> bool {
        let Some(part) = self.parts.get_mut(&ordinal) else {
            return false;
        };
        part.owner = Some(owner);
        part.closed = closed;
        self.ready.insert((part.failures, ordinal));
        true
    }

    /// Takes the next part that somebody waits for.
    ///
    /// # Errors
    /// When it cannot be read; it is then on the shelf no longer.
    pub(super) fn take(&mut self) -> Result<Option<Taken>, (GivenUp, io::Error)> {
        let Some((failures, ordinal)) = self.ready.pop_first() else {
            return Ok(None);
        };
        let Some(part) = self.parts.get_mut(&ordinal) else {
            return Ok(None);
        };
        part.is_taken = true;
        let (owner, closed, reason) = (part.owner, part.closed, part.reason);
        match (owner, self.read(ordinal, closed)) {
            (Some(owner), Ok((label, g711))) => Ok(Some(Taken {
                ordinal,
                label,
                owner,
                failures,
                g711,
            })),
            (None, _) => Ok(None),
            (Some(_), Err(error)) => {
                self.remove(ordinal);
                Err((GivenUp { owner, reason }, error))
            }
        }
    }

    fn read(&self, ordinal: u64, closed: Closed) -> io::Result<(PartLabel, Vec<u8>)> {
        let (header, mut file) = read_header(&self.path(ordinal))?;
        let mut g711 = Vec::new();
        file.read_to_end(&mut g711)?;
        // A part may be known to end before what was kept of it.
        let len = closed.end.0.saturating_sub(header.label.audio_start().0);
        g711.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok((header.label, g711))
    }

    /// A part was taken in vain.
    pub(super) fn put_back(&mut self, ordinal: u64, is_own_fault: bool) {
        if let Some(part) = self.parts.get_mut(&ordinal) {
            part.is_taken = false;
            part.failures += u32::from(is_own_fault);
            self.ready.insert((part.failures, ordinal));
        }
    }

    /// A part need not be kept any more. `None` if it was not here.
    pub(super) fn remove(&mut self, ordinal: u64) -> Option<GivenUp> {
        let part = self.parts.remove(&ordinal)?;
        self.ready.remove(&(part.failures, ordinal));
        self.bytes -= part.bytes;
        if let Err(error) = fs::remove_file(self.path(ordinal)) {
            tracing::warn!(ordinal, %error, "cannot remove a part from the spool");
        }
        Some(GivenUp {
            owner: part.owner,
            reason: part.reason,
        })
    }

    /// Gives up the oldest part that is not being recognised.
    pub(super) fn give_up_oldest(&mut self) -> Option<GivenUp> {
        let mut parts = self.parts.iter();
        let (&oldest, _) = parts.find(|(_, part)| !part.is_taken)?;
        let part = self.remove(oldest)?;
        let reason = GapReason::BufferFull;
        Some(GivenUp { reason, ..part })
    }

    /// Gives up a part that has waited for longer than `max_age`.
    pub(super) fn give_up_aged(&mut self, max_age: Duration, now: Timestamp) -> Option<GivenUp> {
        let mut parts = self.parts.iter();
        let (&oldest, part) = parts.find(|(_, part)| !part.is_taken)?;
        let age = now.duration_since(part.opened_at);
        (age.unsigned_abs() > max_age && age.is_positive())
            .then(|| self.remove(oldest))
            .flatten()
    }

    /// Bytes on the disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Parts on the shelf.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// When the part was begun that has waited longest.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.parts.values().next().map(|part| part.opened_at)
    }

    fn note(&mut self, ordinal: u64, header: &Header, bytes: u64, owner: Option<Owner>) {
        let part = Waiting {
            bytes,
            opened_at: header.label.opened_at,
            owner,
            reason: header.reason,
            closed: header.closed,
            failures: 0,
            is_taken: false,
        };
        self.bytes += bytes;
        if let Some(old) = self.parts.insert(ordinal, part) {
            self.bytes -= old.bytes;
        }
        if owner.is_some() {
            self.ready.insert((0, ordinal));
        }
    }

    fn path(&self, ordinal: u64) -> PathBuf {
        self.folder.join(format!("{ordinal:020}.{EXTENSION}"))
    }
}

fn read_header(path: &Path) -> io::Result<(Header, BufReader<File>)> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    Ok((serde_json::from_slice(&line)?, file))
}

const EXTENSION: &str = "part";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::spool::tests::{key, label};
    use crate::media::Samples;

    fn shelf(folder: &tempfile::TempDir) -> Shelf {
        Shelf::open(folder.path().to_owned()).unwrap().0
    }

    fn header(utterance: u64, len: u64) -> Header {
        let label = label("c", utterance);
        let closed = Closed {
            end: Samples(label.start.0 + len),
            speech: Samples(len),
            last: true,
        };
        Header {
            label,
            closed,
            reason: GapReason::AsrUnavailable,
        }
    }

    fn owner(utterance: u64) -> Owner {
        Owner {
            worker: 0,
            part: key(utterance),
        }
    }

    #[test]
    fn part_is_found_again_after_a_restart_and_waits_for_an_owner() {
        let folder = tempfile::tempdir().unwrap();
        let header = header(3, 80);
        shelf(&folder)
            .put(3, &header, &[0x55; 80], Some(owner(3)))
            .unwrap();
        let (mut shelf, headers) = Shelf::open(folder.path().to_owned()).unwrap();
        assert_eq!(headers, BTreeMap::from([(3, header.clone())]));
        assert!(shelf.take().unwrap().is_none(), "nobody waits for it");

        assert!(shelf.assign(3, owner(3), header.closed));
        let taken = shelf.take().unwrap().unwrap();
        assert_eq!((taken.label, taken.g711), (header.label, vec![0x55; 80]));
        assert!(!shelf.assign(4, owner(4), header.closed));
    }

    #[test]
    fn part_that_is_known_to_end_earlier_is_cut_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder);
        shelf.put(1, &header(1, 80), &[0x55; 80], None).unwrap();
        shelf.assign(1, owner(1), header(1, 50).closed);
        assert_eq!(shelf.take().unwrap().unwrap().g711.len(), 50);
    }

    #[test]
    fn part_that_cannot_be_read_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder);
        shelf
            .put(1, &header(1, 80), &[0; 80], Some(owner(1)))
            .unwrap();
        fs::remove_file(shelf.path(1)).unwrap();
        let (given_up, _) = shelf.take().unwrap_err();
        assert_eq!(given_up.owner, Some(owner(1)));
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }

    #[test]
    fn oldest_is_taken_first_and_one_that_failed_goes_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder);
        for ordinal in [2, 1, 3] {
            let owner = Some(owner(ordinal));
            shelf
                .put(ordinal, &header(ordinal, 80), &[0; 80], owner)
                .unwrap();
        }
        let mut order = Vec::new();
        while let Some(taken) = shelf.take().unwrap() {
            order.push((taken.ordinal, taken.failures));
            if taken.failures == 0 && taken.ordinal == 1 {
                shelf.put_back(1, true);
            }
        }
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1)]);
    }

    #[test]
    fn oldest_is_given_up_first_but_not_while_it_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder);
        for ordinal in 1..=3 {
            let owner = Some(owner(ordinal));
            shelf
                .put(ordinal, &header(ordinal, 80), &[0; 80], owner)
                .unwrap();
        }
        shelf.take().unwrap().unwrap();
        let given_up = shelf.give_up_oldest().unwrap();
        assert_eq!(given_up.owner, Some(owner(2)));
        assert_eq!(given_up.reason, GapReason::BufferFull);
        assert_eq!(shelf.len(), 2);
        assert_eq!(
            files::with_extension(folder.path(), EXTENSION)
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn part_that_waited_for_too_long_is_given_up_for_its_own_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder);
        shelf
            .put(1, &header(1, 80), &[0; 80], Some(owner(1)))
            .unwrap();
        let (hour, opened_at) = (Duration::from_secs(3600), label("c", 1).opened_at);
        assert_eq!(shelf.give_up_aged(hour, opened_at), None);
        let given_up = shelf.give_up_aged(hour, opened_at + hour * 2).unwrap();
        assert_eq!(given_up.reason, GapReason::AsrUnavailable);
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }
}
