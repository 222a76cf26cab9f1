//! Twenty parts against a service that fails in every way it can: all are recognised, each whole.
//!
//! The service says how many bytes it heard, so that a lost or doubled second would show.

use std::time::Duration;

use callscribe::io::part_audio::PartAudio;
use callscribe::io::provider::{Provider, Settings};
use callscribe::io::recogniser::Recogniser;
use callscribe::media::Law;
use futures_util::SinkExt;
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::support::{Log, Peer, accept, complete, refuse, speech, with_server};

/// Fails two connections of three, each in the next way.
async fn fail(n: usize, stream: TcpStream, log: Log) {
    const FAULTS: usize = 12;
    let fault = n / 3 * 2 + n % 3;
    if n % 3 == 2 {
        return serve(accept(stream, log).await).await;
    }
    match fault % FAULTS {
        0 => return refuse(stream, "502 Bad Gateway", r#"{"error_code":"APIG.0202"}"#).await,
        1 => return drop(stream),
        2 => return refuse(stream, "500 Internal Server Error", "<html>").await,
        3 => return drop(accept(stream, log).await),
        _ => {}
    }
    let mut peer = accept(stream, log).await;
    // Less than the shortest part has.
    peer.serve_until(fault % FAULTS * 1000, "").await;
    match fault % FAULTS {
        4 => say_and_wait(peer, r#"{"resp_type":"ERROR","error_code":"SIS.0305"}"#).await,
        5 => {
            say_and_wait(
                peer,
                r#"{"resp_type":"FATAL_ERROR","error_code":"SIS.0302"}"#,
            )
            .await
        }
        6 => say_and_wait(peer, r#"{"resp_type":"END","reason":"ERROR"}"#).await,
        7 => say_and_wait(peer, r#"{"resp_type":"RESULT","segments":[{"#).await,
        8 => close(peer, 1011).await,
        9 => close(peer, 1000).await,
        10 => std::future::pending().await,
        _ => drop(peer),
    }
}

/// One whole session; the text is the number of bytes heard.
async fn serve(mut peer: Peer) {
    let mut heard = 0;
    while let Some(Ok(message)) = futures_util::StreamExt::next(&mut peer.socket).await {
        match message {
            Message::Binary(audio) => heard += audio.len(),
            Message::Text(text) if text.contains("START") => {
                peer.say(r#"{"resp_type":"START","trace_id":"t"}"#).await;
            }
            Message::Text(_) => {
                peer.say(&super::support::result(&heard.to_string())).await;
                peer.say(r#"{"resp_type":"END","trace_id":"t","reason":"NORMAL"}"#)
                    .await;
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
}

async fn say_and_wait(mut peer: Peer, text: &str) {
    peer.say(text).await;
    peer.drain().await;
}

async fn close(mut peer: Peer, code: u16) {
    let frame = CloseFrame {
        code: code.into(),
        reason: "".into(),
    };
    drop(peer.socket.send(Message::Close(Some(frame))).await);
    peer.drain().await;
}

fn hasty(mut settings: Settings) -> Settings {
    settings.retry.attempts = 100;
    settings.retry.first_delay = Duration::from_millis(5);
    settings.retry.max_delay = Duration::from_millis(50);
    settings.session.ping_interval = Duration::from_millis(300);
    settings.session.pong_timeout = Duration::from_millis(300);
    settings
}

#[tokio::test]
async fn every_part_is_heard_whole_whatever_fails_before() {
    with_server(fail, async |settings, log| {
        let provider = Provider::new(hasty(settings)).unwrap();
        let recogniser = Recogniser::new(provider.clone());
        // Half of the parts are complete, half of them still grow.
        let parts: Vec<_> = (1..=20)
            .map(|n| match n % 2 {
                0 => complete(&speech(n)),
                _ => PartAudio::new(Law::Pcmu),
            })
            .collect();
        let grow = async {
            for (n, part) in (1..=20).zip(&parts).filter(|(n, _)| n % 2 == 1) {
                for second in speech(n).chunks(8000) {
                    part.append(second);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                part.close();
            }
        };
        let recognised = join_all(
            parts
                .iter()
                .map(|part| recogniser.recognise(part.clone(), |_| {})),
        );
        let (recognised, ()) = tokio::join!(recognised, grow);
        for (n, recognition) in (1..=20).zip(recognised) {
            assert_eq!(recognition.unwrap().text, (n * 16_000).to_string());
        }
        let status = provider.status();
        assert_eq!((status.recognised, status.given_up), (20, 0));
        assert!(
            status.failures.iter().sum::<u64>() >= 24,
            "too little went wrong: {status:?}"
        );
        assert!(log.0.borrow().connections >= 44);
        println!("{status:?}");
    })
    .await;
}
