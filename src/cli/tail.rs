//! `callscribe tail`: follows the daemon's socket.

pub mod cursor;
pub mod lca;
mod printer;
pub mod text;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::exit;
use crate::cli::tail::cursor::CursorError;
use crate::cli::tail::printer::{Form, Printer};

/// Follow the daemon's events.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// The daemon's socket, key `events.socket` of its configuration
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Begin with this line of the journal, or with its oldest [default: with the next line]; a
    /// place in the cursor file comes before it
    #[arg(long, value_name = "oldest|SEQ")]
    pub from: Option<Beginning>,
    /// The lines as they are, or a form for people
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Keep the place in this file: begin where it says, and when the daemon goes away, wait for it
    /// and go on there
    #[arg(long, value_name = "FILE")]
    pub cursor: Option<PathBuf>,
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
    let form = Form::new(args.format, out.is_terminal());
    let printed = Printer::new(args, out.lock(), form).and_then(Printer::run);
    match printed {
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
    /// What the daemon is asked for.
    fn request(self) -> Value {
        match self {
            Self::Oldest => json!({ "resume_from": "oldest" }),
            Self::Seq(seq) => json!({ "resume_from": seq }),
        }
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
    /// Records of AWS Live Call Analytics
    Lca,
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
    /// The cursor cannot be read or kept.
    #[error(transparent)]
    Cursor(#[from] CursorError),
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
            Self::Broken(_) | Self::Cursor(_) => exit::IO_ERROR,
        }
    }

    /// Whether the daemon may be there again in a while.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Broken(error) => error.kind() == io::ErrorKind::ConnectionReset,
            Self::Daemon { .. } | Self::Closed => true,
            Self::Cursor(_) => false,
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
        assert_eq!(oldest.request(), json!({"resume_from": "oldest"}));
        let seq: Beginning = "412".parse().unwrap();
        assert_eq!(seq.request(), json!({"resume_from": 412}));
        assert!("newest".parse::<Beginning>().is_err());
    }
}
