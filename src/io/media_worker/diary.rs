//! What a worker logs of its calls: each line within the span of its call.

use std::sync::Arc;

use tracing::{Span, debug, info, info_span, warn};

use crate::call::PartKey;
use crate::event::{Body, CallEnded, Event, HealthState};

/// The span of a part; everything that is logged while it is recognised stands in it.
pub(super) fn part_span(call_id: Option<&Arc<str>>, key: PartKey) -> Span {
    let call_id = call_id.map_or("", |id| id);
    info_span!(
        "part",
        call_id,
        channel = key.channel,
        utterance = key.utterance,
        part = key.part
    )
}

/// Logs what an operator wants to know of a line that goes out; never what was said, or by whom.
pub(super) fn note(event: &Event) {
    let Some(call_id) = event.call_id.as_deref() else {
        return;
    };
    match &event.body {
        Body::CallStarted(started) => {
            let _call = info_span!("call", call_id).entered();
            info!(legs = started.channels.len(), "call began");
        }
        Body::CallEnded(ended) => {
            let _call = info_span!("call", call_id).entered();
            note_end(ended);
        }
        Body::ChannelHealth {
            channel,
            state,
            detail,
        } => {
            let _call = info_span!("call", call_id).entered();
            let state = state.name();
            match state == HealthState::Ok.name() {
                true => info!(channel, detail, "leg is well again"),
                false => warn!(channel, state, detail, "leg is in trouble"),
            }
        }
        Body::ChannelStarted(started) => {
            let _call = info_span!("call", call_id).entered();
            debug!(
                channel = started.channel,
                ssrc = started.ssrc,
                remote = started.remote,
                "leg is heard"
            );
        }
        Body::Hello(_)
        | Body::Heartbeat { .. }
        | Body::CallUpdated(_)
        | Body::SpeechStarted { .. }
        | Body::SpeechEnded { .. }
        | Body::Transcript(_)
        | Body::Dtmf { .. }
        | Body::Gap { .. }
        | Body::Error { .. } => {}
    }
}

fn note_end(ended: &CallEnded) {
    let sum = |ms: fn(&crate::event::Coverage) -> u64| ended.coverage.iter().map(ms).sum::<u64>();
    info!(
        reason = ended.reason.name(),
        duration_ms = ended.duration_ms,
        speech_ms = sum(|leg| leg.speech_ms),
        transcribed_ms = sum(|leg| leg.transcribed_ms),
        gap_ms = sum(|leg| leg.gap_ms),
        lost_ms = sum(|leg| leg.lost_ms),
        "call ended"
    );
}
