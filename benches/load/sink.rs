//! A recogniser that takes everything and understands nothing, at little cost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::contestant::callscribe;
use crate::cores::Cores;
use crate::process::Process;

/// Starts it and gives its endpoint; with TLS, its certificate is in `certificate.pem` in `folder`.
pub(crate) fn start(folder: &Path, cores: Cores, tls: bool) -> Outcome<(Process, String)> {
    let config = folder.join("service.toml");
    let mut text = "engine = \"scripted\"\n[script]\nsays = \"length\"\n".to_owned();
    if tls {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        certify(folder, &certificate, &key)?;
        text += &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    }
    fs::write(&config, text)?;
    let mut service = cores.for_others(&callscribe()?);
    service
        .args(["service", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("service.log"))?);
    let mut process = Process::start(&mut service)?;
    let output = process.stdout.take().ok_or("the sink has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    // Its first line names `wss://ADDRESS:PORT/`.
    let address = line
        .split_whitespace()
        .find_map(|word| word.split_once("://"));
    let (scheme, address) = address.ok_or_else(|| format!("the sink says {line:?}"))?;
    let address = address.trim_end_matches('/');
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    Ok((process, format!("{scheme}://localhost:{port}")))
}

/// A certificate for `localhost`, with a key on the curve that services use.
fn certify(folder: &Path, certificate: &Path, key: &Path) -> Outcome<()> {
    let config = folder.join("openssl.cnf");
    fs::write(&config, OPENSSL)?;
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config"])
        .arg(config)
        .arg("-out")
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()?;
    if openssl.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&openssl.stderr).into())
    }
}

const OPENSSL: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
subjectAltName = DNS:localhost
basicConstraints = critical, CA:FALSE
";
