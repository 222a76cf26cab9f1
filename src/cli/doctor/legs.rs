//! The legs of the live calls: which of them are heard, and why the others are not.

use serde_json::Value;

use super::finding::{Finding, Grade};

/// Looks at every call of `GET /v1/calls`.
pub fn examine(calls: &[Value]) -> Vec<Finding> {
    let findings: Vec<Finding> = calls.iter().flat_map(examine_call).collect();
    if calls.is_empty() {
        let says = "No call is registered or going on.";
        return vec![Finding::new("calls", Grade::Note, says)];
    }
    findings
}

fn examine_call(call: &Value) -> Vec<Finding> {
    let legs = call["legs"].as_array().map_or(&[][..], Vec::as_slice);
    if call["state"] == "ending" {
        let waiting: u64 = legs.iter().map(|leg| number(&leg["parts_waiting"])).sum();
        let says = format!(
            "Call {} is over; {waiting} of its parts wait for their text.",
            id(call)
        );
        return vec![Finding::new("call", Grade::Note, says)];
    }
    legs.iter().flat_map(|leg| examine_leg(call, leg)).collect()
}

fn examine_leg(call: &Value, leg: &Value) -> Vec<Finding> {
    let subject = Subject { call, leg };
    let mut findings = vec![subject.reception()];
    findings.extend(subject.loss());
    findings.extend(subject.level());
    findings.extend(subject.speech());
    findings
}

struct Subject<'a> {
    call: &'a Value,
    leg: &'a Value,
}

impl Subject<'_> {
    /// Whether it is heard; from whom, with what; and why not.
    fn reception(&self) -> Finding {
        let name = self.name();
        let port = &self.leg["local_port"];
        let seen = self.leg["health_detail"].as_str().unwrap_or_default();
        let finding = match self.leg["health"].as_str() {
            Some("no_rtp") => Finding::fault(
                "leg",
                format!("Nothing has arrived on UDP port {port}, where {name} is expected."),
            )
            .so(format!(
                "Have the PBX send that leg to {}; `tcpdump -ni any udp port {port}` shows whether it \
                 gets as far as this host. A firewall on the way drops it silently.",
                text(&self.leg["address"])
            )),
            Some("one_way") => Finding::fault(
                "leg",
                format!("The call is heard on one side only: nothing arrives for {name}."),
            )
            .so(format!(
                "Have the PBX send both directions: this one to {}, not both to one port. Where it \
                 mirrors a call, check that the fork covers the far leg too.",
                text(&self.leg["address"])
            )),
            Some("bad_payload") => {
                Finding::fault("leg", format!("{} gets packets that are not G.711.", self.subject()))
                    .so(codec_advice(seen))
            }
            Some("source_rejected") if self.is_heard() => Finding::warning(
                "leg",
                format!(
                    "{} is heard, and somebody else sends to its port beside it.",
                    self.subject()
                ),
            )
            .so("If the one that is heard is not the right one, register the call with \
                 expected_source."),
            Some("source_rejected") => Finding::fault(
                "leg",
                format!("{} gets packets from a sender that may not send it.", self.subject()),
            )
            .so("If that is your PBX, name its network in rtp.allowed-sources, or its address as \
                 expected_source of the leg (PATCH). If not, keep it out: it could speak in your calls."),
            Some("stalled") => Finding::warning("leg", format!("{} was heard, and is not any more.", self.subject()))
                .so("If the call is over, end it (DELETE); a sender on hold or with silence \
                     suppression may send nothing for a while."),
            Some("silent") => Finding::warning(
                "leg",
                format!("{} gets packets, but they hold nothing but silence.", self.subject()),
            )
            .so("Check for mute, for a fork of the wrong media handle, and for the microphone."),
            _ if self.is_heard() => return self.well(),
            _ => Finding::new("leg", Grade::Note, format!("{} has not been heard yet.", self.subject())),
        };
        finding.because(seen)
    }

    fn well(&self) -> Finding {
        let leg = self.leg;
        let level = leg["level_dbfs"].as_i64();
        let level = level.map_or(String::new(), |level| format!(" at {level} dBFS"));
        let says = format!(
            "{} is heard: {} from {}{level}; packets: {}, utterances: {}.",
            self.subject(),
            text(&leg["codec"]),
            text(&leg["remote"]),
            number(&leg["statistics"]["received"]),
            number(&leg["utterances"])
        );
        Finding::ok("leg", says)
    }

    fn loss(&self) -> Option<Finding> {
        let statistics = &self.leg["statistics"];
        let (expected, lost) = (number(&statistics["expected"]), number(&statistics["lost"]));
        let percent = (lost * 100).checked_div(expected)?;
        (percent >= LOSS_PERCENT).then(|| {
            Finding::warning(
                "loss",
                format!("{percent} % of the packets of {} are lost.", self.name()),
            )
            .because(format!("{lost} of {expected} packets never came"))
            .so("Look for the loss on the way from the PBX, and at the findings on kernel drops.")
        })
    }

    fn level(&self) -> Option<Finding> {
        let level = self.leg["coverage"]
            .is_object()
            .then(|| self.leg["level_dbfs"].as_i64());
        let level = level.flatten().filter(|_| self.leg["speech"] == true)?;
        (level < QUIET_DBFS).then(|| {
            Finding::warning("level", format!("Speech on {} is very quiet.", self.name()))
                .because(format!(
                    "{level} dBFS; speech on the telephone is at -30 to -10"
                ))
                .so("Raise the gain of the leg in the PBX.")
        })
    }

    /// Sound for a long time, and no speech in it.
    fn speech(&self) -> Option<Finding> {
        let heard_ms = number(&self.leg["coverage"]["received_ms"]);
        let is_mute = number(&self.leg["utterances"]) == 0 && self.leg["speech"] != true;
        (self.is_heard() && is_mute && heard_ms > SPEECHLESS_MS).then(|| {
            let says = format!("No speech was found on {} so far.", self.name());
            Finding::warning("speech", says)
                .because(format!("{} s of audio without an utterance", heard_ms / 1000))
                .so("Music and tones are not speech. If somebody does speak there, check the level, \
                     and speech.detector.")
        })
    }

    /// Its name at the beginning of a sentence.
    fn subject(&self) -> String {
        format!("L{}", &self.name()[1..])
    }

    fn name(&self) -> String {
        let role = self.leg["role"].as_str();
        let role = role.map_or(String::new(), |role| format!(" ({role})"));
        format!(
            "leg {}{role} of call {}",
            self.leg["channel"],
            id(self.call)
        )
    }

    /// Whether a packet of it came within the last seconds.
    fn is_heard(&self) -> bool {
        let silent_for = self.leg["last_packet_ms"].as_u64();
        silent_for.is_some_and(|ms| ms < HEARD_WITHIN_MS)
    }
}

