//! `callscribe calls`: the live calls and their legs, as a table.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command's answer"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::control_client::{self, AskError};
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

fn list(args: &CallsArgs) -> Result<Vec<Value>, AskError> {
    let list = control_client::get(&args.socket, "/v1/calls")?;
    let calls = list["calls"].as_array();
    calls.cloned().ok_or_else(|| AskError::NoAnswer {
        path: args.socket.clone(),
        answer: list.to_string(),
    })
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
        "SESSION",
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
type Row = [String; 15];

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
        session(leg),
    ]
}

/// How what is said fares with the recogniser, and why.
fn session(leg: &Value) -> String {
    let session = &leg["session"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let seconds = number(&session["for_ms"]) / 1000;
    match session["state"].as_str() {
        Some("waiting") => format!("waits for quota, {seconds} s"),
        Some("retrying") => {
            let tries = number(&session["tries"]).max(1);
            format!("retrying after try {tries}: {}", text(&session["reason"]))
        }
        Some("spooled") => format!("{} on disk", number(&leg["parts_spooled"])),
        Some(state) => state.to_owned(),
        None => "-".to_owned(),
    }
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
                "session": {"state": "open", "for_ms": 1200},
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
                "-", "-", "20000", "-", "50", "0", "-31", "dB", "speaks", "1", "-", "open"
            ]
        );
        assert_eq!(
            lines[2],
            [
                "1", "-", "-", "20000", "-", "50", "0", "-31", "dB", "4", "heard", "1", "-", "open"
            ]
        );
    }

    #[test]
    fn session_says_why_there_is_no_text() {
        let leg = |shown: Value| session(&json!({"session": shown, "parts_spooled": 2}));
        for (shown, says) in [
            (json!(null), "-"),
            (json!({"state": "ended"}), "ended"),
            (
                json!({"state": "waiting", "for_ms": 4100}),
                "waits for quota, 4 s",
            ),
            (json!({"state": "spooled"}), "2 on disk"),
            (
                json!({"state": "retrying", "tries": 3, "for_ms": 1, "reason": "closed"}),
                "retrying after try 3: closed",
            ),
        ] {
            assert_eq!(leg(shown), says);
        }
    }
}
