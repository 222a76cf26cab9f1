use std::path::Path;

use super::*;
use crate::event::Role;

fn error_of(text: &str) -> String {
    parse(Path::new("callscribe.toml"), text)
        .unwrap_err()
        .to_string()
}

#[test]
fn unknown_key_is_refused_with_its_line_and_what_was_expected() {
    let error = error_of("[rtp]\nbind-address = \"0.0.0.0\"\nport-rnage = \"1-2\"\n");
    assert!(error.starts_with("callscribe.toml:3:1: "), "{error}");
    assert!(
        error.contains("`port-rnage`") && error.contains("`port-range`"),
        "{error}"
    );
}

#[test]
fn value_out_of_range_names_key_line_and_bounds() {
    let error = error_of("[speech]\n\nhangover-ms = 50\n");
    assert!(
        error.starts_with("callscribe.toml:3:15: speech.hangover-ms: 50 is"),
        "{error}"
    );
    assert!(error.contains("100 to 5000 milliseconds"), "{error}");
}

#[test]
fn bad_network_in_a_list_is_found_by_its_place() {
    let error = error_of("[rtp]\nallowed-sources = [\"10.0.0.0/8\", \"10.0.0.0/99\"]\n");
    assert!(error.contains("rtp.allowed-sources[1]"), "{error}");
}

#[test]
fn syntax_error_names_its_line() {
    let error = error_of("[rtp]\nport-range = \n");
    assert!(error.starts_with("callscribe.toml:2:"), "{error}");
}

#[test]
fn secret_is_not_shown_when_it_is_refused() {
    let error = error_of("[asr]\ntoken = 4711471147114711\n");
    assert!(error.contains("asr.token"), "{error}");
    assert!(!error.contains("4711"), "{error}");
}

#[test]
fn secret_is_not_shown_by_debug() {
    let file = parse(Path::new("x"), "[asr]\ntoken = \"hunter2hunter2\"\n").unwrap();
    assert!(!format!("{file:?}").contains("hunter2"));
}

#[test]
fn contradictions_between_keys_are_refused_by_key() {
    for (text, key) in [
        (
            "[speech]\ncut-from-ms = 50000\npart-limit-ms = 45000\n",
            "speech.cut-from-ms",
        ),
        ("[rtp.payload-types]\npcmu = [0, 8]\n", "rtp.payload-types"),
        ("[rtp.payload-types]\npcmu = [72]\n", "rtp.payload-types"),
        ("[rtp]\nallowed-sources = []\n", "rtp.allowed-sources"),
        ("[asr]\nendpoint = \"https://x\"\n", "asr.endpoint"),
        ("[asr]\nendpoint = \"wss://x/v1\"\n", "asr.endpoint"),
        ("[asr]\nproject-id = \"a/b\"\n", "asr.project-id"),
        (
            "[[line]]\nname = \"a\"\nlegs = [{ port = 7 }]\n",
            "line.legs.port",
        ),
        (
            "[rtp]\nrtcp-mux = true\n[[line]]\nname = \"a\"\nlegs = [{ port = 20001 }]\n",
            "line.legs.port",
        ),
        ("[control]\nlisten = \"0.0.0.0:8089\"\n", "control.listen"),
        (
            "[events]\nsocket = \"/a/s\"\n[control]\nsocket = \"/a/s\"\n",
            "control.socket",
        ),
        (
            "[rtp]\nadvertise-address = \"0.0.0.0\"\n",
            "rtp.advertise-address",
        ),
        ("[log]\nlevel = \"a=b=c\"\n", "log.level"),
    ] {
        let error = error_of(text);
        assert!(error.contains(&format!(" {key}: ")), "{text}: {error}");
    }
}

#[test]
fn configuration_that_hears_nobody_is_warned_about() {
    let warnings = |text| parse(Path::new("x"), text).unwrap().warnings().join("\n");
    let foolish = warnings("[rtp]\nport-range = \"20001\"\n");
    assert!(foolish.contains("no call can begin"), "{foolish}");
    assert_eq!(warnings(""), "", "the control API can register calls");
}

#[test]
fn control_socket_is_beside_the_events_socket_unless_named() {
    let path = |text| parse(Path::new("x"), text).unwrap().control_socket();
    assert_eq!(path(""), Path::new("/run/callscribe/control.sock"));
    let beside = path("[events]\nsocket = \"/tmp/a/events.sock\"\n");
    assert_eq!(beside, Path::new("/tmp/a/control.sock"));
    let named = path("[control]\nsocket = \"/tmp/b.sock\"\n");
    assert_eq!(named, Path::new("/tmp/b.sock"));
}

#[test]
fn missing_file_is_named() {
    let error = load(Path::new("/nonexistent/callscribe.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/callscribe.toml"), "{error}");
}

#[test]
fn a_preset_stands_behind_the_times_that_are_given() {
    let file = parse(
        Path::new("x"),
        "[speech]\npreset = \"monologue\"\npost-roll-ms = 100\n",
    )
    .unwrap();
    let times = file.speech.times;
    assert_eq!(times.hangover_ms.duration().as_millis(), 1_200);
    assert_eq!(times.post_roll_ms.duration().as_millis(), 100);
}

#[test]
fn a_role_may_have_times_of_its_own() {
    let text = "[speech]\nhangover-ms = 500\n[speech.roles.AGENT]\npost-roll-ms = 300\n";
    let settings = parse(Path::new("x"), text)
        .unwrap()
        .switchboard()
        .unwrap()
        .speech;
    let hangover = |role| settings.of(role).hangover().as_millis();
    assert_eq!(hangover(Some(Role::Agent)), 500);
    assert_ne!(settings.of(Some(Role::Agent)), settings.of(None));
    assert_eq!(settings.of(Some(Role::Customer)), settings.of(None));
}

#[test]
fn a_fault_in_the_times_of_a_role_is_told_by_its_key() {
    let error = error_of("[speech.roles.CUSTOMER]\nhangover-ms = 150\n");
    assert!(
        error.contains("speech.roles.CUSTOMER.post-roll-ms"),
        "{error}"
    );
    let error = error_of("[speech.roles.AGENT]\ndetector = \"webrtc\"\n");
    assert!(error.contains("set speech.detector"), "{error}");
}
