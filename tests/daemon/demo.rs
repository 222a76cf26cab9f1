//! `callscribe demo` recognises a real call and leaves nothing behind.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::wait_for;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn demo_understands_the_call_and_removes_what_it_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_callscribe"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .expect("the program runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{said}");
    let rate = shown
        .split("Character error rate: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let rate: f64 = rate
        .and_then(|rate| rate.parse().ok())
        .expect("the rate is shown");
    assert!(rate <= 10.0, "{rate} %:\n{shown}");
    assert_eq!(
        shown.matches("recognised ").count(),
        12,
        "each turn is judged:\n{shown}"
    );
    assert!(!shown.contains("never"), "each turn has its text:\n{shown}");
    assert!(shown.contains("AGENT") && shown.contains("CUSTOMER"));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn interrupted_demo_stops_what_it_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_callscribe"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let made = || {
        fs::read_dir(folder.path())
            .ok()?
            .next()?
            .ok()
            .map(|entry| entry.path())
    };
    let stage = wait_for(Duration::from_secs(10), made).expect("its folder");
    let socket = stage.join("events.sock");
    wait_for(Duration::from_secs(60), || socket.exists().then_some(())).expect("its daemon");
    let pid = i32::try_from(demo.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, Signal::INT).expect("it runs");
    let status = demo.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(!stage.exists(), "its folder is gone");
    // Both programs write their standard error into the folder.
    let name = stage
        .file_name()
        .expect("it has a name")
        .to_string_lossy()
        .into_owned();
    let processes = fs::read_dir("/proc").expect("Linux");
    let logs = processes.filter_map(|entry| fs::read_link(entry.ok()?.path().join("fd/2")).ok());
    let left = logs.filter(|log| log.to_string_lossy().contains(&name));
    assert_eq!(left.count(), 0, "daemon and service are gone");
}
