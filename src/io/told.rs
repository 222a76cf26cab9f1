//! What readers know of a call whose state is older than its last line: it must not be said twice.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::call::label::PartLabel;
use crate::event::{Event, GapReason};

/// The lines of a call that are said once.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Parts with their final text, by utterance and part.
    texts: BTreeSet<(String, u32)>,
    /// Parts that were given up, by channel and start in milliseconds.
    gaps: BTreeSet<(u8, u64)>,
    /// Lines that are no transcript, without what tells two of the same apart.
    lines: BTreeSet<String>,
    /// Whether `call_ended` is out.
    pub has_ended: bool,
}

/// What matters of a line.
#[derive(Deserialize)]
struct Line {
    event: String,
    utterance_id: Option<String>,
    part: Option<u32>,
    part_final: Option<bool>,
    channel: Option<u8>,
    start_ms: Option<u64>,
    reason: Option<String>,
}

impl Told {
    /// Reads the lines of a call.
    pub fn of(lines: &[String]) -> Self {
        let mut told = Self::default();
        for line in lines {
            if let Ok(read) = serde_json::from_str(line) {
                told.note(read);
            }
            told.lines.extend(essence(line));
        }
        told
    }

    /// Whether a line like this one is out.
    pub fn has(&self, event: &Event) -> bool {
        essence(&event.to_line("", 0)).is_some_and(|line| self.lines.contains(&line))
    }

    /// Whether the last line of a part is out, and then whether it is a text.
    pub fn of_part(&self, label: &PartLabel) -> Option<bool> {
        if self.texts.contains(&(label.utterance_id(), label.part)) {
            return Some(true);
        }
        let place = (label.channel, label.start.as_ms());
        self.gaps.contains(&place).then_some(false)
    }

    fn note(&mut self, line: Line) {
        match line.event.as_str() {
            "call_ended" => self.has_ended = true,
            "transcript" if line.part_final == Some(true) => {
                self.texts.extend(line.utterance_id.zip(line.part));
            }
            "gap" if !line.is_loss() => {
                self.gaps.extend(line.channel.zip(line.start_ms));
            }
            _ => {}
        }
    }
}

/// What a line says, whenever it was made. An utterance begins and ends once, wherever that was.
fn essence(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let event = line["event"]
        .as_str()
        .filter(|&event| event != "transcript")?;
    if let Some(utterance) = line["utterance_id"].as_str() {
        return Some(format!("{event} {utterance}"));
    }
    let Value::Object(mut fields) = line else {
        return None;
    };
    fields.retain(|name, _| !["v", "epoch", "seq", "ts"].contains(&name.as_str()));
    Some(Value::Object(fields).to_string())
}

impl Line {
    fn is_loss(&self) -> bool {
        let loss = serde_json::to_value(GapReason::RtpLoss);
        let loss = loss.ok().and_then(|loss| loss.as_str().map(str::to_owned));
        self.reason == loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Body;

    fn told(lines: &[&str]) -> Told {
        Told::of(
            &lines
                .iter()
                .map(|&line| line.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn final_text_and_gap_are_known_and_interim_and_loss_are_not() {
        let told = told(&[
            r#"{"event":"transcript","utterance_id":"c/0/1","part":0,"part_final":true}"#,
            r#"{"event":"transcript","utterance_id":"c/0/2","part":0,"part_final":false}"#,
            r#"{"event":"gap","channel":0,"start_ms":900,"end_ms":950,"reason":"quota"}"#,
            r#"{"event":"gap","channel":0,"start_ms":990,"end_ms":999,"reason":"rtp_loss"}"#,
        ]);
        let part = |utterance, start_ms| {
            let label = crate::io::spool::tests::label("c", utterance);
            told.of_part(&PartLabel {
                start: crate::media::Samples::from_ms(start_ms),
                ..label
            })
        };
        assert_eq!(part(1, 0), Some(true));
        assert_eq!(part(2, 0), None);
        assert_eq!(part(3, 900), Some(false));
        assert_eq!(part(3, 990), None);
        assert!(!told.has_ended);
    }

    #[test]
    fn line_is_known_whenever_it_was_made_and_an_utterance_wherever_it_began() {
        let told = told(&[
            r#"{"v":1,"epoch":"e","seq":7,"event":"dtmf","ts":"2026-01-01T00:00:00.000Z","call_id":"c","channel":0,"digit":"5","start_ms":900,"duration_ms":100}"#,
            r#"{"v":1,"epoch":"e","seq":8,"event":"speech_started","ts":"2026-01-01T00:00:00.000Z","call_id":"c","channel":0,"utterance_id":"c/0/1","start_ms":900}"#,
        ]);
        let event = |body| Event {
            at: "2026-01-01T00:00:01Z".parse().unwrap(),
            call_id: Some("c".into()),
            body,
        };
        let digit = |digit| {
            event(Body::Dtmf {
                channel: 0,
                digit,
                start_ms: 900,
                duration_ms: 100,
            })
        };
        let onset = |utterance_id: &str| {
            event(Body::SpeechStarted {
                channel: 0,
                utterance_id: utterance_id.to_owned(),
                start_ms: 920,
            })
        };
        assert!(told.has(&digit('5')));
        assert!(!told.has(&digit('6')));
        assert!(told.has(&onset("c/0/1")));
        assert!(!told.has(&onset("c/0/2")));
    }

    #[test]
    fn call_that_has_ended_is_known_to() {
        assert!(told(&[r#"{"event":"call_ended"}"#]).has_ended);
    }
}
