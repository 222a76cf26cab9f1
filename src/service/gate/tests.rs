use hyper::Request;

use super::*;

const PATH: &str = "/v1/0123456789abcdef0123456789abcdef/rasr/short-stream";
const DATE: &str = "20261122T113114Z";

#[test]
fn an_open_gate_lets_everybody_in() {
    let mut gate = gate(Credentials::default());
    assert_eq!(gate.admit(&request(&[]), noon()), Ok(()));
    assert_eq!(
        gate.admit(&request(&[("x-auth-token", "anything")]), noon()),
        Ok(())
    );
}

#[test]
fn a_gate_that_only_asks_takes_any_token_but_not_none() {
    let mut gate = gate(Credentials {
        required: true,
        ..Credentials::default()
    });
    assert!(refusal(gate.admit(&request(&[]), noon())).contains("x-auth-token not found"));
    assert!(refusal(gate.admit(&request(&[("x-auth-token", "")]), noon())).contains("decrypt"));
    assert_eq!(
        gate.admit(&request(&[("x-auth-token", "anything")]), noon()),
        Ok(())
    );
}

#[test]
fn a_listed_token_is_taken_and_another_is_not() {
    let mut gate = gate(Credentials {
        tokens: vec!["right".into()],
        ..Credentials::default()
    });
    assert_eq!(
        gate.admit(&request(&[("X-Auth-Token", "right")]), noon()),
        Ok(())
    );
    let refused = gate.admit(&request(&[("X-Auth-Token", "wrong")]), noon());
    assert!(refusal(refused).contains("401 APIG.0301"));
}

#[test]
fn an_issued_token_holds_until_its_end_and_cannot_be_forged() {
    let mut gate = gate(Credentials {
        token_life_s: Some(60),
        ..user()
    });
    let (token, expires_at) = gate.issue(noon());
    assert_eq!(expires_at, noon() + Duration::from_secs(60));
    assert!(token.starts_with("MII") && token.len() == TOKEN_LENGTH);
    let with_token = request(&[("x-auth-token", &token)]);
    assert_eq!(
        gate.admit(&with_token, expires_at - Duration::from_millis(1)),
        Ok(())
    );
    assert!(
        refusal(gate.admit(&with_token, expires_at)).contains("token expires, expires_at: 2026")
    );
    let forged = token.replacen("MII0", "MII1", 1);
    let refused = gate.admit(&request(&[("x-auth-token", &forged)]), noon());
    assert!(refusal(refused).contains("decrypt token fail"));
}

#[test]
fn a_token_is_for_its_project() {
    let mut gate = gate(Credentials {
        tokens: vec!["right".into()],
        project: Some("another".into()),
        ..Credentials::default()
    });
    let refused = gate.admit(&request(&[("x-auth-token", "right")]), noon());
    assert!(refusal(refused).contains("401 SIS.0101"));
}

#[test]
fn the_official_sdks_signature_is_taken() {
    assert_eq!(
        gate(keys()).admit(&signed_request(SIGNATURE), noon()),
        Ok(())
    );
}

#[test]
fn a_wrong_signature_is_refused_with_what_was_signed() {
    let refused = refusal(gate(keys()).admit(&signed_request(&"0".repeat(64)), noon()));
    assert!(refused.contains("verify aksk signature fail"), "{refused}");
    assert!(refused.contains("GET\n/v1/0123456789abcdef0123456789abcdef/rasr/short-stream/\n"));
}

#[test]
fn an_old_signature_is_refused() {
    let later = noon() + Duration::from_secs(16 * 60);
    let refused = gate(keys()).admit(&signed_request(SIGNATURE), later);
    assert!(refusal(refused).contains("signature expired"));
}

#[test]
fn an_unknown_key_is_refused() {
    let mut gate = gate(Credentials {
        tokens: vec!["x".into()],
        ..Credentials::default()
    });
    assert!(refusal(gate.admit(&signed_request(SIGNATURE), noon())).contains("ak not exist"));
}

#[test]
fn a_second_host_header_is_refused() {
    let mut request = signed_request(SIGNATURE);
    request
        .headers
        .append("host", "127.0.0.1:18701".parse().unwrap());
    assert!(refusal(gate(keys()).admit(&request, noon())).contains("Host"));
}

#[test]
fn temporary_keys_need_their_security_token() {
    let mut credentials = keys();
    credentials.keys[0].security_token = Some("st".into());
    let mut gate = gate(credentials);
    let mut request = signed_request(SIGNATURE);
    assert!(gate.admit(&request, noon()).is_err());
    request
        .headers
        .insert("x-security-token", "st".parse().unwrap());
    assert_eq!(gate.admit(&request, noon()), Ok(()));
}

#[test]
fn a_key_is_locked_for_five_minutes_after_its_sixth_failure_in_a_row() {
    let mut gate = gate(keys());
    let (wrong, right) = (signed_request(&"0".repeat(64)), signed_request(SIGNATURE));
    for _ in 0..6 {
        assert!(refusal(gate.admit(&wrong, noon())).contains("verify"));
    }
    assert!(refusal(gate.admit(&right, noon())).contains("reach the limit"));
    assert_eq!(
        gate.admit(&right, noon() + Duration::from_secs(300)),
        Ok(())
    );
}

const SIGNATURE: &str = "437bc8336f4978688d3da550104ec65dcb8e8ea34aae926e8c4b3993f2d9b1c9";

fn gate(credentials: Credentials) -> Gate {
    Gate::new(credentials, b"secret")
}

fn keys() -> Credentials {
    let key = AccessKey {
        access_key: "AKEXAMPLE".into(),
        secret_key: "SKEXAMPLE".into(),
        security_token: None,
    };
    Credentials {
        keys: vec![key],
        ..Credentials::default()
    }
}

fn user() -> Credentials {
    let user = User {
        name: "u".into(),
        password: "p".into(),
        domain: "d".into(),
    };
    Credentials {
        users: vec![user],
        ..Credentials::default()
    }
}

/// The instant of the test vector.
fn noon() -> Timestamp {
    "2026-11-22T11:31:14Z".parse().unwrap()
}

fn signed_request(signature: &str) -> Parts {
    let authorization = format!(
        "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-sdk-date, Signature={signature}"
    );
    request(&[
        ("host", "127.0.0.1:18701"),
        ("x-sdk-date", DATE),
        ("authorization", &authorization),
        ("content-length", "0"),
    ])
}

fn request(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(PATH);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn refusal(outcome: Result<(), Refusal>) -> String {
    let refusal = outcome.unwrap_err();
    format!(
        "{} {} {}",
        refusal.status.as_u16(),
        refusal.code,
        refusal.message
    )
}
