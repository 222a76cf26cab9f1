//! Who may connect: tokens, signatures, and the lock on keys that fail too often.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::handshake::{Refusal, project_id};
use super::signature::{Signed, from_hex, hex};

/// What is accepted. With nothing in it, everybody is let in, with or without credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Credentials {
    /// Whether credentials must be given even if none is listed here; then any token or signature
    /// will do.
    pub required: bool,
    /// The project that all credentials are for; any project when absent.
    pub project: Option<String>,
    /// Tokens that never expire.
    pub tokens: Vec<SecretString>,
    /// Access keys.
    pub keys: Vec<AccessKey>,
    /// Users that the token endpoint knows.
    pub users: Vec<User>,
    /// Life of a token of the token endpoint; 24 hours when absent.
    pub token_life_s: Option<u32>,
}

/// An access key and its secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccessKey {
    /// The AK.
    pub access_key: String,
    /// The SK.
    pub secret_key: SecretString,
    /// For temporary keys: what `X-Security-Token` must hold.
    #[serde(default)]
    pub security_token: Option<SecretString>,
}

/// A user of the token endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct User {
    /// The IAM user.
    pub name: String,
    /// The password.
    pub password: SecretString,
    /// The account.
    pub domain: String,
}

/// Judges credentials, and issues tokens.
pub struct Gate {
    credentials: Credentials,
    sealing: hmac::Key,
    failures: HashMap<String, Failures>,
}

/// The failures of an access key in a row.
#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    locked_until: Option<Timestamp>,
}

impl Gate {
    /// A gate whose tokens are sealed with `secret`, so that nobody else can make one.
    pub fn new(credentials: Credentials, secret: &[u8]) -> Self {
        let sealing = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self {
            credentials,
            sealing,
            failures: HashMap::new(),
        }
    }

    /// Judges the credentials of a request.
    ///
    /// # Errors
    /// With the refusal that the gateway would give.
    pub fn admit(&mut self, request: &Parts, now: Timestamp) -> Result<(), Refusal> {
        if !self.credentials.is_demanding() {
            return Ok(());
        }
        if let Some(token) = header(&request.headers, "x-auth-token") {
            return self.admit_token(token, request, now);
        }
        match header(&request.headers, "authorization").and_then(Authorization::parse) {
            Some(authorization) => self.admit_signature(&authorization, request, now),
            None => Err(unauthorised(
                "Incorrect IAM authentication information: x-auth-token not found",
            )),
        }
    }

    /// A token that holds from `now` on, and when it ends.
    pub fn issue(&self, now: Timestamp) -> (String, Timestamp) {
        let expires_at = now + self.credentials.token_life();
        (self.seal(expires_at.as_millisecond()), expires_at)
    }

    /// The configured credentials.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn admit_token(&self, token: &str, request: &Parts, now: Timestamp) -> Result<(), Refusal> {
        let is_known = |known: &SecretString| known.expose_secret() == token;
        if self.credentials.accepts_any() && !token.is_empty()
            || self.credentials.tokens.iter().any(is_known)
        {
            return self.admit_project(request);
        }
        match self.expiry(token) {
            None => Err(unauthorised(
                "Incorrect IAM authentication information: decrypt token fail",
            )),
            Some(expiry) if expiry <= now => Err(unauthorised(&format!(
                "token expires, expires_at: {expiry:.6}"
            ))),
            Some(_) => self.admit_project(request),
        }
    }

    fn admit_project(&self, request: &Parts) -> Result<(), Refusal> {
        let project = project_id(request.uri.path());
        match self.credentials.project.as_deref() {
            Some(expected) if project != Some(expected) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "SIS.0101",
                "project_id doesn't match the token",
            )),
            _ => Ok(()),
        }
    }

    fn admit_signature(
        &mut self,
        authorization: &Authorization<'_>,
        request: &Parts,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.credentials.accepts_any() {
            return self.admit_project(request);
        }
        let access_key = authorization.access_key;
        let Some(key) = self
            .credentials
            .keys
            .iter()
            .find(|key| key.access_key == access_key)
        else {
            return Err(unauthorised("Get secretKey failed: ak not exist"));
        };
        let failures = self.failures.entry(access_key.to_owned()).or_default();
        if failures.locked_until.is_some_and(|until| now < until) {
            return Err(unauthorised(
                "AK access failed to reach the limit,forbidden",
            ));
        }
        match authorization.check(key, request, now) {
            Ok(()) => {
                *failures = Failures::default();
                self.admit_project(request)
            }
            Err(refusal) => {
                failures.fail(now);
                Err(refusal)
            }
        }
    }

    /// `MII`, the end of the token's life, its seal, and letters up to the length of a real token.
    fn seal(&self, expires_at_ms: i64) -> String {
        let payload = format!("{expires_at_ms:016x}");
        let seal = hex(hmac::sign(&self.sealing, payload.as_bytes()).as_ref());
        format!(
            "{:A<TOKEN_LENGTH$}",
            format!("{TOKEN_START}{payload}{seal}")
        )
    }

    /// When a token of this gate ends; `None` for any other.
    fn expiry(&self, token: &str) -> Option<Timestamp> {
        let (payload, rest) = token.strip_prefix(TOKEN_START)?.split_at_checked(16)?;
        let (seal, _padding) = rest.split_at_checked(64)?;
        hmac::verify(&self.sealing, payload.as_bytes(), &from_hex(seal)?).ok()?;
        Timestamp::from_millisecond(i64::from_str_radix(payload, 16).ok()?).ok()
    }
}

