//! From the tables of the file to the settings of the rooms.

use std::sync::Arc;

use crate::asr::auth::Credentials;
use crate::asr::endpoint::Endpoint;
use crate::asr::{retry, session};
use crate::call::switchboard;
use crate::config::file::{File, PayloadTypes};
use crate::io::recogniser::{self, Provider, RecogniserError};
use crate::media::Law;
use crate::media::receiver::{self, Payload};
use crate::speech::utterance::{self, SettingsError, Timing};
use crate::speech::voice;

impl File {
    /// For captures: every stream of anybody is a call.
    pub fn for_replay() -> Self {
        let mut file = Self::default();
        file.rtp.unregistered_calls = true;
        file.rtp.allowed_sources = ["0.0.0.0/0", "::/0"]
            .map(|all| all.parse().expect("each is a network"))
            .to_vec();
        file
    }

    /// What is in force, as a configuration file; secrets are masked.
    ///
    /// # Errors
    /// Never for a file that was checked: every value of it has a form in TOML.
    pub fn in_force(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// What every call has in common.
    ///
    /// # Errors
    /// When a time of `[speech]` is outside what the segmenter takes.
    pub fn switchboard(&self) -> Result<switchboard::Settings, SettingsError> {
        Ok(switchboard::Settings {
            receiver: Arc::new(self.receiver()),
            speech: Arc::new(utterance::Settings::new(self.timing())?),
            detector: voice::Kind::default(),
            provider: self.asr.provider.as_str().into(),
            idle_timeout: self.rtp.idle_timeout_ms.duration(),
            registered_idle_timeout: self.rtp.registered_idle_timeout_ms.duration(),
            unregistered_calls: self.rtp.unregistered_calls,
            monitor: false,
        })
    }

    /// How datagrams are received.
    pub fn receiver(&self) -> receiver::Settings {
        receiver::Settings {
            payload_types: self.rtp.payload_types.to_table(),
            allowed_networks: self.rtp.allowed_sources.clone(),
            reorder_wait: self.rtp.reorder_wait_ms.duration(),
            concealment: self.rtp.conceal_loss,
            ..receiver::Settings::default()
        }
    }

    /// How the recogniser is reached and used.
    ///
    /// # Errors
    /// When the endpoint is no WebSocket address, or the certificates cannot be read.
    pub fn recogniser(&self) -> Result<Arc<Provider>, RecogniserError> {
        let asr = &self.asr;
        let endpoint = Endpoint::new(&asr.endpoint, &asr.project_id)?;
        Provider::new(recogniser::Settings {
            provider: asr.provider.as_str().into(),
            credentials: match &asr.token {
                Some(token) => Credentials::FixedToken(token.clone()),
                None => Credentials::None,
            },
            session: session::Settings {
                audio_format: asr.audio_format,
                property: asr.property.clone(),
                add_punc: asr.add_punctuation,
                digit_norm: asr.digit_norm,
                interim_results: asr.interim_results,
                need_word_info: asr.word_info,
                vocabulary_id: asr.vocabulary_id.clone(),
                fragment: asr.fragment_ms.duration(),
                end_timeout: asr.answer_timeout_ms.duration(),
                ..session::Settings::default()
            },
            retry: retry::Settings {
                attempts: u32::from(asr.attempts),
                deadline: asr.give_up_after_ms.duration(),
                ..retry::Settings::default()
            },
            ca_file: asr.ca_file.clone(),
            connect_timeout: asr.connect_timeout_ms.duration(),
            ..recogniser::Settings::new(endpoint)
        })
    }

    fn timing(&self) -> Timing {
        Timing {
            pre_roll: self.speech.pre_roll_ms.duration(),
            post_roll: self.speech.post_roll_ms.duration(),
            hangover: self.speech.hangover_ms.duration(),
            onset: self.speech.onset_ms.duration(),
            cut_from: self.speech.cut_from_ms.duration(),
            cut_limit: self.speech.part_limit_ms.duration(),
            look_ahead: self.speech.look_ahead_ms.duration(),
        }
    }
}

impl PayloadTypes {
    /// The table; a type that RTP cannot carry was refused when the file was checked.
    fn to_table(&self) -> receiver::PayloadTypes {
        let mut table = receiver::PayloadTypes::empty();
        let meanings = [
            (&self.pcmu, Payload::Audio(Law::Pcmu)),
            (&self.pcma, Payload::Audio(Law::Pcma)),
            (&self.telephone_event, Payload::TelephoneEvent),
            (&self.comfort_noise, Payload::ComfortNoise),
        ];
        for (payload_types, meaning) in meanings {
            for &payload_type in payload_types {
                table.insert(payload_type, meaning).ok();
            }
        }
        table
    }
}
