//! The access-key signature of the handshake, `SDK-HMAC-SHA256`.
//!
//! The handshake is signed as a GET with an empty body. Unlike AWS's signatures, the key is the
//! secret itself, and the canonical path always ends with a slash.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

use crate::asr::endpoint::Endpoint;

/// An access key: its public name and its secret.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The name, "AK".
    pub access: String,
    /// The secret, "SK".
    pub secret: SecretString,
    /// What comes with a temporary key.
    pub security_token: Option<SecretString>,
}

impl AccessKey {
    /// The headers that authenticate a GET of the endpoint at a time that is not far from the
    /// service's own: names in lower case, values.
    pub fn sign(&self, to: &Endpoint, at: jiff::Timestamp) -> Vec<(&'static str, SecretString)> {
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        // Sorted by name, as the signature wants them.
        let mut signed = vec![
            ("host", to.authority().to_owned()),
            ("x-sdk-date", date.clone()),
        ];
        if let Some(token) = &self.security_token {
            signed.push(("x-security-token", token.expose_secret().to_owned()));
        }
        signed.sort_unstable();
        let names: Vec<_> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        // The path of an endpoint has only unreserved characters: there is nothing to encode.
        let mut request = format!("GET\n{}/\n\n", to.path());
        for (name, value) in &signed {
            request += &format!("{name}:{}\n", value.trim());
        }
        request += &format!(
            "\n{names}\n{}",
            hex(digest::digest(&digest::SHA256, b"").as_ref())
        );
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret().as_bytes());
        let text = format!("{ALGORITHM}\n{date}\n{request}");
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let authorization = format!(
            "{ALGORITHM} Access={}, SignedHeaders={names}, Signature={signature}",
            self.access
        );
        signed
            .into_iter()
            .filter(|(name, _)| *name != "host")
            .chain([("authorization", authorization)])
            .map(|(name, value)| (name, value.into()))
            .collect()
    }
}

const ALGORITHM: &str = "SDK-HMAC-SHA256";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(security_token: Option<&str>) -> AccessKey {
        AccessKey {
            access: "AKEXAMPLE".into(),
            secret: "SKEXAMPLE".into(),
            security_token: security_token.map(Into::into),
        }
    }

    fn header(headers: &[(&'static str, SecretString)], name: &str) -> String {
        let found = headers.iter().find(|(n, _)| *n == name).unwrap();
        found.1.expose_secret().to_owned()
    }

    fn signed(key: &AccessKey) -> Vec<(&'static str, SecretString)> {
        let project = "0123456789abcdef0123456789abcdef";
        let endpoint = Endpoint::new("ws://127.0.0.1:18701", project).unwrap();
        key.sign(&endpoint, "2026-11-22T11:31:14Z".parse().unwrap())
    }

    #[test]
    fn signature_is_that_of_the_official_sdk() {
        let headers = signed(&key(None));
        assert_eq!(header(&headers, "x-sdk-date"), "20261122T113114Z");
        assert_eq!(
            header(&headers, "authorization"),
            "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-sdk-date, \
             Signature=437bc8336f4978688d3da550104ec65dcb8e8ea34aae926e8c4b3993f2d9b1c9"
        );
        assert!(
            headers.iter().all(|(name, _)| *name != "host"),
            "a second Host header"
        );
    }

    #[test]
    fn security_token_is_sent_and_covered_by_the_signature() {
        let headers = signed(&key(Some("ST")));
        assert_eq!(header(&headers, "x-security-token"), "ST");
        let authorization = header(&headers, "authorization");
        assert!(authorization.contains("SignedHeaders=host;x-sdk-date;x-security-token,"));
        let other = header(&signed(&key(Some("ST2"))), "authorization");
        assert_ne!(authorization, other);
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", key(Some("ST")));
        assert!(
            !shown.contains("SKEXAMPLE") && !shown.contains("ST\""),
            "{shown}"
        );
    }
}
