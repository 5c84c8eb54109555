//! Starting, finding and stopping processes by their pid files.

use super::layout::Layout;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The pid in a file, if that process lives and is still the program it was (a pid may have been given away again).
fn alive(pid_file: &Path, program: &str) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    let zombie = after.trim_start().starts_with('Z');
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let same = String::from_utf8_lossy(&cmdline).contains(program);
    (!zombie && same).then_some(pid)
}

fn binary(service: &str) -> String {
    format!("consilium-{service}")
}

/// Whether a service lives.
pub fn runs(layout: &Layout, org: &str, service: &str) -> bool {
    alive(&layout.pid(org, service), &binary(service)).is_some()
}

/// Starts a program in a session of its own, its output appended to a log.
fn spawn(mut command: Command, log: &Path, pid_file: &Path) -> Result<()> {
    let out = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child =
        command.spawn().with_context(|| format!("start {:?}: build it first", command.get_program()))?;
    std::fs::write(pid_file, child.id().to_string())?;
    Ok(())
}

/// Starts a service unless it runs.
pub fn start(layout: &Layout, bin: &Path, org: &str, service: &str) -> Result<()> {
    if runs(layout, org, service) {
        return Ok(());
    }
    let mut command = Command::new(bin.join(binary(service)));
    command.arg("--config").arg(layout.config(org, service));
    spawn(command, &layout.log(org, service), &layout.pid(org, service))
}

/// Starts the nats-server of the consortium unless it runs.
pub fn start_nats(layout: &Layout, tools: &Path) -> Result<()> {
    let dir = layout.nats();
    let pid_file = layout.pid("nats", "nats-server");
    if alive(&pid_file, "nats-server").is_some() {
        return Ok(());
    }
    let local = tools.join("bin/nats-server");
    let program = if local.exists() { local.canonicalize()? } else { PathBuf::from("nats-server") };
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join("nats.conf"));
    spawn(command, &dir.join("nats-server.log"), &pid_file)
}

/// Asks a process to stop, insists after ten seconds. Whether there was one.
pub fn stop(layout: &Layout, org: &str, service: &str) -> Result<bool> {
    let pid_file = layout.pid(org, service);
    let program = if service == "nats-server" { service.to_owned() } else { binary(service) };
    let Some(pid) = alive(&pid_file, &program) else { return Ok(false) };
    signal(pid, "-TERM")?;
    for _ in 0..100 {
        if alive(&pid_file, &program).is_none() {
            std::fs::remove_file(&pid_file)?;
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    signal(pid, "-KILL")?;
    std::fs::remove_file(&pid_file)?;
    Ok(true)
}

fn signal(pid: u32, name: &str) -> Result<()> {
    Command::new("kill").arg(name).arg(pid.to_string()).status().context("run kill")?;
    Ok(())
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}
