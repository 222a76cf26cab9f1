//! Sockets that the service manager passes on at the start: those of the daemon before, from the
//! file descriptor store, and those of `callscribe.socket` (sd_listen_fds(3)).

#![expect(clippy::disallowed_types, reason = "the sockets pass through here")]

use std::collections::BTreeMap;
use std::env;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tracing::warn;

/// What the service manager calls the UDP sockets in its store.
pub const RTP: &str = "rtp";

/// Sockets that were passed on, until somebody takes them.
#[derive(Debug, Default)]
pub struct Inherited {
    udp: BTreeMap<SocketAddr, UdpSocket>,
    listeners: BTreeMap<PathBuf, UnixListener>,
}

impl Inherited {
    /// Takes everything that was passed on; to be asked once, for the second answer is empty.
    pub fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..fds.len() {
            inherited.take(&mut fds, index, names.next().unwrap_or_default());
        }
        inherited
    }

    /// The UDP socket that is bound to this address, with what has arrived on it.
    pub fn take_udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        self.udp.remove(&address)
    }

    /// The Unix socket at this path, with the clients that wait on it.
    pub fn take_listener(&mut self, path: &Path) -> Option<UnixListener> {
        self.listeners.remove(path)
    }

    /// Closes the UDP sockets that nobody took, and gives their number.
    pub fn close_udp(&mut self) -> usize {
        std::mem::take(&mut self.udp).len()
    }

    fn take(&mut self, fds: &mut ListenFd, index: usize, name: &str) {
        if name == RTP {
            match fds.take_udp_socket(index) {
                Ok(Some(socket)) => self.keep_udp(socket),
                Ok(None) => {}
                Err(error) => warn!(%error, name, "what the service manager kept is no UDP socket"),
            }
            return;
        }
        match fds.take_unix_listener(index) {
            Ok(Some(listener)) => self.keep_listener(listener),
            Ok(None) => {}
            Err(error) => warn!(%error, name, "what the service manager passed is no Unix socket"),
        }
    }

    fn keep_listener(&mut self, listener: UnixListener) {
        let address = listener.local_addr();
        let path = address
            .ok()
            .and_then(|address| address.as_pathname().map(Path::to_owned));
        match path {
            Some(path) => drop(self.listeners.insert(path, listener)),
            None => warn!("a Unix socket without a path was passed on; it is not used"),
        }
    }

    fn keep_udp(&mut self, socket: UdpSocket) {
        match socket.local_addr() {
            Ok(address) => drop(self.udp.insert(address, socket)),
            Err(error) => warn!(%error, "cannot tell the address of a kept socket"),
        }
    }
}
