//! How much of its capacity a worker uses, and what it sheds before it would lose anything.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use serde::Serialize;

/// From which load on what is shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// No call begins, in percent; 0: none ever does.
    pub refuse_calls_percent: u32,
    /// What is said from now on is recognised later, in percent; 0: everything is.
    pub defer_speech_percent: u32,
    /// Ticks that begin so late on average are a load of 100 %.
    pub full_lag: Duration,
    /// Legs at one time, over all workers; any number if `None`.
    pub max_legs: Option<NonZeroUsize>,
}

impl Default for Settings {
    /// Nothing is ever shed: what a capture needs, which is replayed at any pace.
    fn default() -> Self {
        Self {
            refuse_calls_percent: u32::MAX,
            defer_speech_percent: u32::MAX,
            full_lag: Duration::MAX,
            max_legs: None,
        }
    }
}

/// What a worker sheds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shedding {
    /// Nothing.
    #[default]
    Nothing,
    /// Calls that would begin.
    Calls,
    /// Those, and the recognition of what is said from now on, which waits.
    Speech,
}

/// What a worker was found to use, over [`WINDOW`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Of a core, by the worker's thread, as a share.
    pub busy: f64,
    /// How late its ticks began on average.
    pub lag: Duration,
    /// The larger of `busy` and of `lag` to [`Settings::full_lag`]: 1 is all there is.
    pub share: f64,
}

/// Why no call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The load.
    #[error(
        "the daemon is at {load_percent} % of its capacity and takes no call from \
         overload.refuse-calls-percent = {limit_percent} on"
    )]
    Load {
        /// As it was found last.
        load_percent: u32,
        /// The limit.
        limit_percent: u32,
    },
    /// The number of legs.
    #[error("the daemon carries {legs} legs on this worker, its share of overload.max-legs")]
    Legs {
        /// How many there may be.
        legs: usize,
    },
}

/// Watches the load of one worker.
///
/// The worker tells of every tick ([`Overload::handle_tick`]) and, when [`Overload::is_due`], how much
/// time its thread has used so far ([`Overload::handle_usage`]). A load has to last: shedding begins
/// after [`RISE_AFTER`] windows above a limit, and ends after [`FALL_AFTER`] well below it.
#[derive(Clone, Debug)]
pub struct Overload {
    settings: Settings,
    /// Among so many workers [`Settings::max_legs`] is shared.
    workers: NonZeroUsize,
    shedding: Shedding,
    told: Shedding,
    load: Load,
    window: Option<Window>,
    rise: Trend,
    fall: Trend,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    used_before: Duration,
    lags: Duration,
    ticks: u32,
}

/// Windows in a row that agree, and what they agree on.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    windows: u32,
    to: Shedding,
}

impl Overload {
    /// Of a worker that has done nothing yet, one of so many.
    pub fn new(settings: Settings, workers: NonZeroUsize) -> Self {
        Self {
            settings,
            workers,
            shedding: settings.shedding_at(0.0, 1.0),
            told: Shedding::Nothing,
            load: Load::default(),
            window: None,
            rise: Trend::default(),
            fall: Trend::default(),
        }
    }

    /// A tick began so late.
    pub fn handle_tick(&mut self, lag: Duration) {
        if let Some(window) = &mut self.window {
            window.lags = window.lags.saturating_add(lag);
            window.ticks += 1;
        }
    }

    /// Whether [`Overload::handle_usage`] has something to learn.
    pub fn is_due(&self, now: Instant) -> bool {
        self.window
            .is_none_or(|window| now.saturating_duration_since(window.since) >= WINDOW)
    }

    /// The worker's thread has used so much time of a core so far. Tells what is shed, if it is not what
    /// was told last.
    pub fn handle_usage(&mut self, used: Duration, now: Instant) -> Option<Shedding> {
        if !self.is_due(now) {
            return None;
        }
        let ended = self.window.replace(Window {
            since: now,
            used_before: used,
            lags: Duration::ZERO,
            ticks: 0,
        });
        if let Some(ended) = ended {
            self.load = self.load_of(&ended, used, now);
            self.judge();
        }
        let told = std::mem::replace(&mut self.told, self.shedding);
        (told != self.shedding).then_some(self.shedding)
    }

