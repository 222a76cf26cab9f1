//! From the tables of the file to the settings of the rooms.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use secrecy::SecretString;

use crate::asr::auth::Credentials;
use crate::asr::auth::iam::IamUser;
use crate::asr::auth::signature::AccessKey;
use crate::asr::endpoint::{Endpoint, EndpointError};
use crate::asr::{quota, retry, session};
use crate::call::speech_settings::SpeechSettings;
use crate::call::{overload, switchboard};
use crate::config::file::{Asr, File, Iam, PayloadTypes};
use crate::io::provider::{self, Provider};
use crate::io::state_directory;
use crate::io::transport::Proxy;
use crate::media::receiver::{self, Payload};
use crate::media::{Law, Samples};
use crate::speech::utterance::{self, SettingsError};

impl File {
    /// For captures: every stream of anybody is a call.
    pub fn for_replay() -> Self {
        let mut file = Self::default();
        file.rtp.unregistered_calls = true;
        file.rtp.allowed_sources =
            vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
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
            speech: self.utterances()?,
            fragment: Samples::from_duration(self.asr.fragment_ms.duration()),
            detector: self.speech.detector,
            provider: self.asr.provider.as_str().into(),
            idle_timeout: self.rtp.idle_timeout_ms.duration(),
            registered_idle_timeout: self.rtp.registered_idle_timeout_ms.duration(),
            unregistered_calls: self.rtp.unregistered_calls,
            receiver_reports: self.rtp.receiver_reports,
            overload: self.overload(),
            monitor: false,
        })
    }

    fn overload(&self) -> overload::Settings {
        overload::Settings {
            refuse_calls_percent: self.overload.refuse_calls_percent,
            defer_speech_percent: self.overload.defer_speech_percent,
            full_lag: self.overload.tick_lag_ms.duration(),
            max_legs: usize::try_from(self.overload.max_legs)
                .ok()
                .and_then(NonZeroUsize::new),
        }
    }

    /// The Unix socket of the control API.
    pub fn control_socket(&self) -> PathBuf {
        let beside = || self.events.socket.with_file_name("control.sock");
        self.control.socket.clone().unwrap_or_else(beside)
    }

    /// What the daemon writes that must outlast it.
    pub fn state_files(&self) -> Vec<PathBuf> {
        let files = [
            state_directory::journal(&self.journal),
            state_directory::spool(self),
            state_directory::calls(self),
        ];
        files.into_iter().flatten().collect()
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

    /// The recogniser.
    ///
    /// # Errors
    /// When an endpoint is no address, or a secret or the certificates cannot be read.
    pub fn recogniser(&self) -> Result<Arc<Provider>, RecogniserError> {
        Ok(Provider::new(self.recogniser_settings()?)?)
    }

    /// How the recogniser is reached and used.
    ///
    /// # Errors
    /// When an endpoint is no address, or a secret cannot be read.
    pub fn recogniser_settings(&self) -> Result<provider::Settings, RecogniserError> {
        let asr = &self.asr;
        let endpoint = Endpoint::new(&asr.endpoint, &asr.project_id)?;
        Ok(provider::Settings {
            provider: asr.provider.as_str().into(),
            credentials: asr.credentials()?,
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
            quota: quota::Settings {
                max_sessions: asr.max_sessions,
                max_wait: asr.queue_wait_ms.duration(),
                ..quota::Settings::default()
            },
            reuse: Some(asr.keep_connection_ms.duration()).filter(|idle| !idle.is_zero()),
            proxy: asr.proxy()?,
            ca_file: asr.ca_file.clone(),
            connect_timeout: asr.connect_timeout_ms.duration(),
            ..provider::Settings::new(endpoint)
        })
    }

    fn utterances(&self) -> Result<SpeechSettings, SettingsError> {
        let all = utterance::Settings::new(self.speech.times.timing())?;
        let mut roles = self.speech.roles.iter();
        roles.try_fold(SpeechSettings::new(all), |settings, (&role, times)| {
            Ok(settings.with_role(role, utterance::Settings::new(times.timing())?))
        })
    }
}

/// Why the recogniser cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RecogniserError {
    /// The address of the service, or of the identity service.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file with a secret cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A setting is out of range, or there are no certificates to trust.
    #[error(transparent)]
    Settings(#[from] provider::SettingsError),
}

impl Asr {
    /// What the handshake is authenticated with; that there is one way only was checked with the file.
    fn credentials(&self) -> Result<Credentials, RecogniserError> {
        if let Some(iam) = &self.iam {
            return iam.user().map(Credentials::Password);
        }
        Ok(
            match (
                &self.token,
                &self.token_file,
                &self.access_key,
                &self.secret_key_file,
            ) {
                (Some(token), ..) => Credentials::FixedToken(token.clone()),
                (None, Some(file), ..) => Credentials::TokenFile(file.clone()),
                (None, None, Some(access), Some(secret)) => Credentials::AccessKey(AccessKey {
                    access: access.clone(),
                    secret: read_secret(secret)?,
                    security_token: match &self.security_token_file {
                        Some(file) => Some(read_secret(file)?),
                        None => None,
                    },
                }),
                (None, None, _, _) => Credentials::None,
            },
        )
    }
}

impl Asr {
    fn proxy(&self) -> Result<Option<Proxy>, RecogniserError> {
        let Some(address) = &self.proxy else {
            return Ok(None);
        };
        let credentials = match &self.proxy_credentials_file {
            Some(file) => Some(read_secret(file)?),
            None => None,
        };
        Ok(Some(Proxy {
            address: Endpoint::web(address, "/")?,
            credentials,
        }))
    }
}

impl Iam {
    fn user(&self) -> Result<IamUser, RecogniserError> {
        Ok(IamUser {
            endpoint: Endpoint::web(&self.endpoint, IamUser::PATH)?,
            domain: self.domain.clone(),
            user: self.user.clone(),
            password: read_secret(&self.password_file)?,
            project: self.project.clone(),
        })
    }
}

/// The text of a file without the line end that editors add.
fn read_secret(path: &Path) -> Result<SecretString, RecogniserError> {
    let text = std::fs::read_to_string(path).map_err(|source| RecogniserError::Secret {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end().into())
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
