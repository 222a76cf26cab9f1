//! The identity service's request for a token, and its reply.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::asr::endpoint::Endpoint;

/// A user for whom tokens are fetched.
#[derive(Clone, Debug)]
pub struct IamUser {
    /// The identity service: `POST …/v3/auth/tokens`. Region and project must match the
    /// recogniser's.
    pub endpoint: Endpoint,
    /// The account's name.
    pub domain: String,
    /// The user's name; the same as the account's only for its owner.
    pub user: String,
    /// The password.
    pub password: SecretString,
    /// The project's name, as in `cn-north-4`. A token without one is issued, and then refused.
    pub project: String,
}

impl IamUser {
    /// The path of the request, without the catalog that nobody reads.
    pub const PATH: &str = "/v3/auth/tokens?nocatalog=1";

    /// The body of the request.
    pub fn request(&self) -> SecretString {
        let user = json!({
            "name": self.user,
            "password": self.password.expose_secret(),
            "domain": {"name": self.domain},
        });
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self.project}},
        }});
        body.to_string().into()
    }
}

/// How long a token lives by the body of the reply. Our own clock has no part in it.
pub fn lifetime(body: &[u8]) -> Option<Duration> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let at = |key: &str| body["token"][key].as_str()?.parse::<jiff::Timestamp>().ok();
    at("expires_at")?
        .duration_since(at("issued_at")?)
        .try_into()
        .ok()
}

/// What a refusal says: the identity service's own form, or the gateway's.
pub fn complaint(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = [&body["error"]["message"], &body["error_msg"]];
    let text = texts
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default();
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_scoped_to_the_project() {
        let user = IamUser {
            endpoint: Endpoint::web("https://iam.example.org", IamUser::PATH).unwrap(),
            domain: "account".into(),
            user: "caller".into(),
            password: "hunter\"2".into(),
            project: "cn-north-4".into(),
        };
        let body: Value = serde_json::from_str(user.request().expose_secret()).unwrap();
        assert_eq!(body["auth"]["scope"]["project"]["name"], "cn-north-4");
        assert_eq!(body["auth"]["identity"]["methods"], json!(["password"]));
        let expected = json!({"name": "caller", "password": "hunter\"2",
            "domain": {"name": "account"}});
        assert_eq!(body["auth"]["identity"]["password"]["user"], expected);
        assert!(
            !format!("{user:?}").contains("hunter"),
            "the password shows"
        );
    }

    #[test]
    fn lifetime_is_from_issue_to_expiry() {
        let body = br#"{"token":{"issued_at":"2026-01-03T09:08:49.965000Z",
            "expires_at":"2026-01-04T09:08:49.965000Z","methods":["password"]}}"#;
        assert_eq!(lifetime(body), Some(Duration::from_secs(86_400)));
        assert_eq!(lifetime(b"{}"), None);
        assert_eq!(lifetime(b"<html>"), None);
    }

    #[test]
    fn complaint_is_found_in_both_forms() {
        let own = br#"{"error":{"code":401,"message":"The username or password is wrong."}}"#;
        assert_eq!(complaint(own), "The username or password is wrong.");
        assert_eq!(
            complaint(br#"{"error_msg":"no","error_code":"IAM.1"}"#),
            "no"
        );
        assert_eq!(complaint(b""), "");
    }
}