/// What to do about packets of a payload type without a meaning.
pub fn codec_advice(seen: &str) -> String {
    let known = [
        ("payload type 3,", "GSM"),
        ("payload type 4,", "G.723"),
        ("payload type 9,", "G.722"),
        ("payload type 15,", "G.728"),
        ("payload type 18,", "G.729"),
    ];
    let codec = known.iter().find(|(words, _)| seen.contains(words));
    let what = codec.map_or_else(
        || "A payload type of 96 to 127 is agreed call by call, often Opus.".to_owned(),
        |(_, codec)| format!("That payload type is {codec}."),
    );
    format!(
        "{what} Have the PBX send G.711 (PCMU or PCMA) on that leg; if it is G.711 under another \
         number, add that to rtp.payload-types."
    )
}

fn id(call: &Value) -> String {
    text(&call["id"])
}

fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => "?".to_owned(),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A packet within so long means that the leg is heard; senders send every 10 to 100 ms.
const HEARD_WITHIN_MS: u64 = 3_000;

/// Loss from which words are lost, in percent.
const LOSS_PERCENT: u64 = 2;

/// Below this, speech is lost in the noise of the line.
const QUIET_DBFS: i64 = -50;

/// So much audio without an utterance is strange.
const SPEECHLESS_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(leg: &Value) -> Finding {
        let call = json!({"id": "c1", "state": "active", "legs": [leg]});
        examine(&[call]).swap_remove(0)
    }

    #[test]
    fn leg_that_is_heard_is_well_and_says_from_whom() {
        let found = finding(&json!({
            "channel": 0, "role": "AGENT", "local_port": 20_000, "last_packet_ms": 15, "codec": "PCMA",
            "remote": "192.0.2.1:4000", "statistics": {"received": 100, "expected": 100, "lost": 0},
        }));
        assert_eq!(found.grade, Grade::Ok);
        assert!(found.says.contains("PCMA from 192.0.2.1:4000"), "{found}");
    }

    #[test]
    fn each_trouble_has_a_sentence_the_evidence_and_an_advice() {
        for health in [
            "no_rtp",
            "one_way",
            "bad_payload",
            "source_rejected",
            "stalled",
            "silent",
        ] {
            let found = finding(&json!({
                "channel": 1, "local_port": 20_002, "address": "192.0.2.9:20002", "health": health,
                "health_detail": "the evidence", "statistics": {},
            }));
            assert!(found.grade >= Grade::Warning, "{found}");
            assert_eq!(found.evidence, "the evidence");
            assert!(
                !found.advice.is_empty() && found.says.to_lowercase().contains("leg 1 of call c1"),
                "{found}"
            );
        }
    }

    #[test]
    fn loss_quiet_speech_and_no_speech_are_told_beside_the_reception() {
        let call = json!({"id": "c1", "state": "active", "legs": [{
            "channel": 0, "last_packet_ms": 1, "level_dbfs": -60, "speech": true, "utterances": 1,
            "coverage": {"received_ms": 40_000}, "statistics": {"expected": 100, "lost": 5},
        }, {
            "channel": 1, "last_packet_ms": 1, "level_dbfs": -20, "speech": false, "utterances": 0,
            "coverage": {"received_ms": 40_000}, "statistics": {"expected": 100, "lost": 0},
        }]});
        let checks: Vec<_> = examine(&[call]).iter().map(|found| found.check).collect();
        assert_eq!(checks, ["leg", "loss", "level", "leg", "speech"]);
    }

    #[test]
    fn codec_is_named_where_its_number_is_fixed() {
        assert!(codec_advice("x sends payload type 9, which is no G.711 here").contains("G.722"));
        assert!(codec_advice("x sends payload type 111, which is no G.711 here").contains("Opus"));
    }
}
