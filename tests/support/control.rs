//! A client of the control API that says byte for byte what it is told to.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Daemon, PATIENCE, wait_for};

/// A client of a daemon's control API; each request has a connection of its own.
pub struct Client {
    socket: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Client {
    /// Of a running daemon.
    pub fn of(daemon: &Daemon) -> Self {
        let socket = daemon.folder.path().join("control.sock");
        Self { socket }
    }

    /// The socket, once it answers.
    pub fn connect(&self) -> UnixStream {
        let stream = wait_for(PATIENCE, || UnixStream::connect(&self.socket).ok());
        let stream = stream.expect("the control socket answers");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request with a JSON body, or none.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = (!body.is_null()).then(|| body.to_string());
        self.ask_text(method, path, &body.unwrap_or_default())
    }

    /// Sends a request with any body.
    pub fn ask_text(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        read_answer(&mut stream)
    }

    /// Registers a call and gives it as it is shown.
    #[track_caller]
    pub fn register(&self, call: &Value) -> Value {
        let answer = self.ask("POST", "/v1/calls", call);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    }

    /// Looks at a call until it is as wanted.
    #[track_caller]
    pub fn wait_until(&self, id: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = json!(null);
        let found = wait_for(Duration::from_secs(20), || {
            last = self
                .ask("GET", &format!("/v1/calls/{id}"), &Value::Null)
                .body;
            is_wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("never as wanted: {last}"))
    }
}

impl Answer {
    /// The code and message of an error.
    #[track_caller]
    pub fn error(&self) -> (&str, &str) {
        let error = &self.body["error"];
        let text = |key: &str| {
            let text = error[key].as_str();
            text.unwrap_or_else(|| panic!("{key} in {}", self.body))
        };
        (text("code"), text("message"))
    }
}

/// Reads an answer to its end.
#[track_caller]
pub fn read_answer(stream: &mut impl Read) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("an answer has a status"),
        body: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}")),
        head: head.to_owned(),
    }
}

/// Where a leg of a shown call is to be sent.
pub fn address(call: &Value, channel: usize) -> &str {
    call["legs"][channel]["address"]
        .as_str()
        .expect("a leg has an address")
}
