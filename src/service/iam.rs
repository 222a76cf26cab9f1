//! The token endpoint: a password in, a token for the project out.

use hyper::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::gate::{Credentials, Gate};

/// The answer of `POST /v3/auth/tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// 201 when a token was issued.
    pub status: StatusCode,
    /// The header `X-Subject-Token`.
    pub token: Option<String>,
    /// JSON.
    pub body: String,
}

/// Issues a token to who knows the password of a user and names a project.
///
/// A service that lists no users issues one to everybody, as it lets everybody in.
pub fn answer(gate: &Gate, body: &[u8], now: Timestamp) -> TokenAnswer {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return refuse(StatusCode::BAD_REQUEST, "Request body is invalid.");
    };
    let auth = &request["auth"];
    let asks_with_password = auth["identity"]["methods"] == json!(["password"]);
    let user = &auth["identity"]["password"]["user"];
    if !asks_with_password || !user["name"].is_string() {
        return refuse(StatusCode::BAD_REQUEST, "Request body is invalid.");
    }
    if !is_known(gate.credentials(), user) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "The username or password is wrong.",
        );
    }
    let project = &auth["scope"]["project"];
    let (token, expires_at) = if project["name"].is_string() || project["id"].is_string() {
        gate.issue(now)
    } else {
        // The cloud issues a token without a project happily; the recogniser then refuses it.
        ("MIIwithoutproject".to_owned(), now)
    };
    let body = json!({"token": {
        "issued_at": format!("{now:.6}"),
        "expires_at": format!("{expires_at:.6}"),
        "methods": ["password"],
        "project": project,
        "user": {"name": user["name"], "domain": user["domain"]},
    }});
    TokenAnswer {
        status: StatusCode::CREATED,
        token: Some(token),
        body: body.to_string(),
    }
}

fn is_known(credentials: &Credentials, user: &Value) -> bool {
    credentials.users.is_empty()
        || credentials.users.iter().any(|known| {
            user["name"] == known.name
                && user["password"] == known.password.expose_secret()
                && user["domain"]["name"] == known.domain
        })
}

fn refuse(status: StatusCode, message: &str) -> TokenAnswer {
    let error = json!({"error": {
        "code": status.as_u16(),
        "message": message,
        "title": status.canonical_reason(),
    }});
    TokenAnswer {
        status,
        token: None,
        body: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::gate::User;

    #[test]
    fn the_right_password_and_a_project_give_a_token() {
        let answer = ask("p", &json!({"project": {"name": "cn-north-4"}}));
        assert_eq!(answer.status, 201);
        assert!(answer.token.unwrap().len() > 1_000);
        assert!(
            answer
                .body
                .contains(r#""expires_at":"2026-11-23T09:08:49.965000Z""#),
            "{}",
            answer.body
        );
    }

    #[test]
    fn a_project_id_is_as_good_as_its_name() {
        let answer = ask("p", &json!({"project": {"id": "0123"}}));
        assert!(answer.token.unwrap().len() > 1_000);
    }

    #[test]
    fn a_token_without_a_project_is_issued_and_opens_nothing() {
        let answer = ask("p", &json!({"domain": {"name": "d"}}));
        assert_eq!(answer.status, 201);
        let token = answer.token.unwrap();
        let request = hyper::Request::builder()
            .uri("/v1/p/rasr/short-stream")
            .header("x-auth-token", token)
            .body(())
            .unwrap();
        assert!(gate().admit(&request.into_parts().0, now()).is_err());
    }

    #[test]
    fn a_wrong_password_gives_none() {
        let answer = ask("wrong", &json!({"project": {"name": "cn-north-4"}}));
        assert_eq!(
            (answer.status, answer.token),
            (StatusCode::UNAUTHORIZED, None)
        );
        assert!(answer.body.contains("The username or password is wrong."));
    }

    #[test]
    fn other_bodies_are_bad_requests() {
        for body in ["", "[]", r#"{"auth":{}}"#] {
            assert_eq!(
                super::answer(&gate(), body.as_bytes(), now()).status,
                400,
                "{body}"
            );
        }
    }

    fn ask(password: &str, scope: &Value) -> TokenAnswer {
        let body = json!({"auth": {"scope": scope, "identity": {"methods": ["password"],
            "password": {"user": {"name": "u", "password": password, "domain": {"name": "d"}}}}}});
        answer(&gate(), body.to_string().as_bytes(), now())
    }

    fn gate() -> Gate {
        let user = User {
            name: "u".into(),
            password: "p".into(),
            domain: "d".into(),
        };
        Gate::new(
            Credentials {
                users: vec![user],
                ..Credentials::default()
            },
            b"secret",
        )
    }

    fn now() -> Timestamp {
        "2026-11-22T09:08:49.965Z".parse().unwrap()
    }
}
