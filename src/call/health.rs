//! Why a leg is not heard, found out within seconds and said once.

mod saved;

use std::time::{Duration, Instant};

use crate::event::HealthState;
use crate::media::{Frame, Law};
pub use saved::SavedHealth;

/// How often [`Health::assess`] is worth asking.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A leg from which nothing has come for so long is `no_rtp`, or `one_way` if another leg of the call is heard.
const NO_RTP_AFTER: Duration = Duration::from_secs(5);

/// A leg that was heard and is not any more is `stalled` after so long. Longer than [`NO_RTP_AFTER`]: senders that
/// suppress silence send nothing while nobody speaks.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// A leg whose packets hold nothing but silence for so long is `silent`.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// What counts as sound: above the µ-law code of a peak of 64, −54 dBFS, which is above idle-channel
/// noise and below any speech.
const ULAW_QUIET: u8 = 7;

/// The same for A-law.
const ALAW_QUIET: u8 = 3;

/// What a frame shows of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Something that can be heard.
    Sound,
    /// Silence, or nothing that arrived.
    Silence,
}

impl Sighting {
    /// Judges a frame by its loudest sample.
    pub fn of(frame: &Frame) -> Self {
        // Of each law the loudness is in the low seven bits, once they are turned the right way
        // (G.711): no sample need be decoded.
        let (turned, quiet) = match frame.law {
            Law::Pcmu => (0xFF, ULAW_QUIET),
            Law::Pcma => (0x55, ALAW_QUIET),
        };
        let arrived = frame.lost < frame.len;
        let loudest = |loudest: u8, &byte: &u8| loudest.max((byte ^ turned) & 0x7F);
        if arrived && frame.bytes().iter().fold(0, loudest) > quiet {
            Self::Sound
        } else {
            Self::Silence
        }
    }
}

/// The health of one leg.
#[derive(Clone, Debug)]
pub struct Health {
    told: Option<HealthState>,
    detail: String,
    expected_since: Instant,
    last_frame: Option<Instant>,
    last_sound: Option<Instant>,
    fault: Option<(HealthState, String)>,
}

impl Health {
    /// Of a leg that is expected from `now` on.
    pub const fn new(now: Instant) -> Self {
        Self {
            told: None,
            detail: String::new(),
            expected_since: now,
            last_frame: None,
            last_sound: None,
            fault: None,
        }
    }

    /// What was told last, if anything.
    pub const fn told(&self) -> Option<HealthState> {
        self.told
    }

    /// The evidence that was told with it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A frame came out of the receiver.
    pub fn note_frame(&mut self, sighting: Sighting, now: Instant) {
        // What is heard again after a restart may be older than the silence that counts.
        let now = Some(now);
        self.last_frame = self.last_frame.max(now);
        if sighting == Sighting::Sound || self.last_sound.is_none() {
            self.last_sound = self.last_sound.max(now);
        }
    }

    /// The receiver found a fault, or `ok` when it is gone.
    pub fn note_fault(&mut self, state: HealthState, detail: String) {
        self.fault = (state != HealthState::Ok).then_some((state, detail));
    }

    /// The state to tell, if it is another one than was told last. A leg that was well from the start says nothing.
    pub fn assess(&mut self, is_other_heard: bool, now: Instant) -> Option<(HealthState, String)> {
        let (state, detail) = self.judge(is_other_heard, now);
        if self.told.unwrap_or(HealthState::Ok) == state {
            return None;
        }
        self.told = Some(state);
        self.detail.clone_from(&detail);
        Some((state, detail))
    }

    fn judge(&mut self, is_other_heard: bool, now: Instant) -> (HealthState, String) {
        if let Some(fault) = self.fault.clone() {
            if fault.0 == HealthState::SsrcChanged {
                self.fault = None;
            }
            return fault;
        }
        let quiet_since = self.last_frame.unwrap_or(self.expected_since);
        let quiet = now.saturating_duration_since(quiet_since);
        let patience = if self.last_frame.is_some() {
            STALLED_AFTER
        } else {
            NO_RTP_AFTER
        };
        if quiet >= patience {
            return self.judge_quiet(is_other_heard, quiet);
        }
        let muted = self
            .last_sound
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if muted >= SILENT_AFTER {
            let detail = format!(
                "packets arrive, but held only silence for {} s",
                muted.as_secs()
            );
            return (HealthState::Silent, detail);
        }
        (HealthState::Ok, "audio arrives".to_owned())
    }

