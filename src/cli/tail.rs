//! `callscribe tail`: follows the daemon's socket.

pub mod cursor;
pub mod lca;
pub mod text;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::exit;
use crate::cli::tail::cursor::{Cursor, CursorError, Place};
use crate::cli::tail::lca::Records;
use crate::cli::tail::text::Renderer;

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

/// A format and what it remembers.
enum Form {
    Json,
    Text(Renderer),
    Lca(Records),
}

impl Form {
    fn new(format: Format, is_terminal: bool) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text => Self::Text(Renderer::new(is_terminal)),
            Format::Lca => Self::Lca(Records::default()),
        }
    }

    fn render<'a>(&mut self, line: &'a str, event: &Value) -> Option<Cow<'a, str>> {
        match self {
            Self::Json => Some(Cow::Borrowed(line)),
            Self::Text(renderer) => renderer.render(event).map(Cow::Owned),
            Self::Lca(records) => records.render(event).map(Cow::Owned),
        }
    }
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
}

impl TailError {
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

/// Prints lines from one connection after the other.
struct Printer<'a, W> {
    args: &'a TailArgs,
    out: W,
    form: Form,
    cursor: Option<Cursor>,
    /// Events to print before it is enough.
    left: u64,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    More,
    Enough,
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(args: &'a TailArgs, out: W, form: Form) -> Result<Self, TailError> {
        let cursor = args.cursor.as_deref().map(Cursor::open).transpose()?;
        Ok(Self {
            args,
            out,
            form,
            cursor,
            left: args.count.unwrap_or(u64::MAX),
        })
    }

    /// Follows the daemon; with a cursor, over its restarts.
    fn run(mut self) -> Result<(), TailError> {
        loop {
            let followed = self.connect().and_then(|socket| self.follow(socket));
            self.cursor.as_mut().map_or(Ok(()), Cursor::keep)?;
            match followed {
                Err(error) if self.cursor.is_some() && error.may_pass() => thread::sleep(RECONNECT),
                ended => return ended,
            }
        }
    }

    fn connect(&self) -> Result<UnixStream, TailError> {
        let path = &self.args.socket;
        let failed = |source| TailError::Connect {
            path: path.clone(),
            source,
        };
        let mut socket = UnixStream::connect(path).map_err(failed)?;
        if let Some(request) = self.request() {
            let request = format!("{request}\n");
            socket.write_all(request.as_bytes()).map_err(failed)?;
        }
        Ok(socket)
    }

    /// What the daemon is asked for, if not for the next lines.
    fn request(&self) -> Option<Value> {
        let place = self.cursor.as_ref().and_then(Cursor::place);
        match place {
            Some(Place { epoch, seq }) => Some(json!({ "resume_from": seq, "epoch": epoch })),
            None => self.args.from.map(Beginning::request),
        }
    }

    fn follow(&mut self, socket: impl Read) -> Result<(), TailError> {
        let mut last_error = None;
        let mut lines = BufReader::new(socket);
        let mut line = String::new();
        while self.left > 0 {
            line.clear();
            lines.read_line(&mut line)?;
            if !line.ends_with('\n') {
                // The end, perhaps in the middle of a line: a daemon that was killed.
                return Err(last_error.unwrap_or(TailError::Closed));
            }
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if self.handle_line(&line, &event)? == Verdict::Enough {
                return Ok(());
            }
            if lines.buffer().is_empty() {
                self.cursor.as_mut().map_or(Ok(()), Cursor::keep)?;
            }
            last_error = closing_error(&event);
        }
        Ok(())
    }

    fn handle_line(&mut self, line: &str, event: &Value) -> Result<Verdict, TailError> {
        let printed = self.form.render(line, event).unwrap_or_default();
        if !print(&mut self.out, &printed)? {
            return Ok(Verdict::Enough);
        }
        self.advance(event);
        self.left -= u64::from(event["seq"].is_u64());
        let until = self.args.until.as_deref();
        let is_enough = self.left == 0 || (until.is_some() && event["event"].as_str() == until);
        Ok(if is_enough {
            Verdict::Enough
        } else {
            Verdict::More
        })
    }

    /// A line with a number was printed; or `hello` says where the numbering is, for who begins with the next line.
    fn advance(&mut self, event: &Value) {
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        let is_first = cursor.place().is_none() && self.args.from.is_none();
        let hello = || event["next_seq"].as_u64().filter(|_| is_first);
        let next_seq = event["seq"].as_u64().map(|seq| seq + 1).or_else(hello);
        if let (Some(epoch), Some(seq)) = (event["epoch"].as_str(), next_seq) {
            cursor.advance(Place {
                epoch: epoch.to_owned(),
                seq,
            });
        }
    }
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

/// How long to wait for a daemon that is away.
const RECONNECT: Duration = Duration::from_millis(250);

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

    #[test]
    fn unreachable_socket_is_told_by_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.sock");
        let code = || {
            let args = args(path.clone());
            printer(&args, Vec::new()).connect().unwrap_err()
        };
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
        printer(&args, &mut out).follow(LINES.as_bytes()).unwrap();
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
        printer(&args, &mut out).follow(LINES.as_bytes()).unwrap();
        assert_eq!(
            out.split(|&byte| byte == b'\n').count(),
            3,
            "hello, one line, nothing"
        );
    }

    #[test]
    fn end_of_the_connection_is_an_error_with_the_daemons_reason() {
        let mut out = Vec::new();
        let args = args(PathBuf::new());
        let end = printer(&args, &mut out).follow(LINES.as_bytes());
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
        assert!(printer(&args, writer).follow(LINES.as_bytes()).is_ok());
    }

    #[test]
    fn cursor_is_after_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let args = TailArgs {
            cursor: Some(folder.path().join("cursor")),
            ..args(PathBuf::new())
        };
        let mut out = Vec::new();
        let mut printer = printer(&args, &mut out);
        let lines = [r#"{"epoch":"e","seq":7}"#, r#"{"epoch":"e","se"#].join("\n");
        assert!(matches!(
            printer.follow(lines.as_bytes()),
            Err(TailError::Closed)
        ));
        assert_eq!(
            printer.request(),
            Some(json!({"resume_from": 8, "epoch": "e"}))
        );
        drop(printer);
        assert_eq!(out, b"{\"epoch\":\"e\",\"seq\":7}\n");
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
            cursor: None,
            count: None,
            until: None,
        }
    }

    fn printer<W: Write>(args: &TailArgs, out: W) -> Printer<'_, W> {
        Printer::new(args, out, Form::Json).unwrap()
    }
}
