//! What an HTTP request to the service gets: an upgrade, a token, or a refusal with the service's
//! own body.

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, header};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 101, with this `Sec-WebSocket-Accept`.
    Upgrade(String),
    /// Its body goes to the token endpoint.
    Token,
    /// A status and a body.
    Refuse(Refusal),
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// `APIG.nnnn` or `SIS.nnnn`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal with that code.
    pub fn new(status: StatusCode, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The body: the gateway's shape has a request id, the service's own has none.
    pub fn body(&self, request_id: &str) -> String {
        if self.code.starts_with("SIS.") {
            json!({"error_code": self.code, "error_msg": self.message})
        } else {
            json!({"error_msg": self.message, "error_code": self.code, "request_id": request_id})
        }
        .to_string()
    }

    /// No such path, or not with that method.
    pub fn not_found() -> Self {
        let message = "The API does not exist or has not been published in the environment";
        Self::new(StatusCode::NOT_FOUND, "APIG.0101", message)
    }

    /// More connections than the service takes.
    pub fn throttled(limit: usize) -> Self {
        let message = format!(
            "The throttling threshold has been reached: policy user over ratelimit,limit:{limit},time:1 second"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "APIG.0308", &message)
    }
}

/// The path's answer, before any look at credentials.
pub fn route(request: &Parts) -> Verdict {
    let path = request.uri.path();
    if path == "/v3/auth/tokens" && request.method == Method::POST {
        return Verdict::Token;
    }
    if project_id(path).is_none() || request.method != Method::GET {
        return Verdict::Refuse(Refusal::not_found());
    }
    match websocket_key(&request.headers) {
        Some(key) => Verdict::Upgrade(derive_accept_key(key)),
        None => Verdict::Refuse(Refusal::new(
            StatusCode::BAD_REQUEST,
            "APIG.0201",
            "API request error: not a WebSocket handshake of version 13",
        )),
    }
}

/// The project in `/v1/{project_id}/rasr/short-stream`. `/asr/short-stream`, which one published
/// sample has, is a slip.
pub fn project_id(path: &str) -> Option<&str> {
    let id = path
        .strip_prefix("/v1/")?
        .strip_suffix("/rasr/short-stream")?;
    let is_opaque_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!id.is_empty() && id.chars().all(is_opaque_word)).then_some(id)
}

/// The key of a complete WebSocket handshake (RFC 6455 §4.2.1).
fn websocket_key(headers: &HeaderMap) -> Option<&[u8]> {
    let says = |name, word: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|value| {
                value
                    .split(',')
                    .any(|token| token.trim().eq_ignore_ascii_case(word))
            })
        })
    };
    let is_upgrade = says(header::CONNECTION, "upgrade")
        && says(header::UPGRADE, "websocket")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|_| is_upgrade)
        .map(|key| key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn request(method: &str, path: &str, version: &str) -> Parts {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "WebSocket")
            .header("Sec-WebSocket-Version", version)
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        request.body(()).unwrap().into_parts().0
    }

    fn code(verdict: Verdict) -> String {
        match verdict {
            Verdict::Refuse(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.code),
            Verdict::Upgrade(_) => "101".into(),
            Verdict::Token => "token".into(),
        }
    }

    #[test]
    fn the_short_stream_path_of_any_project_is_upgraded() {
        let verdict = route(&request("GET", "/v1/0a_B-9/rasr/short-stream", "13"));
        // The example of RFC 6455 §1.3.
        assert_eq!(
            verdict,
            Verdict::Upgrade("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())
        );
    }

    #[test]
    fn other_paths_are_not_published() {
        for path in [
            "/",
            "/v1/p/asr/short-stream",
            "/v1/p/rasr/continue-stream",
            "/v1//rasr/short-stream",
            "/v1/a/b/rasr/short-stream",
            "/v1/p/rasr/short-stream/",
        ] {
            assert_eq!(
                code(route(&request("GET", path, "13"))),
                "404 APIG.0101",
                "{path}"
            );
        }
        assert_eq!(
            code(route(&request("POST", "/v1/p/rasr/short-stream", "13"))),
            "404 APIG.0101"
        );
        assert_eq!(
            code(route(&request("GET", "/v3/auth/tokens", "13"))),
            "404 APIG.0101"
        );
    }

    #[test]
    fn a_plain_get_is_no_handshake() {
        let verdict = route(&request("GET", "/v1/p/rasr/short-stream", "8"));
        assert_eq!(code(verdict), "400 APIG.0201");
    }

    #[test]
    fn refusals_have_the_gateways_or_the_services_body() {
        let gateway = Refusal::not_found().body("r1");
        assert!(gateway.contains(r#""request_id":"r1""#), "{gateway}");
        let service = Refusal::new(StatusCode::UNAUTHORIZED, "SIS.0101", "no").body("r1");
        assert_eq!(service, r#"{"error_code":"SIS.0101","error_msg":"no"}"#);
    }
}
