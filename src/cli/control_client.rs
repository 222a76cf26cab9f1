//! Questions to a running daemon, over its control socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// How long the daemon may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers on the socket.
    #[error("{}: {source}; is the daemon running, and may you write to its socket?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer cannot be read.
    #[error("{}: the answer is not what was asked for: {answer}", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What came.
        answer: String,
    },
}

/// Gets a JSON document.
///
/// # Errors
/// When nobody answers, or not with JSON.
pub fn get(socket: &Path, route: &str) -> Result<Value, AskError> {
    let answer = ask(socket, route).map_err(|source| AskError::Unreachable {
        path: socket.to_owned(),
        source,
    })?;
    let body = answer.split_once("\r\n\r\n").map(|(_head, body)| body);
    let value = body.and_then(|body| serde_json::from_str(body).ok());
    value.ok_or_else(|| AskError::NoAnswer {
        path: socket.to_owned(),
        answer,
    })
}

/// HTTP/1.0: the answer comes whole and the connection closes behind it.
fn ask(socket: &Path, route: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    write!(stream, "GET {route} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
