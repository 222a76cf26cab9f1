//! The control API against clients that are wrong, slow, foreign or many.

#![expect(clippy::disallowed_types, reason = "tests use real sockets")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::support::control::{Client, read_answer};
use crate::support::{Daemon, wait_for};
use callscribe::service::config::ServiceConfig;
use serde_json::{Value, json};

fn daemon(more: String) -> (Daemon, Client) {
    let daemon = Daemon::start_with(4, ServiceConfig::default(), |_| more);
    let client = Client::of(&daemon);
    (daemon, client)
}

#[test]
fn wrong_request_is_refused_by_the_name_of_its_field() {
    let (_daemon, client) = daemon(String::new());
    for (body, expected) in [
        ("", "there is no body"),
        ("{", "EOF"),
        ("[]", "expected a JSON object"),
        (r#"[null, [{}]]"#, "expected a JSON object"),
        ("{}", "missing field `legs`"),
        (r#"{"legs": []}"#, "legs: 0 legs"),
        (r#"{"legs": [{}], "rol": 1}"#, "rol: unknown field `rol`"),
        (
            r#"{"legs": [{}, {"rol": 1}]}"#,
            "legs[1].rol: unknown field `rol`",
        ),
        (
            r#"{"legs": [{"role": "BOSS"}]}"#,
            "legs[0].role: unknown variant `BOSS`",
        ),
        (r#"{"legs": [{"codec": "G722"}]}"#, "legs[0].codec: "),
        (
            r#"{"legs": [{"expected_source": "pbx"}]}"#,
            "legs[0].expected_source: \"pbx\"",
        ),
        (
            r#"{"legs": [{"expected_source": "0.0.0.0"}]}"#,
            "legs[0].expected_source: ",
        ),
        (
            r#"{"legs": [{"expected_source": "8.8.8.8"}]}"#,
            "legs[0].expected_source: 8.8.8.8 is not in",
        ),
        (
            r#"{"legs": [{}], "id": "a/b"}"#,
            "id: \"a/b\" cannot name a call",
        ),
        (r#"{"legs": [{}], "id": "a\nb"}"#, "id: "),
        (r#"{"legs": [{}], "id": ".."}"#, "id: "),
        (r#"{"legs": [{}], "id": ""}"#, "id: "),
        (r#"{"legs": [{}], "metadata": 1}"#, "metadata: "),
        (r#"{"legs": [{}], "direction": "up"}"#, "direction: "),
        (r#"{"legs": [{}]} {}"#, "behind the JSON object"),
    ] {
        let answer = client.ask_text("POST", "/v1/calls", body);
        let (code, message) = answer.error();
        assert_eq!(
            (answer.status, code),
            (400, "invalid_request"),
            "{body}: {message}"
        );
        assert!(message.starts_with(expected), "{body}: {message}");
    }
    client.register(&json!({"id": "a", "legs": [{}]}));
    for (body, expected) in [
        (r#"{"rol": 1}"#, "rol: unknown field"),
        (
            r#"{"legs": [{"role": "AGENT"}]}"#,
            "legs[0]: missing field `channel`",
        ),
        (
            r#"{"legs": [{"channel": 7, "role": "AGENT"}]}"#,
            "legs: the call has no channel 7",
        ),
        (
            r#"{"legs": [{"channel": 0, "codec": "PCMU"}]}"#,
            "legs[0].codec: unknown field",
        ),
    ] {
        let answer = client.ask_text("PATCH", "/v1/calls/a", body);
        assert_eq!(answer.status, 400);
        assert!(answer.error().1.starts_with(expected), "{}", answer.body);
    }
}

#[test]
fn what_is_not_there_is_told_as_json() {
    let (_daemon, client) = daemon(String::new());
    for (method, path, status, code) in [
        ("GET", "/v1", 404, "no_such_route"),
        ("GET", "/v1/calls/a/b", 404, "no_such_route"),
        ("GET", "/v1/calls/a", 404, "no_such_call"),
        ("PUT", "/v1/calls", 405, "method_not_allowed"),
        ("POST", "/v1/calls/a", 405, "method_not_allowed"),
        ("GET", "/v1/calls/%FF", 400, "invalid_request"),
    ] {
        let answer = client.ask(method, path, &Value::Null);
        assert_eq!(
            (answer.status, answer.error().0),
            (status, code),
            "{method} {path}"
        );
    }
    let answer = client.ask("PUT", "/v1/calls", &Value::Null);
    assert!(
        answer.head.to_lowercase().contains("allow: get,head,post"),
        "{}",
        answer.head
    );
}

#[test]
fn clients_that_never_finish_hold_nobody_up_and_are_given_up() {
    let (_daemon, client) = daemon(String::new());
    let heads = [
        "",
        "GET /v1/calls HT",
        "POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    ];
    let mut stalled: Vec<_> = (0..150).map(|_| client.connect()).collect();
    for (number, stream) in stalled.iter_mut().enumerate() {
        stream
            .write_all(heads[number % heads.len()].as_bytes())
            .unwrap();
    }
    let list = client.ask("GET", "/v1/calls", &Value::Null);
    assert_eq!((list.status, list.body), (200, json!({"calls": []})));
    for (number, stream) in stalled.iter_mut().enumerate() {
        let mut answer = String::new();
        // The read has a time-out of its own; a connection that is never closed fails here.
        stream.read_to_string(&mut answer).unwrap();
        let expected = if number % heads.len() == 2 {
            "HTTP/1.1 408"
        } else {
            ""
        };
        assert!(answer.starts_with(expected), "{number}: {answer}");
    }
}

#[test]
fn loopback_port_serves_programs_and_no_web_page() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (_daemon, _) = daemon(format!("[control]\nlisten = \"127.0.0.1:{port}\"\n"));
    let ask = |headers: &str| {
        let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
        let mut stream = wait_for(Duration::from_secs(20), connect).unwrap();
        write!(
            stream,
            "GET /v1/calls HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        read_answer(&mut stream).status
    };
    assert_eq!(ask(&format!("Host: 127.0.0.1:{port}\r\n")), 200);
    assert_eq!(ask("Host: localhost\r\n"), 200);
    assert_eq!(ask(&format!("Host: [::1]:{port}\r\n")), 200);
    assert_eq!(ask("Host: rebound.example\r\n"), 403);
    assert_eq!(
        ask(&format!(
            "Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
        )),
        403
    );
}

#[test]
fn socket_has_the_configured_mode_and_goes_with_the_daemon() {
    let (mut daemon, client) = daemon("[control]\nsocket-mode = \"0600\"\n".to_owned());
    drop(client.connect());
    let path = daemon.folder.path().join("control.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(daemon.stop(Duration::from_secs(30)).success());
    assert!(!path.exists());
}

#[test]
fn calls_command_shows_a_line_for_each_leg() {
    let (daemon, client) = daemon(String::new());
    client.register(&json!({"id": "one", "legs": [{"role": "AGENT"}, {"role": "CUSTOMER"}]}));
    let socket = daemon.folder.path().join("control.sock");
    let show = |socket: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callscribe"));
        command
            .arg("calls")
            .arg("--socket")
            .arg(socket)
            .output()
            .unwrap()
    };
    let shown = String::from_utf8(show(&socket).stdout).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(
        lines[0].starts_with("CALL") && lines[1].starts_with("one "),
        "{shown}"
    );
    assert!(lines[2].contains("CUSTOMER"), "{shown}");
    let nobody = show(&daemon.folder.path().join("none.sock"));
    assert_eq!(nobody.status.code(), Some(69));
}
