//! The events as AWS Live Call Analytics takes them from its Kinesis stream: `START`, `ADD_TRANSCRIPT_SEGMENT`, `END`.
//!
//! One JSON object a line; what writes them to the stream takes `CallId` for the partition key. Texts that were not
//! understood, and events that Live Call Analytics has no word for, are left out.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Makes records of events; remembers the parties of a call until it is over.
#[derive(Debug, Default)]
pub struct Records {
    parties: HashMap<String, Parties>,
}

/// Telephone numbers, as far as they are known.
#[derive(Clone, Debug, Default)]
struct Parties {
    customer: Option<String>,
    system: Option<String>,
}

impl Records {
    /// The record of an event with its newline, if it has one.
    pub fn render(&mut self, event: &Value) -> Option<String> {
        let call_id = event["call_id"].as_str()?;
        let record = match event["event"].as_str()? {
            "call_started" => {
                let parties = self.parties.entry(call_id.to_owned()).or_default();
                parties.learn(event);
                parties.record("START", "CreatedAt", event)
            }
            "call_updated" => {
                self.parties.get_mut(call_id)?.learn(event);
                return None;
            }
            "call_ended" => {
                let parties = self.parties.remove(call_id).unwrap_or_default();
                parties.record("END", "UpdatedAt", event)
            }
            "transcript" => segment(event)?,
            _ => return None,
        };
        Some(format!("{record}\n"))
    }
}

impl Parties {
    /// The customer is who called, unless the agent did.
    fn learn(&mut self, event: &Value) {
        let number = |field: &str| event[field].as_str().map(str::to_owned);
        let (customer, system) = match event["direction"].as_str() {
            Some("outbound") => ("to", "from"),
            _ => ("from", "to"),
        };
        self.customer = number(customer).or(self.customer.take());
        self.system = number(system).or(self.system.take());
    }

    fn record(&self, kind: &str, time: &str, event: &Value) -> Value {
        let mut record = Map::new();
        record.insert("EventType".to_owned(), json!(kind));
        record.insert("CallId".to_owned(), event["call_id"].clone());
        let numbers = [
            ("CustomerPhoneNumber", &self.customer),
            ("SystemPhoneNumber", &self.system),
        ];
        for (field, number) in numbers {
            if let Some(number) = number {
                record.insert(field.to_owned(), json!(number));
            }
        }
        record.insert(time.to_owned(), event["ts"].clone());
        Value::Object(record)
    }
}

/// A part's text; the number of the segment stays the same while the text still changes.
fn segment(event: &Value) -> Option<Value> {
    let text = event["text"].as_str().filter(|text| !text.is_empty())?;
    let (utterance, part) = (event["utterance_id"].as_str()?, event["part"].as_u64()?);
    Some(json!({
        "EventType": "ADD_TRANSCRIPT_SEGMENT",
        "CallId": event["call_id"],
        "Channel": channel(event),
        "SegmentId": format!("{utterance}/{part}"),
        "StartTime": seconds(&event["start_ms"])?,
        "EndTime": seconds(&event["end_ms"])?,
        "Transcript": text,
        "IsPartial": event["part_final"] != true,
        "CreatedAt": event["ts"],
        "UpdatedAt": event["ts"],
    }))
}

/// Who nobody knows is taken by the order of the legs: the caller is the first.
fn channel(event: &Value) -> &'static str {
    match (event["role"].as_str(), event["channel"].as_u64()) {
        (Some("AGENT"), _) => "AGENT",
        (Some("CUSTOMER"), _) | (_, Some(0)) => "CALLER",
        _ => "AGENT",
    }
}

fn seconds(ms: &Value) -> Option<f64> {
    ms.as_f64().map(|ms| ms / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(records: &mut Records, event: &Value) -> Option<Value> {
        let line = records.render(event)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    #[test]
    fn call_is_a_start_segments_and_an_end() {
        let mut records = Records::default();
        let started = json!({"event": "call_started", "call_id": "c", "ts": "T1",
            "direction": "outbound", "from": "400", "to": "138"});
        assert_eq!(
            render(&mut records, &started),
            Some(
                json!({"EventType": "START", "CallId": "c", "CustomerPhoneNumber": "138",
                "SystemPhoneNumber": "400", "CreatedAt": "T1"})
            )
        );
        let transcript = json!({"event": "transcript", "call_id": "c", "ts": "T2", "channel": 0,
            "role": "AGENT", "utterance_id": "c/0/1", "part": 2, "part_final": false,
            "start_ms": 1500, "end_ms": 2250, "text": "您好"});
        assert_eq!(
            render(&mut records, &transcript),
            Some(
                json!({"EventType": "ADD_TRANSCRIPT_SEGMENT", "CallId": "c", "Channel": "AGENT",
                "SegmentId": "c/0/1/2", "StartTime": 1.5, "EndTime": 2.25, "Transcript": "您好",
                "IsPartial": true, "CreatedAt": "T2", "UpdatedAt": "T2"})
            )
        );
        let ended = json!({"event": "call_ended", "call_id": "c", "ts": "T3"});
        assert_eq!(
            render(&mut records, &ended),
            Some(
                json!({"EventType": "END", "CallId": "c", "CustomerPhoneNumber": "138",
                "SystemPhoneNumber": "400", "UpdatedAt": "T3"})
            )
        );
        assert!(records.parties.is_empty());
    }

    #[test]
    fn empty_text_and_other_events_are_no_records() {
        let mut records = Records::default();
        for event in [
            json!({"event": "transcript", "call_id": "c", "text": ""}),
            json!({"event": "speech_started", "call_id": "c"}),
            json!({"event": "hello"}),
        ] {
            assert_eq!(records.render(&event), None);
        }
    }
}
