//! The one entry function of all services.

use crate::bus::{Bus, Parts};
use crate::clock::SystemClock;
use crate::config::{self, Common};
use crate::entropy::Entropy;
use crate::health::Health;
use crate::health_http;
use crate::meter::Meter;
use crate::service::{Kit, Service};
use crate::shutdown::Shutdown;
use crate::telemetry;
use anyhow::{Context, bail};
use consilium_contracts::{Participant, Subjects};
use consilium_domain::Clock;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The git revision, where the build was told.
const REVISION: &str = match option_env!("CONSILIUM_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

enum Command {
    Run(PathBuf),
    Check(PathBuf),
    Version,
    Help,
}

fn command(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut config, mut check) = (None, false);
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--config" => config = Some(args.next().ok_or("`--config` needs a file")?),
            "--check-config" => check = true,
            "--version" => return Ok(Command::Version),
            "--help" => return Ok(Command::Help),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    let config = PathBuf::from(config.ok_or("`--config FILE` is missing")?);
    Ok(if check { Command::Check(config) } else { Command::Run(config) })
}

/// Runs a service: reads its arguments (`--config FILE`, `--check-config`, `--version`) and configuration,
/// sets up the kit, calls [`Service::run`] and, on SIGTERM or SIGINT, lets it finish.
///
/// Exit status: 0 done, 1 failed, 2 the arguments or the configuration are not acceptable.
pub fn main<S: Service>() -> ExitCode {
    let usage = format!("usage: consilium-{} --config FILE [--check-config] | --version", S::NAME);
    let path = match command(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            println!("{usage}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("consilium-{} {} ({REVISION})", S::NAME, env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Command::Check(path)) => {
            return match config::load::<S::Config>(&path) {
                Ok(_) => {
                    println!("{}: the configuration is acceptable", path.display());
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    ExitCode::from(2)
                }
            };
        }
        Ok(Command::Run(path)) => path,
        Err(error) => {
            eprintln!("{error}\n{usage}");
            return ExitCode::from(2);
        }
    };
    // The first thing that may use TLS needs a provider; an error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (common, own) = match config::load::<S::Config>(&path) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the executor: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run::<S>(common, own));
    // Blocking work that outlasted the grace period is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run<S: Service>(common: Common, own: S::Config) -> anyhow::Result<()> {
    let Some(participant) = Participant::from_name(S::NAME) else {
        bail!("`{}` is no service of a release", S::NAME);
    };
    let telemetry = telemetry::install(&common, S::NAME)?;
    let shutdown = Shutdown::new();
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tracing::info!(
        service = S::NAME,
        version = env!("CARGO_PKG_VERSION"),
        revision = REVISION,
        common = ?common,
        own = ?own,
        "Starting"
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy = Entropy::system();
    let meter = Meter::new(S::NAME);
    meter
        .gauge("build_info", "always 1; the labels say what runs", &["version", "revision"])?
        .set(&[env!("CARGO_PKG_VERSION"), REVISION], 1.0);
    let health = Health::new(Arc::clone(&clock));
    let process = health.check("process");
    let server = health_http::server(&common.health.listen, health.clone(), meter.clone())
        .with_context(|| format!("cannot listen on `health.listen` {}", common.health.listen))?;
    let probes = server.handle();
    tokio::spawn(server);
    tokio::spawn(beat(health.clone()));

    let subjects = Subjects::new(common.organisation.channel.clone(), common.organisation.name.clone());
    let bus = Bus::connect(
        &common.bus,
        Parts {
            subjects: subjects.clone(),
            participant,
            clock: Arc::clone(&clock),
            entropy: entropy.clone(),
            meter: meter.clone(),
            check: health.check("bus"),
            shutdown: shutdown.clone(),
            blob_limit: common.bus.blob_limit,
        },
    )
    .await?;
    let grace = common.health.grace();
    let kit =
        Kit { common, subjects, clock, entropy, bus: bus.clone(), meter, health, shutdown: shutdown.clone() };
    process.ready();
    let service = S::run(own, kit);
    tokio::pin!(service);
    let outcome = tokio::select! {
        outcome = &mut service => outcome,
        _ = async { tokio::select! { _ = term.recv() => (), _ = interrupt.recv() => () } } => {
            tracing::info!("Stopping");
            process.not_ready("stopping");
            shutdown.trigger();
            tokio::select! {
                outcome = tokio::time::timeout(grace, &mut service) => match outcome {
                    Ok(outcome) => outcome,
                    Err(_) => Err(anyhow::anyhow!("the service did not stop within {grace:?}")),
                },
                // A second signal means now.
                _ = term.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
                _ = interrupt.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
            }
        }
    };
    process.not_ready("stopping");
    shutdown.trigger();
    if outcome.is_ok() && !shutdown.drained(grace).await {
        tracing::warn!("some work was not finished within the grace period");
    }
    bus.close().await;
    probes.stop(false).await;
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "Failed");
    } else {
        tracing::info!("Stopped");
    }
    telemetry.flush().await;
    outcome
}

async fn beat(health: Health) {
    loop {
        health.beat();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
