//! Credentials expire, rotate and are refused: no word is lost by it, and no account is locked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use callscribe::asr::Recognition;
use callscribe::asr::auth::Credentials;
use callscribe::asr::auth::iam::IamUser;
use callscribe::asr::auth::signature::AccessKey;
use callscribe::asr::endpoint::Endpoint;
use callscribe::event::GapReason;
use callscribe::io::provider::{Provider, Settings};
use callscribe::io::recogniser::{Recogniser, Unrecognised};
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::support::{complete, judge, read_head, recognise, speech, with_server};

const EXPIRED: &str = r#"{"error_code":"APIG.0301","error_msg":"token expires, expires_at: now"}"#;

async fn recognise_many(settings: Settings, n: usize) -> Vec<Result<Recognition, Unrecognised>> {
    let recogniser = Recogniser::new(Provider::new(settings).unwrap());
    recognise_on(&recogniser, n).await
}

async fn recognise_on(recogniser: &Recogniser, n: usize) -> Vec<Result<Recognition, Unrecognised>> {
    join_all((0..n).map(|_| recogniser.recognise(complete(&speech(1)), |_| {}))).await
}

fn user(endpoint: Endpoint) -> Credentials {
    Credentials::Password(IamUser {
        endpoint,
        domain: "account".into(),
        user: "caller".into(),
        password: "hunter2".into(),
        project: "cn-north-4".into(),
    })
}

/// An identity service that answers the n-th request with a status, and with `token-n`.
async fn identity_service(status: impl Fn(usize) -> u16 + 'static) -> (Endpoint, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Rc::new(Cell::new(0));
    let served = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            assert!(
                head.starts_with("POST /v3/auth/tokens?nocatalog=1 HTTP/1.1"),
                "{head}"
            );
            served.set(served.get() + 1);
            let n = served.get();
            let body = r#"{"token":{"issued_at":"2026-01-03T09:00:00.000000Z",
                "expires_at":"2026-01-04T09:00:00.000000Z"}}"#;
            let reply = format!(
                "HTTP/1.1 {} X\r\nX-Subject-Token: token-{n}\r\nContent-Length: {}\r\n\r\n{body}",
                status(n),
                body.len()
            );
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (
        Endpoint::web(&format!("http://{address}"), IamUser::PATH).unwrap(),
        count,
    )
}

#[tokio::test]
async fn refused_access_key_is_tried_once_for_all_calls() {
    let key = AccessKey {
        access: "AK".into(),
        secret: "SK".into(),
        security_token: None,
    };
    let script = |_, stream, log| async move {
        let body = r#"{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail"}"#;
        judge(stream, log, |request| {
            assert!(request.headers().contains_key("authorization"));
            assert_eq!(request.headers().get_all("host").iter().count(), 1);
            Err((401, body.into()))
        })
        .await;
    };
    with_server(script, async |mut settings, log| {
        settings.credentials = Credentials::AccessKey(key);
        let provider = Provider::new(settings).unwrap();
        let recogniser = Recogniser::new(provider.clone());
        for failed in recognise_on(&recogniser, 20).await {
            let failed = failed.unwrap_err();
            assert_eq!(
                (failed.reason, failed.can_wait),
                (GapReason::AsrRejected, true)
            );
        }
        assert_eq!(log.0.borrow().refused, 1);
        let (why, hold) = provider.alarm().unwrap();
        assert!(why.contains("verify aksk signature fail"), "{why}");
        assert!(hold > Duration::from_secs(290));
    })
    .await;
}

#[tokio::test]
async fn tokens_that_expire_under_load_are_renewed_once_and_no_part_is_lost() {
    let valid = Rc::new(RefCell::new("token-1".to_owned()));
    let now_valid = Rc::clone(&valid);
    let script = move |_, stream, log| {
        let valid = Rc::clone(&now_valid);
        async move {
            let judged = judge(stream, log, |request| {
                let token = request.headers()["x-auth-token"].to_str().unwrap();
                match token == *valid.borrow() {
                    true => Ok(()),
                    false => Err((401, EXPIRED.into())),
                }
            });
            if let Some(mut peer) = judged.await {
                peer.serve("好").await;
            }
        }
    };
    with_server(script, async |mut settings, log| {
        let (endpoint, fetched) = identity_service(|_| 201).await;
        settings.credentials = user(endpoint);
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        assert!(
            recognise_on(&recogniser, 20)
                .await
                .iter()
                .all(Result::is_ok)
        );
        assert_eq!((fetched.get(), log.0.borrow().refused), (1, 0));
        valid.replace("token-2".into());
        for recognised in recognise_on(&recogniser, 20).await {
            assert_eq!(recognised.unwrap().text, "好");
        }
        assert_eq!(fetched.get(), 2, "more than one renewal");
        assert!(log.0.borrow().refused <= 20);
    })
    .await;
}

