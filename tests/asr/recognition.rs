//! A part goes out by the protocol and comes back as text, live and when it is behind.

use std::time::{Duration, Instant};

use super::support::{accept, as_pcm, complete, recognise, speech, with_server};
use callscribe::asr::session::AudioFormat;
use callscribe::call::session::Stage;
use callscribe::io::part_audio::PartAudio;
use callscribe::io::provider::Provider;
use callscribe::io::recogniser::{News, Recogniser};
use callscribe::media::Law;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn part_is_recognised_with_every_sample_once_in_legal_messages() {
    let script = |_, stream, log| async move {
        accept(stream, log).await.serve("您好").await;
    };
    with_server(script, async |settings, log| {
        let audio = speech(58);
        let recognition = recognise(settings, complete(&audio)).await.unwrap();
        assert_eq!(recognition.text, "您好");
        assert_eq!(recognition.confidence, Some(0.9));
        assert_eq!(
            (recognition.attempts, recognition.trace_id.as_str()),
            (1, "trace-7")
        );
        let seen = log.0.borrow();
        assert_eq!(seen.audio, [as_pcm(&audio)]);
        assert!(seen.sizes.iter().all(|size| (160..=32768).contains(size)));
        assert_eq!(seen.requests[0].uri().path(), "/v1/p1/rasr/short-stream");
        assert_eq!(seen.starts[0]["property"], "chinese_8k_common");
    })
    .await;
}

#[tokio::test]
async fn passed_through_audio_is_as_it_came() {
    let script = |_, stream, log| async move {
        accept(stream, log).await.serve("好").await;
    };
    with_server(script, async |mut settings, log| {
        settings.session.audio_format = AudioFormat::Ulaw8k8bit;
        let audio = speech(3);
        recognise(settings, complete(&audio)).await.unwrap();
        assert_eq!(log.0.borrow().audio, [audio]);
    })
    .await;
}

#[tokio::test]
async fn live_part_is_sent_while_it_grows_and_ends_at_its_close() {
    let script = |_, stream, log| async move {
        accept(stream, log).await.serve("好").await;
    };
    with_server(script, async |settings, log| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let part = PartAudio::new(Law::Pcmu);
        let audio = speech(2);
        let feed = async {
            let (early, late) = audio.split_at(8000);
            early.chunks(160).for_each(|frame| part.append(frame));
            let heard = || {
                log.0
                    .borrow()
                    .audio
                    .first()
                    .is_some_and(|audio| audio.len() >= 12_800)
            };
            while !heard() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            late.chunks(160).for_each(|frame| part.append(frame));
            part.close();
        };
        let part = part.clone();
        let (recognition, ()) = tokio::join!(recogniser.recognise(part, |_| {}), feed);
        assert_eq!(recognition.unwrap().text, "好");
        assert_eq!(log.0.borrow().audio, [as_pcm(&audio)]);
    })
    .await;
}

#[tokio::test]
async fn connection_is_closed_by_us_and_nobody_waits_for_it() {
    let (told, closed) = tokio::sync::oneshot::channel();
    let told = std::cell::RefCell::new(Some(told));
    let script = move |_, stream, log| {
        let told = told.take();
        async move {
            let mut peer = accept(stream, log).await;
            peer.serve("好").await;
            // Not answering the close must not delay the text.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let next = futures_util::StreamExt::next(&mut peer.socket).await;
            drop(told.unwrap().send(next));
        }
    };
    with_server(script, async |settings, _| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let begun = Instant::now();
        recogniser
            .recognise(complete(&speech(1)), |_| {})
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_millis(250));
        let close = closed.await.unwrap().unwrap().unwrap();
        assert!(matches!(close, Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
    })
    .await;
}

#[tokio::test]
async fn unfinished_text_is_shown_while_somebody_speaks() {
    let script = |_, stream, log| async move {
        let mut peer = accept(stream, log).await;
        peer.serve_until(3_000, "").await;
        for (is_final, text) in [(false, "我"), (false, "我想"), (true, "我想查")] {
            let segment = serde_json::json!({"start_time": 0, "end_time": 900,
                "is_final": is_final, "result": {"text": text}});
            let message = serde_json::json!({"resp_type": "RESULT", "segments": [segment]});
            peer.say(&message.to_string()).await;
        }
        peer.serve("我想查").await;
    };
    with_server(script, async |mut settings, _| {
        settings.session.interim_results = true;
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let mut shown = vec![];
        let mut stages = vec![];
        let on_news = |news| match news {
            News::Interim(text) => shown.push(text),
            News::Progress(progress) => stages.push(progress.stage),
        };
        let recognition = recogniser.recognise(complete(&speech(2)), on_news).await;
        assert_eq!(recognition.unwrap().text, "我想查");
        assert_eq!(shown, ["我", "我想", "我想查"]);
        assert_eq!(stages, [Stage::Waiting, Stage::Connecting, Stage::Open]);
    })
    .await;
}
