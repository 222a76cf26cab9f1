//! How the recogniser is got into, as long as the settings stay as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Settings, SettingsError};
use crate::asr::failure::Failure;
use crate::asr::session;
use crate::asr::verdict::Verdict;
use crate::event::GapReason;
use crate::io::authenticator::Authenticator;
use crate::io::transport::Connector;

/// Settings, certificates and credentials that belong together. Other settings make another one;
/// whoever has a connection keeps the one that it was made with.
#[derive(Debug)]
pub(in crate::io) struct Access {
    pub(super) settings: Settings,
    pub(super) connector: Connector,
    pub(super) authenticator: Authenticator,
    session: Arc<session::Settings>,
    /// The same without a hot-word table, and whether it is in use.
    plain_session: Arc<session::Settings>,
    is_plain: AtomicBool,
    /// The service takes one session on a connection.
    is_single: AtomicBool,
}

impl Access {
    /// Checks the settings and reads the certificates.
    pub(super) fn new(settings: Settings) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        let ca_file = settings.ca_file.as_deref();
        let proxy = settings.proxy.clone();
        let connector = Connector::new(ca_file, proxy, settings.connect_timeout)?;
        Ok(Arc::new(Self {
            session: Arc::new(settings.session.clone()),
            plain_session: Arc::new(session::Settings {
                vocabulary_id: None,
                ..settings.session.clone()
            }),
            is_plain: AtomicBool::new(settings.session.vocabulary_id.is_none()),
            is_single: AtomicBool::new(false),
            authenticator: Authenticator::new(
                settings.credentials.clone(),
                settings.endpoint.clone(),
                connector.clone(),
            ),
            connector,
            settings,
        }))
    }

    /// What a session asks for.
    pub(in crate::io) fn session(&self) -> Arc<session::Settings> {
        Arc::clone(match self.is_plain.load(Ordering::Relaxed) {
            true => &self.plain_session,
            false => &self.session,
        })
    }

    /// Whether a connection may carry several sessions, one after the other.
    pub(in crate::io) fn takes_several(&self) -> bool {
        !self.is_single.load(Ordering::Relaxed)
    }

    /// It may not, as this shows.
    pub(super) fn note_single(&self, failure: &Failure) {
        if !self.is_single.swap(true, Ordering::Relaxed) {
            tracing::info!(%failure, "the recogniser takes one session on a connection; each part has its own from now on");
        }
    }

    /// A hot-word table that was deleted must not cost a word.
    pub(super) fn without_vocabulary(&self) -> Verdict {
        let vocabulary = &self.settings.session.vocabulary_id;
        if !self.is_plain.swap(true, Ordering::Relaxed) {
            tracing::error!(
                ?vocabulary,
                "hot-word table not found; recognising without it"
            );
        }
        match vocabulary {
            Some(_) => Verdict::WithoutVocabulary,
            None => Verdict::GiveUp(GapReason::AsrRejected),
        }
    }
}
