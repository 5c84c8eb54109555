//! Thousands of values of a device under one transaction, each provable alone.

use super::At;
use crate::keys::{key, random, write_private};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_domain::genesis::Genesis;
use consilium_domain::merkle::Inclusion;
use consilium_domain::receipt::{Receipt, SAMPLE_FORMAT, SampleProof, TransactionProof};
use consilium_domain::samples::{Sample, SampleBatch};
use consilium_domain::tx::{TxBody, UnsignedTx};
use consilium_domain::{Canonical, Digest, OrgId, Timestamp};
use consilium_ledger::samples::commit;
use consilium_ledger::state::SeriesRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

const FORMAT: &str = "consilium-samples/1";

/// What has to be kept to prove single values: whoever has it has the values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// [`FORMAT`].
    format: String,
    /// Id of the transaction.
    transaction: Digest,
    samples: Vec<(Sample, Inclusion)>,
}

#[derive(clap::Args)]
pub(super) struct AnchorArgs {
    /// Values, one per line: milliseconds since 1970, a comma, the number as it was measured.
    values: PathBuf,
    /// Receipt of the record that describes the series: device, code and unit.
    #[arg(long)]
    series: PathBuf,
    /// Organisation that holds that record.
    #[arg(long, value_parser = super::organisation)]
    organisation: OrgId,
    /// File with the key of its ingest service.
    #[arg(long)]
    key: PathBuf,
    /// Genesis of the channel.
    #[arg(long, default_value = ".demo/genesis.json")]
    genesis: PathBuf,
    /// New file for what proves single values later: keep it like the record itself.
    #[arg(long, default_value = "samples.json")]
    out: PathBuf,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub(super) struct SampleArgs {
    /// What `consilium ledger anchor` wrote.
    kept: PathBuf,
    /// Index of the value in the series.
    #[arg(long)]
    index: u64,
    /// File to write the proof to.
    #[arg(long, default_value = "sample.json")]
    out: PathBuf,
    #[command(flatten)]
    at: At,
}

pub(super) fn anchor(args: &AnchorArgs, out: &mut Output) -> Result<Exit> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let receipt: Receipt =
        serde_json::from_slice(&read(&args.series)?).context("`--series` is no receipt")?;
    let genesis: Genesis =
        serde_json::from_slice(&read(&args.genesis)?).context("`--genesis` is no genesis")?;
    let text = String::from_utf8(read(&args.values)?).context("the values are not text")?;
    let values = text
        .lines()
        .zip(1_u64..)
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| {
            let parse = || {
                let (time, value) = line.split_once(',')?;
                Some((Timestamp(time.trim().parse().ok()?), value.trim()))
            };
            parse().with_context(|| {
                format!("line {number}: expected milliseconds since 1970, a comma, a number")
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let desk = args.at.desk()?;
    let statement = batch_root(&receipt)?;
    let series = receipt.record.digest();
    let first = next(&desk.json(&format!("/ledger/api/state?key=series/{series}"))?)?;
    let committed = commit(first, &values, &random()?)?;
    let body = TxBody::Samples(SampleBatch {
        series: receipt.record,
        batch_root: statement,
        place: receipt.batch,
        first,
        count: u32::try_from(values.len()).unwrap_or(u32::MAX),
        root: committed.root(),
    });
    let unsigned = UnsignedTx { sender: args.organisation.clone(), body };
    let tx = key(&args.key)?.sign_tx(&genesis.channel, unsigned).to_canonical();
    // Kept first: a value that is anchored and cannot be opened is worth nothing.
    let transaction = consilium_domain::tx::tx_id(&tx);
    let kept = Kept { format: FORMAT.to_owned(), transaction, samples: committed.open_all() };
    write_private(&args.out, &serde_json::to_vec(&kept)?)?;
    let answer = desk.submit(&tx).inspect_err(|_| {
        // The values of a refused transaction prove nothing.
        let _ = std::fs::remove_file(&args.out);
    })?;
    let status = super::cell(&answer, "status");
    let what = format!("{} values of series {series}, from {first}", values.len());
    out.result(
        &format!("{status}: {what}\n  transaction {transaction}"),
        &json!({"status": status, "transaction": transaction, "series": series, "first": first, "count": values.len(), "out": args.out}),
    );
    Ok(if status == "committed" { Exit::Good } else { Exit::Refused })
}

/// Root of the batch that holds the record.
fn batch_root(receipt: &Receipt) -> Result<Digest> {
    let tx = consilium_domain::tx::Tx::from_canonical(&receipt.transaction.tx)?;
    match tx.unsigned.body {
        TxBody::Batch(batch) => Ok(batch.statement.batch_root),
        _ => bail!("`--series` is no receipt of a record"),
    }
}

/// The index of a series' next value, by a state proof.
fn next(proof: &Value) -> Result<u64> {
    let Some(value) = proof.get("value").and_then(Value::as_str) else { return Ok(0) };
    let record = SeriesRecord::from_canonical(&hex::decode(value)?)?;
    Ok(record.next)
}

pub(super) fn prove(args: &SampleArgs, out: &mut Output) -> Result<Exit> {
    let bytes = std::fs::read(&args.kept).with_context(|| format!("read {}", args.kept.display()))?;
    let kept: Kept = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not what `consilium ledger anchor` wrote", args.kept.display()))?;
    if kept.format != FORMAT {
        bail!("{} is of another version", args.kept.display());
    }
    let found = kept.samples.into_iter().find(|(sample, _)| sample.index == args.index);
    let (sample, inclusion) = found.with_context(|| format!("value {} is not in this file", args.index))?;
    let proof = args.at.desk()?.json(&format!("/ledger/api/proof/{}", kept.transaction))?;
    let proof: TransactionProof = serde_json::from_value(proof).context("the proof is of another version")?;
    let file = SampleProof {
        format: SAMPLE_FORMAT.to_owned(),
        genesis: proof.genesis,
        sample,
        inclusion,
        transaction: proof.transaction,
    };
    let what = format!("the proof of value {}", args.index);
    super::write(&args.out, &serde_json::to_vec_pretty(&file)?, &what, out)
}
