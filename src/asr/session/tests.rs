use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::asr::failure::Silence;
use crate::asr::message::ServiceError;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin of virtual time"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn start() -> String {
    json!({"resp_type": "START", "trace_id": "t-1"}).to_string()
}

fn result(start: u64, end: u64, is_final: bool, text: &str) -> String {
    let segment = json!({"start_time": start, "end_time": end, "is_final": is_final,
        "result": {"text": text, "score": 0.5}});
    json!({"resp_type": "RESULT", "trace_id": "t-1", "segments": [segment]}).to_string()
}

fn end(reason: &str) -> String {
    json!({"resp_type": "END", "trace_id": "t-1", "reason": reason}).to_string()
}

/// A session whose START is sent and answered.
fn streaming(settings: Settings, now: Instant) -> Session {
    let mut session = Session::new(Arc::new(settings), now);
    drain(&mut session);
    session.handle_writable(now);
    session.handle_text(&start(), now);
    assert_eq!(drain(&mut session), []);
    session
}

/// A session that waits for its text.
fn ending(settings: Settings, now: Instant) -> Session {
    let mut session = streaming(settings, now);
    session.handle_audio(8000, true, now);
    let sent = drain(&mut session);
    assert!(matches!(sent.last(), Some(Output::Send(text)) if text.contains("END")));
    session.handle_writable(now);
    session
}

fn audio(outputs: &[Output]) -> Vec<(usize, usize)> {
    let mut ranges = vec![];
    for output in outputs {
        if let Output::SendAudio(fragment) = output {
            ranges.push((fragment.samples.start, fragment.samples.end));
        }
    }
    ranges
}

