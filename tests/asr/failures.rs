//! Whatever the service does, a part ends as a text or with a reason, in bounded time.

use std::time::{Duration, Instant};

use super::support::{accept, as_pcm, complete, recognise, refuse, speech, with_server};
use callscribe::event::GapReason;
use callscribe::io::part_audio::PartAudio;
use callscribe::io::provider::{Provider, Settings};
use callscribe::io::recogniser::Recogniser;
use callscribe::media::Law;

/// Settings that do not make a test wait.
fn impatient(mut settings: Settings) -> Settings {
    settings.retry.attempts = 3;
    settings.retry.first_delay = Duration::from_millis(10);
    settings.retry.deadline = Duration::from_millis(900);
    settings.session.start_timeout = Duration::from_millis(200);
    settings.session.end_timeout = Duration::from_millis(200);
    settings.session.write_timeout = Duration::from_millis(300);
    settings.upgrade_timeout = Duration::from_millis(200);
    settings.connect_timeout = Duration::from_millis(200);
    settings
}

#[tokio::test]
async fn part_whose_session_dies_is_run_again_whole() {
    let script = |n, stream, log| async move {
        let mut peer = accept(stream, log).await;
        if n == 0 {
            peer.serve_until(20_000, "").await;
        } else {
            peer.serve("全部").await;
        }
    };
    with_server(script, async |settings, log| {
        let audio = speech(10);
        let recognition = recognise(settings, complete(&audio)).await.unwrap();
        assert_eq!(
            (recognition.text.as_str(), recognition.attempts),
            ("全部", 2)
        );
        let seen = log.0.borrow();
        assert!(
            seen.audio[0].len() < 160_000,
            "the first session was not cut"
        );
        assert_eq!(seen.audio[1], as_pcm(&audio));
    })
    .await;
}

#[tokio::test]
async fn fatal_error_then_close_is_one_failure() {
    let script = |n, stream, log| async move {
        let mut peer = accept(stream, log).await;
        if n == 0 {
            peer.serve_until(10_000, "").await;
            let error = r#"{"resp_type":"FATAL_ERROR","trace_id":"t","error_code":"SIS.0304",
                "error_msg":"wait voice timeout"}"#;
            peer.say(error).await;
            drop(peer.socket.close(None).await);
        } else {
            peer.serve("好").await;
        }
    };
    with_server(script, async |settings, log| {
        let recognition = recognise(settings, complete(&speech(5))).await.unwrap();
        assert_eq!((recognition.text.as_str(), recognition.attempts), ("好", 2));
        assert_eq!(log.0.borrow().connections, 2);
    })
    .await;
}

#[tokio::test]
async fn refusal_for_good_gives_its_reason_and_is_not_repeated() {
    for (status, body, reason) in [
        (
            "401 Unauthorized",
            r#"{"error_code":"APIG.0301","error_msg":"x-auth-token not found"}"#,
            GapReason::AsrRejected,
        ),
        (
            "404 Not Found",
            r#"{"error_code":"APIG.0101","error_msg":"The API does not exist"}"#,
            GapReason::AsrRejected,
        ),
    ] {
        let script = move |_, stream, _| refuse(stream, status, body);
        with_server(script, async |settings, log| {
            let failed = recognise(settings, complete(&speech(1))).await.unwrap_err();
            assert_eq!(failed.reason, reason);
            assert!(failed.can_wait);
            assert!(
                failed.detail.contains("APIG.0"),
                "the body was not read: {}",
                failed.detail
            );
            assert_eq!(log.0.borrow().connections, 1, "{status} was tried again");
        })
        .await;
    }
}

#[tokio::test]
async fn throttled_handshake_is_tried_later_and_told_as_quota() {
    let body = r#"{"error_code":"APIGW.0308","error_msg":"The throttling threshold"}"#;
    let script = move |n, stream, log| async move {
        match n {
            0 => refuse(stream, "429 Too Many Requests", body).await,
            _ => {
                accept(stream, log).await.serve("好").await;
            }
        }
    };
    with_server(script, async |settings, _| {
        let begun = Instant::now();
        let recognition = recognise(settings, complete(&speech(1))).await.unwrap();
        assert_eq!(recognition.text, "好");
        assert!(begun.elapsed() >= Duration::from_secs(2));
    })
    .await;
    let script = move |_, stream, _| refuse(stream, "429 Too Many Requests", body);
    with_server(script, async |settings, _| {
        let failed = recognise(impatient(settings), complete(&speech(1)))
            .await
            .unwrap_err();
        assert_eq!((failed.reason, failed.can_wait), (GapReason::Quota, true));
    })
    .await;
}

