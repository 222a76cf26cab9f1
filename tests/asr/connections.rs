//! TLS is verified, proxies are passed through, connections carry one part after the other.

use std::sync::Arc;
use std::time::Duration;

use callscribe::asr::endpoint::Endpoint;
use callscribe::event::GapReason;
use callscribe::io::provider::{Provider, Settings};
use callscribe::io::recogniser::Recogniser;
use callscribe::io::transport::Proxy;
use futures_util::{SinkExt, StreamExt};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::support::{accept, complete, read_head, recognise, result, speech, with_server};

/// A server certificate for `name`, and a file that trusts it.
fn certificate(name: &str) -> (tokio_rustls::TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config).into(), file)
}

fn over_tls(settings: Settings) -> Settings {
    let base = format!("wss://localhost:{}", settings.endpoint.port());
    Settings {
        endpoint: Endpoint::new(&base, "p1").unwrap(),
        ..settings
    }
}

/// Serves one session over TLS, with the default text.
async fn serve_tls(acceptor: tokio_rustls::TlsAcceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            let replies = match text.contains("START") {
                true => vec![r#"{"resp_type":"START","trace_id":"t"}"#.to_owned()],
                false => vec![
                    result("好"),
                    r#"{"resp_type":"END","trace_id":"t","reason":"NORMAL"}"#.to_owned(),
                ],
            };
            for reply in replies {
                socket.send(Message::text(reply)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn tls_is_verified_against_the_ca_file() {
    let (acceptor, ca_file) = certificate("localhost");
    let script = move |_, stream, _| serve_tls(acceptor.clone(), stream);
    with_server(script, async |settings, _| {
        let mut settings = over_tls(settings);
        settings.ca_file = Some(ca_file.path().into());
        let recognition = recognise(settings, complete(&speech(2))).await.unwrap();
        assert_eq!(recognition.text, "好");
    })
    .await;
}

#[tokio::test]
async fn certificate_of_another_name_or_unknown_root_is_not_trusted() {
    let (wrong, wrong_file) = certificate("example.org");
    let (unknown, _) = certificate("localhost");
    let (_, other_file) = certificate("localhost");
    for (acceptor, file) in [(wrong, wrong_file), (unknown, other_file)] {
        let script = move |_, stream, _| serve_tls(acceptor.clone(), stream);
        with_server(script, async |settings, _| {
            let mut settings = over_tls(settings);
            settings.ca_file = Some(file.path().into());
            settings.retry.deadline = Duration::from_millis(100);
            let failed = recognise(settings, complete(&speech(1))).await.unwrap_err();
            assert_eq!(failed.reason, GapReason::AsrUnavailable);
            assert!(failed.detail.contains("certificate"), "{}", failed.detail);
        })
        .await;
    }
}

#[tokio::test]
async fn ca_file_without_a_certificate_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let endpoint = Endpoint::new("wss://localhost", "p").unwrap();
    let mut settings = Settings::new(endpoint);
    settings.ca_file = Some(file.path().into());
    let error = Provider::new(settings).unwrap_err().to_string();
    assert!(
        error.contains(&file.path().display().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn proxy_is_asked_for_a_tunnel_with_its_password() {
    let (acceptor, ca_file) = certificate("localhost");
    // The same port is the proxy, and in the tunnel the service.
    let script = move |_, mut stream: TcpStream, _| {
        let acceptor = acceptor.clone();
        async move {
            let head = read_head(&mut stream).await.to_lowercase();
            assert!(head.starts_with("connect localhost:"), "{head}");
            assert!(
                head.contains("proxy-authorization: basic dxnlcjpwyxnz"),
                "{head}"
            );
            stream
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .unwrap();
            serve_tls(acceptor, stream).await;
        }
    };
    with_server(script, async |settings, _| {
        let address = format!("http://127.0.0.1:{}", settings.endpoint.port());
        let mut settings = over_tls(settings);
        settings.ca_file = Some(ca_file.path().into());
        settings.proxy = Some(Proxy {
            address: Endpoint::web(&address, "/").unwrap(),
            credentials: Some("user:pass".into()),
        });
        assert!(!format!("{settings:?}").contains("user:pass"));
        assert!(recognise(settings, complete(&speech(2))).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn proxy_that_refuses_is_named() {
    let script = |_, mut stream: TcpStream, _| async move {
        read_head(&mut stream).await;
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
    };
    with_server(script, async |mut settings, _| {
        let address = format!("http://127.0.0.1:{}", settings.endpoint.port());
        settings.proxy = Some(Proxy {
            address: Endpoint::web(&address, "/").unwrap(),
            credentials: None,
        });
        settings.retry.deadline = Duration::from_millis(100);
        let failed = recognise(settings, complete(&speech(1))).await.unwrap_err();
        assert!(
            failed.detail.contains("proxy") && failed.detail.contains("407"),
            "{failed}"
        );
    })
    .await;
}

#[tokio::test]
async fn connection_carries_the_next_part_unless_each_is_to_have_its_own() {
    for (reuse, connections) in [(Some(Duration::from_secs(10)), 1), (None, 3)] {
        let script = |_, stream, log| async move {
            let mut peer = accept(stream, log).await;
            while peer.serve("好").await {}
        };
        with_server(script, async |mut settings, log| {
            settings.reuse = reuse;
            let recogniser = Recogniser::new(Provider::new(settings).unwrap());
            for _ in 0..3 {
                let recognition = recogniser
                    .recognise(complete(&speech(1)), |_| {})
                    .await
                    .unwrap();
                assert_eq!(recognition.attempts, 1);
            }
            let seen = log.0.borrow();
            assert_eq!((seen.connections, seen.audio.len()), (connections, 3));
        })
        .await;
    }
}

/// What a service does with a second session on a connection.
#[derive(Clone, Copy, Debug)]
enum Second {
    Closes,
    Refuses,
    Ignores,
    AnswersForTheFirst,
}

#[tokio::test]
async fn service_that_takes_one_session_on_a_connection_costs_no_part_no_alarm_and_is_remembered() {
    use Second::{AnswersForTheFirst, Closes, Ignores, Refuses};
    for second in [Closes, Refuses, Ignores, AnswersForTheFirst] {
        let script = move |_, stream, log| async move {
            let mut peer = accept(stream, log).await;
            peer.serve("好").await;
            if matches!(second, Closes) {
                return;
            }
            if let Some(Ok(Message::Text(_))) = peer.socket.next().await {
                peer.log.0.borrow_mut().refused += 1;
                match second {
                    Refuses => {
                        let error =
                            r#"{"resp_type":"ERROR","trace_id":"t","error_code":"SIS.0032"}"#;
                        peer.say(error).await;
                    }
                    AnswersForTheFirst => peer.say(&result("不是")).await,
                    Closes | Ignores => {}
                }
            }
            peer.drain().await;
        };
        with_server(script, async |settings, log| {
            let provider = Provider::new(settings).unwrap();
            let recogniser = Recogniser::new(Arc::clone(&provider));
            for _ in 0..4 {
                let recognised = recogniser.recognise(complete(&speech(1)), |_| {}).await;
                let recognised = recognised.unwrap();
                assert_eq!((&*recognised.text, recognised.attempts), ("好", 1));
            }
            let seen = log.0.borrow();
            assert_eq!(seen.connections, 4, "{second:?}");
            let tried = usize::from(!matches!(second, Closes));
            assert_eq!(seen.refused, tried, "{second:?}");
            let status = provider.status();
            assert!(status.available, "{second:?}");
            assert_eq!((status.sessions, status.replays), (4, 0), "{second:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn quota_that_is_full_for_a_second_session_does_not_make_connections_single() {
    let script = |_, stream, log: super::support::Log| async move {
        let mut peer = accept(stream, log).await;
        peer.serve("好").await;
        let is_first_time = peer.log.0.borrow().refused == 0;
        if is_first_time && matches!(peer.socket.next().await, Some(Ok(Message::Text(_)))) {
            peer.log.0.borrow_mut().refused += 1;
            peer.say(r#"{"resp_type":"ERROR","trace_id":"t","error_code":"SIS.0312"}"#)
                .await;
            return peer.drain().await;
        }
        while peer.serve("好").await {}
    };
    with_server(script, async |settings, log| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        for _ in 0..4 {
            let recognised = recogniser.recognise(complete(&speech(1)), |_| {}).await;
            assert_eq!(recognised.unwrap().text, "好");
        }
        assert_eq!(log.0.borrow().connections, 2);
    })
    .await;
}

#[tokio::test]
async fn text_of_the_session_before_is_no_text_of_the_next_part() {
    // It comes late: after the second session was taken.
    let script = |n, stream, log| async move {
        let mut peer = accept(stream, log).await;
        peer.serve("甲的话").await;
        if n > 0 {
            return peer.drain().await;
        }
        while let Some(Ok(message)) = peer.socket.next().await {
            if let Message::Text(command) = message
                && command.contains("START")
            {
                peer.say(r#"{"resp_type":"START","trace_id":"trace-8"}"#)
                    .await;
                peer.say(&result("还是甲的话")).await;
            }
        }
    };
    with_server(script, async |settings, log| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        for _ in 0..2 {
            let recognised = recogniser.recognise(complete(&speech(1)), |_| {}).await;
            assert_eq!(recognised.unwrap().text, "甲的话");
        }
        assert_eq!(log.0.borrow().connections, 2);
    })
    .await;
}

#[tokio::test]
async fn idle_connection_goes_when_another_worker_needs_its_place() {
    let script = |_, stream, log| async move {
        let mut peer = accept(stream, log).await;
        while peer.serve("好").await {}
        peer.log.0.borrow_mut().refused += 1;
    };
    with_server(script, async |mut settings, log| {
        settings.quota.max_sessions = 1;
        let provider = Provider::new(settings).unwrap();
        for _ in 0..3 {
            let worker = Recogniser::new(Arc::clone(&provider));
            let recognised = worker.recognise(complete(&speech(1)), |_| {}).await;
            assert_eq!(recognised.unwrap().text, "好");
        }
        while log.0.borrow().refused < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pings_of_the_service_are_answered_while_nothing_is_said() {
    let script = |_, stream, log| async move {
        let mut peer = accept(stream, log).await;
        peer.serve("好").await;
        peer.socket
            .send(Message::Ping("idle".into()))
            .await
            .unwrap();
        let pong = peer.socket.next().await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong("idle".into()));
        peer.socket.close(None).await.unwrap();
        peer.log.0.borrow_mut().sizes.push(0);
    };
    with_server(script, async |settings, log| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        recogniser
            .recognise(complete(&speech(1)), |_| {})
            .await
            .unwrap();
        while log.0.borrow().sizes.last() != Some(&0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
