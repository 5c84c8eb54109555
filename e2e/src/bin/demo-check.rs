//! `make demo-check`: the demo without a person. Exit status 0 when everything held, 1 when something did not.
//!
//! `demo-check [--quick | --all] [--keep]`: how much of the real test data is loaded (a quick run takes six patients);
//! `--keep` leaves the folder of the consortium behind also when all went well.

use anyhow::{Context, Result, bail};
use consilium_e2e::cluster::Cluster;
use consilium_e2e::report::say;
use consilium_e2e::story::{Breadth, World, tell};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Somebody asked this program to stop: the thread that heard it stops the hospitals and ends the process.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

struct Options {
    breadth: Breadth,
    keep: bool,
}

fn options() -> Result<Options> {
    let mut options = Options { breadth: Breadth::Quick, keep: false };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => options.breadth = Breadth::Quick,
            "--all" => options.breadth = Breadth::All,
            "--keep" => options.keep = true,
            other => bail!("`{other}` is unknown: demo-check [--quick | --all] [--keep]"),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say(&format!("demo-check could not run: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let options = options()?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("the TLS provider was installed twice");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package has no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let home = target.join("demo-check");
    sweep(&home)?;
    let run = home.join(std::process::id().to_string());
    let (dir, work) = (run.join("consortium"), run.join("work"));
    std::fs::create_dir_all(&dir)?;
    std::fs::create_dir_all(&work)?;
    stop_on_signal(&dir)?;
    let data = std::env::var_os("CONSILIUM_TEST_DATA")
        .map_or_else(|| root.join("../shared/data"), PathBuf::from)
        .canonicalize()
        .ok();
    let mut cluster = Cluster::found(&dir, &root.join(".tools"))?;
    cluster.tap(&work)?;
    cluster.trace(&work)?;
    cluster.register_client()?;
    let mut world = World::new(cluster, work, data, options.breadth);
    let outcome = tell(&mut world);
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
    let summary = target.join("demo-check.json");
    world.report.print_times();
    world.report.write(&summary, outcome.is_ok())?;
    say(&format!("\n{:.0} s in all; summary in {}", world.report.seconds(), summary.display()));
    if outcome.is_err() {
        say(&format!(
            "\nthe ends of the logs (all of it is in {}):\n{}",
            run.display(),
            world.cluster.tails()
        ));
    }
    drop(world);
    if outcome.is_ok() && !options.keep {
        std::fs::remove_dir_all(&run)?;
    }
    say(if outcome.is_ok() { "demo-check: all good" } else { "demo-check: FAILED" });
    Ok(outcome.is_ok())
}

/// Removes what earlier runs left behind, but for the newest, which somebody may be looking at.
fn sweep(home: &Path) -> Result<()> {
    std::fs::create_dir_all(home)?;
    let mut old: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !Path::new("/proc").join(pid).exists() {
            old.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    old.sort();
    old.pop();
    for (_, path) in old {
        std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// The services run in process groups of their own: Ctrl-C reaches this program alone, so it stops them.
fn stop_on_signal(dir: &Path) -> Result<()> {
    let dir = dir.to_owned();
    let consilium = std::env::current_exe()?.with_file_name("consilium");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            else {
                return;
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
        say("interrupted: stopping the hospitals");
        // Twice: a chapter may just have been starting something.
        for _ in 0..2 {
            let _ = std::process::Command::new(&consilium).arg("down").arg("--dir").arg(&dir).output();
            std::thread::sleep(Duration::from_millis(500));
        }
        std::process::exit(130);
    });
    Ok(())
}