    /// Goes on with other limits; they hold at once.
    pub fn adopt(&mut self, settings: Settings) {
        if self.settings != settings {
            self.settings = settings;
            self.shed(settings.shedding_at(self.load.share, 1.0));
        }
    }

    /// What is shed.
    pub const fn shedding(&self) -> Shedding {
        self.shedding
    }

    /// The load of the last window.
    pub const fn load(&self) -> Load {
        self.load
    }

    /// Why a call of `more` legs cannot begin beside `legs` that there are, if it cannot.
    pub fn refusal(&self, legs: usize, more: usize) -> Option<Refusal> {
        let share = |max: NonZeroUsize| max.get().div_ceil(self.workers.get());
        let most = self.settings.max_legs.map_or(usize::MAX, share);
        if legs.saturating_add(more) > most {
            return Some(Refusal::Legs { legs: most });
        }
        (self.shedding >= Shedding::Calls).then(|| Refusal::Load {
            load_percent: self.load.percent(),
            limit_percent: self.settings.refuse_calls_percent,
        })
    }

    fn load_of(&self, window: &Window, used: Duration, now: Instant) -> Load {
        let wall = now.saturating_duration_since(window.since).as_secs_f64();
        let busy = used.saturating_sub(window.used_before).as_secs_f64() / wall;
        let lag = window.lags.checked_div(window.ticks).unwrap_or_default();
        let late = lag.as_secs_f64() / self.settings.full_lag.as_secs_f64();
        Load {
            busy,
            lag,
            share: busy.max(late),
        }
    }

    fn judge(&mut self) {
        let at_limits = self.settings.shedding_at(self.load.share, 1.0);
        let well_below = self.settings.shedding_at(self.load.share, RELIEF);
        if at_limits > self.shedding {
            self.fall = Trend::default();
            let to = self.rise.follow(at_limits, Shedding::min);
            if self.rise.windows >= RISE_AFTER {
                self.shed(to);
            }
            return;
        }
        self.rise = Trend::default();
        if well_below < self.shedding {
            let to = self.fall.follow(well_below, Shedding::max);
            if self.fall.windows >= FALL_AFTER {
                self.shed(to);
            }
        } else {
            self.fall = Trend::default();
        }
    }

    fn shed(&mut self, shedding: Shedding) {
        self.shedding = shedding;
        self.rise = Trend::default();
        self.fall = Trend::default();
    }
}

impl Settings {
    /// What a load calls for, by limits that are lowered to a share of what they are.
    fn shedding_at(&self, load: f64, lowered: f64) -> Shedding {
        let reaches = |percent: u32| load >= f64::from(percent) / 100.0 * lowered;
        if reaches(self.defer_speech_percent) {
            Shedding::Speech
        } else if reaches(self.refuse_calls_percent) {
            Shedding::Calls
        } else {
            Shedding::Nothing
        }
    }
}

impl Trend {
    fn follow(&mut self, to: Shedding, cautious: fn(Shedding, Shedding) -> Shedding) -> Shedding {
        self.to = if self.windows == 0 {
            to
        } else {
            cautious(self.to, to)
        };
        self.windows += 1;
        self.to
    }
}

impl Load {
    /// The load in whole percent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is small and not negative; the cast saturates"
    )]
    pub fn percent(&self) -> u32 {
        (self.share * 100.0).round() as u32
    }
}

impl Shedding {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Calls, Self::Speech];

    /// It in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Calls => "calls",
            Self::Speech => "speech",
        }
    }
}

impl fmt::Display for Shedding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Nothing => "nothing is shed any more",
            Self::Calls => "no call begins",
            Self::Speech => "no call begins, and what is said from now on is recognised later",
        })
    }
}

/// Over so long the load is taken.
pub const WINDOW: Duration = Duration::from_secs(1);

/// Windows above a limit after which something is shed.
pub const RISE_AFTER: u32 = 3;

/// Windows below `RELIEF` of a limit after which it is not shed any more: longer, or the daemon would
/// swing between the two.
pub const FALL_AFTER: u32 = 10;

