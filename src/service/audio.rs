//! Audio as clients send it: its formats, its sizes, and the way to 16-bit samples.

use std::ops::RangeInclusive;
use std::time::Duration;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};

/// A value of START's `audio_format`; all are mono and headerless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    encoding: Encoding,
    sample_rate: u32,
}

impl AudioFormat {
    /// 8 kHz, signed 16-bit little-endian.
    pub const PCM_8K: Self = Self::new(Encoding::Pcm16, 8_000);
    /// 8 kHz µ-law.
    pub const ULAW_8K: Self = Self::new(Encoding::Ulaw, 8_000);
    /// 8 kHz A-law.
    pub const ALAW_8K: Self = Self::new(Encoding::Alaw, 8_000);

    const fn new(encoding: Encoding, sample_rate: u32) -> Self {
        Self {
            encoding,
            sample_rate,
        }
    }

    /// The format of that name, if the protocol has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pcm8k16bit" => Self::PCM_8K,
            "pcm16k16bit" => Self::new(Encoding::Pcm16, 16_000),
            "ulaw8k8bit" => Self::ULAW_8K,
            "ulaw16k8bit" => Self::new(Encoding::Ulaw, 16_000),
            "alaw8k8bit" => Self::ALAW_8K,
            "alaw16k8bit" => Self::new(Encoding::Alaw, 16_000),
            _ => return None,
        })
    }

    /// Samples a second.
    pub const fn sample_rate(self) -> u32 {
        self.sample_rate
    }

    /// The sizes that a binary message may have, in bytes; only the last of a session may be
    /// shorter.
    pub const fn fragment_bytes(self) -> RangeInclusive<usize> {
        match self.sample_rate {
            8_000 => 160..=32_768,
            _ => 320..=65_536,
        }
    }

    /// The bytes that so much sound takes.
    pub fn bytes_in(self, length: Duration) -> usize {
        let samples = length.as_millis() * u128::from(self.sample_rate) / 1000;
        usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.bytes_per_sample())
    }

    /// The sound that so many bytes hold.
    pub fn length_of(self, bytes: usize) -> Duration {
        let samples = u64::try_from(bytes / self.bytes_per_sample()).unwrap_or(u64::MAX);
        Duration::from_micros(samples.saturating_mul(1_000_000) / u64::from(self.sample_rate))
    }

    const fn bytes_per_sample(self) -> usize {
        match self.encoding {
            Encoding::Pcm16 => 2,
            Encoding::Ulaw | Encoding::Alaw => 1,
        }
    }
}

/// The audio of a session, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// How to read `bytes`.
    pub format: AudioFormat,
    /// The fragments, joined.
    pub bytes: Vec<u8>,
}

impl Audio {
    /// How long it sounds.
    pub fn length(&self) -> Duration {
        self.format.length_of(self.bytes.len())
    }

    /// The samples, at the format's rate; half a sample at the end is dropped.
    pub fn to_samples(&self) -> Vec<i16> {
        match self.format.encoding {
            Encoding::Pcm16 => {
                let (pairs, _) = self.bytes.as_chunks();
                pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
            }
            Encoding::Ulaw => self.bytes.iter().map(|&code| decode_ulaw(code)).collect(),
            Encoding::Alaw => self.bytes.iter().map(|&code| decode_alaw(code)).collect(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Pcm16,
    Ulaw,
    Alaw,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_each_8_khz_format_has_its_bytes() {
        let minute = Duration::from_secs(60);
        assert_eq!(AudioFormat::PCM_8K.bytes_in(minute), 960_000);
        assert_eq!(AudioFormat::ULAW_8K.bytes_in(minute), 480_000);
        assert_eq!(AudioFormat::PCM_8K.length_of(960_000), minute);
    }

    #[test]
    fn half_a_sample_at_the_end_is_dropped() {
        let audio = Audio {
            format: AudioFormat::PCM_8K,
            bytes: vec![0x34, 0x12, 0xff],
        };
        assert_eq!(audio.to_samples(), [0x1234]);
        assert_eq!(audio.length(), Duration::from_micros(125));
    }

    #[test]
    fn both_laws_are_decoded() {
        let silence = |format, code| {
            Audio {
                format,
                bytes: vec![code],
            }
            .to_samples()
        };
        assert_eq!(silence(AudioFormat::ULAW_8K, 0xff), [0]);
        assert_eq!(silence(AudioFormat::ALAW_8K, 0xd5), [8]);
    }
}
