//! The local service keeps to the short-stream protocol, as real clients of the cloud speak it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a client of a real socket"
)]

#[path = "support/short_stream_client.rs"]
mod short_stream_client;

use callscribe::service::audio::{Audio, AudioFormat};
use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::scripted::{Says, Script};
use callscribe::service::gate::{Credentials, User};
use callscribe::service::rules::Rules;
use callscribe::service::server::{RunningService, start};
use callscribe::service::{tls, tone_code};
use serde_json::json;
use short_stream_client::Client;
use std::time::Duration;

#[tokio::test]
async fn a_session_is_answered_in_the_documented_order_with_a_marked_trace_id() {
    let service = service(ServiceConfig::default()).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    let started = client.answer().await;
    assert_eq!(started["resp_type"], "START");
    let trace_id = started["trace_id"].clone();
    assert!(
        trace_id.as_str().unwrap().starts_with("scripted-"),
        "{trace_id}"
    );

    client.audio(&pcm(7, 3, 2000), 4_000).await;
    client.end(json!(false)).await;
    let result = client.answer().await;
    assert_eq!(result["resp_type"], "RESULT");
    assert_eq!(result["trace_id"], trace_id);
    let segment = &result["segments"][0];
    assert_eq!(segment["is_final"], true);
    assert_eq!(
        (&segment["start_time"], &segment["end_time"]),
        (&json!(0), &json!(2000))
    );
    assert_eq!(segment["result"]["text"], "7.3:1000 7.4:1000");
    assert_eq!(
        client.answer().await,
        json!({"resp_type": "END", "trace_id": trace_id, "reason": "NORMAL"})
    );
}

