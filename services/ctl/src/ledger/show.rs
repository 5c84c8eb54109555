//! Looking at the ledger.

use super::{At, cell, listed, table, write};
use crate::output::{Exit, Output};
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct BlocksArgs {
    #[command(flatten)]
    at: At,
    /// Only blocks below this height.
    #[arg(long)]
    before: Option<u64>,
    /// How many.
    #[arg(long, default_value_t = 10)]
    limit: u64,
}

#[derive(clap::Args)]
pub(super) struct BlockArgs {
    /// Height of the block.
    height: u64,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub(super) struct TxArgs {
    /// Id of the transaction, as `block` and receipts name it.
    id: String,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub(super) struct ProofArgs {
    /// Id of a transaction.
    #[arg(long, required_unless_present = "state", conflicts_with = "state")]
    tx: Option<String>,
    /// Key of the state, e.g. `members`, `consent/<handle>`, `batch/<root>`.
    #[arg(long)]
    state: Option<String>,
    /// File to write.
    #[arg(long, default_value = "proof.json")]
    out: PathBuf,
    #[command(flatten)]
    at: At,
}

pub(super) fn status(at: &At, out: &mut Output) -> Result<Exit> {
    let s = at.desk()?.json("/ledger/api/status")?;
    let number = |name: &str| s.get(name).and_then(Value::as_u64).unwrap_or(0);
    let age = number("age_ms");
    let stale = age > number("staleness_ms");
    let behind = s.get("syncing").and_then(Value::as_bool).unwrap_or(false);
    let verdict = match (stale, behind) {
        (_, true) => "BEHIND: the node fetches blocks that it missed; wait",
        (true, false) => {
            "STALE: no new block; more than two thirds of the members must run and reach each other"
        }
        (false, false) => "up to date",
    };
    let checkpoint = match s.get("checkpoint").filter(|c| !c.is_null()) {
        Some(c) => format!(
            "{} transactions before block {}, cosigned by {}",
            cell(c, "size"),
            cell(c, "height"),
            cell(c, "cosignatures")
        ),
        None => "none yet".to_owned(),
    };
    let text = format!(
        "{} of channel {}: {verdict}\n  block         {} ({:.1} s old)\n  transactions  {}, {} waiting\n  members       {}, {} must sign\n  motions       {} carried\n  evidence      {}\n  checkpoint    {checkpoint}",
        cell(&s, "organisation"),
        cell(&s, "channel"),
        number("height"),
        age as f64 / 1000.0,
        number("transactions"),
        number("waiting"),
        number("members"),
        number("quorum"),
        number("motions"),
        match number("evidence") {
            0 => "none".to_owned(),
            n => format!("{n}, see `consilium ledger evidence`"),
        },
    );
    out.result(&text, &s);
    Ok(if stale || behind { Exit::Refused } else { Exit::Good })
}

pub(super) fn blocks(args: &BlocksArgs, out: &mut Output) -> Result<Exit> {
    let before = args.before.map(|b| format!("&before={b}")).unwrap_or_default();
    let list = args.at.desk()?.json(&format!("/ledger/api/blocks?limit={}{before}", args.limit))?;
    let head = ["block", "time", "proposer", "transactions", "signatures", "round"];
    let names = ["height", "time", "proposer", "transactions", "signatures", "round"];
    listed(&list, &head, &names, "no block here", out);
    Ok(Exit::Good)
}

pub(super) fn block(args: &BlockArgs, out: &mut Output) -> Result<Exit> {
    let block = args.at.desk()?.json(&format!("/ledger/api/block/{}", args.height))?;
    let mut text = format!(
        "block {} of {}, proposed by {}, signed by {}\n  id {}",
        cell(&block, "height"),
        cell(&block, "time"),
        cell(&block, "proposer"),
        cell(&block, "signatures"),
        cell(&block, "id")
    );
    let rows: Vec<Vec<String>> = block
        .get("contents")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|tx| ["id", "kind", "text"].iter().map(|name| cell(tx, name)).collect())
        .collect();
    if !rows.is_empty() {
        text = format!("{text}\n{}", table(&["transaction", "kind", "what"], &rows));
    }
    out.result(&text, &block);
    Ok(Exit::Good)
}

pub(super) fn tx(args: &TxArgs, out: &mut Output) -> Result<Exit> {
    let tx = args.at.desk()?.json(&format!("/ledger/api/tx/{}", args.id))?;
    let text = format!(
        "{}: {}\n  block   {} at {}\n  number  {} of the log\n  bytes   {}",
        cell(&tx, "kind"),
        cell(&tx, "text"),
        cell(&tx, "height"),
        cell(&tx, "time"),
        cell(&tx, "number"),
        cell(&tx, "bytes")
    );
    out.result(&text, &tx);
    Ok(Exit::Good)
}

pub(super) fn proof(args: &ProofArgs, out: &mut Output) -> Result<Exit> {
    let (path, what) = match (&args.tx, &args.state) {
        (Some(id), _) => (format!("/ledger/api/proof/{id}"), format!("the proof of transaction {id}")),
        (None, Some(key)) => {
            let encoded = crate::token::encode(key);
            (format!("/ledger/api/state?key={encoded}"), format!("the proof of the state key `{key}`"))
        }
        (None, None) => bail!("give `--tx` or `--state`"),
    };
    let proof = args.at.desk()?.json(&path)?;
    write(&args.out, &serde_json::to_vec_pretty(&proof)?, &what, out)
}

pub(super) fn members(at: &At, out: &mut Output) -> Result<Exit> {
    let found = at.desk()?.json("/ledger/api/members")?;
    if out.is_json() {
        out.result("", &found);
        return Ok(Exit::Good);
    }
    let none = Value::Array(Vec::new());
    let head = ["organisation", "evidence", "suspended until", "consensus key"];
    let names = ["organisation", "evidence", "suspended_until", "consensus"];
    listed(found.get("members").unwrap_or(&none), &head, &names, "no members", out);
    let history = found.get("history").unwrap_or(&none);
    if history.as_array().is_some_and(|h| !h.is_empty()) {
        out.note("");
        listed(history, &["block", "motion", "decision"], &["height", "sequence", "text"], "", out);
    }
    Ok(Exit::Good)
}

pub(super) fn evidence(at: &At, out: &mut Output) -> Result<Exit> {
    let list = at.desk()?.json("/ledger/api/evidence")?;
    let head = ["organisation", "about block", "reported by", "in block", "transaction"];
    let names = ["organisation", "about", "reporter", "height", "tx"];
    listed(&list, &head, &names, "none: no member was seen to contradict itself", out);
    let any = list.as_array().is_some_and(|l| !l.is_empty());
    Ok(if any { Exit::Refused } else { Exit::Good })
}
