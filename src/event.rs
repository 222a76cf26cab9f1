//! The JSON-lines contract (version 1) as types; `docs/events.md` is the same for readers of the lines.

mod vocabulary;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::media::Law;

/// Version of the contract, field `v`.
pub const VERSION: u8 = 1;

/// One event on its way to the readers: everything but `epoch` and `seq`, which the publisher gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When the line was made.
    pub at: jiff::Timestamp,
    /// The call it belongs to, if it belongs to one.
    pub call_id: Option<Arc<str>>,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The line as it goes to readers, with its newline.
    ///
    /// # Panics
    /// Never: every body serialises to a JSON object.
    pub fn to_line(&self, epoch: &str, seq: u64) -> String {
        let envelope = Envelope {
            v: VERSION,
            epoch,
            seq: Some(seq),
            event: self.body.name(),
            ts: rfc3339(self.at),
            call_id: self.call_id.as_deref(),
            body: &self.body,
        };
        envelope.to_line()
    }
}

/// A line that is not journaled and has no `seq`: it is about the reader's connection, not about a call.
///
/// # Panics
/// Never: every body serialises to a JSON object.
pub fn unnumbered_line(epoch: &str, at: jiff::Timestamp, body: &Body) -> String {
    let (event, ts) = (body.name(), rfc3339(at));
    Envelope {
        v: VERSION,
        epoch,
        seq: None,
        event,
        ts,
        call_id: None,
        body,
    }
    .to_line()
}

/// What happened: the fields of each event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// First line on each connection.
    Hello(Hello),
    /// Nothing else to say for a while.
    Heartbeat {
        /// The number that the next line will have.
        next_seq: u64,
    },
    /// The first accepted packet of a call, or its registration.
    CallStarted(CallStarted),
    /// A leg's first accepted packet.
    ChannelStarted(ChannelStarted),
    /// Something about the call was learned late.
    CallUpdated(CallUpdated),
    /// Onset of an utterance.
    SpeechStarted {
        /// The leg.
        channel: u8,
        /// The utterance.
        utterance_id: String,
        /// Onset on the call clock, in milliseconds.
        start_ms: u64,
    },
    /// End of an utterance.
    SpeechEnded {
        /// The leg.
        channel: u8,
        /// The utterance.
        utterance_id: String,
        /// Onset on the call clock, in milliseconds.
        start_ms: u64,
        /// End on the call clock, in milliseconds.
        end_ms: u64,
    },
    /// What was said.
    Transcript(Box<Transcript>),
    /// A telephone key (RFC 4733).
    Dtmf {
        /// The leg.
        channel: u8,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// Start on the call clock, in milliseconds.
        start_ms: u64,
        /// How long it was held, in milliseconds.
        duration_ms: u64,
    },
    /// A stretch of a leg that no transcript covers.
    Gap {
        /// The leg.
        channel: u8,
        /// Start on the call clock, in milliseconds.
        start_ms: u64,
        /// End on the call clock, in milliseconds.
        end_ms: u64,
        /// Why.
        reason: GapReason,
        /// Whether a later line brings the text after all.
        recovered: bool,
        /// For people: what was tried and how it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// Why a leg is, or is not, heard.
    ChannelHealth {
        /// The leg.
        channel: u8,
        /// Its state now.
        state: HealthState,
        /// For people: the evidence.
        detail: String,
    },
    /// The call is over and every part of it is settled.
    CallEnded(CallEnded),
    /// Something is wrong with the daemon or with the reader's connection.
    Error {
        /// A word for programs.
        code: &'static str,
        /// A sentence for people.
        message: String,
        /// When it is worth trying again, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// Where to resume reading.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_from: Option<u64>,
    },
}

impl Body {
    /// The value of the field `event`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Heartbeat { .. } => "heartbeat",
            Self::CallStarted(_) => "call_started",
            Self::ChannelStarted(_) => "channel_started",
            Self::CallUpdated(_) => "call_updated",
            Self::SpeechStarted { .. } => "speech_started",
            Self::SpeechEnded { .. } => "speech_ended",
            Self::Transcript(_) => "transcript",
            Self::Dtmf { .. } => "dtmf",
            Self::Gap { .. } => "gap",
            Self::ChannelHealth { .. } => "channel_health",
            Self::CallEnded(_) => "call_ended",
            Self::Error { .. } => "error",
        }
    }
}

/// First line on each connection of a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Always `callscribe`.
    pub daemon: &'static str,
    /// The daemon's version.
    pub version: &'static str,
    /// The oldest line that can be resumed from.
    pub oldest_seq: u64,
    /// The number that the next line will have.
    pub next_seq: u64,
}

/// A call began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallStarted {
    /// RFC 3339 UTC: the zero of the call clock.
    pub started_at: String,
    /// The legs known so far.
    pub channels: Vec<Channel>,
    /// Calling party, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Called party, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who called whom, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What the registration said, passed on untouched.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: Metadata,
}

/// Free data of a call, passed on untouched.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// A leg as the lines describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Number of the leg in its call, from 0.
    pub channel: u8,
    /// Whose voice it carries, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How the role is known.
    pub role_source: RoleSource,
    /// The law, if known before the first packet or by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<Law>,
    /// The UDP port it is received on.
    pub local_port: u16,
    /// The sender, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// A leg's first accepted packet arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelStarted {
    /// Number of the leg in its call.
    pub channel: u8,
    /// Whose voice it carries, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How the role is known.
    pub role_source: RoleSource,
    /// The RTP synchronization source.
    pub ssrc: u32,
    /// The law of the first packet.
    pub codec: Law,
    /// The sender.
    pub remote: String,
    /// Where the leg begins on the call clock, in milliseconds.
    pub start_ms: u64,
}

