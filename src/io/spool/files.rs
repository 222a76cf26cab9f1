//! Files that hold what people said: nobody else may read them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An empty file to write to.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

/// Writes a file so that it is there whole or, after a crash of the daemon, as it was before.
pub(super) fn replace(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    let write = || {
        let mut file = create(&unfinished)?;
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| {
        // It would only take room on a disk that may be full.
        fs::remove_file(&unfinished).ok();
    })
}

/// The files of that kind, in the order of their names.
pub(super) fn with_extension(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The number that a file is named by.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// What a crash leaves half-written.
pub(super) const UNFINISHED: &str = "unfinished";
