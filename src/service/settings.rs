//! What START asks for: each known key judged, unknown keys passed over.

use serde_json::{Map, Value};

use super::audio::AudioFormat;

/// The settings of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the audio is encoded.
    pub format: AudioFormat,
    /// The model asked for, for example `chinese_8k_common`.
    pub property: String,
    /// Punctuation wanted.
    pub add_punc: bool,
    /// Spoken numbers wanted as digits.
    pub digit_norm: bool,
    /// Growing text wanted before the end.
    pub interim_results: bool,
    /// Word timings wanted.
    pub need_word_info: bool,
}

/// Why a START was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A mandatory key is absent.
    #[error("'{0}' is missing in config")]
    Missing(&'static str),
    /// A known key has a value it cannot have.
    #[error("'{key}' is invalid: {value}; expected {expected}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What it held.
        value: Value,
        /// What it may hold.
        expected: &'static str,
    },
    /// The model is for another sample rate.
    #[error("'audio_format' is not match model: {format} with {property}")]
    RateMismatch {
        /// The value of `audio_format`.
        format: String,
        /// The value of `property`.
        property: String,
    },
    /// There is no such hot-word table.
    #[error("vocabulary {0:?} is not found")]
    UnknownVocabulary(String),
}

impl SettingsError {
    /// The service's code for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "SIS.0012",
            Self::Invalid { .. } => "SIS.0032",
            Self::RateMismatch { .. } => "SIS.0301",
            Self::UnknownVocabulary(_) => "SIS.0201",
        }
    }
}

impl Settings {
    /// Judges the `config` object of a START.
    ///
    /// Real clients send keys that no documentation lists (`vad_threshold`, `user_words`,
    /// `need_smooth`): those are passed over. The three end-pointing keys have no effect in this
    /// mode, but their ranges are checked.
    ///
    /// # Errors
    /// When a mandatory key is absent, or a known key has a bad value.
    pub fn from_config(
        config: &Map<String, Value>,
        vocabularies: &[String],
    ) -> Result<Self, SettingsError> {
        let (format, property) = model(config)?;
        integer(
            config,
            "vad_head",
            60_000,
            "an integer from 0 to 60000 (ms)",
        )?;
        integer(config, "vad_tail", 3_000, "an integer from 0 to 3000 (ms)")?;
        // The API page says 1 to 60, the official SDK's own comment 0 to 60.
        integer(config, "max_seconds", 60, "an integer from 1 to 60 (s)")?;
        vocabulary(config, vocabularies)?;
        Ok(Self {
            format,
            property,
            add_punc: switch(config, "add_punc", false)?,
            digit_norm: switch(config, "digit_norm", true)?,
            interim_results: switch(config, "interim_results", false)?,
            need_word_info: switch(config, "need_word_info", false)?,
        })
    }
}

fn model(config: &Map<String, Value>) -> Result<(AudioFormat, String), SettingsError> {
    let name =
        text(config, "audio_format", FORMATS)?.ok_or(SettingsError::Missing("audio_format"))?;
    let property =
        text(config, "property", PROPERTIES)?.ok_or(SettingsError::Missing("property"))?;
    let format = AudioFormat::from_name(name)
        .ok_or_else(|| invalid("audio_format", name.into(), FORMATS))?;
    let rate =
        model_rate(property).ok_or_else(|| invalid("property", property.into(), PROPERTIES))?;
    if rate == format.sample_rate() {
        Ok((format, property.to_owned()))
    } else {
        Err(SettingsError::RateMismatch {
            format: name.to_owned(),
            property: property.to_owned(),
        })
    }
}

/// The sample rate in a model's name, `LANGUAGE_RATE_DOMAIN`.
fn model_rate(property: &str) -> Option<u32> {
    let words: Vec<&str> = property.split('_').collect();
    let [language, rate, domain] = words[..] else {
        return None;
    };
    if language.is_empty() || domain.is_empty() || RECORDED_FILE_MODELS.contains(&property) {
        return None;
    }
    match rate {
        "8k" => Some(8_000),
        "16k" => Some(16_000),
        _ => None,
    }
}

fn vocabulary(config: &Map<String, Value>, known: &[String]) -> Result<(), SettingsError> {
    match text(config, "vocabulary_id", "the id of a hot-word table")? {
        Some(id) if !id.is_empty() && !known.iter().any(|known| known == id) => {
            Err(SettingsError::UnknownVocabulary(id.to_owned()))
        }
        _ => Ok(()),
    }
}

fn switch(
    config: &Map<String, Value>,
    key: &'static str,
    default: bool,
) -> Result<bool, SettingsError> {
    const EXPECTED: &str = "\"yes\" or \"no\"";
    match text(config, key, EXPECTED)? {
        None => Ok(default),
        Some("yes") => Ok(true),
        Some("no") => Ok(false),
        Some(other) => Err(invalid(key, other.into(), EXPECTED)),
    }
}

