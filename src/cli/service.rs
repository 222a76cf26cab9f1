//! `callscribe service`: a local recogniser that speaks the cloud's protocol.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the ready line, and an error before logging is set up"
)]

use std::env;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::cli::exit;
use crate::config::{self, ConfigError};
use crate::service::config::file::{EngineName, File};
use crate::service::config::{EngineConfig, ServiceConfig};
#[cfg(feature = "whisper")]
use crate::service::engine::whisper::{LoadError, WhisperConfig};
use crate::service::fault::MismatchError;
use crate::service::server::{self, RunningService, StartError};
use crate::service::tls::{self, TlsError};

/// Recognise speech here, by the cloud's short-stream protocol.
///
/// Listens until it is told to stop. Its first line of output says where.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// A configuration file; conf/service.toml shows every key
    #[arg(short, long, visible_alias = "script", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; port 0 lets the system choose [default: 127.0.0.1:9020]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// What answers [default: whisper]
    #[arg(long, value_enum)]
    pub engine: Option<EngineName>,
    /// A model file of whisper.cpp [default: $CALLSCRIBE_MODEL, or the one that `make model`
    /// fetched]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Threads that work on one session together [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Sessions recognised at once [default: half the cores]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub workers: Option<usize>,
    /// A certificate in PEM: serve wss instead of ws
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Refuse handshakes without a token or a signature
    #[arg(long)]
    pub require_auth: bool,
    /// Least important log lines that are written, to standard error
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log: String,
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Fault(#[from] MismatchError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("this program was built without the recogniser; use --engine scripted")]
    #[cfg(not(feature = "whisper"))]
    NoRecogniser,
    #[error("cannot set up the runtime, the signals or the output: {0}")]
    System(#[from] io::Error),
}

/// Serves until SIGINT or SIGTERM.
pub fn run(args: &ServiceArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("callscribe: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn serve(args: &ServiceArgs) -> Result<(), ServiceError> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&args.log))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // A second service in one process, as tests run it, keeps the first one's log.
    drop(lines.try_init());
    let config = configuration(args)?;
    let is_tls = config.tls.is_some();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        let service = server::start(config).await?;
        announce(&service, is_tls)?;
        any_of(&mut signals).await;
        info!("stopping; a second signal stops at once");
        tokio::select! {
            () = service.stop(GRACE) => {}
            () = any_of(&mut signals) => {}
        }
        Ok(())
    })
}

/// The line that scripts wait for.
fn announce(service: &RunningService, is_tls: bool) -> io::Result<()> {
    let scheme = if is_tls { "wss" } else { "ws" };
    println!(
        "callscribe service ({}) listening on {scheme}://{}",
        service.engine(),
        service.addr
    );
    io::stdout().flush()
}

async fn any_of([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The file, and above it the command line.
fn configuration(args: &ServiceArgs) -> Result<ServiceConfig, ServiceError> {
    let mut file = match &args.config {
        Some(path) => load(path)?,
        None => File::default(),
    };
    for fault in &file.fault {
        fault.check()?;
    }
    file.credentials.required |= args.require_auth;
    let certificate = args.tls_cert.as_ref().zip(args.tls_key.as_ref());
    let in_file = file.tls.as_ref().map(|tls| (&tls.certificate, &tls.key));
    let tls = certificate
        .or(in_file)
        .map(|(certificate, key)| tls::server_config(certificate, key));
    Ok(ServiceConfig {
        listen: args.listen.unwrap_or(file.listen),
        tls: tls.transpose()?,
        engine: engine(args, &file)?,
        rules: file.rules.rules(),
        max_connections: file.rules.max_connections,
        max_sessions: file.rules.max_sessions,
        credentials: file.credentials,
        faults: file.fault,
    })
}

fn load(path: &Path) -> Result<File, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    config::read(path, &text)
}

#[cfg(feature = "whisper")]
fn engine(args: &ServiceArgs, file: &File) -> Result<EngineConfig, ServiceError> {
    if args.engine.unwrap_or(file.engine) == EngineName::Scripted {
        return Ok(EngineConfig::Scripted(file.script.script()));
    }
    let model = args
        .model
        .clone()
        .or_else(|| file.whisper.model.clone())
        .unwrap_or_else(default_model);
    let mut whisper = WhisperConfig::new(model);
    let half_the_cores =
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    whisper.workers = args
        .workers
        .or(file.whisper.workers)
        .unwrap_or(half_the_cores)
        .max(1);
    if let Some(threads) = args.threads.or(file.whisper.threads) {
        whisper.threads = threads.max(1);
    }
    Ok(EngineConfig::Whisper(whisper))
}

#[cfg(not(feature = "whisper"))]
fn engine(args: &ServiceArgs, file: &File) -> Result<EngineConfig, ServiceError> {
    match args.engine.unwrap_or(file.engine) {
        EngineName::Scripted => Ok(EngineConfig::Scripted(file.script.script())),
        EngineName::Whisper => Err(ServiceError::NoRecogniser),
    }
}

/// Where `scripts/fetch-model` puts the model, unless the environment names another.
pub fn default_model() -> PathBuf {
    let named = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    named("CALLSCRIBE_MODEL").unwrap_or_else(|| {
        let cache = named("XDG_CACHE_HOME")
            .unwrap_or_else(|| named("HOME").unwrap_or_default().join(".cache"));
        cache.join("callscribe/models/ggml-base.bin")
    })
}

const fn exit_code(error: &ServiceError) -> u8 {
    match error {
        ServiceError::Config(ConfigError::Unreadable { .. }) => exit::NO_INPUT,
        ServiceError::Config(_) | ServiceError::Fault(_) | ServiceError::Tls(_) => exit::CONFIG,
        #[cfg(not(feature = "whisper"))]
        ServiceError::NoRecogniser => exit::UNAVAILABLE,
        #[cfg(feature = "whisper")]
        ServiceError::Start(StartError::Engine(error)) => match error {
            LoadError::Missing { .. } => exit::NO_INPUT,
            LoadError::Unusable { .. } => exit::DATA_ERROR,
            LoadError::Processor => exit::UNAVAILABLE,
            LoadError::Thread(_) => exit::OS_ERROR,
        },
        ServiceError::Start(_) | ServiceError::System(_) => exit::OS_ERROR,
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number from 1 on".to_owned()),
    }
}

/// How long open sessions may take to finish.
const GRACE: Duration = Duration::from_secs(10);
