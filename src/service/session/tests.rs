use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::service::engine::whole;

const START: &str =
    r#"{"command":"START","config":{"audio_format":"pcm8k16bit","property":"chinese_8k_common"}}"#;
const START_INTERIM: &str = r#"{"command":"START","config":{"audio_format":"pcm8k16bit",
    "property":"chinese_8k_common","interim_results":"yes"}}"#;
const END: &str = r#"{"command":"END","cancel":false}"#;
const SECOND: [u8; 16_000] = [0; 16_000];

#[test]
fn a_session_is_started_heard_recognised_and_ended() {
    let mut desk = Desk::new(Rules::default());
    assert_eq!(desk.text(START), ["START"]);
    assert_eq!(desk.audio(&[1; 8_000]), [""; 0]);
    assert_eq!(desk.audio(&[2; 8_000]), [""; 0]);
    assert_eq!(desk.text(END), [""; 0]);
    let job = desk.job();
    assert_eq!(job.audio.bytes, [[1; 8_000], [2; 8_000]].concat());
    assert_eq!(desk.recognised(&job, "您好"), ["RESULT 您好", "END NORMAL"]);
}

#[test]
fn a_burst_of_start_audio_and_end_is_one_session() {
    let mut desk = Desk::new(Rules::default());
    desk.server.handle_text(START, desk.now);
    desk.server.handle_audio(&SECOND, desk.now);
    desk.server.handle_text(END, desk.now);
    assert_eq!(desk.drain(), ["START"]);
    assert_eq!(desk.job().audio.bytes.len(), 16_000);
}

