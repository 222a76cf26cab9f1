//! What was said against what came out of the socket.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::tail::text::clock;
use crate::eval::score::{Score, score};

/// One turn of the call as it was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The leg.
    pub channel: u64,
    /// First sound, in milliseconds on the call clock.
    pub start_ms: u64,
    /// Last sound, in milliseconds on the call clock.
    pub end_ms: u64,
    /// What was said.
    pub text: String,
}

/// Why the table of turns cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: expected a file, start and end in seconds, a voice and a text, parted by tabs"
)]
pub struct TurnsError {
    line: usize,
}

/// Reads the table of turns; `files` are the legs in the order of their channels, and turns of other
/// files are passed over.
///
/// # Errors
/// When a line has not the columns of the first.
pub fn parse_turns(table: &str, files: &[&str]) -> Result<Vec<Turn>, TurnsError> {
    let mut turns = Vec::new();
    for (line, row) in (1..).zip(table.lines()).skip(1) {
        let columns: Vec<_> = row.split('\t').collect();
        let [file, start, end, _voice, text] = columns[..] else {
            return Err(TurnsError { line });
        };
        let ms = |seconds: &str| {
            let seconds: f64 = seconds.parse().map_err(|_| TurnsError { line })?;
            let duration = Duration::try_from_secs_f64(seconds).map_err(|_| TurnsError { line })?;
            Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        let Some(channel) = (0..).zip(files).find(|(_, leg)| **leg == file) else {
            continue;
        };
        let (channel, start_ms, end_ms) = (channel.0, ms(start)?, ms(end)?);
        turns.push(Turn {
            channel,
            start_ms,
            end_ms,
            text: text.to_owned(),
        });
    }
    Ok(turns)
}

/// A call as it was played and as it was understood.
#[derive(Clone, Debug)]
pub struct Report {
    turns: Vec<(Turn, Vec<Text>)>,
    unasked: Vec<Text>,
    started: Option<Timestamp>,
    coverage: Vec<Value>,
    ended: Vec<(String, Timestamp)>,
    waits: Vec<Duration>,
}

/// A final text.
#[derive(Clone, Debug)]
struct Text {
    text: String,
    at: Option<Timestamp>,
}

impl Report {
    /// Makes the report of a call with these turns; nothing of it has been understood yet.
    pub fn new(turns: Vec<Turn>) -> Self {
        Self {
            turns: turns.into_iter().map(|turn| (turn, Vec::new())).collect(),
            unasked: Vec::new(),
            started: None,
            coverage: Vec::new(),
            ended: Vec::new(),
            waits: Vec::new(),
        }
    }

    /// Takes a line of the daemon.
    pub fn add(&mut self, event: &Value) {
        let at = timestamp(event, "ts");
        let utterance = event["utterance_id"].as_str().unwrap_or_default();
        match event["event"].as_str() {
            Some("call_started") => self.started = timestamp(event, "started_at"),
            Some("speech_ended") => {
                self.ended.extend(at.map(|at| (utterance.to_owned(), at)));
            }
            Some("transcript") if event["part_final"] == true => {
                let ended = self
                    .ended
                    .iter()
                    .find(|(id, _)| id == utterance)
                    .map(|(_, at)| *at);
                self.waits.extend(since(ended, at));
                self.place(event, at);
            }
            Some("call_ended") => {
                self.coverage = event["coverage"].as_array().cloned().unwrap_or_default();
            }
            _ => {}
        }
    }

    /// Gives a text to the turn that it overlaps most.
    fn place(&mut self, event: &Value, at: Option<Timestamp>) {
        let [start, end, channel] =
            ["start_ms", "end_ms", "channel"].map(|field| event[field].as_u64().unwrap_or(0));
        let text = Text {
            text: event["text"].as_str().unwrap_or_default().to_owned(),
            at,
        };
        let overlap = |turn: &Turn| {
            let both = turn
                .end_ms
                .min(end)
                .saturating_sub(turn.start_ms.max(start));
            if turn.channel == channel { both } else { 0 }
        };
        match self.turns.iter_mut().max_by_key(|(turn, _)| overlap(turn)) {
            Some((turn, texts)) if overlap(turn) > 0 => texts.push(text),
            _ => self.unasked.push(text),
        }
    }

    /// Errors over the whole call; what nobody said counts as invented.
    pub fn score(&self) -> Score {
        let turns = self
            .turns
            .iter()
            .map(|(turn, texts)| score(&turn.text, &joined(texts)));
        let unasked = self.unasked.iter().map(|text| score("", &text.text));
        turns.chain(unasked).sum()
    }

    /// From the last sound of a turn to its last text.
    fn delay(&self, turn: &Turn, texts: &[Text]) -> Option<Duration> {
        let end = self.started? + Duration::from_millis(turn.end_ms);
        since(Some(end), texts.last()?.at)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "start      speaker   errors  text after")?;
        let mut delays = Vec::new();
        for (turn, texts) in &self.turns {
            let (recognised, delay) = (joined(texts), self.delay(turn, texts));
            delays.extend(delay);
            let rate = score(&turn.text, &recognised).rate_percent();
            let after = delay.map_or_else(|| "never".to_owned(), seconds);
            let speaker = speaker(turn.channel);
            let start = clock(turn.start_ms);
            writeln!(
                f,
                "{start}  {speaker:<8}  {rate:>4.0} %  {after:>8}  said       {}",
                turn.text
            )?;
            writeln!(f, "{:40}recognised {recognised}", "")?;
        }
        for text in &self.unasked {
            writeln!(f, "{:40}invented   {}", "", text.text)?;
        }
        let Score { errors, characters } = self.score();
        let rate = self.score().rate_percent();
        writeln!(
            f,
            "\nCharacter error rate: {rate:.1} % ({errors} of {characters} characters)"
        )?;
        writeln!(f, "From the last sound to its text: {}", spread(delays))?;
        writeln!(
            f,
            "From the end of speech being noticed to the text: {}",
            spread(self.waits.clone())
        )?;
        self.coverage
            .iter()
            .try_for_each(|leg| write_coverage(f, leg))
    }
}

