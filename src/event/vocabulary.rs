//! The words of the contract as a list: for whoever counts by them.

use crate::event::{EndReason, GapReason, HealthState};

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::RtpLoss,
        Self::AsrUnavailable,
        Self::AsrRejected,
        Self::Quota,
        Self::Overload,
        Self::BufferFull,
        Self::Shutdown,
    ];

    /// The value in a word, as the lines write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RtpLoss => "rtp_loss",
            Self::AsrUnavailable => "asr_unavailable",
            Self::AsrRejected => "asr_rejected",
            Self::Quota => "quota",
            Self::Overload => "overload",
            Self::BufferFull => "buffer_full",
            Self::Shutdown => "shutdown",
        }
    }
}

impl HealthState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::NoRtp,
        Self::Stalled,
        Self::OneWay,
        Self::Silent,
        Self::BadPayload,
        Self::SourceRejected,
        Self::SsrcChanged,
    ];

    /// The value in a word, as the lines write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoRtp => "no_rtp",
            Self::Stalled => "stalled",
            Self::OneWay => "one_way",
            Self::Silent => "silent",
            Self::BadPayload => "bad_payload",
            Self::SourceRejected => "source_rejected",
            Self::SsrcChanged => "ssrc_changed",
        }
    }
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Hangup,
        Self::RtcpBye,
        Self::IdleTimeout,
        Self::Shutdown,
        Self::Interrupted,
        Self::EndOfCapture,
    ];

    /// The value in a word, as the lines write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangup => "hangup",
            Self::RtcpBye => "rtcp_bye",
            Self::IdleTimeout => "idle_timeout",
            Self::Shutdown => "shutdown",
            Self::Interrupted => "interrupted",
            Self::EndOfCapture => "end_of_capture",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[test]
    fn names_are_those_of_the_lines() {
        assert_names(&GapReason::ALL, GapReason::name);
        assert_names(&HealthState::ALL, HealthState::name);
        assert_names(&EndReason::ALL, EndReason::name);
    }

    #[track_caller]
    fn assert_names<T: Serialize + Copy>(all: &[T], name: fn(T) -> &'static str) {
        for &word in all {
            assert_eq!(serde_json::to_value(word).unwrap(), name(word));
        }
    }
}
