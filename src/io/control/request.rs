//! What clients send: bodies and ids, checked while they are read, so that an error names its
//! field.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::ApiError;
use crate::call::conversation::CallUpdate;
use crate::call::registration::{AnnouncedLeg, Registration};
use crate::event::{Direction, Metadata, Role};
use crate::media::Law;
use crate::media::receiver::ExpectedSource;

/// Longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);

/// Longest id of a call, in bytes.
const MAX_ID: usize = 256;

/// Most legs of a call: a conference, not a switchboard.
const MAX_LEGS: usize = 16;

/// `POST /v1/calls`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCall {
    id: Option<CallId>,
    legs: Vec<NewLeg>,
    from: Option<String>,
    to: Option<String>,
    direction: Option<Direction>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLeg {
    role: Option<Role>,
    codec: Option<Law>,
    expected_source: Option<Source>,
}

/// `PATCH /v1/calls/{id}`: what is absent or null stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallChange {
    from: Option<String>,
    to: Option<String>,
    direction: Option<Direction>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    legs: Vec<LegChange>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LegChange {
    channel: u8,
    role: Option<Role>,
    expected_source: Option<Source>,
}

/// Names a call: printable, without `/`, and no path segment that clients resolve by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CallId(Arc<str>);

/// `IP` or `IP:PORT`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Source(ExpectedSource);

impl NewCall {
    /// The call, under its own id or else under `id`.
    pub(super) fn registration(
        self,
        id: impl FnOnce() -> Arc<str>,
        allowed: &[IpNet],
    ) -> Result<Registration, ApiError> {
        let count = self.legs.len();
        if !(1..=MAX_LEGS).contains(&count) {
            let message = format!("legs: {count} legs; expected 1 to {MAX_LEGS}");
            return Err(ApiError::Invalid(message));
        }
        let sources = self.legs.iter().map(|leg| leg.expected_source);
        check_sources(sources, allowed)?;
        let leg = |leg: &NewLeg| AnnouncedLeg {
            role: leg.role,
            law: leg.codec,
            expected_source: leg
                .expected_source
                .map(|source| source.0)
                .unwrap_or_default(),
        };
        Ok(Registration {
            legs: self.legs.iter().map(leg).collect(),
            id: self.id.map_or_else(id, |id| id.0),
            from: self.from,
            to: self.to,
            direction: self.direction,
            metadata: self.metadata,
        })
    }
}

impl CallChange {
    pub(super) fn update(self, allowed: &[IpNet]) -> Result<CallUpdate, ApiError> {
        check_sources(self.legs.iter().map(|leg| leg.expected_source), allowed)?;
        let role = |leg: &LegChange| Some((leg.channel, leg.role?));
        let source = |leg: &LegChange| Some((leg.channel, leg.expected_source?.0));
        Ok(CallUpdate {
            roles: self.legs.iter().filter_map(role).collect(),
            expected_sources: self.legs.iter().filter_map(source).collect(),
            from: self.from,
            to: self.to,
            direction: self.direction,
            metadata: self.metadata,
        })
    }
}

impl TryFrom<String> for CallId {
    type Error = String;
    fn try_from(id: String) -> Result<Self, String> {
        let is_plain = !id.chars().any(|c| c == '/' || c.is_control());
        let is_segment = !["", ".", ".."].contains(&id.as_str());
        if is_plain && is_segment && id.len() <= MAX_ID {
            return Ok(Self(id.into()));
        }
        Err(format!(
            "{id:?} cannot name a call; expected 1 to {MAX_ID} bytes without / and control \
             characters, and not . or .."
        ))
    }
}

impl TryFrom<String> for Source {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let host = IpAddr::from_str(&text).map(ExpectedSource::Host);
        let source = host.or_else(|_| text.parse().map(ExpectedSource::Address));
        match source {
            Ok(source) if is_sender(source) => Ok(Self(source)),
            _ => Err(format!(
                "{text:?} is not a sender; expected IP or IP:PORT, for example \"192.0.2.7\" or \
                 \"[2001:db8::7]:4000\""
            )),
        }
    }
}

fn is_sender(source: ExpectedSource) -> bool {
    match source {
        ExpectedSource::Any => true,
        ExpectedSource::Host(host) => !host.is_unspecified(),
        ExpectedSource::Address(address) => !address.ip().is_unspecified() && address.port() > 0,
    }
}

/// A source that nobody may send from would make a leg that is never heard.
fn check_sources(
    sources: impl Iterator<Item = Option<Source>>,
    allowed: &[IpNet],
) -> Result<(), ApiError> {
    for (number, source) in sources.enumerate() {
        let host = match source.map(|source| source.0) {
            None | Some(ExpectedSource::Any) => continue,
            Some(ExpectedSource::Host(host)) => host,
            Some(ExpectedSource::Address(address)) => SocketAddr::ip(&address),
        };
        let host = host.to_canonical();
        if !allowed.iter().any(|network| network.contains(&host)) {
            return Err(ApiError::Invalid(format!(
                "legs[{number}].expected_source: {host} is not in rtp.allowed-sources and would \
                 never be heard"
            )));
        }
    }
    Ok(())
}

/// Reads a JSON body; its content type does not matter.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    parse(&collect(body).await?)
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    match timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::BodyTooLong(MAX_BODY)),
        Ok(Err(error)) => Err(ApiError::Invalid(format!("the body broke off: {error}"))),
        Err(_) => Err(ApiError::BodyTooSlow(BODY_TIME.as_secs())),
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        let message = "there is no body; expected a JSON object".to_owned();
        return Err(ApiError::Invalid(message));
    }
    // An array would pass for a struct with its fields in order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::Invalid("expected a JSON object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner();
        match path.as_str() {
            // Where the text is no JSON, there is no field to name.
            "." | "?" => ApiError::Invalid(message.to_string()),
            field => ApiError::Invalid(format!("{field}: {message}")),
        }
    })?;
    json.end()
        .map_err(|error| ApiError::Invalid(format!("behind the JSON object: {error}")))?;
    Ok(value)
}
