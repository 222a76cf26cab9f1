//! What a leg says: its events, from what it knows.

use std::sync::Arc;
use std::time::Instant;

use crate::asr::Recognition;
use crate::call::Outbox;
use crate::call::label::{PartLabel, utterance_id};
use crate::call::leg::{Context, Leg};
use crate::call::part::{Outcome, Part};
use crate::event::{
    AsrTrace, Body, Channel, ChannelStarted, Coverage, GapReason, RtpFigures, Transcript,
    WordTiming,
};
use crate::media::receiver::Statistics;
use crate::media::{Law, Samples};

impl Leg {
    /// What is known of the leg, as the lines give it.
    pub fn describe(&self) -> Channel {
        Channel {
            channel: self.context.channel,
            role: self.spec.role,
            role_source: self.spec.role_source,
            codec: self.heard.map(|heard| heard.law).or(self.spec.law),
            local_port: self.context.port,
            remote: self.heard.map(|heard| heard.remote.to_string()),
        }
    }

    /// What a part that opens now is called outside its call.
    pub(super) fn label(
        &self,
        (utterance, part): (u64, u32),
        start: Samples,
        lead_in: Samples,
        opened_at: jiff::Timestamp,
    ) -> PartLabel {
        PartLabel {
            call_id: Arc::clone(&self.context.call_id),
            channel: self.context.channel,
            port: self.context.port,
            role: self.spec.role,
            role_source: self.spec.role_source,
            utterance,
            part,
            law: self.heard.map_or(Law::Pcmu, |heard| heard.law),
            start,
            lead_in,
            opened_at,
        }
    }

    /// The account of the leg; `None` if it was never heard.
    pub fn coverage(&self) -> Option<Coverage> {
        self.heard?;
        let rtp = rtp_figures(&self.receiver.statistics());
        Some(Coverage {
            rtp,
            ..self.ledger.coverage(self.context.channel)
        })
    }

    pub(super) fn publish_started(&self, outbox: &mut Outbox, now: Instant) {
        let Some(heard) = self.heard else { return };
        let body = Body::ChannelStarted(ChannelStarted {
            channel: self.context.channel,
            role: self.spec.role,
            role_source: self.spec.role_source,
            ssrc: heard.ssrc.0,
            codec: heard.law,
            remote: heard.remote.to_string(),
            start_ms: heard.start.as_ms(),
        });
        outbox.publish(&self.context.call_id, body, now);
    }

    pub(super) fn publish_loss(
        &self,
        (start, end): (Samples, Samples),
        detail: Option<String>,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let body = Body::Gap {
            channel: self.context.channel,
            start_ms: start.as_ms(),
            end_ms: end.as_ms(),
            reason: GapReason::RtpLoss,
            recovered: false,
            detail,
        };
        outbox.publish(&self.context.call_id, body, now);
    }

    pub(super) fn publish_settled(&mut self, outbox: &mut Outbox, now: Instant) {
        while let Some((mut part, closed, outcome)) = self.parts.poll_settled() {
            let body = match outcome {
                Outcome::Told { is_text: true } => {
                    self.ledger.count_transcribed(closed.speech);
                    continue;
                }
                Outcome::Told { is_text: false } => {
                    self.ledger.count_gap(closed.speech);
                    continue;
                }
                Outcome::Recognised(recognition) => {
                    self.ledger.count_transcribed(closed.speech);
                    part.revision += 1;
                    let finality = Finality::Final {
                        is_last: closed.last,
                    };
                    let line = self.transcript(&part, closed.end, finality, recognition);
                    Body::Transcript(Box::new(line))
                }
                Outcome::Unrecognised { reason, detail } => {
                    self.ledger.count_gap(closed.speech);
                    Body::Gap {
                        channel: self.context.channel,
                        start_ms: part.start.as_ms(),
                        end_ms: closed.end.as_ms(),
                        reason,
                        recovered: false,
                        detail: Some(detail),
                    }
                }
            };
            let key = self.context.part_key(part.utterance, part.part);
            outbox.settle(key, &self.context.call_id, body, now);
        }
    }

    pub(super) fn transcript(
        &self,
        part: &Part,
        end: Samples,
        finality: Finality,
        recognition: Recognition,
    ) -> Transcript {
        let audio_start = part.audio_start();
        let on_call_clock = |word: crate::asr::Word| WordTiming {
            text: word.text,
            start_ms: (audio_start + word.start).as_ms(),
            end_ms: (audio_start + word.end).as_ms(),
        };
        Transcript {
            channel: self.context.channel,
            role: self.spec.role,
            role_source: self.spec.role_source,
            utterance_id: self.context.utterance_id(part.utterance),
            revision: part.revision,
            part: part.part,
            part_final: finality != Finality::Interim,
            is_final: finality == Finality::Final { is_last: true },
            start_ms: part.start.as_ms(),
            end_ms: end.as_ms(),
            text: recognition.text,
            confidence: recognition.confidence,
            language: "zh-CN",
            words: recognition.words.into_iter().map(on_call_clock).collect(),
            late: part.is_late,
            asr: AsrTrace {
                provider: Arc::clone(&self.settings.provider),
                trace_id: recognition.trace_id,
                attempts: recognition.attempts,
                latency_ms: recognition.latency_ms,
            },
        }
    }

    pub(super) fn publish_onset(
        &self,
        utterance: u64,
        start: Samples,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let body = Body::SpeechStarted {
            channel: self.context.channel,
            utterance_id: self.context.utterance_id(utterance),
            start_ms: start.as_ms(),
        };
        outbox.publish(&self.context.call_id, body, now);
    }

    pub(super) fn publish_end_of_speech(
        &self,
        utterance: u64,
        (start, end): (Samples, Samples),
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let body = Body::SpeechEnded {
            channel: self.context.channel,
            utterance_id: self.context.utterance_id(utterance),
            start_ms: start.as_ms(),
            end_ms: end.as_ms(),
        };
        outbox.publish(&self.context.call_id, body, now);
    }

    pub(super) fn publish_digit(
        &self,
        digit: char,
        (start, duration): (Samples, Samples),
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let body = Body::Dtmf {
            channel: self.context.channel,
            digit,
            start_ms: start.as_ms(),
            duration_ms: duration.as_ms(),
        };
        outbox.publish(&self.context.call_id, body, now);
    }
}

impl Context {
    fn utterance_id(&self, utterance: u64) -> String {
        utterance_id(&self.call_id, self.channel, utterance)
    }
}

/// How final a transcript is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finality {
    Interim,
    Final { is_last: bool },
}

fn rtp_figures(statistics: &Statistics) -> RtpFigures {
    let counters = &statistics.counters;
    RtpFigures {
        packets: statistics.received,
        lost: statistics.never_seen,
        duplicates: counters.duplicate,
        late: counters.late,
        jitter_ms: Samples(statistics.jitter).as_ms(),
        refused: counters.other_ssrc
            + counters.source_rejected
            + counters.unknown_payload_type
            + counters.out_of_sequence
            + counters.malformed
            + counters.stun
            + counters.not_rtp,
    }
}