fn failure(session: &mut Session) -> Failure {
    match drain(session).as_slice() {
        [.., Output::Failed(failure)] => failure.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn nothing_but_start_is_sent_before_its_answer() {
    let now = epoch();
    let mut session = Session::new(Arc::default(), now);
    session.handle_writable(now);
    session.handle_audio(80_000, true, now);
    let outputs = drain(&mut session);
    assert!(matches!(outputs.as_slice(), [Output::Send(text)] if text.contains("START")));
}

#[test]
fn audio_goes_out_by_fragments_and_the_last_one_at_once() {
    let now = epoch();
    let mut session = streaming(Settings::default(), now);
    session.handle_audio(3199, false, now);
    assert_eq!(drain(&mut session), []);
    assert_eq!(session.wanted(), Some(3200));
    session.handle_audio(3200, false, now);
    assert_eq!(audio(&drain(&mut session)), [(0, 3200)]);
    session.handle_writable(now);
    session.handle_audio(4000, true, now);
    let outputs = drain(&mut session);
    assert_eq!(audio(&outputs), [(3200, 4000)]);
    let end = r#"{"cancel":false,"command":"END"}"#;
    assert_eq!(outputs.last(), Some(&Output::Send(end.into())));
}

#[test]
fn audio_that_is_behind_goes_out_as_fast_as_the_peer_takes_it() {
    let now = epoch();
    let mut session = streaming(Settings::default(), now);
    session.handle_audio(400_000, true, now);
    let mut batches = 0;
    let mut sent = 0;
    loop {
        let outputs = drain(&mut session);
        if outputs.is_empty() {
            break;
        }
        let batch: usize = audio(&outputs)
            .iter()
            .map(|(from, to)| (to - from) * 2)
            .sum();
        assert!(batch <= BATCH_BYTES + MAX_MESSAGE_BYTES);
        sent += batch / 2;
        batches += 1;
        session.handle_timeout(now);
        assert_eq!(
            drain(&mut session),
            [],
            "more was sent before the peer took the batch"
        );
        session.handle_writable(now);
    }
    assert_eq!(sent, 400_000);
    assert!(batches > 10);
}

#[test]
fn text_of_all_results_is_joined_at_the_end() {
    let now = epoch();
    let mut session = ending(Settings::default(), now);
    session.handle_text(&result(2000, 3000, true, "账单"), now + ms(100));
    session.handle_text(&result(0, 2000, true, "查一下"), now + ms(200));
    session.handle_text(&end("NORMAL"), now + ms(350));
    let expected = Recognition {
        text: "查一下账单".into(),
        confidence: Some(0.5),
        words: vec![],
        trace_id: "t-1".into(),
        attempts: 1,
        latency_ms: 350,
    };
    assert_eq!(drain(&mut session), [Output::Finished(expected)]);
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn silence_is_an_empty_text() {
    let now = epoch();
    for silence in [
        json!({"resp_type": "RESULT", "trace_id": "t", "segments": []}).to_string(),
        result(0, 900, true, ""),
        r#"{"resp_type":"EVENT","event":"VOICE_END"}"#.into(),
    ] {
        let mut session = ending(Settings::default(), now);
        session.handle_text(&silence, now);
        session.handle_text(&end("NORMAL"), now);
        let outputs = drain(&mut session);
        let [Output::Finished(recognition)] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert_eq!(recognition.text, "");
    }
}

#[test]
fn interims_are_shown_only_when_asked_for() {
    let now = epoch();
    let settings = Settings {
        interim_results: true,
        ..Settings::default()
    };
    let mut session = streaming(settings, now);
    session.handle_text(&result(0, 400, false, "我"), now);
    session.handle_text(&result(0, 400, false, "我"), now);
    session.handle_text(&result(0, 800, false, "我想"), now);
    let shown = ["我", "我想"].map(|text| Output::Interim(text.into()));
    assert_eq!(drain(&mut session), shown);

    let mut session = streaming(Settings::default(), now);
    session.handle_text(&result(0, 400, false, "我"), now);
    assert_eq!(drain(&mut session), []);
}

#[test]
fn error_of_either_kind_fails_the_session_once() {
    let now = epoch();
    for kind in ["ERROR", "FATAL_ERROR"] {
        let mut session = streaming(Settings::default(), now);
        let error = json!({"resp_type": kind, "error_code": "SIS.0305", "error_msg": "no"});
        session.handle_text(&error.to_string(), now);
        session.handle_text(&end("ERROR"), now);
        let expected = Failure::Service(ServiceError {
            trace_id: String::new(),
            error_code: "SIS.0305".into(),
            error_msg: "no".into(),
        });
        assert_eq!(drain(&mut session), [Output::Failed(expected)]);
    }
}

#[test]
fn end_that_is_early_or_not_normal_is_no_text() {
    let now = epoch();
    let mut session = streaming(Settings::default(), now);
    session.handle_text(&end("NORMAL"), now);
    assert_eq!(failure(&mut session), Failure::EndedEarly("Normal".into()));
    let mut session = ending(Settings::default(), now);
    session.handle_text(&end("ERROR"), now);
    assert_eq!(failure(&mut session), Failure::EndedEarly("Error".into()));
}

#[test]
fn audio_past_the_limit_is_told_in_both_forms() {
    let now = epoch();
    let mut session = streaming(Settings::default(), now);
    session.handle_audio(59 * 8000 + 1, false, now);
    assert_eq!(failure(&mut session), Failure::TooLong);

    let exceeded = json!({"resp_type": "EVENT", "trace_id": "t", "event": "EXCEEDED_AUDIO",
        "timestamp": 60_000});
    let mut session = streaming(Settings::default(), now);
    session.handle_text(&exceeded.to_string(), now);
    assert_eq!(failure(&mut session), Failure::TooLong);

    let mut session = ending(Settings::default(), now);
    session.handle_text(&exceeded.to_string(), now);
    session.handle_text(&end("NORMAL"), now);
    assert!(matches!(
        drain(&mut session).as_slice(),
        [Output::Finished(_)]
    ));
}

#[test]
fn unknown_message_is_passed_over_and_an_unreadable_one_is_not() {
    let now = epoch();
    let mut session = streaming(Settings::default(), now);
    session.handle_text(r#"{"resp_type":"VOICE_PRINT","new":1}"#, now);
    assert_eq!(drain(&mut session), []);
    session.handle_text("{\"resp_type\":\"RES", now);
    assert!(matches!(failure(&mut session), Failure::Malformed(_)));
}

#[test]
fn each_silence_of_the_peer_has_its_limit() {
    let now = epoch();
    let settings = Settings::default;

    let mut session = Session::new(Arc::default(), now);
    session.handle_writable(now);
    assert_eq!(expiry(&mut session, now), (Silence::Start, ms(10_000)));

    let mut session = Session::new(Arc::default(), now);
    assert_eq!(expiry(&mut session, now), (Silence::Write, ms(10_000)));

    let mut session = streaming(settings(), now);
    session.handle_audio(10_000, false, now);
    assert_eq!(expiry(&mut session, now), (Silence::Write, ms(10_000)));

    let mut session = streaming(settings(), now);
    assert_eq!(expiry(&mut session, now), (Silence::Pong, ms(20_000)));

    let mut session = ending(settings(), now);
    assert_eq!(expiry(&mut session, now), (Silence::Pong, ms(20_000)));
}

#[test]
fn peer_that_only_answers_pings_is_not_waited_for_forever() {
    let epoch = epoch();
    let mut session = ending(Settings::default(), epoch);
    for n in 1..=30 {
        let now = epoch + ms(n * 1000);
        session.handle_heard(now);
        session.handle_timeout(now);
    }
    assert_eq!(failure(&mut session), Failure::Silent(Silence::End));
}

/// Lets time pass until the session fails; the peer takes pings and answers nothing.
fn expiry(session: &mut Session, epoch: Instant) -> (Silence, Duration) {
    for _ in 0..10 {
        let due = session
            .poll_timeout()
            .expect("a session that waits has a deadline");
        session.handle_timeout(due);
        for output in drain(session) {
            if let Output::Failed(Failure::Silent(silence)) = output {
                return (silence, due - epoch);
            }
        }
    }
    panic!("the session waits forever");
}

#[test]
fn peer_that_speaks_is_not_pinged() {
    let epoch = epoch();
    let mut session = streaming(Settings::default(), epoch);
    for n in 1..=10 {
        let now = epoch + ms(n * 5000);
        session.handle_text(&result(0, n, false, "好"), now);
        session.handle_timeout(now);
        assert_eq!(drain(&mut session), []);
    }
}

#[test]
fn old_instants_do_no_harm() {
    let now = epoch() + ms(60_000);
    let mut session = ending(Settings::default(), now);
    session.handle_timeout(now - ms(50_000));
    session.handle_heard(now - ms(50_000));
    session.handle_text(&end("NORMAL"), now - ms(50_000));
    assert!(matches!(
        drain(&mut session).as_slice(),
        [Output::Finished(_)]
    ));
}

/// What a peer, a network and a leg may do to a session.
#[derive(Clone, Debug)]
enum Step {
    Audio(usize),
    Close,
    Writable,
    Text(String),
    Heard,
    Disconnect,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..20_000).prop_map(Step::Audio),
        1 => Just(Step::Close),
        8 => Just(Step::Writable),
        6 => any_text().prop_map(Step::Text),
        1 => Just(Step::Heard),
        3 => (0_u64..12_000).prop_map(Step::Wait),
        1 => Just(Step::Disconnect),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(start()),
        3 => (0_u64..70_000, 0_u64..70_000, any::<bool>(), "[a-z好]{0,5}")
            .prop_map(|(start, end, is_final, text)| result(start, end, is_final, &text)),
        2 => prop_oneof![Just("NORMAL"), Just("ERROR"), Just("CANCEL")].prop_map(end),
        1 => Just(r#"{"resp_type":"ERROR","error_code":"SIS.0100"}"#.to_owned()),
        1 => Just(r#"{"resp_type":"EVENT","event":"EXCEEDED_AUDIO"}"#.to_owned()),
        1 => Just(r#"{"resp_type":"NEW"}"#.to_owned()),
        1 => "\\PC{0,30}",
    ]
}

/// What a session has put on the wire, checked against the protocol as it comes.
#[derive(Default)]
struct Wire {
    started: bool,
    answered: bool,
    ended: bool,
    next: usize,
    conclusions: usize,
}

impl Wire {
    fn take(&mut self, output: Output, format: AudioFormat) {
        assert_eq!(self.conclusions, 0, "{output:?} after the end");
        match output {
            Output::Send(text) => match ClientMessage::parse(&text).unwrap() {
                ClientMessage::Start { .. } => assert!(!std::mem::replace(&mut self.started, true)),
                ClientMessage::End { cancel } => {
                    assert!(self.started && !cancel && !std::mem::replace(&mut self.ended, true));
                }
            },
            Output::SendAudio(fragment) => {
                assert!(self.answered && !self.ended, "audio outside START and END");
                let bytes = fragment.len() * format.bytes_per_sample();
                assert!(
                    (MIN_MESSAGE_BYTES..=MAX_MESSAGE_BYTES).contains(&bytes),
                    "{bytes}"
                );
                assert_eq!(fragment.samples.start, self.next);
                self.next = fragment.samples.end;
            }
            Output::Ping | Output::Interim(_) => {}
            Output::Finished(_) => {
                assert!(self.ended, "a text before the audio was complete");
                self.conclusions += 1;
            }
            Output::Failed(_) => self.conclusions += 1,
        }
    }
}

proptest! {
    #[test]
    fn any_peer_ends_a_session_once_and_gets_legal_audio_in_order(
        steps in prop::collection::vec(any_step(), 0..80),
        ulaw: bool,
        interim_results: bool,
    ) {
        let audio_format = if ulaw { AudioFormat::Ulaw8k8bit } else { AudioFormat::Pcm8k16bit };
        let settings = Settings { audio_format, interim_results, ..Settings::default() };
        let mut now = epoch();
        let mut session = Session::new(Arc::new(settings), now);
        let mut wire = Wire::default();
        let (mut len, mut closed) = (0, false);
        for step in steps {
            match step {
                Step::Audio(more) if !closed => len += more,
                Step::Audio(_) => {}
                Step::Close => closed = true,
                Step::Writable => session.handle_writable(now),
                Step::Text(text) => {
                    wire.answered |= text == start();
                    session.handle_text(&text, now);
                }
                Step::Heard => session.handle_heard(now),
                Step::Disconnect => session.handle_disconnect(Failure::Broken("cut".into())),
                Step::Wait(wait) => {
                    now += ms(wait);
                    session.handle_timeout(now);
                }
            }
            session.handle_audio(len, closed, now);
            drain(&mut session).into_iter().for_each(|output| wire.take(output, audio_format));
        }
        // Then the peer falls silent, and time alone must end it.
        let silent_since = now;
        for _ in 0..10 {
            now = now.max(session.poll_timeout().unwrap_or(now));
            session.handle_timeout(now);
            drain(&mut session).into_iter().for_each(|output| wire.take(output, audio_format));
        }
        prop_assert_eq!(wire.conclusions, 1);
        prop_assert!(now - silent_since <= ms(50_000));
        prop_assert!(!wire.ended || wire.next == len.min(59 * 8000));
    }
}
