//! A frame as detectors hear it.

use crate::media::{FRAME_SAMPLES, Frame, Law, g711};
use crate::speech::voice::FLOOR_DBFS;
use crate::speech::voice::vector::{Arch, Scalar, Simd, WithSimd, ln, mul_add};

/// Linear samples, and how loud they are.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Full scale is 1.
    samples: [f32; FRAME_SAMPLES],
    mean_power: f32,
    level_dbfs: f32,
    brightness_db: f32,
}

impl Sound {
    /// What is to be heard in 16-bit samples.
    pub fn from_pcm(pcm: &[i16; FRAME_SAMPLES]) -> Self {
        let samples = pcm.map(|sample| f32::from(sample) * (1.0 / 32_768.0));
        Self::new(samples, Power::of::<Scalar>(&samples))
    }

    /// Digital silence, at little cost: it is half of what telephones send.
    fn constant(law: Law, code: u8) -> Self {
        let sample = match law {
            Law::Pcmu => mu_law(code.into()),
            Law::Pcma => a_law(code.into()),
        };
        let power = Power {
            mean: sample * sample,
            of_changes: 0.0,
        };
        Self::new([sample; FRAME_SAMPLES], power)
    }

    fn new(samples: [f32; FRAME_SAMPLES], power: Power) -> Self {
        Self {
            samples,
            mean_power: power.mean,
            level_dbfs: decibels(power.mean).max(FLOOR_DBFS),
            brightness_db: decibels(power.of_changes),
        }
    }

    /// Linear samples at 8 kHz; full scale is 1.
    pub const fn samples(&self) -> &[f32; FRAME_SAMPLES] {
        &self.samples
    }

    /// The same in 16 bits.
    pub fn pcm(&self) -> [i16; FRAME_SAMPLES] {
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        self.samples.map(|sample| (sample * 32_768.0) as i16)
    }

    /// Mean power, that of a full-scale square wave being 1.
    pub const fn mean_power(&self) -> f32 {
        self.mean_power
    }

    /// Mean power in dBFS, a full-scale square wave being 0; not below [`FLOOR_DBFS`].
    pub const fn level_dbfs(&self) -> f32 {
        self.level_dbfs
    }

    /// The level of what changes from sample to sample: noise is steadier there than in its bass.
    pub const fn brightness_db(&self) -> f32 {
        self.brightness_db
    }

    /// Whether there is nothing to hear: digital silence of either law.
    pub fn is_constant(&self) -> bool {
        self.brightness_db <= decibels(0.0)
    }

    /// The same sound, so many times as loud, as far as 16 bits can hold it.
    #[must_use]
    pub fn amplified(&self, gain: f32) -> Self {
        let samples = self.samples.map(|sample| (sample * gain).clamp(-1.0, 1.0));
        Self::new(samples, Power::of::<Scalar>(&samples))
    }
}

impl From<&Frame> for Sound {
    fn from(frame: &Frame) -> Self {
        let silence = g711::silence(frame.law);
        if frame.g711 == [silence; FRAME_SAMPLES] {
            return Self::constant(frame.law, silence);
        }
        let mut samples = [0.0; FRAME_SAMPLES];
        let power = Arch::new().dispatch(Decoding {
            frame,
            samples: &mut samples,
        });
        Self::new(samples, power)
    }
}

struct Decoding<'a> {
    frame: &'a Frame,
    samples: &'a mut [f32; FRAME_SAMPLES],
}

impl WithSimd for Decoding<'_> {
    type Output = Power;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Power {
        match self.frame.law {
            Law::Pcmu => decode(&self.frame.g711, self.samples, mu_law),
            Law::Pcma => decode(&self.frame.g711, self.samples, a_law),
        }
        Power::of::<S>(self.samples)
    }
}

#[inline(always)]
fn decode(
    codes: &[u8; FRAME_SAMPLES],
    samples: &mut [f32; FRAME_SAMPLES],
    linear: impl Fn(u32) -> f32,
) {
    for (sample, &code) in samples.iter_mut().zip(codes) {
        *sample = linear(u32::from(code));
    }
}

/// A code of µ-law (ITU-T G.711 §3.2): its seven bits of exponent and mantissa are those of a float.
#[inline(always)]
fn mu_law(code: u32) -> f32 {
    let magnitude = f32::from_bits(((!code & 0x7F) << 19) + STEP + EXPONENT_5) - 33.0;
    signed(magnitude * (4.0 / 32_768.0), !code)
}

