//! A client of the control API.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::Outcome;

/// Where the API is.
#[derive(Debug)]
pub(crate) struct Control(PathBuf);

impl Control {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self(socket)
    }

    /// One request; the answer with its head.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Outcome<String> {
        let mut socket = UnixStream::connect(&self.0)?;
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
