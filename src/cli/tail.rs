//! `callscribe tail`: follows the daemon's socket.

pub mod text;

use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::exit;
use crate::cli::tail::text::Renderer;

/// Follow the daemon's events.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// The daemon's socket, key `socket` of [events] in its configuration
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Begin with this line of the journal, or with its oldest [default: with the next line]
    #[arg(long, value_name = "oldest|SEQ")]
    pub from: Option<Beginning>,
    /// The lines as they are, or a form for people
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Stop after the first event of this kind, e.g. call_ended
    #[arg(long, value_name = "EVENT")]
    pub until: Option<String>,
}

/// Follows the socket until it, the reader, or the user ends.
pub fn run(args: &TailArgs) -> ExitCode {
    let out = io::stdout();
    let renderer = Renderer::new(out.is_terminal());
    match connect(args).and_then(|socket| follow(args, socket, out.lock(), renderer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With the oldest line there is.
    Oldest,
    /// With the line of this number.
    Seq(u64),
}

impl Beginning {
    /// The line that asks for it.
    fn request(self) -> String {
        let from = match self {
            Self::Oldest => json!("oldest"),
            Self::Seq(seq) => json!(seq),
        };
        format!("{}\n", json!({ "resume_from": from }))
    }
}

impl FromStr for Beginning {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "oldest" => Ok(Self::Oldest),
            number => number
                .parse()
                .map(Self::Seq)
                .map_err(|_| "expected oldest or a line number"),
        }
    }
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As they come
    Json,
    /// For people
    Text,
}

/// Why following ended early.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The daemon cannot be reached.
    #[error("{}: {source}; {}", path.display(), advice(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading from the socket, or printing, failed.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// The daemon said so.
    #[error("the daemon closed the connection: {message} ({code})")]
    Daemon {
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
    },
    /// The daemon was stopped.
    #[error("the daemon closed the connection")]
    Closed,
}

impl TailError {
    /// The exit code that tells it (`sysexits.h`).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                exit::NO_INPUT
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                exit::NO_PERMISSION
            }
            Self::Connect { .. } | Self::Daemon { .. } | Self::Closed => exit::UNAVAILABLE,
            Self::Broken(_) => exit::IO_ERROR,
        }
    }
}

/// What to do about a socket that cannot be reached.
fn advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "is the daemon running, and is this the socket of its configuration?"
    } else if error.kind() == io::ErrorKind::ConnectionRefused {
        "the socket is there but no daemon serves it"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "only the daemon's user and group may read it"
    } else {
        "it is no socket of a daemon"
    }
}

fn connect(args: &TailArgs) -> Result<UnixStream, TailError> {
    let failed = |source| TailError::Connect {
        path: args.socket.clone(),
        source,
    };
    let mut socket = UnixStream::connect(&args.socket).map_err(failed)?;
    if let Some(from) = args.from {
        socket
            .write_all(from.request().as_bytes())
            .map_err(failed)?;
    }
    Ok(socket)
}

fn follow(
    args: &TailArgs,
    socket: impl Read,
    mut out: impl Write,
    mut renderer: Renderer,
) -> Result<(), TailError> {
    let mut last_error = None;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut lines = BufReader::new(socket);
    let mut line = String::new();
    while left > 0 {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(last_error.unwrap_or(TailError::Closed));
        }
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let printed = match args.format {
            Format::Json => Some(line.clone()),
            Format::Text => renderer.render(&event),
        };
        if !print(&mut out, printed.as_deref().unwrap_or_default())? {
            return Ok(());
        }
        last_error = closing_error(&event);
        left -= u64::from(event["seq"].is_u64());
        if args.until.is_some() && event["event"].as_str() == args.until.as_deref() {
            return Ok(());
        }
    }
    Ok(())
}

/// An `error` line, which may be the daemon's last on this connection.
fn closing_error(event: &Value) -> Option<TailError> {
    let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    (event["event"] == "error").then(|| TailError::Daemon {
        code: word("code"),
        message: word("message"),
    })
}

/// Prints, and says whether anybody still reads.
fn print(out: &mut impl Write, text: &str) -> io::Result<bool> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a command's errors go to standard error"
)]
fn print_error(error: &dyn fmt::Display) {
    eprintln!("callscribe tail: {error}");
}

/// Where the daemon of a package listens.
const DEFAULT_SOCKET: &str = "/run/callscribe/events.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_is_asked_for_as_the_contract_says() {
        let oldest: Beginning = "oldest".parse().unwrap();
        assert_eq!(oldest.request(), "{\"resume_from\":\"oldest\"}\n");
        let seq: Beginning = "412".parse().unwrap();
        assert_eq!(seq.request(), "{\"resume_from\":412}\n");
        assert!("newest".parse::<Beginning>().is_err());
    }

    #[test]
    fn unreachable_socket_is_told_by_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.sock");
        let code = || connect(&args(path.clone())).unwrap_err();
        assert_eq!(code().exit_code(), exit::NO_INPUT);
        assert!(code().to_string().ends_with("of its configuration?"));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(code().exit_code(), exit::UNAVAILABLE);
        assert!(code().to_string().ends_with("no daemon serves it"));
    }

    #[test]
    fn following_stops_after_the_event_that_was_waited_for() {
        let mut out = Vec::new();
        let args = TailArgs {
            until: Some("call_ended".into()),
            ..args(PathBuf::new())
        };
        follow(&args, LINES.as_bytes(), &mut out, Renderer::new(false)).unwrap();
        let expected = LINES.split_inclusive('\n').take(3).collect::<String>();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            expected,
            "lines are printed as they came"
        );
    }

    #[test]
    fn count_is_of_journaled_lines() {
        let mut out = Vec::new();
        let args = TailArgs {
            count: Some(1),
            ..args(PathBuf::new())
        };
        follow(&args, LINES.as_bytes(), &mut out, Renderer::new(false)).unwrap();
        assert_eq!(
            out.split(|&byte| byte == b'\n').count(),
            3,
            "hello, one line, nothing"
        );
    }

    #[test]
    fn end_of_the_connection_is_an_error_with_the_daemons_reason() {
        let mut out = Vec::new();
        let end = follow(
            &args(PathBuf::new()),
            LINES.as_bytes(),
            &mut out,
            Renderer::new(false),
        );
        let error = end.unwrap_err();
        assert!(
            error.to_string().ends_with("too slow (slow_reader)"),
            "{error}"
        );
        assert_eq!(error.exit_code(), exit::UNAVAILABLE);
    }

    #[test]
    fn closed_pipe_is_a_quiet_end() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let args = args(PathBuf::new());
        assert!(follow(&args, LINES.as_bytes(), writer, Renderer::new(false)).is_ok());
    }

    const LINES: &str = concat!(
        r#"{"event":"hello","next_seq":4}"#,
        "\n",
        r#"{"event":"speech_started","seq":4,"call_id":"c"}"#,
        "\n",
        r#"{"event":"call_ended","seq":5,"call_id":"c"}"#,
        "\n",
        r#"{"event":"error","code":"slow_reader","message":"too slow"}"#,
        "\n",
    );

    fn args(socket: PathBuf) -> TailArgs {
        TailArgs {
            socket,
            from: None,
            format: Format::Json,
            count: None,
            until: None,
        }
    }
}
