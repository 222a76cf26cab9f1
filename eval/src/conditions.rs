//! What a line does to a call.

use callscribe::media::Law;

use crate::FRAME;
use crate::leg::Leg;
use crate::network::Loss;
use crate::sounds::{self, Random};

/// A law, a level and what else is on the line.
pub(crate) struct Condition {
    law: Law,
    /// Active speech level in dBFS.
    level: i8,
    sound: Option<(Sound, Loudness)>,
    pub(crate) loss: Loss,
}

#[derive(Clone, Copy, Debug)]
enum Sound {
    White,
    Pink,
    Babble,
    Music,
    RingBack,
    Busy,
    Dtmf,
    Clicks,
}

#[derive(Clone, Copy)]
enum Loudness {
    /// Under the speech all the time, so many decibels below it.
    Below(i8),
    /// Only between the utterances, at so many dBFS.
    Between(i8),
}

/// Every condition of the table.
pub(crate) fn all() -> Vec<Condition> {
    use Loudness::{Below, Between};
    let condition = |law, level, sound| Condition {
        law,
        level,
        sound,
        loss: Loss::default(),
    };
    let mut all = Vec::new();
    for level in [-10, -22, -35, -45] {
        all.push(condition(Law::Pcma, level, None));
        all.push(condition(Law::Pcmu, level, None));
    }
    for sound in [Sound::White, Sound::Pink, Sound::Babble, Sound::Music] {
        for ratio in [20, 10, 5] {
            all.push(condition(Law::Pcma, -22, Some((sound, Below(ratio)))));
        }
        all.push(condition(Law::Pcmu, -37, Some((sound, Below(10)))));
    }
    for sound in [
        Sound::Music,
        Sound::RingBack,
        Sound::Busy,
        Sound::Dtmf,
        Sound::Clicks,
    ] {
        for level in [-15, -30] {
            all.push(condition(Law::Pcmu, -25, Some((sound, Between(level)))));
        }
    }
    for (percent, in_bursts) in [
        (1, false),
        (3, false),
        (5, false),
        (1, true),
        (3, true),
        (5, true),
    ] {
        for is_silent in [false, true] {
            let loss = Loss {
                percent,
                in_bursts,
                is_silent,
            };
            let lossless = condition(Law::Pcmu, -22, None);
            all.push(Condition { loss, ..lossless });
        }
    }
    all
}

/// A quiet office, for the cost: 40 dB between speech and noise.
pub(crate) fn office() -> Condition {
    Condition {
        law: Law::Pcma,
        level: -22,
        sound: Some((Sound::Pink, Loudness::Below(40))),
        loss: Loss::default(),
    }
}

impl Condition {
    pub(crate) fn law(&self) -> Law {
        self.law
    }

    pub(crate) fn name(&self) -> String {
        let law = if self.law == Law::Pcma { "a" } else { "u" };
        let sound = match self.sound {
            None if self.loss.percent > 0 => self.loss.to_string(),
            None => "clean".to_owned(),
            Some((sound, Loudness::Below(ratio))) => format!("{sound:?}-snr{ratio}"),
            Some((sound, Loudness::Between(level))) => format!("{sound:?}-at{level}"),
        };
        format!("{}{law}-{sound}", self.level).to_lowercase()
    }

    pub(crate) fn apply(&self, clean: &Leg, seed: u64) -> Leg {
        let gain = ratio(self.level.into()) / clean.active_level();
        let mut leg = self.alone(clean, seed);
        for (sound, speech) in leg.audio.iter_mut().zip(&clean.audio) {
            *sound += speech * gain;
        }
        leg
    }

    /// What else is on the line, without the speech.
    pub(crate) fn alone(&self, clean: &Leg, seed: u64) -> Leg {
        let mut audio = vec![0.0; clean.audio.len()];
        if let Some((sound, loudness)) = self.sound {
            let mut noise = sound.make(&mut Random::new(seed ^ 0x5EED), clean);
            let (level, always) = match loudness {
                Loudness::Below(down) => (self.level - down, true),
                Loudness::Between(level) => (level, false),
            };
            if !always {
                keep_between(&mut noise, &clean.labels);
            }
            let gain = ratio(level.into()) / active_rms(&noise);
            noise.iter_mut().for_each(|sample| *sample *= gain);
            audio = noise;
        }
        Leg {
            audio,
            labels: clean.labels.clone(),
            said: clean.said.clone(),
        }
    }
}

impl Sound {
    fn make(self, random: &mut Random, clean: &Leg) -> Vec<f32> {
        let len = clean.audio.len();
        match self {
            Self::White => sounds::white(random, len),
            Self::Pink => sounds::pink(random, len),
            Self::Babble => sounds::babble(random, &clean.audio, len),
            Self::Music => sounds::music(random, len),
            Self::RingBack => sounds::ring_back(len),
            Self::Busy => sounds::busy(len),
            Self::Dtmf => sounds::dtmf(random, len),
            Self::Clicks => sounds::clicks(random, len),
        }
    }
}

/// Silences the sound where there is speech.
fn keep_between(sound: &mut [f32], labels: &[bool]) {
    for (frame, label) in sound.chunks_mut(FRAME).zip(labels) {
        if *label {
            frame.fill(0.0);
        }
    }
}

/// RMS of what is less than 20 dB below the loudest frame.
fn active_rms(sound: &[f32]) -> f32 {
    let energies: Vec<f32> = sound
        .chunks_exact(FRAME)
        .map(|f| f.iter().map(|s| s * s).sum())
        .collect();
    let loudest = energies.iter().copied().fold(0.0, f32::max);
    let loud = energies.iter().filter(|energy| **energy > loudest * 0.01);
    let (sum, count) = loud.fold((0.0, 1e-9), |(sum, count), energy| {
        (sum + energy, count + 160.0)
    });
    (sum / count).sqrt().max(1e-9)
}

fn ratio(db: f32) -> f32 {
    10.0_f32.powf(db / 20.0)
}
