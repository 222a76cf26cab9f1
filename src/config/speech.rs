//! `[speech]`: what is an utterance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::check::Fault;
use crate::config::value::Milliseconds;
use crate::event::Role;
use crate::speech::utterance::Timing;
use crate::speech::voice;

/// `[speech]` as it is in force: every time filled in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Given", rename_all = "kebab-case")]
pub struct Speech {
    /// What tells speech from the rest.
    pub detector: voice::Kind,
    /// The times of legs whose role has none of its own.
    #[serde(flatten)]
    pub times: Times,
    /// `[speech.roles.ROLE]`: the times of the legs of a role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<Role, Times>,
}

/// The times of an utterance.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// Audio kept from before the onset.
    pub pre_roll_ms: Milliseconds<0, 2_000>,
    /// Audio kept after the last voiced frame.
    pub post_roll_ms: Milliseconds<0, 2_000>,
    /// Silence that ends an utterance.
    pub hangover_ms: Milliseconds<100, 5_000>,
    /// Speech that opens an utterance.
    pub onset_ms: Milliseconds<20, 500>,
    /// From this length on a pause ends a part.
    pub cut_from_ms: Milliseconds<1_000, 58_000>,
    /// No part is longer than this.
    pub part_limit_ms: Milliseconds<2_000, 58_000>,
    /// Audio held back, from `cut-from-ms` on, to choose the place of a cut.
    pub look_ahead_ms: Milliseconds<100, 20_000>,
    /// Audio before a cut in no pause that the next session hears again.
    pub overlap_ms: Milliseconds<0, 5_000>,
}

/// Times that go together.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// For conversations: an utterance ends soon, so that its text comes soon.
    Dialogue,
    /// For one voice that speaks at length: pauses seldom end an utterance.
    Monologue,
}

/// The table as it is written; a key that is absent leaves what the preset says, and that what the
/// table above says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Given {
    detector: Option<voice::Kind>,
    preset: Option<Preset>,
    pre_roll_ms: Option<Milliseconds<0, 2_000>>,
    post_roll_ms: Option<Milliseconds<0, 2_000>>,
    hangover_ms: Option<Milliseconds<100, 5_000>>,
    onset_ms: Option<Milliseconds<20, 500>>,
    cut_from_ms: Option<Milliseconds<1_000, 58_000>>,
    part_limit_ms: Option<Milliseconds<2_000, 58_000>>,
    look_ahead_ms: Option<Milliseconds<100, 20_000>>,
    overlap_ms: Option<Milliseconds<0, 5_000>>,
    roles: BTreeMap<Role, Self>,
}

impl Speech {
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.times
            .check("speech.cut-from-ms", "speech.post-roll-ms")?;
        for (role, times) in &self.roles {
            let (cut_from, post_roll) = match role {
                Role::Agent => (
                    "speech.roles.AGENT.cut-from-ms",
                    "speech.roles.AGENT.post-roll-ms",
                ),
                Role::Customer => (
                    "speech.roles.CUSTOMER.cut-from-ms",
                    "speech.roles.CUSTOMER.post-roll-ms",
                ),
            };
            times.check(cut_from, post_roll)?;
        }
        Ok(())
    }
}

impl Default for Speech {
    fn default() -> Self {
        Self {
            detector: voice::Kind::default(),
            times: Times::of(Preset::Dialogue),
            roles: BTreeMap::new(),
        }
    }
}

impl TryFrom<Given> for Speech {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let times = given.times(Times::of(Preset::Dialogue));
        let of_role = |(&role, own): (&Role, &Given)| {
            if own.detector.is_some() {
                return Err("the detector is the same for every role: set speech.detector".into());
            }
            if !own.roles.is_empty() {
                return Err("a role has no roles of its own".to_owned());
            }
            Ok((role, own.times(times)))
        };
        Ok(Self {
            detector: given.detector.unwrap_or_default(),
            times,
            roles: given.roles.iter().map(of_role).collect::<Result<_, _>>()?,
        })
    }
}

impl Given {
    fn times(&self, above: Times) -> Times {
        let base = self.preset.map_or(above, Times::of);
        Times {
            pre_roll_ms: self.pre_roll_ms.unwrap_or(base.pre_roll_ms),
            post_roll_ms: self.post_roll_ms.unwrap_or(base.post_roll_ms),
            hangover_ms: self.hangover_ms.unwrap_or(base.hangover_ms),
            onset_ms: self.onset_ms.unwrap_or(base.onset_ms),
            cut_from_ms: self.cut_from_ms.unwrap_or(base.cut_from_ms),
            part_limit_ms: self.part_limit_ms.unwrap_or(base.part_limit_ms),
            look_ahead_ms: self.look_ahead_ms.unwrap_or(base.look_ahead_ms),
            overlap_ms: self.overlap_ms.unwrap_or(base.overlap_ms),
        }
    }
}

impl Times {
    const fn of(preset: Preset) -> Self {
        let timing = match preset {
            Preset::Dialogue => Timing::dialogue(),
            Preset::Monologue => Timing::monologue(),
        };
        Self {
            pre_roll_ms: Milliseconds::from_duration(timing.pre_roll),
            post_roll_ms: Milliseconds::from_duration(timing.post_roll),
            hangover_ms: Milliseconds::from_duration(timing.hangover),
            onset_ms: Milliseconds::from_duration(timing.onset),
            cut_from_ms: Milliseconds::from_duration(timing.cut_from),
            part_limit_ms: Milliseconds::from_duration(timing.cut_limit),
            look_ahead_ms: Milliseconds::from_duration(timing.look_ahead),
            overlap_ms: Milliseconds::from_duration(timing.overlap),
        }
    }

    /// The times as the segmenter takes them.
    pub const fn timing(&self) -> Timing {
        Timing {
            pre_roll: self.pre_roll_ms.duration(),
            post_roll: self.post_roll_ms.duration(),
            hangover: self.hangover_ms.duration(),
            onset: self.onset_ms.duration(),
            cut_from: self.cut_from_ms.duration(),
            cut_limit: self.part_limit_ms.duration(),
            look_ahead: self.look_ahead_ms.duration(),
            overlap: self.overlap_ms.duration(),
        }
    }

    fn check(&self, cut_from: &'static str, post_roll: &'static str) -> Result<(), Fault> {
        if self.cut_from_ms.duration() >= self.part_limit_ms.duration() {
            return Err((cut_from, "must be less than part-limit-ms".to_owned()));
        }
        if self.post_roll_ms.duration() > self.hangover_ms.duration() {
            return Err((post_roll, "must not exceed hangover-ms".to_owned()));
        }
        Ok(())
    }
}