    fn judge_quiet(&self, is_other_heard: bool, quiet: Duration) -> (HealthState, String) {
        let seconds = quiet.as_secs();
        match (self.last_frame, is_other_heard) {
            (_, true) => {
                let detail = format!("no packet for {seconds} s while another leg is heard");
                (HealthState::OneWay, detail)
            }
            (None, false) => (
                HealthState::NoRtp,
                format!("no packet since the call was expected, {seconds} s"),
            ),
            (Some(_), false) => (
                HealthState::Stalled,
                format!("packets stopped {seconds} s ago, without a BYE"),
            ),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sound_begins_at_the_same_peak_in_both_laws() {
        let decoded = |law, byte| match law {
            Law::Pcmu => audio_codec_algorithms::decode_ulaw(byte),
            Law::Pcma => audio_codec_algorithms::decode_alaw(byte),
        };
        for law in [Law::Pcmu, Law::Pcma] {
            for byte in 0..=255 {
                let frame = Frame {
                    start: crate::media::Samples::ZERO,
                    law,
                    g711: [byte; crate::media::FRAME_SAMPLES],
                    len: 160,
                    lost: 0,
                    telephone_event: false,
                };
                let is_sound = Sighting::of(&frame) == Sighting::Sound;
                let peak = decoded(law, byte).unsigned_abs();
                assert_eq!(is_sound, peak >= 64, "{law:?} {byte:#x}: {peak}");
            }
        }
    }

    #[test]
    fn leg_that_never_starts_is_told_once() {
        let epoch = Instant::now();
        let mut health = Health::new(epoch);
        assert_eq!(health.assess(false, epoch + SECOND), None);
        let told = health
            .assess(false, epoch + NO_RTP_AFTER)
            .map(|told| told.0);
        assert_eq!(told, Some(HealthState::NoRtp));
        assert_eq!(health.assess(false, epoch + NO_RTP_AFTER + SECOND), None);
    }

    #[test]
    fn missing_leg_beside_a_heard_one_is_one_way() {
        let epoch = Instant::now();
        let mut health = Health::new(epoch);
        let told = health.assess(true, epoch + NO_RTP_AFTER).map(|told| told.0);
        assert_eq!(told, Some(HealthState::OneWay));
    }

    #[test]
    fn stalled_leg_that_comes_back_is_ok_again() {
        let epoch = Instant::now();
        let mut health = Health::new(epoch);
        health.note_frame(Sighting::Sound, epoch);
        assert_eq!(health.assess(false, epoch + SECOND), None);
        let told = health
            .assess(false, epoch + STALLED_AFTER)
            .map(|told| told.0);
        assert_eq!(told, Some(HealthState::Stalled));
        health.note_frame(Sighting::Sound, epoch + 2 * STALLED_AFTER);
        let told = health
            .assess(false, epoch + 2 * STALLED_AFTER)
            .map(|told| told.0);
        assert_eq!(told, Some(HealthState::Ok));
    }

    #[test]
    fn packets_of_silence_are_told_as_silent() {
        let epoch = Instant::now();
        let mut health = Health::new(epoch);
        for second in 0..SILENT_AFTER.as_secs() {
            health.note_frame(
                Sighting::Silence,
                epoch + SECOND * u32::try_from(second).unwrap(),
            );
        }
        let told = health
            .assess(false, epoch + SILENT_AFTER)
            .map(|told| told.0);
        assert_eq!(told, Some(HealthState::Silent));
    }

    #[test]
    fn ssrc_change_is_told_and_then_forgotten() {
        let epoch = Instant::now();
        let mut health = Health::new(epoch);
        health.note_frame(Sighting::Sound, epoch);
        health.note_fault(HealthState::SsrcChanged, "second stream".into());
        let told = health.assess(false, epoch).map(|told| told.0);
        assert_eq!(told, Some(HealthState::SsrcChanged));
        let told = health.assess(false, epoch + SECOND).map(|told| told.0);
        assert_eq!(told, Some(HealthState::Ok));
    }
}