#[test]
fn every_message_of_a_session_has_the_trace_id_of_its_start() {
    let mut desk = Desk::new(Rules::default());
    desk.say("一");
    desk.say("二");
    desk.text("nonsense");
    let ids: Vec<&str> = desk.trace_ids.iter().map(String::as_str).collect();
    let expected = [
        "test-1", "test-1", "test-1", "test-2", "test-2", "test-2", "test-2",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn a_second_session_on_the_connection_has_its_own_audio() {
    let mut desk = Desk::new(Rules::default());
    desk.say("一");
    desk.text(START);
    desk.audio(&[3; 200]);
    desk.text(END);
    assert_eq!(desk.job().audio.bytes, [3; 200]);
}

#[test]
fn cancel_as_a_string_or_a_boolean_drops_the_text() {
    for end in [
        r#"{"command":"END","cancel":"true"}"#,
        r#"{"command":"END","cancel":true}"#,
    ] {
        let mut desk = Desk::new(Rules::default());
        desk.text(START);
        desk.audio(&SECOND);
        assert_eq!(desk.text(end), ["abandon", "END CANCEL"]);
    }
}

#[test]
fn cancel_while_the_text_is_awaited_abandons_it() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.text(r#"{"command":"END","cancel":"false"}"#);
    let job = desk.job();
    assert_eq!(
        desk.text(r#"{"command":"END","cancel":true}"#),
        ["abandon", "END CANCEL"]
    );
    assert_eq!(desk.recognised(&job, "late"), [""; 0]);
}

#[test]
fn messages_out_of_order_are_errors_and_end_what_is_open() {
    let mut desk = Desk::new(Rules::default());
    assert_eq!(desk.text(END), ["ERROR SIS.0032"]);
    assert_eq!(desk.text(START), ["START"]);
    assert_eq!(desk.text(START), ["ERROR SIS.0032", "abandon", "END ERROR"]);
    assert_eq!(desk.text(START), ["START"]);
    assert_eq!(desk.text(END), [""; 0]);
    assert_eq!(
        desk.audio(&SECOND),
        ["ERROR SIS.0032", "abandon", "END ERROR"]
    );
}

#[test]
fn audio_before_start_is_told_once_and_ignored_until_start() {
    let mut desk = Desk::new(Rules::default());
    assert_eq!(desk.audio(&SECOND), ["ERROR SIS.0032"]);
    assert_eq!(desk.audio(&SECOND), [""; 0]);
    assert_eq!(desk.text(START), ["START"]);
    desk.text(END);
    assert!(desk.job().audio.bytes.is_empty());
}

#[test]
fn an_end_that_crossed_the_error_is_ignored() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.audio(&[0; 40_000]);
    assert_eq!(desk.text(END), [""; 0]);
    assert_eq!(desk.text(START), ["START"]);
}

#[test]
fn text_that_is_no_command_is_an_error() {
    let mut desk = Desk::new(Rules::default());
    assert_eq!(desk.text("{"), ["ERROR SIS.0032"]);
    assert_eq!(desk.text(r#"{"command":"CANCEL"}"#), ["ERROR SIS.0032"]);
    assert_eq!(desk.text(r#"{"command":"START"}"#), ["ERROR SIS.0012"]);
    desk.text(START);
    assert_eq!(desk.text("[]"), ["ERROR SIS.0032", "abandon", "END ERROR"]);
}

#[test]
fn a_refused_start_opens_nothing() {
    let mut desk = Desk::new(Rules::default());
    let start = START.replace("8k_common", "16k_common");
    assert_eq!(desk.text(&start), ["ERROR SIS.0301"]);
    assert_eq!(desk.audio(&SECOND), [""; 0]);
    assert_eq!(desk.text(END), [""; 0]);
}

#[test]
fn fragments_outside_their_size_are_refused() {
    for (size, is_legal) in [(160, true), (32_768, true), (32_769, false)] {
        let mut desk = Desk::new(Rules::default());
        desk.text(START);
        let answer = desk.audio(&vec![0; size]);
        assert_eq!(answer.is_empty(), is_legal, "{size}: {answer:?}");
    }
}

#[test]
fn a_short_fragment_is_heard_when_it_is_the_last() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.audio(&[1; 4_000]);
    desk.audio(&[2; 30]);
    desk.text(END);
    assert_eq!(desk.job().audio.bytes.len(), 4_030);
}

#[test]
fn a_short_fragment_in_the_middle_is_refused() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    assert_eq!(desk.audio(&[2; 159]), [""; 0]);
    assert_eq!(
        desk.audio(&[1; 4_000]),
        ["ERROR SIS.0032", "abandon", "END ERROR"]
    );
}

#[test]
fn sixty_seconds_are_taken_and_one_sample_more_is_not() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    for _ in 0..60 {
        assert_eq!(desk.audio(&SECOND), [""; 0]);
    }
    assert_eq!(
        desk.audio(&[0; 2]),
        ["ERROR SIS.0309", "abandon", "END ERROR"]
    );
}

#[test]
fn the_older_manner_keeps_the_first_sixty_seconds() {
    let mut desk = Desk::new(Rules {
        over_length: OverLength::Event,
        ..Rules::default()
    });
    desk.text(START);
    for _ in 0..60 {
        desk.audio(&SECOND);
    }
    assert_eq!(desk.audio(&SECOND), ["EVENT EXCEEDED_AUDIO"]);
    assert_eq!(desk.audio(&SECOND), [""; 0]);
    desk.text(END);
    let job = desk.job();
    assert_eq!(job.audio.length(), Duration::from_secs(60));
    assert_eq!(desk.recognised(&job, "好"), ["RESULT 好", "END NORMAL"]);
}

#[test]
fn twenty_seconds_without_a_message_are_fatal_in_every_phase() {
    for prelude in [&[][..], &[START][..], &[START, "{"][..]] {
        let mut desk = Desk::new(Rules::default());
        for text in prelude {
            desk.text(text);
        }
        let deadline = desk.now + Duration::from_secs(20);
        assert_eq!(desk.server.poll_timeout(), Some(deadline));
        assert_eq!(desk.wait(19_999), [""; 0]);
        assert_eq!(desk.wait(1), ["FATAL_ERROR SIS.0304", "abandon", "close"]);
        assert_eq!(desk.server.poll_timeout(), None);
        assert_eq!(desk.text(START), [""; 0]);
    }
}

#[test]
fn a_client_that_waits_for_its_text_is_not_idle() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.text(END);
    assert_eq!(desk.wait(60_000), [""; 0]);
    let job = desk.job();
    assert_eq!(desk.recognised(&job, "慢"), ["RESULT 慢", "END NORMAL"]);
    assert_eq!(desk.wait(19_999), [""; 0]);
    assert_eq!(desk.wait(1), ["FATAL_ERROR SIS.0304", "abandon", "close"]);
}

#[test]
fn an_old_connection_is_closed() {
    let mut desk = Desk::new(Rules {
        max_life: Duration::from_secs(30),
        ..Rules::default()
    });
    desk.wait(15_000);
    desk.text(START);
    assert_eq!(desk.wait(15_000), ["abandon", "close"]);
}

#[test]
fn a_failed_recognition_is_an_error_and_an_end() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.text(END);
    let job = desk.job();
    desk.server
        .handle_recognised(job.id, Err(Failure::new("SIS.0305", "no")), desk.now);
    assert_eq!(desk.drain(), ["ERROR SIS.0305", "abandon", "END ERROR"]);
    assert_eq!(desk.text(START), ["START"]);
}

#[test]
fn silence_is_answered_in_the_chosen_manner() {
    for (silence, expected) in [
        (Silence::EmptyText, &["RESULT ", "END NORMAL"][..]),
        (Silence::NoSegment, &["RESULT -", "END NORMAL"][..]),
        (Silence::NoResult, &["END NORMAL"][..]),
    ] {
        let mut desk = Desk::new(Rules {
            silence,
            ..Rules::default()
        });
        desk.text(START);
        desk.text(END);
        let job = desk.job();
        assert_eq!(desk.recognised(&job, ""), expected);
    }
}

#[test]
fn sessions_beyond_the_seats_are_refused_until_one_is_free() {
    let seats = Seats::new(1);
    let mut first = Desk::with_seats(Rules::default(), seats.clone());
    let mut second = Desk::with_seats(Rules::default(), seats);
    assert_eq!(first.text(START), ["START"]);
    assert_eq!(second.text(START), ["ERROR SIS.0312"]);
    first.text(END);
    assert_eq!(second.text(START), ["ERROR SIS.0312"]);
    let job = first.job();
    first.recognised(&job, "好");
    assert_eq!(second.text(START), ["START"]);
}

#[test]
fn interim_results_come_one_at_a_time_and_only_when_asked_for() {
    let mut desk = Desk::new(Rules::default());
    desk.text(START);
    desk.audio(&SECOND);
    assert_eq!(desk.jobs, []);

    let mut desk = Desk::new(Rules::default());
    desk.text(START_INTERIM);
    desk.audio(&SECOND);
    desk.audio(&SECOND);
    let interim = desk.job();
    assert!(interim.interim && desk.jobs.is_empty());
    assert_eq!(desk.recognised(&interim, "您"), ["interim 您"]);
    desk.audio(&SECOND);
    let unfinished = desk.job();
    assert_eq!(desk.text(END), ["abandon"]);
    let last = desk.job();
    assert_eq!(desk.recognised(&unfinished, "您好"), [""; 0]);
    assert_eq!(
        desk.recognised(&last, "您好吗"),
        ["RESULT 您好吗", "END NORMAL"]
    );
}

/// A client's desk: says things to the machine and writes down the answers.
struct Desk {
    server: SessionServer,
    now: Instant,
    jobs: Vec<Job>,
    trace_ids: Vec<String>,
}

impl Desk {
    fn new(rules: Rules) -> Self {
        Self::with_seats(rules, Seats::new(8))
    }

    fn with_seats(rules: Rules, seats: Seats) -> Self {
        let now = epoch();
        let server = SessionServer::new("test".into(), Arc::new(rules), seats, now);
        Self {
            server,
            now,
            jobs: Vec::new(),
            trace_ids: Vec::new(),
        }
    }

    fn text(&mut self, text: &str) -> Vec<String> {
        self.server.handle_text(text, self.now);
        self.drain()
    }

    fn audio(&mut self, fragment: &[u8]) -> Vec<String> {
        self.server.handle_audio(fragment, self.now);
        self.drain()
    }

    fn recognised(&mut self, job: &Job, text: &str) -> Vec<String> {
        let segments = vec![whole(&job.audio, text.to_owned(), 0.9, Vec::new())];
        self.server
            .handle_recognised(job.id, Ok(segments), self.now);
        self.drain()
    }

    fn wait(&mut self, ms: u64) -> Vec<String> {
        self.now += Duration::from_millis(ms);
        self.server.handle_timeout(self.now);
        self.drain()
    }

    /// One whole session.
    fn say(&mut self, text: &str) {
        self.text(START);
        self.audio(&SECOND);
        self.text(END);
        let job = self.job();
        self.recognised(&job, text);
    }

    fn job(&mut self) -> Job {
        self.jobs.remove(0)
    }

    fn drain(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(message) => answers.push(self.note(message)),
                Output::Recognise(job) => self.jobs.push(job),
                Output::Abandon => answers.push("abandon".into()),
                Output::Close(_) => answers.push("close".into()),
            }
        }
        answers
    }

    fn note(&mut self, message: ServerMessage) -> String {
        let (trace_id, note) = match message {
            ServerMessage::Start { trace_id } => (trace_id, "START".into()),
            ServerMessage::Event {
                trace_id, event, ..
            } => (trace_id, format!("EVENT {event}")),
            ServerMessage::Result { trace_id, segments } => (trace_id, note_segments(&segments)),
            ServerMessage::Error(error) => (error.trace_id, format!("ERROR {}", error.error_code)),
            ServerMessage::FatalError(error) => {
                (error.trace_id, format!("FATAL_ERROR {}", error.error_code))
            }
            ServerMessage::End { trace_id, reason } => (
                trace_id,
                format!("END {}", format!("{reason:?}").to_uppercase()),
            ),
            ServerMessage::Unknown { resp_type } => panic!("sends {resp_type}"),
        };
        self.trace_ids.push(trace_id);
        note
    }
}

fn note_segments(segments: &[Segment]) -> String {
    match segments {
        [] => "RESULT -".into(),
        [segment] if segment.is_final => format!("RESULT {}", text_of(segment)),
        [segment] => format!("interim {}", text_of(segment)),
        _ => panic!("{} segments", segments.len()),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}
