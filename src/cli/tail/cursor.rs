//! The place of a reader in the journal, kept in a file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The line to go on with. It is kept after a line was printed: who is killed between the two prints that line again.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    place: Option<Place>,
    is_kept: bool,
}

/// A line by its number, which has a meaning within one numbering only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The numbering.
    pub epoch: String,
    /// The number.
    pub seq: u64,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no cursor: {source}; name another file, or remove it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was expected.
        source: serde_json::Error,
    },
}

impl Cursor {
    /// Reads the file; one that does not exist yet, or is empty, is at no place.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn open(path: &Path) -> Result<Self, CursorError> {
        let path = path.to_owned();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(CursorError::Unusable { path, source }),
        };
        let place = match text.trim() {
            "" => None,
            text => match serde_json::from_str(text) {
                Ok(place) => Some(place),
                Err(source) => return Err(CursorError::Foreign { path, source }),
            },
        };
        Ok(Self {
            path,
            place,
            is_kept: true,
        })
    }

    /// The line to go on with, if any has been printed.
    pub const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Lines were printed up to this place.
    pub fn advance(&mut self, place: Place) {
        self.place = Some(place);
        self.is_kept = false;
    }

    /// Writes the place to the file, which is whole at any time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self) -> Result<(), CursorError> {
        if self.is_kept {
            return Ok(());
        }
        let write = || {
            let next = self.path.with_added_extension("next");
            let mut file = fs::File::create(&next)?;
            serde_json::to_writer(&file, &self.place)?;
            file.write_all(b"\n")?;
            fs::rename(&next, &self.path)
        };
        write().map_err(|source| CursorError::Unusable {
            path: self.path.clone(),
            source,
        })?;
        self.is_kept = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_kept_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here");
        let mut cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.place(), None);
        let place = Place {
            epoch: "e".to_owned(),
            seq: 5,
        };
        cursor.advance(place.clone());
        cursor.keep().unwrap();
        assert_eq!(Cursor::open(&path).unwrap().place(), Some(&place));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn file_that_is_no_cursor_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here");
        fs::write(&path, "precious").unwrap();
        let error = Cursor::open(&path).unwrap_err();
        assert!(error.to_string().contains("is no cursor"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
