//! The events in a form for people: one line each, the time on the call clock first.

use std::collections::HashMap;

use serde_json::Value;

/// Makes lines of events; remembers who is who until the call is over.
#[derive(Debug)]
pub struct Renderer {
    is_coloured: bool,
    speakers: HashMap<(String, u64), String>,
}

impl Renderer {
    /// Makes a renderer; colour is for terminals.
    pub fn new(is_coloured: bool) -> Self {
        Self {
            is_coloured,
            speakers: HashMap::new(),
        }
    }

    /// The line of an event with its newline; `None` for events that only programs need.
    pub fn render(&mut self, event: &Value) -> Option<String> {
        self.learn_speakers(event);
        let name = event["event"].as_str().unwrap_or("?");
        let text = match name {
            "hello" => hello(event),
            "heartbeat" | "speech_started" | "speech_ended" | "call_updated" => return None,
            "call_started" => self.painted(Paint::Quiet, &call_started(event)),
            "channel_started" => self.painted(Paint::Quiet, &channel_started(event)),
            "transcript" => transcript(event)?,
            "dtmf" => format!("pressed {}", word(event, "digit")),
            "gap" => self.painted(Paint::Alarm, &gap(event)),
            "channel_health" => self.painted(health_paint(event), &health(event)),
            "call_ended" => self.painted(Paint::Quiet, &call_ended(event)),
            "error" => self.painted(Paint::Alarm, &error(event)),
            unknown => printable(&format!("{unknown}: {event}")),
        };
        let line = format!("{}{text}\n", self.prefix(event));
        if name == "call_ended" {
            self.forget(event);
        }
        Some(line)
    }

    /// When, in which call, and who.
    fn prefix(&self, event: &Value) -> String {
        let Some(call_id) = event["call_id"].as_str() else {
            return String::new();
        };
        let start = event["start_ms"].as_u64().or(event["duration_ms"].as_u64());
        let call_id = self.painted(Paint::Quiet, &printable(call_id));
        let speaker = event["channel"]
            .as_u64()
            .map(|channel| self.speaker(event, channel));
        let speaker = speaker.unwrap_or_default();
        format!("{}  {call_id}  {speaker}", clock(start.unwrap_or(0)))
    }

    fn speaker(&self, event: &Value, channel: u64) -> String {
        let key = (word(event, "call_id"), channel);
        let role = self.speakers.get(&key).map(String::as_str);
        let paint = match role {
            Some("AGENT") => Paint::Agent,
            Some("CUSTOMER") => Paint::Customer,
            _ => Paint::Quiet,
        };
        let name = role.map_or_else(|| format!("channel {channel}"), str::to_owned);
        format!("{}  ", self.painted(paint, &format!("{name:<9}")))
    }

