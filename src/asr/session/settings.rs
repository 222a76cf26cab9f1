//! What a session asks of the service, and how long it waits for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::media::Samples;

/// The settings of a session; [`Settings::check`] tells whether the service can accept them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The encoding on the wire. Default `pcm8k16bit`; the G.711 formats halve the upstream.
    pub audio_format: AudioFormat,
    /// The language model. Default `chinese_8k_common`; only 8 kHz models fit telephone audio.
    pub property: String,
    /// Whether the service adds punctuation. Default true.
    pub add_punc: bool,
    /// Whether spoken numbers are written in Arabic digits. Default true, as the service's own.
    pub digit_norm: bool,
    /// Whether unfinished text is sent while somebody speaks. Default false.
    pub interim_results: bool,
    /// Whether each word comes with its place in time. Default false.
    pub need_word_info: bool,
    /// The hot-word table, by the id the service gave it. Default none.
    pub vocabulary_id: Option<String>,
    /// Audio in one message, 20 ms to 2 s. Default 400 ms: longer costs delay, shorter costs CPU.
    pub fragment: Duration,
    /// Audio one session takes, 1 s to 60 s (the service's limit). Default 59 s.
    pub max_audio: Duration,
    /// How long the reply to START may take. Default 10 s (the official SDK waits 18 s).
    pub start_timeout: Duration,
    /// How long the final text may take after END, while the connection lives. Default 30 s.
    pub end_timeout: Duration,
    /// How long the peer may refuse to take what is sent. Default 10 s.
    pub write_timeout: Duration,
    /// After how much silence of the peer it is pinged. Default 10 s.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take. Default 10 s.
    pub pong_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            audio_format: AudioFormat::Pcm8k16bit,
            property: "chinese_8k_common".into(),
            add_punc: true,
            digit_norm: true,
            interim_results: false,
            need_word_info: false,
            vocabulary_id: None,
            fragment: Duration::from_millis(400),
            max_audio: Duration::from_secs(59),
            start_timeout: Duration::from_secs(10),
            end_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
            pong_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Checks the values against what the service accepts.
    ///
    /// # Errors
    /// The first setting that cannot work, with its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !self.property.contains("_8k_") {
            return Err(SettingsError::Property(self.property.clone()));
        }
        if self.vocabulary_id.as_deref() == Some("") {
            return Err(SettingsError::EmptyVocabulary);
        }
        let within = |name, value: Duration, range: RangeInclusive<Duration>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (least, most) = range.into_inner();
            Err(SettingsError::OutOfRange {
                name,
                value,
                least,
                most,
            })
        };
        let timeout = Duration::from_millis(100)..=Duration::from_secs(600);
        let fragment = Duration::from_millis(20)..=Duration::from_secs(2);
        within("fragment", self.fragment, fragment)?;
        let max_audio = Duration::from_secs(1)..=Duration::from_secs(60);
        within("max_audio", self.max_audio, max_audio)?;
        within("start_timeout", self.start_timeout, timeout.clone())?;
        within("end_timeout", self.end_timeout, timeout.clone())?;
        within("write_timeout", self.write_timeout, timeout.clone())?;
        within("ping_interval", self.ping_interval, timeout.clone())?;
        within("pong_timeout", self.pong_timeout, timeout)
    }

    /// The `config` object of START: documented keys only.
    pub fn to_config(&self) -> Map<String, Value> {
        let yes_no = |on: bool| Value::from(if on { "yes" } else { "no" });
        let mut config = Map::from_iter([
            ("audio_format".into(), self.audio_format.as_str().into()),
            ("property".into(), self.property.as_str().into()),
            ("add_punc".into(), yes_no(self.add_punc)),
            ("digit_norm".into(), yes_no(self.digit_norm)),
            ("interim_results".into(), yes_no(self.interim_results)),
            ("need_word_info".into(), yes_no(self.need_word_info)),
        ]);
        if let Some(id) = &self.vocabulary_id {
            config.insert("vocabulary_id".into(), id.as_str().into());
        }
        config
    }

    /// Audio in one message.
    pub(super) fn fragment_samples(&self) -> Samples {
        Samples::from_duration(self.fragment)
    }

    /// Audio one session takes.
    pub(super) fn max_samples(&self) -> Samples {
        Samples::from_duration(self.max_audio)
    }
}

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A model of another sample rate, which the service refuses with `SIS.0301`.
    #[error("property {0:?} is no 8 kHz model; use for example \"chinese_8k_common\"")]
    Property(String),
    /// The service looks for a table of that name and fails.
    #[error("vocabulary_id is empty; leave it out when there is no hot-word table")]
    EmptyVocabulary,
    /// A duration outside its range.
    #[error("{name} is {value:?}; it must be from {least:?} to {most:?}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// What it was.
        value: Duration,
        /// The least it may be.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
}

/// The encodings of 8 kHz mono audio that the service reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioFormat {
    /// Signed 16-bit little-endian PCM.
    Pcm8k16bit,
    /// G.711 µ-law as it came from the telephone side.
    Ulaw8k8bit,
    /// G.711 A-law as it came from the telephone side.
    Alaw8k8bit,
}

impl AudioFormat {
    /// The protocol's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pcm8k16bit => "pcm8k16bit",
            Self::Ulaw8k8bit => "ulaw8k8bit",
            Self::Alaw8k8bit => "alaw8k8bit",
        }
    }

    /// Bytes of one sample on the wire.
    pub const fn bytes_per_sample(self) -> usize {
        match self {
            Self::Pcm8k16bit => 2,
            Self::Ulaw8k8bit | Self::Alaw8k8bit => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn sixteen_kilohertz_model_is_refused_by_name() {
        let settings = Settings {
            property: "chinese_16k_general".into(),
            ..Settings::default()
        };
        let error = settings.check().unwrap_err();
        assert!(error.to_string().contains("chinese_16k_general"), "{error}");
    }

    #[test]
    fn fragment_outside_its_range_is_refused() {
        for ms in [19, 2001] {
            let settings = Settings {
                fragment: Duration::from_millis(ms),
                ..Settings::default()
            };
            assert!(settings.check().is_err(), "{ms} ms");
        }
    }

    #[test]
    fn only_documented_keys_are_sent() {
        let settings = Settings {
            vocabulary_id: Some("v1".into()),
            ..Settings::default()
        };
        let config = Value::Object(settings.to_config());
        let expected = serde_json::json!({
            "audio_format": "pcm8k16bit", "property": "chinese_8k_common", "add_punc": "yes",
            "digit_norm": "yes", "interim_results": "no", "need_word_info": "no",
            "vocabulary_id": "v1",
        });
        assert_eq!(config, expected);
        assert!(
            !Settings::default()
                .to_config()
                .contains_key("vocabulary_id")
        );
    }

    #[test]
    fn format_is_configured_by_the_protocols_word() {
        let format: AudioFormat = serde_json::from_str(r#""ulaw8k8bit""#).unwrap();
        assert_eq!(
            (format, format.as_str()),
            (AudioFormat::Ulaw8k8bit, "ulaw8k8bit")
        );
    }
}
