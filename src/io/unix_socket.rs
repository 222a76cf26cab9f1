//! A Unix socket to listen on, and what may stand in its place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tracing::warn;

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
    /// There is no such group.
    #[error(
        "there is no group {group:?} in /etc/group; make it, or give {key}-group a name or number \
         that is there"
    )]
    NoSuchGroup {
        /// The group.
        group: String,
        /// The socket's key in the configuration.
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

/// A socket in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Who may connect.
    pub mode: SocketMode,
    /// The group it belongs to, if not the daemon's: a name or a number.
    pub group: Option<&'a str>,
    /// Its key in the configuration.
    pub key: &'static str,
}

/// A socket that is listened on; it does not block.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: UnixListener,
    /// The file to remove at the end; none if the service manager made it, and keeps it.
    pub ours: Option<PathBuf>,
}

/// Takes the socket that was passed on, or binds one, in place of one that nobody listens on any more.
///
/// # Errors
/// When its place is taken or the system refuses.
pub fn listen(place: Place<'_>, passed: Option<UnixListener>) -> Result<Listening, SocketError> {
    let Place { path, key, .. } = place;
    let refused = |source| SocketError::Refused {
        path: path.to_owned(),
        key,
        source,
    };
    if let Some(listener) = passed {
        listener.set_nonblocking(true).map_err(refused)?;
        return Ok(Listening {
            listener,
            ours: None,
        });
    }
    let group = place
        .group
        .map(|group| find_group(group, key))
        .transpose()?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let path = path.to_owned();
            return Err(SocketError::NotASocket { path, key });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let path = path.to_owned();
            return Err(SocketError::InUse { path, key });
        }
        Ok(_) | Err(_) => {}
    }
    Ok(Listening {
        listener: bind(path, place.mode, group).map_err(refused)?,
        ours: Some(path.to_owned()),
    })
}

impl Listening {
    /// Removes the file of a socket that was bound here.
    pub fn remove(ours: Option<&Path>) {
        if let Some(path) = ours
            && let Err(error) = fs::remove_file(path)
        {
            warn!(path = %path.display(), %error, "cannot remove the socket");
        }
    }
}

fn bind(path: &Path, mode: SocketMode, group: Option<u32>) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode.0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Number of a group: of `/etc/group`, or as it stands.
fn find_group(group: &str, key: &'static str) -> Result<u32, SocketError> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1))?
    });
    let number = number.unwrap_or(group).parse();
    number.map_err(|_| SocketError::NoSuchGroup {
        group: group.to_owned(),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_a_name_or_a_number() {
        assert_eq!(find_group("root", "events.socket").unwrap(), 0);
        assert_eq!(find_group("4711", "events.socket").unwrap(), 4711);
        let error = find_group("no such group", "events.socket").unwrap_err();
        assert!(error.to_string().contains("events.socket-group"), "{error}");
    }
}
