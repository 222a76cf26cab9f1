//! `callscribe doctor`: why there is no transcript, in plain sentences.
//!
//! It asks the running daemon and the machine, and goes the way to the recogniser itself. What is
//! gathered is judged by functions that only read it, so each judgement has its test.

#![expect(clippy::print_stdout, reason = "the command's answer")]

pub mod finding;
pub mod kept;
pub mod legs;
pub mod machine;
pub mod traffic;
pub mod way;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::control_client;
use crate::config::{self, File};
use crate::io::provider::Examination;
use finding::{Finding, Grade, verdict};

/// Say why there is no transcript.
///
/// Exit codes: 0, all is well; 1, something to look at; 2, speech does not become text.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// The configuration file of the daemon
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/callscribe/callscribe.toml"
    )]
    pub config: PathBuf,
    /// One JSON object for programs
    #[arg(long)]
    pub json: bool,
    /// Do not connect to the recogniser
    #[arg(long)]
    pub offline: bool,
}

/// Prints what it finds.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let findings = examine(args);
    let worst = findings.iter().map(|one| one.grade).max();
    if args.json {
        let verdict = worst.unwrap_or(Grade::Ok);
        println!("{}", json!({"verdict": verdict, "findings": findings}));
    } else {
        findings.iter().for_each(|finding| print!("{finding}"));
        println!("{}", verdict(&findings));
    }
    ExitCode::from(match worst {
        None | Some(Grade::Ok | Grade::Note) => 0,
        Some(Grade::Warning) => 1,
        Some(Grade::Fault) => 2,
    })
}

fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            let says = "The configuration cannot be used, and the daemon does not start with it.";
            return vec![
                Finding::fault("configuration", says)
                    .because(error.to_string())
                    .so("Mend it; `callscribe check-config FILE` shows what is in force."),
            ];
        }
    };
    let mut findings = vec![Finding::ok(
        "configuration",
        format!("{} is valid.", args.config.display()),
    )];
    let warnings = config.warnings().into_iter();
    findings.extend(warnings.map(|warning| Finding::warning("configuration", warning)));
    let status = examine_daemon(&config, &args.config, &mut findings);
    findings.extend(examine_recogniser(args, &config, status.as_ref()));
    findings.extend(machine::examine(&config, status.as_ref()));
    findings.extend(machine::clock());
    findings
}

/// Asks the daemon; gives its status if it runs.
fn examine_daemon(config: &File, path: &Path, findings: &mut Vec<Finding>) -> Option<Value> {
    let socket = config.control_socket();
    let status = match control_client::get(&socket, "/v1/status") {
        Ok(status) => status,
        Err(error) => {
            findings.push(
                Finding::fault("daemon", "No daemon answers with this configuration.")
                    .because(error.to_string())
                    .so("Start it: `systemctl start callscribe`; `journalctl -u callscribe` says why it \
                         stopped."),
            );
            findings.extend(machine::port_owners(config));
            return None;
        }
    };
    findings.push(Finding::ok("daemon", running(&status)));
    findings.extend(machine::configuration_age(path, &status));
    match control_client::get(&socket, "/v1/calls") {
        Ok(calls) => {
            let calls = calls["calls"].as_array().map_or(&[][..], Vec::as_slice);
            findings.extend(legs::examine(calls));
        }
        Err(error) => findings.push(
            Finding::warning("calls", "The daemon does not show its calls.")
                .because(error.to_string()),
        ),
    }
    findings.extend(traffic::examine(&status));
    findings.extend(way::examine_status(&status));
    findings.extend(kept::examine(&status));
    Some(status)
}

fn running(status: &Value) -> String {
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    format!(
        "callscribe {} has run for {} s as process {}; UDP ports: {}.",
        status["version"].as_str().unwrap_or("?"),
        number("uptime_ms") / 1000,
        number("pid"),
        number("ports")
    )
}

fn examine_recogniser(args: &DoctorArgs, config: &File, status: Option<&Value>) -> Vec<Finding> {
    if args.offline {
        return Vec::new();
    }
    if let Some(seconds) = status.and_then(way::halted_for) {
        let says = format!(
            "The way to the recogniser was not tried: another refusal might lock the access key. The \
             daemon tries again in {seconds} s, or when it is told to reload (SIGHUP)."
        );
        return vec![Finding::new("recogniser.handshake", Grade::Note, says)];
    }
    match walk(config) {
        Ok(examination) => way::examine_steps(&examination),
        Err(finding) => vec![*finding],
    }
}

fn walk(config: &File) -> Result<Examination, Box<Finding>> {
    let provider = config.recogniser().map_err(|error| {
        Finding::fault("recogniser", "The recogniser cannot be used as it is configured.")
            .because(error.to_string())
            .so("Mend the table [asr]; secrets may be readable only for root and the daemon's own user.")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Finding::warning("recogniser", "The recogniser was not tried.").because(error.to_string())
    })?;
    Ok(runtime.block_on(provider.examine()))
}
