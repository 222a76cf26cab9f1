//! The text messages of the short-stream protocol, both directions, as types.
//!
//! Reading is tolerant (unknown keys, missing keys, booleans as strings, integers as floats: all of
//! them are sent by some age of the service or of its clients); writing is exact.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// What the client says.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Opens a session. The keys of `config` stay as they came: who reads them judges each one.
    Start {
        /// `audio_format`, `property` and the switches.
        config: Map<String, Value>,
    },
    /// Closes a session.
    End {
        /// Drop what is unfinished and send no more results.
        cancel: bool,
    },
}

/// What the service says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "resp_type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerMessage {
    /// The session is open.
    Start {
        /// The service's name for the session.
        trace_id: String,
    },
    /// Something happened that changes no state.
    Event {
        /// The service's name for the session.
        trace_id: String,
        /// For example `EXCEEDED_AUDIO`.
        event: String,
        /// Milliseconds from the start of the session.
        timestamp: u64,
    },
    /// Words.
    Result {
        /// The service's name for the session.
        trace_id: String,
        /// Stretches of the audio with their text.
        segments: Vec<Segment>,
    },
    /// The session failed; the socket stays open.
    Error(ServiceError),
    /// The session failed; the service closes the socket.
    FatalError(ServiceError),
    /// The session is over.
    End {
        /// The service's name for the session.
        trace_id: String,
        /// How it went.
        reason: EndReason,
    },
    /// A message of a kind that this program does not know.
    #[serde(skip)]
    Unknown {
        /// Its `resp_type`, or empty.
        resp_type: String,
    },
}

/// A stretch of audio and its text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment {
    /// Milliseconds from the start of the session.
    #[serde(deserialize_with = "milliseconds")]
    pub start_time: u64,
    /// Milliseconds from the start of the session.
    #[serde(deserialize_with = "milliseconds")]
    pub end_time: u64,
    /// Whether the text will not change.
    #[serde(deserialize_with = "truth")]
    pub is_final: bool,
    /// Absent when this stretch failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<SegmentResult>,
}

/// The text of a segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SegmentResult {
    /// The words.
    #[serde(deserialize_with = "as_text")]
    pub text: String,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "score")]
    pub score: Option<f64>,
    /// Timings, if asked for.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub word_info: Vec<WordInfo>,
}

/// A word and its place in the session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WordInfo {
    /// Milliseconds from the start of the session.
    #[serde(deserialize_with = "milliseconds")]
    pub start_time: u64,
    /// Milliseconds from the start of the session.
    #[serde(deserialize_with = "milliseconds")]
    pub end_time: u64,
    /// The word; a character, in Mandarin.
    #[serde(deserialize_with = "as_text")]
    pub word: String,
}

/// The body of `ERROR`, of `FATAL_ERROR` and of a refused handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceError {
    /// The service's name for the session; the documentation lets an error omit it.
    #[serde(deserialize_with = "as_text")]
    pub trace_id: String,
    /// `SIS.nnnn`, `APIG.nnnn` or `APIGW.nnnn`.
    #[serde(deserialize_with = "as_text")]
    pub error_code: String,
    /// A sentence.
    #[serde(deserialize_with = "as_text")]
    pub error_msg: String,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EndReason {
    /// Everything sent was recognised.
    Normal,
    /// The client asked to drop it.
    Cancel,
    /// An error came before.
    Error,
}

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or not an object, or a key of the wrong type.
    #[error("message is not what the protocol says: {0}")]
    Malformed(String),
    /// `command` is neither START nor END.
    #[error("unknown command {0:?}; expected \"START\" or \"END\"")]
    UnknownCommand(String),
}

impl ClientMessage {
    /// Reads a client's text message.
    ///
    /// # Errors
    /// When it is no JSON object with a known `command`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Wire {
            command: String,
            #[serde(default)]
            config: Map<String, Value>,
            #[serde(default, deserialize_with = "truth")]
            cancel: bool,
        }
        let wire: Wire = parse(text)?;
        match wire.command.as_str() {
            "START" => Ok(Self::Start {
                config: wire.config,
            }),
            "END" => Ok(Self::End {
                cancel: wire.cancel,
            }),
            _ => Err(ParseError::UnknownCommand(wire.command)),
        }
    }

    /// The message as it goes on the wire.
    pub fn to_json(&self) -> String {
        match self {
            Self::Start { config } => serde_json::json!({"command": "START", "config": config}),
            Self::End { cancel } => serde_json::json!({"command": "END", "cancel": cancel}),
        }
        .to_string()
    }
}

impl ServerMessage {
    /// Reads a message of the service.
    ///
    /// # Errors
    /// When it is no JSON object, or a key that its kind needs has the wrong type.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wire {
            #[serde(deserialize_with = "as_text")]
            resp_type: String,
            #[serde(deserialize_with = "as_text")]
            trace_id: String,
            #[serde(deserialize_with = "as_text")]
            event: String,
            #[serde(deserialize_with = "milliseconds")]
            timestamp: u64,
            #[serde(deserialize_with = "null_as_default")]
            segments: Vec<Segment>,
            #[serde(deserialize_with = "as_text")]
            error_code: String,
            #[serde(deserialize_with = "as_text")]
            error_msg: String,
            #[serde(deserialize_with = "as_text")]
            reason: String,
        }
        let wire: Wire = parse(text)?;
        let trace_id = wire.trace_id;
        let error = |trace_id| ServiceError {
            trace_id,
            error_code: wire.error_code,
            error_msg: wire.error_msg,
        };
        Ok(match wire.resp_type.as_str() {
            "START" => Self::Start { trace_id },
            "EVENT" => Self::Event {
                trace_id,
                event: wire.event,
                timestamp: wire.timestamp,
            },
            "RESULT" => Self::Result {
                trace_id,
                segments: wire.segments,
            },
            "ERROR" => Self::Error(error(trace_id)),
            "FATAL_ERROR" => Self::FatalError(error(trace_id)),
            "END" => Self::End {
                trace_id,
                reason: match wire.reason.as_str() {
                    "CANCEL" => EndReason::Cancel,
                    "ERROR" => EndReason::Error,
                    _ => EndReason::Normal,
                },
            },
            _ => Self::Unknown {
                resp_type: wire.resp_type,
            },
        })
    }

    /// The message as it goes on the wire.
    ///
    /// # Panics
    /// On [`ServerMessage::Unknown`], which nobody sends.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("every kind but Unknown serialises")
    }
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, ParseError> {
    serde_json::from_str(text).map_err(|error| ParseError::Malformed(error.to_string()))
}