#[tokio::test]
async fn fresh_token_that_is_refused_stops_everything_without_a_loop() {
    let script = |_, stream, log| async move {
        judge(stream, log, |_| Err((401, EXPIRED.into()))).await;
    };
    with_server(script, async |mut settings, log| {
        let (endpoint, fetched) = identity_service(|_| 201).await;
        settings.credentials = user(endpoint);
        let failed = recognise_many(settings, 10).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!((fetched.get(), log.0.borrow().refused), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn identity_service_that_is_away_for_a_while_loses_nothing() {
    let script = |_, stream, log| async move {
        if let Some(mut peer) = judge(stream, log, |_| Ok(())).await {
            peer.serve("好").await;
        }
    };
    with_server(script, async |mut settings, _| {
        let (endpoint, fetched) = identity_service(|n| if n < 2 { 503 } else { 201 }).await;
        settings.credentials = user(endpoint);
        let recognised = recognise_many(settings, 20).await;
        assert!(recognised.iter().all(Result::is_ok));
        assert_eq!(fetched.get(), 2, "the identity service was hammered");
    })
    .await;
}

#[tokio::test]
async fn wrong_password_is_sent_once() {
    let script = |_, stream, log| async move {
        judge(stream, log, |_| Ok(())).await;
    };
    with_server(script, async |mut settings, log| {
        let (endpoint, fetched) = identity_service(|_| 401).await;
        settings.credentials = user(endpoint);
        for failed in recognise_many(settings, 10).await {
            assert_eq!(failed.unwrap_err().reason, GapReason::AsrRejected);
        }
        assert_eq!(fetched.get(), 1);
        assert_eq!(log.0.borrow().requests.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn token_file_is_read_again_when_it_changes() {
    let script = |_, stream, log| async move {
        let judged = judge(stream, log, |request| {
            match request.headers()["x-auth-token"] == "new" {
                true => Ok(()),
                false => Err((401, EXPIRED.into())),
            }
        });
        if let Some(mut peer) = judged.await {
            peer.serve("好").await;
        }
    };
    with_server(script, async |mut settings, log| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        settings.credentials = Credentials::TokenFile(file.path().into());
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let failed = recognise_on(&recogniser, 5).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(log.0.borrow().refused, 1);
        std::fs::write(file.path(), "new\n").unwrap();
        while recognise_on(&recogniser, 1).await[0].is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(log.0.borrow().refused, 1, "the old token was tried again");
    })
    .await;
}

#[tokio::test]
async fn secret_that_the_gateway_echoes_is_not_repeated() {
    let script = |_, stream, log| async move {
        judge(stream, log, |request| {
            let token = request.headers()["x-auth-token"].to_str().unwrap();
            let message = format!("decrypt token fail, x-auth-token:{token}");
            let body = serde_json::json!({"error_code": "APIG.0301", "error_msg": message});
            Err((401, body.to_string()))
        })
        .await;
    };
    with_server(script, async |mut settings, _| {
        settings.credentials = Credentials::FixedToken("MIIsecret".into());
        let shown = format!("{settings:?}");
        let failed = recognise(settings, complete(&speech(1))).await.unwrap_err();
        assert!(
            failed.detail.contains("decrypt token fail"),
            "{}",
            failed.detail
        );
        assert!(!failed.detail.contains("MIIsecret") && !shown.contains("MIIsecret"));
    })
    .await;
}

#[tokio::test]
async fn token_of_thirty_kilobytes_is_carried() {
    let long = "M".repeat(30_000);
    let expected = long.clone();
    let script = move |_, stream, log| {
        let expected = expected.clone();
        async move {
            let judged = judge(stream, log, |request| {
                assert_eq!(request.headers()["x-auth-token"], expected);
                Ok(())
            });
            judged.await.unwrap().serve("好").await;
        }
    };
    with_server(script, async |mut settings, _| {
        settings.credentials = Credentials::FixedToken(long.into());
        assert!(recognise(settings, complete(&speech(1))).await.is_ok());
    })
    .await;
}