impl Credentials {
    fn is_demanding(&self) -> bool {
        self.required || !self.accepts_any()
    }

    const fn accepts_any(&self) -> bool {
        self.tokens.is_empty() && self.keys.is_empty() && self.users.is_empty()
    }

    fn token_life(&self) -> Duration {
        self.token_life_s
            .map_or(DAY, |seconds| Duration::from_secs(seconds.into()))
    }
}

impl Failures {
    fn fail(&mut self, now: Timestamp) {
        self.count += 1;
        if self.count > MOST_FAILURES {
            *self = Self {
                count: 0,
                locked_until: Some(now + LOCK),
            };
        }
    }
}

/// The `Authorization` header of a signed request.
struct Authorization<'a> {
    access_key: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let fields = value.strip_prefix("SDK-HMAC-SHA256 ")?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            access_key: field("Access")?,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }

    fn check(&self, key: &AccessKey, request: &Parts, now: Timestamp) -> Result<(), Refusal> {
        let headers = &request.headers;
        let failed = |why: &str| unauthorised(&format!("verify aksk signature fail, {why}"));
        if headers.get_all(header::HOST).iter().count() != 1 {
            return Err(failed("exactly one Host header is expected"));
        }
        let date = header(headers, "x-sdk-date").ok_or_else(|| failed("X-Sdk-Date is missing"))?;
        if !self.signed_headers.contains(&"host") || !self.signed_headers.contains(&"x-sdk-date") {
            return Err(failed("host and x-sdk-date must be signed"));
        }
        let signed = Signed {
            path: request.uri.path(),
            query: request.uri.query().unwrap_or_default(),
            date,
            headers: self
                .signed_headers
                .iter()
                .map(|&name| (name, header(headers, name).unwrap_or_default()))
                .collect(),
        };
        if !signed.is_signed_with(key.secret_key.expose_secret(), self.signature) {
            return Err(failed(&format!(
                "canonicalRequest:{}",
                signed.canonical_request()
            )));
        }
        if !is_recent(date, now) {
            return Err(unauthorised("calc ak sk signature fail:signature expired"));
        }
        check_security_token(key, headers)
    }
}

fn check_security_token(key: &AccessKey, headers: &HeaderMap) -> Result<(), Refusal> {
    let expected = key.security_token.as_ref().map(ExposeSecret::expose_secret);
    match expected {
        Some(expected) if header(headers, "x-security-token") != Some(expected) => Err(
            unauthorised("Incorrect IAM authentication information: decrypt token fail"),
        ),
        _ => Ok(()),
    }
}

fn is_recent(date: &str, now: Timestamp) -> bool {
    let Ok(date) = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date) else {
        return false;
    };
    let Ok(date) = date.to_zoned(jiff::tz::TimeZone::UTC) else {
        return false;
    };
    now.duration_since(date.timestamp()).abs() <= CLOCK_SKEW
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn unauthorised(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "APIG.0301", message)
}

/// Real tokens begin so: they are CMS messages in base64.
const TOKEN_START: &str = "MII";
/// Characters of a token: clients must get on with several kilobytes.
const TOKEN_LENGTH: usize = 4_096;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A key that fails more often in a row is locked.
const MOST_FAILURES: u32 = 5;
const LOCK: Duration = Duration::from_secs(5 * 60);
/// How far the clocks of client and gateway may be apart.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);

#[cfg(test)]
mod tests;
