//! The shipped configuration says what the program does.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::{Command, Output};

use callscribe::config::{self, File};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/callscribe.toml");

/// Keys without a default: the file shows an example of each.
const WITHOUT_DEFAULT: [&str; 18] = [
    "rtp.advertise-address",
    "asr.token",
    "asr.token-file",
    "asr.access-key",
    "asr.secret-key-file",
    "asr.security-token-file",
    "asr.ca-file",
    "asr.vocabulary-id",
    "asr.proxy",
    "asr.proxy-credentials-file",
    "events.socket-group",
    "journal.path",
    "control.socket",
    "control.socket-group",
    "control.listen",
    "control.password-file",
    "spool.directory",
    "resume.directory",
];

/// Every `#key = value` line made effective, but for keys that have no default.
fn uncommented() -> String {
    let shipped = std::fs::read_to_string(SHIPPED).unwrap();
    let mut table = "";
    let lines = shipped.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') && setting.contains(" = ") => {
            let key = setting.split(' ').next().unwrap();
            if WITHOUT_DEFAULT.contains(&format!("{table}.{key}").as_str()) {
                line
            } else {
                setting
            }
        }
        _ => {
            table = line
                .strip_prefix('[')
                .map_or(table, |name| name.trim_end_matches(']'));
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check_config(path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callscribe"));
    command.arg("check-config").arg(path).output().unwrap()
}

#[test]
fn shipped_file_is_valid_and_changes_nothing() {
    let shipped = config::load(Path::new(SHIPPED)).unwrap();
    assert_eq!(format!("{shipped:?}"), format!("{:?}", File::default()));
}

#[test]
fn every_key_of_the_shipped_file_shows_the_default() {
    let text = uncommented();
    let shown = config::parse(Path::new(SHIPPED), &text).unwrap();
    assert_eq!(format!("{shown:?}"), format!("{:?}", File::default()));
}

#[test]
fn shipped_file_and_its_documentation_name_every_key() {
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
    let text = uncommented();
    let in_force = File::default().in_force().unwrap();
    for line in in_force.lines().filter(|line| line.contains(" = ")) {
        let key = line.split(' ').next().unwrap();
        assert!(
            text.contains(&format!("\n{key} = ")),
            "{key} is not in conf/callscribe.toml"
        );
        assert!(
            documented.contains(&format!("`{key}`")) || documented.contains(&format!("`{key} = ")),
            "{key} is not in docs/config.md"
        );
    }
    for key in WITHOUT_DEFAULT {
        let (_, key) = key.split_once('.').unwrap();
        assert!(
            documented.contains(&format!("`{key}`")),
            "{key} is not in docs/config.md"
        );
    }
}

#[test]
fn check_config_shows_what_is_in_force_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(
        &path,
        "[asr]\ntoken = \"hunter2hunter2\"\n[speech]\nhangover-ms = 700\n",
    )
    .unwrap();
    let output = check_config(&path);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        shown.contains("hangover-ms = 700") && shown.contains("********"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(
        config::parse(&path, &shown).is_ok(),
        "what is in force is itself a configuration"
    );
}

#[test]
fn check_config_refuses_with_78_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[rtp]\nport-rnage = \"1-2\"\n").unwrap();
    let output = check_config(&path);
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("c.toml:2:1: "), "{message}");
}