/// A boolean, or the string "true" or "false" in any case: the official Python SDK sends
/// `"cancel": "false"`.
#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has no further kinds")]
fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match Value::deserialize(from)? {
        Value::Bool(truth) => Ok(truth),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") || word.is_empty() => Ok(false),
        Value::Null => Ok(false),
        other => Err(serde::de::Error::custom(format!(
            "{other} is not a boolean"
        ))),
    }
}

/// Milliseconds as an integer or a float; negative and absent ones are 0.
#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has no further kinds")]
fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_u64().unwrap_or_else(|| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates, and so does a clock"
            )]
            let whole = number.as_f64().unwrap_or(0.0).max(0.0) as u64;
            whole
        }),
        _ => 0,
    })
}

/// A string; null is empty, and anything else is as it stands.
#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has no further kinds")]
fn as_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

/// A number from 0 to 1; anything else is none.
fn score<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let score = Value::deserialize(from)?.as_f64();
    Ok(score.filter(|score| (0.0..=1.0).contains(score)))
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_is_read_as_boolean_or_as_the_sdks_string() {
        for (text, cancel) in [
            (r#"{"command":"END","cancel":true}"#, true),
            (r#"{"command":"END","cancel":"false"}"#, false),
            (r#"{"command":"END","cancel":"True"}"#, true),
            (r#"{"command": "END"}"#, false),
        ] {
            assert_eq!(
                ClientMessage::parse(text),
                Ok(ClientMessage::End { cancel }),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_command_is_refused_by_name() {
        let error = ClientMessage::parse(r#"{"command":"CANCEL"}"#).unwrap_err();
        assert_eq!(error, ParseError::UnknownCommand("CANCEL".into()));
    }

    #[test]
    fn result_with_odd_types_is_read() {
        let text = r#"{"resp_type":"RESULT","trace_id":"t","extra":1,"segments":[
            {"start_time":0.0,"end_time":1700.5,"is_final":"true","result":{"text":"好","new":[]}},
            {"start_time":1800,"end_time":-1,"is_final":false}]}"#;
        let Ok(ServerMessage::Result { segments, .. }) = ServerMessage::parse(text) else {
            panic!("not read");
        };
        assert_eq!((segments[0].end_time, segments[0].is_final), (1700, true));
        assert_eq!(
            (segments[1].end_time, segments[1].result.as_ref()),
            (0, None)
        );
    }

    #[test]
    fn null_and_numbers_in_place_of_text_are_read() {
        let text = r#"{"resp_type":"RESULT","trace_id":null,"event":null,"segments":[
            {"is_final":true,"result":{"text":null,"score":"high","word_info":null}}]}"#;
        let Ok(ServerMessage::Result { segments, .. }) = ServerMessage::parse(text) else {
            panic!("not read");
        };
        assert_eq!(segments[0].result, Some(SegmentResult::default()));
        let text = r#"{"resp_type":"FATAL_ERROR","error_code":304,"error_msg":null}"#;
        let Ok(ServerMessage::FatalError(error)) = ServerMessage::parse(text) else {
            panic!("not read")
        };
        assert_eq!(error.error_code, "304");
    }

    #[test]
    fn error_without_trace_id_is_read() {
        let text = r#"{"resp_type":"ERROR","error_code":"SIS.0032","error_msg":"no"}"#;
        let Ok(ServerMessage::Error(error)) = ServerMessage::parse(text) else {
            panic!("not read")
        };
        assert_eq!(
            (error.error_code.as_str(), error.trace_id.as_str()),
            ("SIS.0032", "")
        );
    }

    #[test]
    fn empty_and_null_segments_are_no_words() {
        for text in [
            r#"{"resp_type":"RESULT","trace_id":"t","segments":[]}"#,
            r#"{"resp_type":"RESULT","trace_id":"t","segments":null}"#,
            r#"{"resp_type":"RESULT","trace_id":"t"}"#,
        ] {
            let expected = ServerMessage::Result {
                trace_id: "t".into(),
                segments: vec![],
            };
            assert_eq!(ServerMessage::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn messages_are_written_as_the_protocol_shows_them() {
        let end = ServerMessage::End {
            trace_id: "t".into(),
            reason: EndReason::Normal,
        };
        assert_eq!(
            end.to_json(),
            r#"{"resp_type":"END","trace_id":"t","reason":"NORMAL"}"#
        );
        let end = ClientMessage::End { cancel: false };
        assert_eq!(end.to_json(), r#"{"cancel":false,"command":"END"}"#);
    }

    #[test]
    fn unknown_kind_is_told_apart_not_refused() {
        let message = ServerMessage::parse(r#"{"resp_type":"VOICE_PRINT","trace_id":"x"}"#);
        assert_eq!(
            message,
            Ok(ServerMessage::Unknown {
                resp_type: "VOICE_PRINT".into()
            })
        );
    }
}
