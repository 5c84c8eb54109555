//! A local consortium as real processes: keys and genesis made once, then a nats-server and five services per
//! organisation, each with its own configuration, log and data folder.

mod ceremony;
mod configs;
mod layout;
mod processes;

use crate::client::Client;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use layout::{Layout, SERVICES};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
pub struct UpArgs {
    /// Number of hospitals: 3f+1, so 4, 7, 10 …
    #[arg(long, default_value_t = 4)]
    orgs: usize,
    /// Folder of the consortium.
    #[arg(long, default_value = ".demo")]
    dir: PathBuf,
    /// Only start this organisation.
    #[arg(long)]
    only: Option<String>,
    /// First port; each organisation takes ten.
    #[arg(long, default_value_t = 18100)]
    port: u16,
    /// Folder of the service binaries; default: beside this one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Folder of nats-server and of the FHIR packages, as `make setup` fills it.
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
    /// Seconds to wait until all services are ready.
    #[arg(long, default_value_t = 90)]
    wait: u64,
    /// Only make keys, genesis and configuration: start nothing.
    #[arg(long)]
    prepare: bool,
}

#[derive(clap::Args)]
pub struct DirArgs {
    /// Folder of the consortium.
    #[arg(long, default_value = ".demo")]
    dir: PathBuf,
    /// Only this organisation.
    #[arg(long)]
    only: Option<String>,
}

/// Starts what is not running.
pub fn up(args: &UpArgs, out: &mut Output) -> Result<Exit> {
    if args.orgs < 4 || args.orgs % 3 != 1 {
        bail!("--orgs must be 3f+1: 4, 7, 10 … (f organisations may fail or lie)");
    }
    let layout = Layout::new(&args.dir)?;
    if !layout.genesis().exists() {
        out.note(&format!("making keys and genesis of {} hospitals in {}", args.orgs, args.dir.display()));
        ceremony::found(&layout, args.orgs, args.port, &args.tools)?;
    }
    let book = layout.book()?;
    if args.prepare {
        out.result(
            "the consortium is founded",
            &json!({"up": false, "dir": args.dir, "organisations": book.organisations}),
        );
        return Ok(Exit::Good);
    }
    let bin = match &args.bin {
        Some(b) => b.clone(),
        None => std::env::current_exe()?.parent().context("this binary has no folder")?.to_owned(),
    };
    processes::start_nats(&layout, &args.tools)?;
    for org in book.organisations.iter().filter(|o| args.only.as_ref().is_none_or(|x| *x == o.name)) {
        for service in SERVICES {
            processes::start(&layout, &bin, &org.name, service)?;
        }
    }
    let client = Client::new(None);
    let deadline = args.wait * 10;
    for org in book.organisations.iter().filter(|o| args.only.as_ref().is_none_or(|x| *x == o.name)) {
        for service in SERVICES {
            let url = org.health_url(service);
            let mut tries = 0;
            while !client.get(&url, &[]).is_ok_and(|a| a.is_success()) {
                if tries == deadline || !processes::runs(&layout, &org.name, service) {
                    let log = layout.log(&org.name, service);
                    bail!("{service} of {} is not ready; its log says:\n{}", org.name, processes::tail(&log));
                }
                tries += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        out.note(&format!(
            "{} is ready: FHIR at {}, dashboard at {}",
            org.name,
            org.fhir_url(),
            org.dashboard_url()
        ));
    }
    out.result(
        "the consortium is up",
        &json!({"up": true, "dir": args.dir, "organisations": book.organisations}),
    );
    Ok(Exit::Good)
}

/// Stops the processes; data stays.
pub fn down(args: &DirArgs, out: &mut Output) -> Result<Exit> {
    let layout = Layout::new(&args.dir)?;
    let book = layout.book()?;
    let mut stopped = 0;
    for org in book.organisations.iter().filter(|o| args.only.as_ref().is_none_or(|x| *x == o.name)) {
        for service in SERVICES {
            stopped += u64::from(processes::stop(&layout, &org.name, service)?);
        }
    }
    if args.only.is_none() {
        stopped += u64::from(processes::stop(&layout, "nats", "nats-server")?);
    }
    out.result(&format!("stopped {stopped} processes"), &json!({"stopped": stopped}));
    Ok(Exit::Good)
}

/// What runs and where.
pub fn status(args: &DirArgs, out: &mut Output) -> Result<Exit> {
    let layout = Layout::new(&args.dir)?;
    let book = layout.book()?;
    let client = Client::new(None);
    let mut good = true;
    let mut rows = Vec::new();
    for org in book.organisations.iter().filter(|o| args.only.as_ref().is_none_or(|x| *x == o.name)) {
        let mut services = serde_json::Map::new();
        for service in SERVICES {
            let ready = client.get(&org.health_url(service), &[]).is_ok_and(|a| a.is_success());
            good &= ready;
            let state = match (processes::runs(&layout, &org.name, service), ready) {
                (_, true) => "ready",
                (true, false) => "starting",
                (false, false) => "stopped",
            };
            services.insert((*service).to_owned(), state.into());
        }
        let height = client
            .get(&org.metrics_url("consensus"), &[])
            .ok()
            .and_then(|a| metric(&a.body, "consilium_consensus_height"));
        let text = services
            .iter()
            .map(|(k, v)| format!("{k} {}", v.as_str().unwrap_or("?")))
            .collect::<Vec<_>>()
            .join(", ");
        let at = height.map_or("unknown height".to_owned(), |h| format!("height {h}"));
        out.note(&format!(
            "{}  {at}  {text}\n    FHIR {}  dashboard {}",
            org.name,
            org.fhir_url(),
            org.dashboard_url()
        ));
        rows.push(json!({"organisation": org.name, "height": height, "services": services, "fhir": org.fhir_url(), "dashboard": org.dashboard_url()}));
    }
    let text = if good { "all services are ready" } else { "some services are not ready" };
    out.result(text, &json!({"ready": good, "organisations": Value::Array(rows)}));
    Ok(if good { Exit::Good } else { Exit::Refused })
}

/// Where the development issuer of an organisation gives tokens.
pub fn token_url(dir: &Path, org: &str) -> Result<String> {
    let book = Layout::new(dir)?.book()?;
    let found = book.organisations.iter().find(|o| o.name == org);
    Ok(format!("{}/token", found.with_context(|| format!("there is no `{org}` here"))?.issuer_url()))
}

/// Address of an organisation's audit service, and the file with its officer's password.
pub fn dashboard(dir: &Path, org: &str) -> Result<(String, PathBuf)> {
    let layout = Layout::new(dir)?;
    let found = layout.book()?.organisations.into_iter().find(|o| o.name == org);
    let organisation = found.with_context(|| format!("there is no `{org}` here"))?;
    Ok((organisation.dashboard_url(), layout.secret(org, "officer.password")))
}

/// A sample of the Prometheus text format.
fn metric(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with([' ', '{'])))?;
    line.rsplit(' ').next()?.parse::<f64>().ok().map(|v| v as u64)
}
