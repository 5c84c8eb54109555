//! `consilium ledger`: what the consortium has written down, proofs of it, and what its officers decide.
//!
//! Asks the audit service of one organisation, where its compliance officer signs in. Nothing that comes from there as
//! a proof has to be believed: `consilium verify` checks it with the genesis file alone.

mod export;
mod motion;
mod samples;
mod show;

use crate::client::{Answer, Client};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use consilium_domain::OrgId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Say how high the ledger is, how old its newest block, and whether this organisation's node keeps up. Exit 1
    /// when the newest block is too old or the node is behind.
    Status(At),
    /// List the newest blocks.
    Blocks(show::BlocksArgs),
    /// Show one block with its transactions.
    Block(show::BlockArgs),
    /// Show a transaction.
    Tx(show::TxArgs),
    /// Write a proof file: of a transaction, of a key of the state, or that the state has no such key.
    Proof(show::ProofArgs),
    /// List the members, their standing, and how they came and went.
    Members(At),
    /// List members that signed two things which exclude each other. Exit 1 when there is one.
    Evidence(At),
    /// Write the log as files: the cosigned checkpoint, tiles, transactions (c2sp.org/tlog-tiles).
    Export(export::ExportArgs),
    /// Write down a motion of the officers: admit, remove, rotate or sanction a member.
    Propose(motion::ProposeArgs),
    /// Approve a motion with an organisation's governance key, after reading what it says. Needs no network.
    Sign(motion::SignArgs),
    /// Bring a motion with enough approvals to the ledger.
    Submit(motion::SubmitArgs),
    /// Anchor the values of a device by one transaction.
    Anchor(samples::AnchorArgs),
    /// Write the proof file of one anchored value.
    Sample(samples::SampleArgs),
}

/// Whom to ask.
#[derive(clap::Args)]
struct At {
    /// Address of an organisation's audit service; without it, that of `--org` in the local consortium of `--dir`.
    #[arg(long)]
    at: Option<String>,
    /// Organisation of the local consortium.
    #[arg(long, default_value = "hospital-a")]
    org: String,
    /// Folder of the local consortium.
    #[arg(long, default_value = ".demo")]
    dir: PathBuf,
    /// Name of the compliance officer.
    #[arg(long, default_value = "officer")]
    officer: String,
    /// File with her password; in a local consortium it is known.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

/// One organisation's audit service.
struct Desk {
    client: Client,
    base: String,
}

impl At {
    fn desk(&self) -> Result<Desk> {
        let (base, file) = match (&self.at, &self.password_file) {
            (Some(at), Some(file)) => (at.clone(), file.clone()),
            (Some(_), None) => {
                bail!("give `--password-file` with the password of the officer, beside `--at`")
            }
            (None, given) => {
                let (base, own) = crate::cluster::dashboard(&self.dir, &self.org)?;
                (base, given.clone().unwrap_or(own))
            }
        };
        let password = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let client = Client::basic(&self.officer, password.trim());
        Ok(Desk { client, base: base.trim_end_matches('/').to_owned() })
    }
}

impl Desk {
    fn get(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = self.client.get(&url, &[]);
        answer.with_context(|| format!("nobody answers at {}: does the audit service run there?", self.base))
    }

    fn json(&self, path: &str) -> Result<Value> {
        good(self.get(path)?)?.json()
    }

    /// The octets at a path; `None` where there is nothing.
    fn octets(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let url = format!("{}{path}", self.base);
        self.client.octets(&url)
    }

    fn submit(&self, tx: &[u8]) -> Result<Value> {
        let url = format!("{}/ledger/api/submit", self.base);
        good(self.client.post(&url, "application/octet-stream", tx)?)?.json()
    }
}

/// An answer that is none gets the server's own words, which say what to do.
fn good(answer: Answer) -> Result<Answer> {
    if answer.is_success() {
        return Ok(answer);
    }
    let told = answer.json().ok();
    match (answer.status, told.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str)) {
        (401, _) => {
            bail!("the audit service does not know this officer: check `--officer` and `--password-file`")
        }
        (_, Some(text)) => bail!("{text}"),
        (status, None) => bail!("the audit service answered {status}"),
    }
}

pub fn run(args: &LedgerArgs, out: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Status(at) => show::status(at, out),
        Verb::Blocks(a) => show::blocks(a, out),
        Verb::Block(a) => show::block(a, out),
        Verb::Tx(a) => show::tx(a, out),
        Verb::Proof(a) => show::proof(a, out),
        Verb::Members(at) => show::members(at, out),
        Verb::Evidence(at) => show::evidence(at, out),
        Verb::Export(a) => export::run(a, out),
        Verb::Propose(a) => motion::propose(a, out),
        Verb::Sign(a) => motion::sign(a, out),
        Verb::Submit(a) => motion::submit(a, out),
        Verb::Anchor(a) => samples::anchor(a, out),
        Verb::Sample(a) => samples::prove(a, out),
    }
}

/// Name of an organisation, as an argument.
fn organisation(text: &str) -> std::result::Result<OrgId, String> {
    OrgId::new(text).map_err(|e| e.to_string())
}

/// Writes a file, and says so.
fn write(path: &Path, bytes: &[u8], what: &str, out: &mut Output) -> Result<Exit> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
    out.result(&format!("wrote {what} to {}", path.display()), &json!({"out": path, "what": what}));
    Ok(Exit::Good)
}

/// A member of an object as text, `-` where it is missing.
fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(s)) => s.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Columns as wide as their widest cell.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
        cells.chain(head.get(i).map(|h| h.chars().count())).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let text: String = cells.enumerate().map(|(i, c)| format!("{c:<w$}  ", w = width(i))).collect();
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|r| line(&mut r.iter().map(String::as_str))));
    lines.join("\n")
}

/// A list of objects as a table for people, as it is for programs.
fn listed(value: &Value, head: &[&str], names: &[&str], empty: &str, out: &mut Output) {
    let rows: Vec<Vec<String>> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| names.iter().map(|name| cell(row, name)).collect())
        .collect();
    let text = if rows.is_empty() { empty.to_owned() } else { table(head, &rows) };
    out.result(&text, value);
}