/// Shedding ends at this share of a limit.
const RELIEF: f64 = 0.85;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_sheds_nothing_and_a_lasting_load_sheds_calls_then_speech() {
        let mut worker = Worker::new(SETTINGS);
        assert_eq!(worker.seconds_at(2, 0.99), Shedding::Nothing);
        assert_eq!(worker.seconds_at(1, 0.10), Shedding::Nothing);
        assert_eq!(worker.seconds_at(2, 0.90), Shedding::Nothing);
        assert_eq!(worker.seconds_at(1, 0.90), Shedding::Calls);
        assert_eq!(worker.seconds_at(3, 0.96), Shedding::Speech);
    }

    #[test]
    fn least_of_what_a_load_called_for_is_shed() {
        let mut worker = Worker::new(SETTINGS);
        assert_eq!(worker.seconds_at(2, 1.0), Shedding::Nothing);
        assert_eq!(worker.seconds_at(1, 0.9), Shedding::Calls);
    }

    #[test]
    fn relief_takes_longer_and_a_load_below_the_limit_is_none_yet() {
        let mut worker = Worker::new(SETTINGS);
        worker.seconds_at(3, 0.96);
        assert_eq!(worker.seconds_at(60, 0.84), Shedding::Speech);
        assert_eq!(worker.seconds_at(9, 0.75), Shedding::Speech);
        assert_eq!(worker.seconds_at(1, 0.75), Shedding::Calls);
        assert_eq!(worker.seconds_at(9, 0.10), Shedding::Calls);
        assert_eq!(worker.seconds_at(1, 0.75), Shedding::Calls);
        assert_eq!(worker.seconds_at(10, 0.10), Shedding::Nothing);
    }

    #[test]
    fn ticks_that_come_late_are_a_load_though_the_thread_uses_little() {
        let mut worker = Worker::new(SETTINGS);
        worker.lag = Duration::from_millis(90);
        assert_eq!(worker.seconds_at(3, 0.2), Shedding::Calls);
        assert_eq!(worker.overload.load().percent(), 90);
        assert_eq!(worker.overload.load().lag, worker.lag);
    }

    #[test]
    fn limits_of_nothing_hold_from_the_start_and_others_as_soon_as_they_are_given() {
        let closed = Settings {
            refuse_calls_percent: 0,
            ..SETTINGS
        };
        let mut worker = Worker::new(closed);
        assert_eq!(worker.overload.shedding(), Shedding::Calls);
        assert_eq!(worker.seconds_at(30, 0.0), Shedding::Calls);
        let refused = worker.overload.refusal(0, 1).unwrap().to_string();
        assert!(
            refused.contains("overload.refuse-calls-percent = 0"),
            "{refused}"
        );
        worker.overload.adopt(SETTINGS);
        assert_eq!(worker.overload.refusal(0, 1), None);
    }

    #[test]
    fn legs_are_shared_among_the_workers_and_rounded_up() {
        let settings = Settings {
            max_legs: NonZeroUsize::new(5),
            ..SETTINGS
        };
        let overload = Overload::new(settings, NonZeroUsize::new(2).unwrap());
        assert_eq!(overload.refusal(1, 2), None);
        assert_eq!(overload.refusal(2, 2), Some(Refusal::Legs { legs: 3 }));
    }

    #[test]
    fn default_sheds_nothing_at_any_load() {
        let mut worker = Worker::new(Settings::default());
        worker.lag = Duration::from_secs(10);
        assert_eq!(worker.seconds_at(60, 100.0), Shedding::Nothing);
    }

    const SETTINGS: Settings = Settings {
        refuse_calls_percent: 85,
        defer_speech_percent: 95,
        full_lag: Duration::from_millis(100),
        max_legs: None,
    };

    struct Worker {
        overload: Overload,
        now: Instant,
        used: Duration,
        lag: Duration,
    }

    impl Worker {
        fn new(settings: Settings) -> Self {
            let mut overload = Overload::new(settings, NonZeroUsize::MIN);
            let now = Instant::now();
            overload.handle_usage(Duration::ZERO, now);
            Self {
                overload,
                now,
                used: Duration::ZERO,
                lag: Duration::ZERO,
            }
        }

        fn seconds_at(&mut self, seconds: u32, busy: f64) -> Shedding {
            for _ in 0..seconds {
                for _ in 0..200 {
                    self.now += Duration::from_millis(5);
                    self.used += Duration::from_millis(5).mul_f64(busy);
                    self.overload.handle_tick(self.lag);
                    let before = self.overload.shedding();
                    let told = self.overload.handle_usage(self.used, self.now);
                    assert_eq!(told.is_some(), self.overload.shedding() != before);
                }
            }
            self.overload.shedding()
        }
    }
}
