//! `callscribe calls`: the live calls and their legs, as a table.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command's answer"
)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cli::exit;

/// Show the live calls and their legs.
#[derive(Clone, Debug, Args)]
pub struct CallsArgs {
    /// The daemon's control socket, key `control.socket` of its configuration
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/callscribe/control.sock"
    )]
    pub socket: PathBuf,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
enum CallsError {
    #[error("{}: {source}; is the daemon running, and may you write to its socket?", path.display())]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("{}: the answer is no list of calls: {answer}", path.display())]
    NoList { path: PathBuf, answer: String },
}

/// Prints the table.
pub fn run(args: &CallsArgs) -> ExitCode {
    match list(args) {
        Ok(calls) => {
            print!("{}", table(&calls));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("callscribe: {error}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn list(args: &CallsArgs) -> Result<Vec<Value>, CallsError> {
    let path = args.socket.clone();
    let answer = ask(args).map_err(|source| CallsError::Unreachable {
        path: path.clone(),
        source,
    })?;
    let body = answer.split_once("\r\n\r\n").map(|(_head, body)| body);
    let list: Option<Value> = body.and_then(|body| serde_json::from_str(body).ok());
    let calls = list.as_ref().and_then(|list| list["calls"].as_array());
    calls.cloned().ok_or(CallsError::NoList { path, answer })
}

/// HTTP/1.0: the answer comes whole and the connection closes behind it.
fn ask(args: &CallsArgs) -> io::Result<String> {
    let mut stream = UnixStream::connect(&args.socket)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.write_all(b"GET /v1/calls HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A line for each leg; what belongs to the call stands on its first.
fn table(calls: &[Value]) -> String {
    let head = [
        "CALL",
        "STATE",
        "TIME",
        "CH",
        "ROLE",
        "CODEC",
        "PORT",
        "SENDER",
        "PACKETS",
        "LOST",
        "LEVEL",
        "SPEECH",
        "TEXTS DUE",
        "HEALTH",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for call in calls {
        let legs = call["legs"].as_array().map_or(&[][..], Vec::as_slice);
        rows.extend(
            legs.iter()
                .enumerate()
                .map(|(n, leg)| row(call, leg, n == 0)),
        );
    }
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The cells of a leg.
type Row = [String; 14];

fn row(call: &Value, leg: &Value, is_first: bool) -> Row {
    let of_call = |cell: String| if is_first { cell } else { String::new() };
    let statistics = &leg["statistics"];
    [
        of_call(text(&call["id"])),
        of_call(text(&call["state"])),
        of_call(time(call["duration_ms"].as_u64().unwrap_or(0))),
        text(&leg["channel"]),
        text(&leg["role"]),
        text(&leg["codec"]),
        text(&leg["local_port"]),
        text(&leg["remote"]),
        text(&statistics["received"]),
        text(&statistics["lost"]),
        level(&leg["level_dbfs"]),
        speech(leg),
        text(&leg["parts_waiting"]),
        text(&leg["health"]),
    ]
}

fn level(dbfs: &Value) -> String {
    dbfs.as_i64()
        .map_or_else(|| "-".to_owned(), |dbfs| format!("{dbfs} dB"))
}

/// Whether somebody speaks, and how often somebody did.
fn speech(leg: &Value) -> String {
    let utterances = leg["utterances"].as_u64().unwrap_or(0);
    match (leg["speech"].as_bool(), utterances) {
        (Some(true), _) => "speaks".to_owned(),
        (_, 0) => "-".to_owned(),
        (_, utterances) => format!("{utterances} heard"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// `M:SS`
fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// How long the daemon may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_leg_has_a_line_and_the_call_stands_on_the_first() {
        let leg = |channel, speaks| {
            json!({
                "channel": channel, "local_port": 20_000, "statistics": {"received": 50, "lost": 0},
                "level_dbfs": -31, "speech": speaks, "utterances": 4, "parts_waiting": 1,
            })
        };
        let legs = [leg(0, true), leg(1, false)];
        let call = json!({"id": "a", "state": "active", "duration_ms": 61_000, "legs": legs});
        let table = table(&[call]);
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1][..4], ["a", "active", "1:01", "0"]);
        assert_eq!(
            lines[1][4..],
            [
                "-", "-", "20000", "-", "50", "0", "-31", "dB", "speaks", "1", "-"
            ]
        );
        assert_eq!(
            lines[2],
            [
                "1", "-", "-", "20000", "-", "50", "0", "-31", "dB", "4", "heard", "1", "-"
            ]
        );
    }
}
