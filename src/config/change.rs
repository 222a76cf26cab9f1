//! What differs between two configurations, key by key, and which of it a running daemon can take.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret;
use toml::Value;

use crate::config::file::{File, Line};

/// Keys, or tables of keys, that a running daemon takes; everything else is for its next start.
const LIVE: [&str; 15] = [
    "asr",
    "line",
    "log.format",
    "log.level",
    "overload",
    "rtp.advertise-address",
    "rtp.allowed-sources",
    "rtp.conceal-loss",
    "rtp.idle-timeout-ms",
    "rtp.payload-types",
    "rtp.receiver-reports",
    "rtp.registered-idle-timeout-ms",
    "rtp.reorder-wait-ms",
    "rtp.unregistered-calls",
    "speech",
];

/// The keys in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a running daemon takes.
    pub live: BTreeSet<String>,
    /// Those that it has to be restarted for.
    pub restart: BTreeSet<String>,
}

impl Changes {
    /// What differs between the configurations.
    pub fn between(old: &File, new: &File) -> Self {
        let (before, after) = (leaves(old), leaves(new));
        let keys = before.keys().chain(after.keys());
        let mut changed: BTreeSet<&str> = keys
            .filter(|key| before.get(*key) != after.get(*key))
            .map(String::as_str)
            .collect();
        if !is_same_token(old, new) {
            changed.insert("asr.token");
        }
        let has_same_ports = ports(&old.line) == ports(&new.line);
        let is_live = |key: &str| is_live(key) && (key != "line" || has_same_ports);
        let (live, restart) = changed
            .into_iter()
            .map(str::to_owned)
            .partition(|key| is_live(key));
        Self { live, restart }
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| {
        let rest = key.strip_prefix(live);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Which ports belong together; names and roles apart.
fn ports(lines: &[Line]) -> Vec<Vec<u16>> {
    let of = |line: &Line| line.legs.iter().map(|leg| leg.port).collect();
    lines.iter().map(of).collect()
}

/// A secret is masked where the configuration is shown, so that it is compared here.
fn is_same_token(old: &File, new: &File) -> bool {
    let token = |file: &File| {
        let token = file.asr.token.as_ref();
        token.map(|token| token.expose_secret().to_owned())
    };
    token(old) == token(new)
}

/// Each key with its value; a list is one value.
fn leaves(file: &File) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    // A configuration that was checked has a form in TOML.
    if let Ok(Value::Table(table)) = Value::try_from(file) {
        for (key, value) in table {
            collect(key, value, &mut leaves);
        }
    }
    leaves
}

fn collect(key: String, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            for (inner, value) in table {
                collect(format!("{key}.{inner}"), value, leaves);
            }
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => {
            leaves.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn changes(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
        let parse = |text| crate::config::parse(Path::new("c.toml"), text).unwrap();
        let changes = Changes::between(&parse(old), &parse(new));
        (
            changes.live.into_iter().collect(),
            changes.restart.into_iter().collect(),
        )
    }

    #[test]
    fn keys_are_told_apart_by_whether_a_running_daemon_takes_them() {
        let new = "[rtp]\ntick-ms = 10\nidle-timeout-ms = 5000\nport-range = \"4000-4009\"\n\
                   [log]\nlevel = \"debug\"\n[speech]\nhangover-ms = 700\n\
                   [asr.iam]\nendpoint = \"https://i\"\ndomain = \"d\"\nuser = \"u\"\npassword-file = \"p\"\nproject = \"x\"\n";
        let (live, restart) = changes("", new);
        let iam = ["domain", "endpoint", "password-file", "project", "user"];
        let mut expected = iam.map(|key| format!("asr.iam.{key}")).to_vec();
        expected
            .extend(["log.level", "rtp.idle-timeout-ms", "speech.hangover-ms"].map(str::to_owned));
        assert_eq!(live, expected);
        assert_eq!(restart, ["rtp.port-range", "rtp.tick-ms"]);
    }

    #[test]
    fn same_file_changes_nothing() {
        assert_eq!(changes("[log]\nlevel = \"info\"\n", ""), (vec![], vec![]));
    }

    #[test]
    fn other_token_is_a_change_though_both_are_masked() {
        let (live, _) = changes("[asr]\ntoken = \"a\"\n", "[asr]\ntoken = \"b\"\n");
        assert_eq!(live, ["asr.token"]);
    }

    #[test]
    fn line_may_change_its_roles_but_not_its_ports() {
        let line = |port: u16, role: &str| {
            format!("[[line]]\nname = \"a\"\nlegs = [{{ port = {port}, role = \"{role}\" }}]\n")
        };
        let roles = changes(&line(20_000, "AGENT"), &line(20_000, "CUSTOMER"));
        assert_eq!(roles, (vec!["line".to_owned()], vec![]));
        let ports = changes(&line(20_000, "AGENT"), &line(20_002, "AGENT"));
        assert_eq!(ports, (vec![], vec!["line".to_owned()]));
    }
}
