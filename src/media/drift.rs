//! Drift: the sender's sample clock against ours.
//!
//! Jitter only ever delays a packet, so the fastest packets of a window show the clocks (a lower
//! envelope, as in "Clock skew estimation", Moon, Skelly, Towsley, 1999). The delay of the fastest
//! packet of the first seconds is the reference; what it grows or shrinks by later is drift, within
//! what clocks can do.

use crate::media::Samples;

/// Compares media time with arrival and says when to correct the mapping between them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Drift {
    window: Option<Window>,
    reference: Option<Reference>,
    /// Corrections asked for so far.
    corrected: i64,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Window {
    since: Samples,
    packets: u32,
    /// Least difference of arrival and media time.
    least: i64,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Reference {
    since: Samples,
    /// The least difference of the first window, and the same on the route taken now.
    origin: i64,
    least: i64,
    /// The least difference of the last window, and when it ended.
    last: i64,
    last_at: Samples,
}

impl Reference {
    /// A delay that changes faster than clocks can is another route: what it adds is no drift.
    fn follow_route(&mut self, least: i64, now: Samples) {
        let change = least - self.last;
        if (least - self.origin).abs() >= UNDENIABLE {
            self.least = self.origin;
        } else if change.abs() > credible(now.saturating_sub(self.last_at)) {
            self.least += change;
        }
        self.last = least;
        self.last_at = now;
    }
}

/// The most that clocks can differ by after so long.
const fn credible(elapsed: Samples) -> i64 {
    MAX_PPM * elapsed.0.cast_signed() / 1_000_000 + DEADBAND
}

impl Drift {
    /// Takes one packet's arrival less its media time, and gives what to add to positions from now
    /// on.
    pub(crate) fn observe(&mut self, delay: i64, arrival: Samples) -> i64 {
        let window = self.window.get_or_insert(Window {
            since: arrival,
            packets: 0,
            least: delay,
        });
        window.packets += 1;
        window.least = window.least.min(delay);
        let length = arrival.saturating_sub(window.since);
        let needed = if self.reference.is_some() {
            WINDOW
        } else {
            FIRST_WINDOW
        };
        if length < needed || window.packets < MIN_PACKETS {
            return 0;
        }
        let least = window.least;
        self.window = None;
        let Some(reference) = &mut self.reference else {
            self.reference = Some(Reference {
                since: arrival,
                origin: least,
                least,
                last: least,
                last_at: arrival,
            });
            return 0;
        };
        reference.follow_route(least, arrival);
        let drift = least - reference.least;
        let elapsed = arrival.saturating_sub(reference.since);
        self.correct(drift, elapsed)
    }

    fn correct(&mut self, drift: i64, elapsed: Samples) -> i64 {
        // A file sent as fast as it goes has no clock to follow.
        if drift.abs() * UNPACED > elapsed.0.cast_signed() {
            return 0;
        }
        let credible = credible(elapsed);
        let believed = if drift.abs() >= UNDENIABLE {
            drift
        } else {
            drift.clamp(-credible, credible)
        };
        let correction = believed - self.corrected;
        if correction.abs() < DEADBAND {
            return 0;
        }
        self.corrected = believed;
        correction
    }
}

/// The reference is taken over 10 s.
const FIRST_WINDOW: Samples = Samples::from_ms(10_000);

/// Drift is looked at every 20 s: 100 ppm make 2 ms meanwhile.
const WINDOW: Samples = Samples::from_ms(20_000);

/// Fewer packets tell nothing about the least delay.
const MIN_PACKETS: u32 = 50;

/// Errors of less than 8 ms are left alone.
const DEADBAND: i64 = 64;

/// No sample clock is worse; faster changes are the network's.
const MAX_PPM: i64 = 300;

/// A twentieth, 5 %, is the most that a sender in real time is off by.
const UNPACED: i64 = 20;

/// 200 ms between the fastest packets of two windows are an error whatever its cause.
const UNDENIABLE: i64 = 1_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundred_ppm_are_followed_within_half_a_packet() {
        for ppm in [-100, 100] {
            let worst = worst_error(ppm, |_| 0);
            assert!(worst < 80 + 16, "{ppm}: {worst} samples");
        }
    }

    #[test]
    fn jitter_and_bursts_are_not_drift() {
        let jitter = |n: i64| n * 7_919 % 640;
        let burst = |n: i64| (12 - n % 13) * 160;
        assert_eq!(corrections(0, jitter), 0);
        assert_eq!(corrections(0, burst), 0);
    }

    #[test]
    fn route_that_becomes_longer_is_no_clock() {
        let route = |n: i64| if n > 5_000 { 800 } else { 0 };
        assert!(corrections(0, route).abs() < 100);
    }

    #[test]
    fn sender_that_is_half_a_percent_slow_is_followed_as_well() {
        for ppm in [-5_000, 5_000] {
            let worst = worst_error(ppm, |_| 0);
            assert!(worst < 1_600 + 2 * 800, "{ppm}: {worst} samples");
        }
    }

    #[test]
    fn sender_at_ten_times_the_pace_is_left_alone() {
        assert_eq!(corrections(-900_000, |_| 0), 0);
    }

    /// Feeds one hour of 20 ms packets and gives the largest error of a position.
    fn worst_error(ppm: i64, delay: impl Fn(i64) -> i64) -> i64 {
        let mut drift = Drift::default();
        let mut offset = 0;
        let mut worst = 0;
        for n in 0..180_000 {
            let media_time = n * 160;
            let sent = media_time + media_time * ppm / 1_000_000;
            let arrival = sent + delay(n);
            offset += drift.observe(arrival - media_time, Samples(arrival.cast_unsigned()));
            worst = worst.max((media_time + offset - sent).abs());
        }
        worst
    }

    fn corrections(ppm: i64, delay: impl Fn(i64) -> i64) -> i64 {
        let mut drift = Drift::default();
        (0..180_000)
            .map(|n| {
                let arrival = n * 160 + n * 160 * ppm / 1_000_000 + delay(n);
                drift.observe(arrival - n * 160, Samples(arrival.cast_unsigned()))
            })
            .sum()
    }
}
