//! The control API against clients that are wrong, slow, foreign or many.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests use real sockets, and what fails here fails the test"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::control::{Client, read_answer};
use crate::support::ports::free_address;
use crate::support::{Daemon, free_ports, wait_for};
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
    let port = free_address().port();
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
fn sockets_belong_to_the_configured_group() {
    // Only root may give a file to a group that it is not in.
    let ours = rustix::process::getegid();
    let group = if ours.is_root() { 4711 } else { ours.as_raw() };
    let more = format!("socket-group = \"{group}\"\n");
    let (daemon, client) = daemon(format!("[control]\n{more}"));
    client.ask("GET", "/v1/calls", &Value::Null);
    let owner = |socket: &str| {
        let socket = daemon.folder.path().join(socket);
        std::fs::metadata(socket).unwrap().gid()
    };
    assert_eq!(owner("control.sock"), group);

    let folder = tempfile::tempdir().unwrap();
    let config = callscribe::config::file::Events {
        socket: folder.path().join("events.sock"),
        socket_group: Some(group.to_string()),
        ..Default::default()
    };
    let (publisher, thread) = callscribe::io::publisher::start(&config, None, None).unwrap();
    assert_eq!(std::fs::metadata(&config.socket).unwrap().gid(), group);
    drop(publisher);
    thread.join();
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

/// A password file with one user, `anna`, and the header that lets her in.
fn password_file(folder: &std::path::Path) -> (std::path::PathBuf, String) {
    let path = folder.join("users");
    let hash = bcrypt::hash("open sesame", 10).unwrap();
    std::fs::write(&path, format!("anna:{hash}\n")).unwrap();
    (path, basic("anna", "open sesame"))
}

fn basic(user: &str, password: &str) -> String {
    let encoded = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
    format!("Authorization: Basic {encoded}\r\n")
}

/// The first bytes of an answer over TCP, its body as far as it came within the same moment.
fn get(port: u16, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: pbx.example\r\n{headers}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = vec![0; 4096];
    let len = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[test]
fn page_on_an_address_of_the_network_is_for_those_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let (users, right) = password_file(folder.path());
    let port = free_address().port();
    let (daemon, client) = daemon(format!(
        "[control]\nlisten = \"0.0.0.0:{port}\"\npassword-file = {users:?}\n"
    ));
    client.ask("GET", "/v1/calls", &Value::Null);
    let wrong = basic("anna", "close sesame");
    let nobody = basic("bert", "open sesame");
    for path in [
        "/",
        "/live",
        "/history",
        "/metrics",
        "/v1/calls",
        "/v1/status",
        "/nothing",
    ] {
        for refused in ["", "Authorization: Bearer x\r\n"] {
            let answer = get(port, path, refused);
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
            assert!(
                answer.contains("www-authenticate: Basic realm="),
                "{answer}"
            );
            assert!(!answer.contains("<html"), "{answer}");
        }
        let answer = get(port, path, &right);
        let expected = if path == "/nothing" { "404" } else { "200" };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{path}: {answer}"
        );
    }
    for refused in [&wrong, &nobody] {
        assert!(get(port, "/live", refused).starts_with("HTTP/1.1 401 "));
    }
    assert!(get(port, "/live", &right).contains("text/event-stream"));
    let foreign = format!("{right}Origin: https://elsewhere.example\r\n");
    assert!(get(port, "/v1/calls", &foreign).starts_with("HTTP/1.1 403 "));
    // The Unix socket has its permissions instead.
    assert_eq!(client.ask("GET", "/v1/calls", &Value::Null).status, 200);
    let log = daemon.log();
    assert!(log.contains("wrong passwords were given"), "{log}");
    assert!(!log.contains("sesame"), "{log}");
}

#[test]
fn guessing_is_slow_and_keeps_nobody_out_who_was_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (users, right) = password_file(folder.path());
    let port = free_address().port();
    let (_daemon, client) = daemon(format!(
        "[control]\nlisten = \"127.0.0.1:{port}\"\npassword-file = {users:?}\n"
    ));
    client.ask("GET", "/v1/calls", &Value::Null);
    assert!(get(port, "/v1/status", &right).starts_with("HTTP/1.1 200 "));
    let until = Instant::now() + Duration::from_secs(2);
    let guessers: Vec<_> = (0..16)
        .map(|guesser| {
            std::thread::spawn(move || {
                let mut guesses = 0;
                while Instant::now() < until {
                    let guess = basic("anna", &format!("{guesser} {guesses}"));
                    assert!(get(port, "/metrics", &guess).starts_with("HTTP/1.1 401 "));
                    guesses += 1;
                }
                guesses
            })
        })
        .collect();
    let begun = Instant::now();
    let mut looks = 0;
    while Instant::now() < until {
        assert!(get(port, "/v1/status", &right).starts_with("HTTP/1.1 200 "));
        looks += 1;
    }
    let guesses: u32 = guessers
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    let took = begun.elapsed();
    eprintln!("16 clients made {guesses} guesses in {took:?}; meanwhile {looks} looks by anna");
    assert!(
        f64::from(guesses) < took.as_secs_f64() * 5.0 + 1.0,
        "{guesses} in {took:?}"
    );
    assert!(looks > 20, "{looks}");
}

#[test]
fn address_of_the_network_without_passwords_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callscribe.toml");
    let users = folder.path().join("users");
    let with_users = format!("listen = \"0.0.0.0:8089\"\npassword-file = {users:?}\n");
    let cases = [
        (
            "listen = \"0.0.0.0:8089\"\n",
            None,
            78,
            "expected a loopback address",
        ),
        (
            "listen = \"[::]:8089\"\n",
            None,
            78,
            "expected a loopback address",
        ),
        (
            "password-file = \"/x\"\n",
            None,
            78,
            "goes with control.listen",
        ),
        (&*with_users, None, 78, "cannot read control.password-file"),
        (&*with_users, Some(""), 78, "names nobody"),
        (
            &*with_users,
            Some("anna:plain\n"),
            78,
            "users:1: expected USER:HASH",
        ),
    ];
    for (control, passwords, code, says) in cases {
        if let Some(passwords) = passwords {
            std::fs::write(&users, passwords).unwrap();
        }
        let first = free_ports(2);
        let text = format!(
            "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first}-{}\"\n\
             [asr]\nendpoint = \"ws://127.0.0.1:1\"\n[events]\nsocket = {:?}\n\
             [journal]\npath = {:?}\n[control]\n{control}",
            first + 1,
            folder.path().join("events.sock"),
            folder.path().join("journal.db"),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_callscribe"));
        let run = command.args(["run", "-c"]).arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{control}: {said}");
        assert!(said.contains(says), "{control}: {said}");
    }
}