fn write_coverage(f: &mut fmt::Formatter<'_>, leg: &Value) -> fmt::Result {
    let ms = |field: &str| leg[field].as_u64().unwrap_or(0);
    let channel = leg["channel"].as_u64().unwrap_or(0);
    writeln!(
        f,
        "Coverage of {:<8}  {} packets, {} ms received + {} lost; of it {} speech + {} silence; of the speech {} \
         transcribed + {} in gaps",
        speaker(channel),
        leg["rtp"]["packets"].as_u64().unwrap_or(0),
        ms("received_ms"),
        ms("lost_ms"),
        ms("speech_ms"),
        ms("silence_ms"),
        ms("transcribed_ms"),
        ms("gap_ms"),
    )
}

fn joined(texts: &[Text]) -> String {
    texts.iter().map(|text| text.text.as_str()).collect()
}

const fn speaker(channel: u64) -> &'static str {
    match channel {
        0 => "AGENT",
        _ => "CUSTOMER",
    }
}

fn timestamp(event: &Value, field: &str) -> Option<Timestamp> {
    event[field].as_str()?.parse().ok()
}

/// The time between two instants; nothing if it ran backwards.
fn since(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Duration> {
    to?.duration_since(from?).try_into().ok()
}

fn spread(mut durations: Vec<Duration>) -> String {
    durations.sort_unstable();
    match (durations.get(durations.len() / 2), durations.last()) {
        (Some(median), Some(most)) => {
            format!("{} median, {} at most", seconds(*median), seconds(*most))
        }
        _ => "no text came".to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_find_their_turn_by_time_and_leg() {
        let mut report = Report::new(turns());
        for event in [
            json!({"event": "call_started", "started_at": "2026-01-01T00:00:00.000Z"}),
            json!({"event": "speech_ended", "utterance_id": "u0", "ts": "2026-01-01T00:00:02.600Z"}),
            final_text("u0", 0, 800, 1500, "您", "2026-01-01T00:00:02.000Z"),
            final_text("u0", 0, 1500, 2200, "好", "2026-01-01T00:00:02.900Z"),
            final_text("u1", 1, 2100, 3200, "在见", "2026-01-01T00:00:03.250Z"),
            final_text("u2", 1, 9000, 9100, "嗯", "2026-01-01T00:00:09.900Z"),
            json!({"event": "call_ended", "coverage": [{"channel": 0, "received_ms": 4000,
                "lost_ms": 20, "speech_ms": 1400, "silence_ms": 2600, "transcribed_ms": 1400, "rtp": {"packets": 201}}]}),
        ] {
            report.add(&event);
        }
        assert_eq!(
            report.score(),
            Score {
                errors: 2,
                characters: 4
            }
        );
        let text = report.to_string();
        assert!(
            text.contains("00:01.000  AGENT        0 %    0.90 s  said       您好。"),
            "{text}"
        );
        assert!(
            text.contains("00:02.500  CUSTOMER    50 %    0.25 s  said       再见"),
            "{text}"
        );
        assert!(text.contains("invented   嗯"), "{text}");
        assert!(
            text.contains("being noticed to the text: 0.30 s median"),
            "{text}"
        );
        assert!(
            text.contains("201 packets, 4000 ms received + 20 lost; of it 1400 speech"),
            "{text}"
        );
    }

    #[test]
    fn turn_without_text_is_all_errors() {
        let report = Report::new(turns());
        assert_eq!(
            report.score(),
            Score {
                errors: 4,
                characters: 4
            }
        );
        assert!(report.to_string().contains("never"));
    }

    #[test]
    fn table_of_turns_is_read_by_file() {
        let table = "file\tstart_s\tend_s\tvoice\treference\n\
                     b.wav\t2.5\t3.000\tv\t再见\nother.wav\t0\t1\tv\tx\na.wav\t1\t2\tv\t您好。\n";
        let read = parse_turns(table, &["a.wav", "b.wav"]).unwrap();
        assert_eq!(read, turns().into_iter().rev().collect::<Vec<_>>());
        let error = parse_turns("file\na.wav\t1\n", &["a.wav"]).unwrap_err();
        assert_eq!(error, TurnsError { line: 2 });
        let table = "x\na.wav\t-1\t2\tv\tx\n";
        assert!(parse_turns(table, &["a.wav"]).is_err());
    }

    fn turns() -> Vec<Turn> {
        let turn = |channel, start_ms, end_ms, text: &str| Turn {
            channel,
            start_ms,
            end_ms,
            text: text.to_owned(),
        };
        vec![turn(0, 1000, 2000, "您好。"), turn(1, 2500, 3000, "再见")]
    }

    fn final_text(id: &str, channel: u64, start: u64, end: u64, text: &str, ts: &str) -> Value {
        json!({"event": "transcript", "utterance_id": id, "channel": channel, "part_final": true,
            "start_ms": start, "end_ms": end, "text": text, "ts": ts})
    }
}