fn integer(
    config: &Map<String, Value>,
    key: &'static str,
    most: u64,
    expected: &'static str,
) -> Result<(), SettingsError> {
    match config.get(key) {
        Some(value) if value.as_u64().is_none_or(|number| number > most) => {
            Err(invalid(key, value.clone(), expected))
        }
        _ => Ok(()),
    }
}

fn text<'a>(
    config: &'a Map<String, Value>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<&'a str>, SettingsError> {
    config
        .get(key)
        .map(|value| {
            value
                .as_str()
                .ok_or_else(|| invalid(key, value.clone(), expected))
        })
        .transpose()
}

const fn invalid(key: &'static str, value: Value, expected: &'static str) -> SettingsError {
    SettingsError::Invalid {
        key,
        value,
        expected,
    }
}

const FORMATS: &str = "pcm8k16bit, pcm16k16bit, ulaw8k8bit, ulaw16k8bit, alaw8k8bit or alaw16k8bit";
const PROPERTIES: &str = "a model of real-time recognition, such as chinese_8k_common";

/// Models of the recorded-file API, which real-time recognition does not have.
const RECORDED_FILE_MODELS: [&str; 3] = [
    "chinese_8k_bank",
    "chinese_8k_insurance",
    "sichuan_8k_common",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge(config: &Value) -> Result<Settings, SettingsError> {
        Settings::from_config(config.as_object().unwrap(), &["hot-1".to_owned()])
    }

    fn with(key: &str, value: Value) -> Result<Settings, SettingsError> {
        let mut config = json!({"audio_format": "pcm8k16bit", "property": "chinese_8k_common"});
        config[key] = value;
        judge(&config)
    }

    #[test]
    fn the_two_mandatory_keys_are_enough_and_defaults_are_the_documented_ones() {
        let settings =
            judge(&json!({"audio_format": "ulaw8k8bit", "property": "chinese_8k_general"}))
                .unwrap();
        assert_eq!(settings.format, AudioFormat::ULAW_8K);
        assert!(settings.digit_norm);
        assert!(!settings.add_punc && !settings.interim_results && !settings.need_word_info);
    }

    #[test]
    fn the_official_sdks_start_is_accepted() {
        let settings = judge(&json!({
            "audio_format": "pcm8k16bit", "property": "chinese_8k_common", "add_punc": "yes",
            "digit_norm": "no", "vad_head": 10000, "vad_tail": 500, "max_seconds": 30,
            "interim_results": "no", "vad_threshold": 0, "need_word_info": "yes"}))
        .unwrap();
        assert!(settings.add_punc && settings.need_word_info && !settings.digit_norm);
    }

    #[test]
    fn unknown_keys_are_passed_over() {
        for (key, value) in [
            ("vad_threshold", json!(0)),
            ("user_words", json!(["客服"])),
            ("need_smooth", json!("yes")),
            ("max_second", json!(99)),
        ] {
            assert!(with(key, value).is_ok(), "{key}");
        }
    }

    #[test]
    fn bad_values_of_known_keys_are_refused_with_their_code() {
        for (key, value, code) in [
            ("audio_format", json!("mp3"), "SIS.0032"),
            ("audio_format", json!(8), "SIS.0032"),
            ("audio_format", json!("pcm16k16bit"), "SIS.0301"),
            ("property", json!("chinese_16k_general"), "SIS.0301"),
            ("property", json!("chinese_8k_bank"), "SIS.0032"),
            ("property", json!("mandarin"), "SIS.0032"),
            ("add_punc", json!(true), "SIS.0032"),
            ("digit_norm", json!("Yes"), "SIS.0032"),
            ("interim_results", json!("true"), "SIS.0032"),
            ("need_word_info", json!(""), "SIS.0032"),
            ("vad_head", json!(60_001), "SIS.0032"),
            ("vad_tail", json!(-1), "SIS.0032"),
            ("max_seconds", json!(61), "SIS.0032"),
            ("max_seconds", json!("30"), "SIS.0032"),
            ("vocabulary_id", json!("nobody"), "SIS.0201"),
        ] {
            let error = with(key, value.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{key} = {value}: {error}");
        }
    }

    #[test]
    fn absent_mandatory_keys_are_named() {
        let error = judge(&json!({"property": "chinese_8k_common"})).unwrap_err();
        assert_eq!(error, SettingsError::Missing("audio_format"));
        let error = judge(&json!({"audio_format": "pcm8k16bit"})).unwrap_err();
        assert_eq!(
            (error.code(), error),
            ("SIS.0012", SettingsError::Missing("property"))
        );
    }

    #[test]
    fn known_hot_words_and_the_empty_id_are_accepted() {
        assert!(with("vocabulary_id", json!("hot-1")).is_ok());
        assert!(with("vocabulary_id", json!("")).is_ok());
    }
}