#[tokio::test]
async fn service_that_accepts_and_never_answers_is_given_up_in_time() {
    // By TCP alone; by the handshake; by START; by END.
    for silent_after in 0..4 {
        let script = move |_, stream, log| async move {
            match silent_after {
                0 => {
                    let _held = stream;
                    std::future::pending::<()>().await;
                }
                1 => accept(stream, log).await.drain().await,
                2 => {
                    let mut peer = accept(stream, log).await;
                    peer.say(r#"{"resp_type":"START","trace_id":"t"}"#).await;
                    peer.drain().await;
                }
                _ => {
                    let mut peer = accept(stream, log).await;
                    peer.serve_until(10_000, "").await;
                    let _held = peer;
                    std::future::pending::<()>().await;
                }
            }
        };
        with_server(script, async |settings, log| {
            let begun = Instant::now();
            // Longer than the kernel's buffers on the loopback, so that writing must stop.
            let audio = complete(&speech(59));
            let failed = recognise(impatient(settings), audio).await.unwrap_err();
            assert_eq!(failed.reason, GapReason::AsrUnavailable, "{silent_after}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{silent_after}");
            assert!(log.0.borrow().connections >= 1);
        })
        .await;
    }
}

#[tokio::test]
async fn half_open_connection_is_noticed_while_the_part_still_grows() {
    let script = |n, stream, log| async move {
        let mut peer = accept(stream, log).await;
        if n == 0 {
            peer.serve_until(1000, "").await;
            // What a peer that vanished does: nothing, and the kernel still takes our bytes.
            std::future::pending::<()>().await;
        }
        peer.serve("全部").await;
    };
    with_server(script, async |mut settings, log| {
        settings.session.ping_interval = Duration::from_millis(100);
        settings.session.pong_timeout = Duration::from_millis(100);
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let part = PartAudio::new(Law::Pcmu);
        let audio = speech(3);
        let feed = async {
            part.append(&audio[..8000]);
            while log.0.borrow().connections < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            part.append(&audio[8000..]);
            part.close();
        };
        let (recognition, ()) = tokio::join!(recogniser.recognise(part.clone(), |_| {}), feed);
        let recognition = recognition.unwrap();
        assert_eq!(
            (recognition.text.as_str(), recognition.attempts),
            ("全部", 2)
        );
        assert_eq!(log.0.borrow().audio[1], as_pcm(&audio));
    })
    .await;
}

#[tokio::test]
async fn service_that_restarts_again_and_again_loses_and_doubles_nothing() {
    let script = |n: usize, stream, log| async move {
        let mut peer = accept(stream, log).await;
        match n {
            0..4 => drop(peer.serve_until(16_000 * (n + 1), "").await),
            _ => drop(peer.serve("全部").await),
        }
    };
    with_server(script, async |mut settings, log| {
        settings.retry.first_delay = Duration::from_millis(10);
        let audio = speech(10);
        let recognition = recognise(settings, complete(&audio)).await.unwrap();
        assert_eq!(
            (recognition.text.as_str(), recognition.attempts),
            ("全部", 5)
        );
        assert_eq!(log.0.borrow().audio[4], as_pcm(&audio));
    })
    .await;
}

#[tokio::test]
async fn nobody_listening_is_tried_until_the_deadline() {
    with_server(
        |_, _, _| async {},
        async |settings, _| {
            let endpoint = "ws://127.0.0.1:9";
            let endpoint = callscribe::asr::endpoint::Endpoint::new(endpoint, "p").unwrap();
            let mut settings = impatient(Settings {
                endpoint,
                ..settings
            });
            settings.retry.max_delay = Duration::from_millis(50);
            let begun = Instant::now();
            let failed = recognise(settings, complete(&speech(1))).await.unwrap_err();
            assert_eq!(
                (failed.reason, failed.can_wait),
                (GapReason::AsrUnavailable, true)
            );
            assert!(failed.detail.contains("127.0.0.1:9"), "{}", failed.detail);
            assert!(begun.elapsed() > Duration::from_millis(800));
        },
    )
    .await;
}

#[tokio::test]
async fn garbage_instead_of_a_websocket_is_a_failure() {
    let script = |_, mut stream: tokio::net::TcpStream, _| async move {
        super::support::read_head(&mut stream).await;
        let garbage = b"SSH-2.0-OpenSSH_9.2\r\n";
        drop(tokio::io::AsyncWriteExt::write_all(&mut stream, garbage).await);
    };
    with_server(script, async |settings, _| {
        let failed = recognise(impatient(settings), complete(&speech(1)))
            .await
            .unwrap_err();
        assert_eq!(failed.reason, GapReason::AsrUnavailable);
    })
    .await;
}

#[tokio::test]
async fn hot_word_table_that_is_gone_costs_no_part() {
    let script = |n, stream, log| async move {
        let mut peer = accept(stream, log).await;
        if n == 0 {
            let next = futures_util::StreamExt::next(&mut peer.socket).await;
            let start = next.unwrap().unwrap().to_string();
            assert!(start.contains("vocabulary_id"), "{start}");
            let error = r#"{"resp_type":"ERROR","trace_id":"t","error_code":"SIS.0201"}"#;
            peer.say(error).await;
            peer.drain().await;
        } else {
            peer.serve("好").await;
        }
    };
    with_server(script, async |mut settings, log| {
        settings.session.vocabulary_id = Some("deleted".into());
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        for _ in 0..2 {
            let recognised = recogniser.recognise(complete(&speech(1)), |_| {}).await;
            assert_eq!(recognised.unwrap().text, "好");
        }
        let seen = log.0.borrow();
        assert_eq!(seen.connections, 3);
        assert!(
            seen.starts
                .iter()
                .all(|start| start["vocabulary_id"].is_null())
        );
    })
    .await;
}