#[tokio::test]
async fn the_socket_stays_open_after_end_and_serves_a_second_session() {
    let service = service(ServiceConfig::default()).await;
    let mut client = Client::connect(service.addr).await;
    let first = client.say(&pcm(1, 0, 1000)).await;
    let second = client.say(&pcm(2, 0, 1000)).await;
    assert_eq!((first.as_str(), second.as_str()), ("1.0:1000", "2.0:1000"));
    assert_eq!(service.counters().connections.total(), 1);
    assert_eq!(service.counters().sessions.total(), 2);
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_start_is_served() {
    let service = service(ServiceConfig::default()).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.audio(&pcm(3, 0, 1000), 16_000).await;
    client.end(json!("false")).await;
    let kinds = [
        client.answer().await,
        client.answer().await,
        client.answer().await,
    ]
    .map(|answer| answer["resp_type"].clone());
    assert_eq!(kinds, ["START", "RESULT", "END"]);
}

#[tokio::test]
async fn companded_audio_is_heard_as_well_as_linear() {
    let service = service(ServiceConfig::default()).await;
    for (name, encode) in [
        (
            "ulaw8k8bit",
            audio_codec_algorithms::encode_ulaw as fn(i16) -> u8,
        ),
        ("alaw8k8bit", audio_codec_algorithms::encode_alaw),
    ] {
        let mut client = Client::connect(service.addr).await;
        let audio: Vec<u8> = tone_code::encode(9, 5, 1000)
            .into_iter()
            .map(encode)
            .collect();
        client
            .start_with(&json!({"audio_format": name, "property": "chinese_8k_general"}))
            .await;
        client.audio(&audio, 160).await;
        client.end(json!(false)).await;
        client.answer().await;
        assert_eq!(
            client.answer().await["segments"][0]["result"]["text"],
            "9.5:1000",
            "{name}"
        );
    }
}

#[tokio::test]
async fn fifty_streams_at_once_keep_apart() {
    let service = service(ServiceConfig::default()).await;
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..50 {
        let addr = service.addr;
        streams.spawn(async move {
            let text = Client::connect(addr).await.say(&pcm(stream, 0, 3000)).await;
            assert_eq!(
                text,
                format!("{stream}.0:1000 {stream}.1:1000 {stream}.2:1000")
            );
        });
    }
    while let Some(done) = streams.join_next().await {
        done.unwrap();
    }
    assert_eq!(service.counters().completed.total(), 50);
    assert_eq!(service.counters().sessions.open(), 0);
}

#[tokio::test]
async fn an_error_is_followed_by_end_and_leaves_the_socket_open() {
    let service = service(ServiceConfig::default()).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    client.audio(&[0; 40_000], 40_000).await;
    let error = client.answer().await;
    assert_eq!(
        (&error["resp_type"], &error["error_code"]),
        (&json!("ERROR"), &json!("SIS.0032"))
    );
    assert!(error["trace_id"].is_string() && error["error_msg"].is_string());
    assert_eq!(client.answer().await["reason"], "ERROR");
    assert_eq!(client.say(&pcm(4, 0, 1000)).await, "4.0:1000");
}

#[tokio::test]
async fn an_idle_client_gets_a_fatal_error_and_a_close_though_it_pings() {
    let rules = Rules {
        idle: Duration::from_millis(600),
        ..Rules::default()
    };
    let service = service(ServiceConfig {
        rules,
        ..ServiceConfig::default()
    })
    .await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    for _ in 0..3 {
        client.ping().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let error = client.answer().await;
    assert_eq!(error["resp_type"], "FATAL_ERROR");
    assert_eq!(error["error_code"], "SIS.0304");
    assert_eq!(error["error_msg"], "wait voice timeout");
    assert!(client.is_closed_by_service().await);
}

#[tokio::test]
async fn pings_are_answered_while_the_engine_works() {
    let script = Script {
        says: Says::Length,
        delay: Duration::from_secs(2),
    };
    let service = service(scripted(script)).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    client.audio(&pcm(1, 0, 1000), 4_000).await;
    client.end(json!(false)).await;
    for _ in 0..3 {
        assert!(client.ping().await < Duration::from_millis(500));
    }
    assert_eq!(
        client.answer().await["segments"][0]["result"]["text"],
        "1000 ms"
    );
}

#[tokio::test]
async fn refused_handshakes_have_the_gateways_body() {
    let config = ServiceConfig {
        max_connections: 1,
        ..ServiceConfig::default()
    };
    let service = service(config).await;
    let (status, body) = Client::refused(service.addr, "/v1/p/asr/short-stream", &[]).await;
    assert_eq!((status, &body["error_code"]), (404, &json!("APIG.0101")));

    let _open = Client::connect(service.addr).await;
    let (status, body) = Client::refused(service.addr, PATH, &[]).await;
    assert_eq!((status, &body["error_code"]), (429, &json!("APIG.0308")));
    assert!(body["request_id"].is_string() && body["error_msg"].is_string());
}

#[tokio::test]
async fn a_token_from_the_endpoint_opens_the_service_until_it_expires() {
    let user = User {
        name: "u".into(),
        password: "p".into(),
        domain: "d".into(),
    };
    let credentials = Credentials {
        users: vec![user],
        token_life_s: Some(1),
        ..Credentials::default()
    };
    let service = service(ServiceConfig {
        credentials,
        ..ServiceConfig::default()
    })
    .await;
    let (status, body) = Client::refused(service.addr, PATH, &[]).await;
    assert_eq!((status, &body["error_code"]), (401, &json!("APIG.0301")));

    let (status, token) = short_stream_client::fetch_token(service.addr, "u", "p", "d").await;
    assert_eq!(status, 201);
    let token = token.unwrap();
    let mut client = Client::connect_with(service.addr, &[("X-Auth-Token", &token)]).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let expired = [("X-Auth-Token", token.as_str())];
    let (status, body) = Client::refused(service.addr, PATH, &expired).await;
    assert_eq!(status, 401);
    assert!(
        body["error_msg"]
            .as_str()
            .unwrap()
            .starts_with("token expires"),
        "{body}"
    );
    // A token matters at the handshake only.
    assert_eq!(client.say(&pcm(8, 0, 1000)).await, "8.0:1000");
}

#[tokio::test]
async fn a_wrong_password_gets_no_token() {
    let user = User {
        name: "u".into(),
        password: "p".into(),
        domain: "d".into(),
    };
    let credentials = Credentials {
        users: vec![user],
        ..Credentials::default()
    };
    let service = service(ServiceConfig {
        credentials,
        ..ServiceConfig::default()
    })
    .await;
    let answer = short_stream_client::fetch_token(service.addr, "u", "wrong", "d").await;
    assert_eq!(answer, (401, None));
}

#[tokio::test]
async fn the_service_speaks_tls_with_the_certificate_it_is_given() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let tls = Some(tls::server_config(&certificate, &key).unwrap());
    let service = service(ServiceConfig {
        tls,
        ..ServiceConfig::default()
    })
    .await;
    let answer = short_stream_client::start_over_tls(service.addr, issued.cert.der().clone()).await;
    assert!(answer.contains(r#""resp_type":"START""#), "{answer}");
}

#[tokio::test]
async fn a_header_of_32_kilobytes_is_taken() {
    let service = service(ServiceConfig::default()).await;
    let token = "M".repeat(32 * 1024);
    let mut client = Client::connect_with(service.addr, &[("X-Auth-Token", &token)]).await;
    assert_eq!(client.say(&pcm(5, 0, 1000)).await, "5.0:1000");
}

#[tokio::test]
async fn a_service_that_stops_lets_the_open_session_finish() {
    let script = Script {
        says: Says::Length,
        delay: Duration::from_millis(300),
    };
    let service = service(scripted(script)).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    client.audio(&pcm(1, 0, 1000), 4_000).await;
    client.end(json!(false)).await;
    // Answered after END was read: pings queue behind it.
    client.ping().await;
    let stopping = tokio::spawn(service.stop(Duration::from_secs(10)));
    assert_eq!(client.answer().await["resp_type"], "RESULT");
    assert_eq!(client.answer().await["resp_type"], "END");
    assert!(client.is_closed_by_service().await);
    drop(client);
    stopping.await.unwrap();
}

#[tokio::test]
async fn interim_results_grow_until_the_final_one() {
    let service = service(ServiceConfig::default()).await;
    let mut client = Client::connect(service.addr).await;
    client
        .start_with(
            &json!({"audio_format": "pcm8k16bit", "property": "chinese_8k_common",
            "interim_results": "yes", "need_word_info": "yes"}),
        )
        .await;
    client.answer().await;
    let speech = pcm(6, 0, 1500);
    client.audio(&speech[..16_000], 4_000).await;
    let interim = client.answer().await;
    assert_eq!(interim["segments"][0]["is_final"], false);
    assert_eq!(interim["segments"][0]["result"]["text"], "6.0:1000");
    client.audio(&speech[16_000..], 4_000).await;
    client.end(json!(false)).await;
    let last = &client.answer().await["segments"][0];
    assert_eq!(last["is_final"], true);
    assert_eq!(last["result"]["text"], "6.0:1000 6.1:500");
    let words = &last["result"]["word_info"];
    assert_eq!(
        words[1],
        json!({"start_time": 1000, "end_time": 1500, "word": "6.1:500"})
    );
}

/// What the official Python SDK 1.8.1 does on the wire: all its keys, `cancel` as a string, pieces
/// of 4,000 bytes with a short one at the end, and a second `send_start` on the connection.
#[tokio::test]
async fn the_official_python_sdk_is_served() {
    let service = service(ServiceConfig::default()).await;
    let headers = [
        ("Origin", "http://127.0.0.1"),
        ("content-length", "0"),
        ("X-Sdk-Date", "20261122T113114Z"),
        (
            "Authorization",
            "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=00",
        ),
    ];
    let mut client = Client::connect_with(service.addr, &headers).await;
    for stream in [11, 12] {
        client
            .start_with(&json!({
                "audio_format": "pcm8k16bit", "property": "chinese_8k_common", "add_punc": "yes",
                "digit_norm": "no", "vad_head": 10000, "vad_tail": 500, "max_seconds": 30,
                "interim_results": "no", "vad_threshold": 0, "need_word_info": "no"}))
            .await;
        let started = client.answer().await;
        assert_eq!(started["resp_type"], "START");
        // 2,005 ms are 8 pieces of 4,000 bytes and one of 80.
        client.audio(&pcm(stream, 0, 2005), 4_000).await;
        client.end(json!("false")).await;
        let answers = client.answers_until_end().await;
        let (end, results) = answers.split_last().unwrap();
        assert_eq!(end["reason"], "NORMAL");
        assert!(
            answers
                .iter()
                .all(|answer| answer["trace_id"] == started["trace_id"])
        );
        let last = results.last().unwrap();
        let text = last["segments"][0]["result"]["text"].as_str().unwrap();
        assert!(
            text.starts_with(&format!("{stream}.0:1000 {stream}.1:100")),
            "{text}"
        );
    }
    client.ping().await;
    client.close().await;
}

const PATH: &str = "/v1/0123456789abcdef0123456789abcdef/rasr/short-stream";

fn scripted(script: Script) -> ServiceConfig {
    ServiceConfig {
        engine: EngineConfig::Scripted(script),
        ..ServiceConfig::default()
    }
}

async fn service(config: ServiceConfig) -> RunningService {
    start(config).await.unwrap()
}

/// Tone-coded speech as `pcm8k16bit`.
fn pcm(stream: u16, second: u64, milliseconds: u64) -> Vec<u8> {
    let samples = tone_code::encode(stream, second, milliseconds);
    let bytes: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
    let audio = Audio {
        format: AudioFormat::PCM_8K,
        bytes,
    };
    assert_eq!(audio.length().as_millis(), u128::from(milliseconds));
    audio.bytes
}
