//! A Unix socket to listen on, and what may stand in its place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::SocketMode;

/// Why a Unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens on the socket.
    #[error(
        "{} is in use: another process listens on it; stop that process or set {key}",
        path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Its key in the configuration.
        key: &'static str,
    },
    /// Something that is no socket is in its place.
    #[error("{} exists and is not a socket; remove it or set {key}", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// Its key in the configuration.
        key: &'static str,
    },
    /// The system refused.
    #[error("cannot listen on {}: {source}; see {key}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Its key in the configuration.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Binds the socket, in place of one that nobody listens on any more. It does not block.
///
/// # Errors
/// When its place is taken or the system refuses.
pub fn bind(path: &Path, mode: SocketMode, key: &'static str) -> Result<UnixListener, SocketError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path, key });
        }
        Ok(_) if UnixStream::connect(&path).is_ok() => {
            return Err(SocketError::InUse { path, key });
        }
        Ok(_) | Err(_) => {}
    }
    listen(&path, mode).map_err(|source| SocketError::Refused { path, key, source })
}

fn listen(path: &Path, mode: SocketMode) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode.0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