/// What was learned late about a call; absent fields are as before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallUpdated {
    /// Legs with what changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Calling party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Called party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who called whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The whole metadata as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// What was said in one part of an utterance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transcript {
    /// Number of the leg in its call.
    pub channel: u8,
    /// Whose voice it is, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How the role is known.
    pub role_source: RoleSource,
    /// The utterance.
    pub utterance_id: String,
    /// Grows with each line about the same part.
    pub revision: u32,
    /// Ordinal of the part in its utterance.
    pub part: u32,
    /// Whether this closes the part.
    pub part_final: bool,
    /// Whether this closes the utterance.
    pub is_final: bool,
    /// Start of the part on the call clock, in milliseconds.
    pub start_ms: u64,
    /// End of the part on the call clock, in milliseconds.
    pub end_ms: u64,
    /// The words.
    pub text: String,
    /// 0 to 1, where the service gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// BCP 47.
    pub language: &'static str,
    /// Word timings on the call clock, if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordTiming>,
    /// Whether the audio had to wait on disk for the recogniser.
    pub late: bool,
    /// How it was recognised.
    pub asr: AsrTrace,
}

/// A word on the call clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WordTiming {
    /// The word.
    pub text: String,
    /// Start, in milliseconds.
    pub start_ms: u64,
    /// End, in milliseconds.
    pub end_ms: u64,
}

/// How a text came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AsrTrace {
    /// The recogniser, as configured.
    pub provider: Arc<str>,
    /// The service's name for the session.
    pub trace_id: String,
    /// Sessions it took.
    pub attempts: u32,
    /// From the last audio sent to this text, in milliseconds.
    pub latency_ms: u64,
}

/// A call is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallEnded {
    /// Why it ended.
    pub reason: EndReason,
    /// From the zero of the call clock to the end of the last leg's audio or last key, in milliseconds.
    pub duration_ms: u64,
    /// The ledger of each leg.
    pub coverage: Vec<Coverage>,
}

/// The ledger of a leg. `received + lost` is the length of the leg, `speech + silence = received`, and
/// `transcribed + gap = speech`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Number of the leg in its call.
    pub channel: u8,
    /// What arrived, or was meant as silence by the sender.
    pub received_ms: u64,
    /// What never arrived.
    pub lost_ms: u64,
    /// Received, outside every utterance.
    pub silence_ms: u64,
    /// Received, inside utterances.
    pub speech_ms: u64,
    /// Speech in final transcripts.
    pub transcribed_ms: u64,
    /// Speech in `gap` lines.
    pub gap_ms: u64,
    /// What the network delivered.
    pub rtp: RtpFigures,
}

/// The packets of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RtpFigures {
    /// RTP packets of the heard streams that came.
    pub packets: u64,
    /// Packets that never came: expected by sequence number (RFC 3550 §A.3), less those that came once or more.
    pub lost: u64,
    /// Second and further copies.
    pub duplicates: u64,
    /// Came after their place was given up.
    pub late: u64,
    /// Interarrival jitter (RFC 3550 §A.8), in milliseconds.
    pub jitter_ms: u64,
    /// Datagrams that were not used: from others, of other streams, of no known payload type, or no RTP.
    pub refused: u64,
}

/// Why a stretch of speech has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The network lost it before it reached us.
    RtpLoss,
    /// The recogniser could not be reached, or died on it.
    AsrUnavailable,
    /// The recogniser refused it for good.
    AsrRejected,
    /// More sessions were needed than are allowed.
    Quota,
    /// The daemon itself was past its capacity.
    Overload,
    /// A buffer was full.
    BufferFull,
    /// The daemon was stopped before the text came.
    Shutdown,
}

/// Whether a leg is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Audio arrives and is used.
    Ok,
    /// Registered, and nothing has arrived.
    NoRtp,
    /// Packets came, and come no more.
    Stalled,
    /// The other leg is heard, this one is not.
    OneWay,
    /// Packets arrive with nothing but silence in them.
    Silent,
    /// Packets arrive with a codec that is not G.711.
    BadPayload,
    /// Packets arrive from an address that is not allowed.
    SourceRejected,
    /// A second stream appeared on the port.
    SsrcChanged,
}

/// Whose voice a leg carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// The contact centre's side.
    Agent,
    /// The other side.
    Customer,
}

/// How a role is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleSource {
    /// By the control API.
    Registered,
    /// By the configuration file.
    Configured,
    /// By signalling.
    Signalled,
    /// Not at all.
    Unknown,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The customer called.
    Inbound,
    /// The agent called.
    Outbound,
    /// Within the contact centre.
    Internal,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// By the control API.
    Hangup,
    /// RTCP BYE on every leg (RFC 3550 §6.6).
    RtcpBye,
    /// Nothing arrived for the configured time.
    IdleTimeout,
    /// The daemon was stopped.
    Shutdown,
    /// The daemon was restarted, and could not go on with it.
    Interrupted,
    /// The capture being replayed is at its end.
    EndOfCapture,
}

#[derive(Serialize)]
struct Envelope<'a> {
    v: u8,
    epoch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    event: &'static str,
    ts: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a str>,
    #[serde(flatten)]
    body: &'a Body,
}

impl Envelope<'_> {
    fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("string keys and finite trees only");
        line.push('\n');
        line
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn rfc3339(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}