    fn learn_speakers(&mut self, event: &Value) {
        let call_id = word(event, "call_id");
        let listed = event["channels"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for source in listed.iter().chain([event]) {
            let (channel, role) = (source["channel"].as_u64(), source["role"].as_str());
            if let (Some(channel), Some(role)) = (channel, role) {
                if self.speakers.len() >= SPEAKERS_KEPT {
                    self.speakers.clear();
                }
                self.speakers
                    .insert((call_id.clone(), channel), printable(role));
            }
        }
    }

    fn forget(&mut self, event: &Value) {
        let call_id = word(event, "call_id");
        self.speakers.retain(|(call, _), _| *call != call_id);
    }

    fn painted(&self, paint: Paint, text: &str) -> String {
        if !self.is_coloured {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Quiet => 2,
            Paint::Agent => 36,
            Paint::Customer => 33,
            Paint::Alarm => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[derive(Clone, Copy)]
enum Paint {
    Quiet,
    Agent,
    Customer,
    Alarm,
}

/// `minutes:seconds.milliseconds`, with hours once there are some.
pub fn clock(ms: u64) -> String {
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, rest) = (ms / 1000 % 60, ms % 1000);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}.{rest:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{rest:03}"),
    }
}

fn hello(event: &Value) -> String {
    format!("{} {}", word(event, "daemon"), word(event, "version"))
}

fn call_started(event: &Value) -> String {
    let parties = [("from", "from"), ("to", "to"), ("direction", "direction")]
        .iter()
        .filter(|(field, _)| event[*field].is_string())
        .map(|(field, name)| format!(", {name} {}", word(event, field)));
    format!("call started{}", parties.collect::<String>())
}

fn channel_started(event: &Value) -> String {
    let ssrc = event["ssrc"].as_u64().unwrap_or(0);
    format!(
        "{} from {}, SSRC {ssrc:#010x}",
        word(event, "codec"),
        word(event, "remote")
    )
}

/// Only texts that will not change, and only if something was said.
fn transcript(event: &Value) -> Option<String> {
    let text = word(event, "text");
    let is_settled = event["part_final"].as_bool().unwrap_or(true);
    if !is_settled || text.is_empty() {
        return None;
    }
    let late = if event["late"] == true {
        "  (late)"
    } else {
        ""
    };
    Some(format!("{text}{late}"))
}

fn gap(event: &Value) -> String {
    let [start, end] = ["start_ms", "end_ms"].map(|field| event[field].as_u64().unwrap_or(0));
    let length = end.saturating_sub(start);
    let recovered = if event["recovered"] == true {
        ", to be recovered"
    } else {
        ""
    };
    let detail = word(event, "detail");
    let colon = if detail.is_empty() { "" } else { ": " };
    let reason = word(event, "reason").replace('_', " ");
    format!("[no text for {length} ms: {reason}{recovered}{colon}{detail}]")
}

fn health_paint(event: &Value) -> Paint {
    if event["state"] == "ok" {
        Paint::Quiet
    } else {
        Paint::Alarm
    }
}

fn health(event: &Value) -> String {
    let (state, detail) = (
        word(event, "state").replace('_', " "),
        word(event, "detail"),
    );
    let colon = if detail.is_empty() { "" } else { ": " };
    format!("[{state}{colon}{detail}]")
}

fn call_ended(event: &Value) -> String {
    let mut line = format!("call ended: {}", word(event, "reason").replace('_', " "));
    for leg in event["coverage"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let seconds = |field: &str| {
            let ms = leg[field].as_u64().unwrap_or(0);
            format!("{}.{:03} s", ms / 1000, ms % 1000)
        };
        line += &format!(
            "; channel {}: {} received, {} lost, {} of speech, {} transcribed, {} in gaps",
            leg["channel"],
            seconds("received_ms"),
            seconds("lost_ms"),
            seconds("speech_ms"),
            seconds("transcribed_ms"),
            seconds("gap_ms"),
        );
    }
    line
}

fn error(event: &Value) -> String {
    format!(
        "error: {} ({})",
        word(event, "message"),
        word(event, "code")
    )
}

/// A string field, safe for a terminal; empty when absent.
fn word(event: &Value, field: &str) -> String {
    printable(event[field].as_str().unwrap_or_default())
}

/// Text without control characters: what a caller or a PBX sends must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Speakers remembered at once; beyond it they are learned anew from the events that follow.
const SPEAKERS_KEPT: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn transcript_says_when_where_who_and_what() {
        let line = plain(&[
            json!({"event": "transcript", "seq": 1, "call_id": "c1", "channel": 1,
            "role": "CUSTOMER", "part_final": true, "start_ms": 3_627_420, "text": "您好"}),
        ]);
        assert_eq!(line, "1:00:27.420  c1  CUSTOMER   您好\n");
    }

    #[test]
    fn text_that_may_change_and_empty_text_are_left_out() {
        let partial = json!({"event": "transcript", "call_id": "c", "channel": 0,
            "part_final": false, "text": "您"});
        let empty = json!({"event": "transcript", "call_id": "c", "channel": 0,
            "part_final": true, "text": ""});
        assert_eq!(plain(&[partial, empty]), "");
    }

    #[test]
    fn event_without_role_finds_it_by_its_channel() {
        let started = json!({"event": "call_started", "call_id": "c", "started_at": "x",
            "channels": [{"channel": 0, "role": "AGENT"}, {"channel": 1}]});
        let key = |channel| {
            json!({"event": "dtmf", "call_id": "c", "channel": channel,
            "digit": "5", "start_ms": 61_000})
        };
        let ended = json!({"event": "call_ended", "call_id": "c", "duration_ms": 90_000,
            "reason": "idle_timeout", "coverage": []});
        let lines = plain(&[started, key(0), key(1), ended, key(0)]);
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines[1], "01:01.000  c  AGENT      pressed 5");
        assert_eq!(lines[2], "01:01.000  c  channel 1  pressed 5");
        assert_eq!(lines[3], "01:30.000  c  call ended: idle timeout");
        assert_eq!(
            lines[4], "01:01.000  c  channel 0  pressed 5",
            "roles end with their call"
        );
    }

    #[test]
    fn gap_health_and_coverage_are_sentences() {
        let gap = json!({"event": "gap", "call_id": "c", "channel": 0, "start_ms": 1000,
            "end_ms": 2500, "reason": "asr_unavailable", "recovered": false, "detail": "refused"});
        let health = json!({"event": "channel_health", "call_id": "c", "channel": 0,
            "state": "one_way", "detail": "only channel 1 is heard"});
        let ended = json!({"event": "call_ended", "call_id": "c", "duration_ms": 3000,
            "reason": "hangup", "coverage": [{"channel": 0, "received_ms": 2980, "lost_ms": 20,
            "silence_ms": 480, "speech_ms": 2500, "transcribed_ms": 1000, "gap_ms": 1500}]});
        let lines = plain(&[gap, health, ended]);
        let lines: Vec<_> = lines.lines().collect();
        assert!(lines[0].ends_with("[no text for 1500 ms: asr unavailable: refused]"));
        assert!(lines[1].ends_with("[one way: only channel 1 is heard]"));
        assert!(lines[2].ends_with(
            "call ended: hangup; channel 0: 2.980 s received, 0.020 s lost, 2.500 s of speech, \
             1.000 s transcribed, 1.500 s in gaps"
        ));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let line = plain(&[
            json!({"event": "transcript", "call_id": "c\u{1b}[2J", "channel": 0,
            "text": "a\u{7}\u{9b}b"}),
        ]);
        assert!(line.trim_end().chars().all(|c| !c.is_control()), "{line:?}");
    }

    #[test]
    fn colour_is_for_terminals() {
        let error = json!({"event": "error", "code": "slow_reader", "message": "too slow"});
        assert_eq!(
            plain(std::slice::from_ref(&error)),
            "error: too slow (slow_reader)\n"
        );
        let coloured = Renderer::new(true).render(&error).unwrap();
        assert_eq!(coloured, "\x1b[31merror: too slow (slow_reader)\x1b[0m\n");
    }

    fn plain(events: &[Value]) -> String {
        let mut renderer = Renderer::new(false);
        events
            .iter()
            .filter_map(|event| renderer.render(event))
            .collect()
    }
}
