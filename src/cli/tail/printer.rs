//! Prints what the daemon says, over one connection after the other.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::cursor::{Cursor, Place};
use super::lca::Records;
use super::text::Renderer;
use super::{Beginning, Format, TailArgs, TailError};

/// Prints lines from one connection after the other.
pub(super) struct Printer<'a, W> {
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
    pub(super) fn new(args: &'a TailArgs, out: W, form: Form) -> Result<Self, TailError> {
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
    pub(super) fn run(mut self) -> Result<(), TailError> {
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

/// A format and what it remembers.
pub(super) enum Form {
    Json,
    Text(Renderer),
    Lca(Records),
}

impl Form {
    pub(super) fn new(format: Format, is_terminal: bool) -> Self {
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

/// How long to wait for a daemon that is away.
const RECONNECT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::exit;

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
