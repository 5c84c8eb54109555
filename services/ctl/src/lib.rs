//! The operator's and verifier's command: a local consortium, sample patients, loading, validation, offline proof.
//!
//! Works offline or over HTTP and never imports the service kit.

// `output::line` knows what to do when nobody reads.
#![deny(clippy::print_stdout)]

mod client;
mod clock;
mod cluster;
mod consent;
mod deid;
mod fhirpath;
mod keys;
mod ledger;
mod load;
mod output;
mod sample;
mod schema;
mod token;
mod validate;
mod verify;

use anyhow::Result;
use clap::{Parser, Subcommand};
use output::{Exit, Output};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "consilium",
    version,
    about = "Exchange FHIR records between hospitals that need not trust each other"
)]
struct Cli {
    /// Print one JSON object (or one per line) instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a local consortium as real processes; starts what is not running, so it also brings a killed one back.
    Up(cluster::UpArgs),
    /// Stop the local consortium.
    Down(cluster::DirArgs),
    /// Say what runs, at which height, and where to click. Exit 1 when something does not.
    Status(cluster::DirArgs),
    /// Make coherent R4 / US Core patients as transaction bundles, the same for the same seed.
    Sample(SampleArgs),
    /// Upload bundles, NDJSON files or folders; a second run goes on where the first stopped.
    Load(load::LoadArgs),
    /// Validate FHIR resources. Exit 0 all valid, 1 some invalid, 2 could not run.
    Validate(validate::ValidateArgs),
    /// Evaluate a FHIRPath expression on a resource. Exit 2 on an error in the expression.
    Fhirpath(fhirpath::FhirpathArgs),
    /// Rewrite records so that they do not tell whom they are about, or count what a projection of them still proves.
    Deid(deid::DeidArgs),
    /// Check a receipt or an audit proof offline. Exit 0 proven, 1 refused, 2 could not run.
    Verify(verify::VerifyArgs),
    /// Mint an access token of a local consortium's development issuer.
    Token(token::TokenArgs),
    /// Grant, revoke or list a patient's consents.
    Consent(consent::ConsentArgs),
    /// Ceremonies of the keys service: sealing, officers, withdrawals, guardians.
    Keys(keys::KeysArgs),
    /// What the consortium has written down: blocks, members, evidence, proofs, motions.
    Ledger(ledger::LedgerArgs),
}

/// Arguments of `consilium sample`.
#[derive(clap::Args)]
struct SampleArgs {
    /// Seed: the same seed makes the same patients.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many patients.
    #[arg(long, default_value_t = 20)]
    patients: u64,
    /// Folder to write `patient-NNNNN.json` into; without it, NDJSON on standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.json);
    // One rustls provider per binary, installed before anything opens a connection.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        out.problem("the TLS provider was installed twice");
    }
    let result = match cli.command {
        Command::Up(a) => cluster::up(&a, &mut out),
        Command::Down(a) => cluster::down(&a, &mut out),
        Command::Status(a) => cluster::status(&a, &mut out),
        Command::Sample(a) => write_samples(&a, &mut out),
        Command::Load(a) => load::run(&a, &mut out),
        Command::Validate(a) => validate::run(&a, &mut out),
        Command::Fhirpath(a) => fhirpath::run(&a, &mut out),
        Command::Deid(a) => deid::run(&a, &mut out),
        Command::Verify(a) => verify::run(&a, &mut out),
        Command::Token(a) => token::run(&a, &mut out),
        Command::Consent(a) => consent::run(&a, &mut out),
        Command::Keys(a) => keys::run(&a, &mut out),
        Command::Ledger(a) => ledger::run(&a, &mut out),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(e) => {
            out.problem(&format!("{e:#}"));
            Exit::CouldNotRun.into()
        }
    }
}

fn write_samples(args: &SampleArgs, out: &mut Output) -> Result<Exit> {
    use std::io::Write;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)?;
    }
    for i in 0..args.patients {
        let bundle = sample::bundle(args.seed, i);
        match &args.out {
            None => output::written(writeln!(stdout, "{bundle}")),
            Some(dir) => {
                std::fs::write(
                    dir.join(format!("patient-{i:05}.json")),
                    serde_json::to_vec_pretty(&bundle)?,
                )?;
            }
        }
    }
    output::written(stdout.flush());
    drop(stdout);
    if let Some(dir) = &args.out {
        out.result(
            &format!("wrote {} patients of seed {} to {}", args.patients, args.seed, dir.display()),
            &serde_json::json!({"patients": args.patients, "seed": args.seed, "out": dir}),
        );
    }
    Ok(Exit::Good)
}