/// A code of A-law (§3.1): the same, but for the lowest of its eight segments.
#[inline(always)]
fn a_law(code: u32) -> f32 {
    let bits = (code ^ 0x55) & 0x7F;
    let magnitude = f32::from_bits((bits << 19) + STEP + EXPONENT_5) - 32.0;
    let lowest = magnitude;
    let others = (magnitude + 32.0) * 0.5;
    let magnitude = if bits < 16 { lowest } else { others };
    signed(magnitude * (8.0 / 32_768.0), !code)
}

/// Gives the magnitude the sign of the code.
#[inline(always)]
fn signed(magnitude: f32, sign: u32) -> f32 {
    f32::from_bits(magnitude.to_bits() | (sign & 0x80) << 24)
}

/// In the bits of a float: the exponent of 32, and half a step of a mantissa of four bits.
const EXPONENT_5: u32 = (127 + 5) << 23;
const STEP: u32 = 1 << 18;

/// Mean power, that of a full-scale square wave being 1.
struct Power {
    mean: f32,
    /// Of the differences between neighbours.
    of_changes: f32,
}

impl Power {
    #[inline(always)]
    fn of<S: Simd>(samples: &[f32; FRAME_SAMPLES]) -> Self {
        let (mut sums, mut changes) = ([0.0; LANES], [0.0; LANES]);
        let groups = samples.as_chunks::<LANES>().0;
        for group in groups {
            for (sum, &sample) in sums.iter_mut().zip(group) {
                *sum = mul_add::<S>(sample, sample, *sum);
            }
        }
        let shifted = samples[1..].as_chunks::<LANES>().0;
        for (group, next) in groups.iter().zip(shifted) {
            for (sum, (&sample, &next)) in changes.iter_mut().zip(group.iter().zip(next)) {
                let change = next - sample;
                *sum = mul_add::<S>(change, change, *sum);
            }
        }
        let mean = |sums: [f32; LANES]| sums.iter().sum::<f32>() * (1.0 / FRAME_SAMPLES as f32);
        Self {
            mean: mean(sums),
            of_changes: mean(changes),
        }
    }
}

fn decibels(power: f32) -> f32 {
    ln::<Scalar>(power + SMALLEST) * (10.0 * std::f32::consts::LOG10_E)
}

/// -120 dB.
const SMALLEST: f32 = 1e-12;
/// Sums side by side, for the compiler to work on at once.
const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Samples;

    #[test]
    fn level_of_a_full_scale_square_wave_is_zero() {
        let level = |sample| Sound::from_pcm(&[sample; FRAME_SAMPLES]).level_dbfs();
        assert!(level(i16::MIN).abs() < 0.01);
        assert!((level(-3_277) + 20.0).abs() < 0.01);
    }

    #[test]
    fn digital_silence_has_the_floor_level() {
        let silence = Sound::from_pcm(&[0; FRAME_SAMPLES]);
        assert_eq!(silence.level_dbfs(), FLOOR_DBFS);
    }

    #[test]
    fn silence_is_the_same_by_the_short_way() {
        for law in [Law::Pcmu, Law::Pcma] {
            let code = g711::silence(law);
            let mut pcm = [0; FRAME_SAMPLES];
            g711::decode(law, &[code; FRAME_SAMPLES], &mut pcm);
            let (short, long) = (Sound::constant(law, code), Sound::from_pcm(&pcm));
            assert_eq!(short.samples, long.samples);
            assert!((short.level_dbfs - long.level_dbfs).abs() < 1e-3);
            assert!(short.is_constant() && long.is_constant());
        }
    }

    #[test]
    fn every_code_is_heard_as_the_codec_decodes_it() {
        for law in [Law::Pcmu, Law::Pcma] {
            for first in [0, 96] {
                let codes = std::array::from_fn(|n| first + u8::try_from(n).unwrap());
                let frame = Frame {
                    start: Samples::ZERO,
                    law,
                    g711: codes,
                    len: 160,
                    lost: 0,
                    telephone_event: false,
                };
                let mut pcm = [0; FRAME_SAMPLES];
                g711::decode(law, &codes, &mut pcm);
                assert_eq!(Sound::from(&frame).pcm(), pcm, "{law}");
            }
        }
    }
}
