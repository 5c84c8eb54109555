//! `consilium verify`: offline proof, trusting only a genesis file.

use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_domain::Canonical;
use consilium_domain::genesis::Genesis;
use consilium_domain::merkle::leaf_hash;
use consilium_domain::receipt::{
    AUDIT_FORMAT, AuditProof, CHECKPOINT_FORMAT, CheckpointProof, RECEIPT_FORMAT, Receipt, SAMPLE_FORMAT,
    STATE_FORMAT, SampleProof, StateProof, TRANSACTION_FORMAT, TransactionProof, TxProof,
};
use consilium_domain::record::LeafKind;
use consilium_fhir::leaves::{LeafKind as Found, leaves};
use consilium_fhir::{Limits, Tape};
use consilium_ledger::commitment::Leaf;
use consilium_ledger::log_proof;
use consilium_ledger::receipt::{
    verify_audit_proof, verify_checkpoint_proof, verify_receipt, verify_sample_proof, verify_state_proof,
    verify_transaction_proof,
};
use consilium_ledger::state::ConsentRecord;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct VerifyArgs {
    /// Receipt, audit proof, proof of a transaction, of a ledger state, of a sample or of a checkpoint (JSON).
    file: PathBuf,
    /// Genesis of the channel: the only thing that is trusted.
    #[arg(long, default_value = ".demo/genesis.json")]
    genesis: PathBuf,
    /// The FHIR resource itself: every leaf must be laid open in the receipt with the very same content.
    #[arg(long)]
    resource: Option<PathBuf>,
    /// Folder of `consilium ledger export`: the transaction must also stand in the log that the members have cosigned.
    #[arg(long)]
    log: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

pub fn run(args: &VerifyArgs, out: &mut Output) -> Result<Exit> {
    let genesis = std::fs::read(&args.genesis).with_context(|| format!("read {}", args.genesis.display()))?;
    let genesis: Genesis = serde_json::from_slice(&genesis).context("the genesis file is no genesis")?;
    let bytes = std::fs::read(&args.file).with_context(|| format!("read {}", args.file.display()))?;
    // From here on everything that is wrong with the file is a refusal: it proves nothing.
    let proven = match (prove(args, &genesis, &bytes)?, &args.log) {
        (Ok(shown), Some(log)) => in_log(&genesis, &bytes, log).map(|more| both(shown, more)),
        (other, _) => other,
    };
    match proven {
        Ok((text, value)) => {
            out.result(&text, &value);
            Ok(Exit::Good)
        }
        Err(reason) => {
            out.result(&format!("REFUSED: {reason}"), &json!({"verified": false, "reason": reason}));
            Ok(Exit::Refused)
        }
    }
}

type Proven = std::result::Result<(String, serde_json::Value), String>;

fn prove(args: &VerifyArgs, genesis: &Genesis, bytes: &[u8]) -> Result<Proven> {
    let format = match serde_json::from_slice::<Format>(bytes) {
        Ok(f) => f.format,
        Err(e) => return Ok(Err(format!("the file is not a proof: {e}"))),
    };
    match format.as_str() {
        RECEIPT_FORMAT => receipt(args, genesis, bytes),
        AUDIT_FORMAT => Ok(audit(genesis, bytes)),
        STATE_FORMAT => Ok(state(genesis, bytes)),
        SAMPLE_FORMAT => Ok(sample(genesis, bytes)),
        CHECKPOINT_FORMAT => Ok(checkpoint(genesis, bytes)),
        TRANSACTION_FORMAT => Ok(transaction(genesis, bytes)),
        _ => Ok(Err("the file is of an unknown format".to_owned())),
    }
}

fn receipt(args: &VerifyArgs, genesis: &Genesis, bytes: &[u8]) -> Result<Proven> {
    let receipt: Receipt = match serde_json::from_slice(bytes) {
        Ok(r) => r,
        Err(e) => return Ok(Err(format!("the receipt is damaged: {e}"))),
    };
    let content = args
        .resource
        .as_ref()
        .map(|p| std::fs::read(p).with_context(|| format!("read {}", p.display())))
        .transpose()?;
    let found = match &content {
        None => None,
        Some(c) => match Tape::parse(c, &Limits::default()) {
            Ok(t) => Some(t),
            Err(e) => bail!("the resource is not JSON: {e}"),
        },
    };
    let list = found.as_ref().map(|t| leaves(t.root()));
    let mut given = Vec::new();
    for l in list.iter().flatten() {
        let kind = match l.kind {
            Found::String => LeafKind::String,
            Found::Number => LeafKind::Number,
            Found::Boolean => LeafKind::Boolean,
            Found::Null => LeafKind::Null,
            Found::EmptyObject | Found::EmptyArray => {
                return Ok(Err(format!("record: `{}` is empty, which no valid resource has", l.path)));
            }
        };
        given.push(Leaf { path: &l.path, kind, token: l.token.as_bytes() });
    }
    Ok(match verify_receipt(genesis, &receipt, list.is_some().then_some(given.as_slice())) {
        Err(e) => Err(e.to_string()),
        Ok(v) => {
            let what = if list.is_some() { "this very content" } else { "the record" };
            let text = format!(
                "PROVEN: {what} ({}, {} leaves, {} laid open) was committed by {} in block {} at {}\n  attested interoperable by {} of {} organisations, schema {}\n  block {} signed by {} of {}",
                v.resource_type,
                v.leaves,
                v.opened,
                v.custodian,
                v.height,
                v.time.to_instant(),
                v.attesters.len(),
                v.members,
                v.schema,
                v.block,
                receipt.transaction.certificate.signatures.len(),
                v.members,
            );
            let value = json!({
                "verified": true, "kind": "receipt", "content": list.is_some(), "resourceType": v.resource_type,
                "custodian": v.custodian, "height": v.height, "time": v.time.to_instant(), "block": v.block,
                "attesters": v.attesters, "schema": v.schema, "leaves": v.leaves, "opened": v.opened
            });
            Ok((text, value))
        }
    })
}

fn audit(genesis: &Genesis, bytes: &[u8]) -> Proven {
    let proof: AuditProof =
        serde_json::from_slice(bytes).map_err(|e| format!("the proof is damaged: {e}"))?;
    let v = verify_audit_proof(genesis, &proof).map_err(|e| e.to_string())?;
    let text = format!(
        "PROVEN: event {} of the audit log of {} was anchored in block {} at {}",
        v.index,
        v.organisation,
        v.height,
        v.time.to_instant()
    );
    let value = json!({
        "verified": true, "kind": "audit", "organisation": v.organisation, "index": v.index, "size": v.size,
        "height": v.height, "time": v.time.to_instant(), "block": v.block
    });
    Ok((text, value))
}

fn state(genesis: &Genesis, bytes: &[u8]) -> Proven {
    let proof: StateProof =
        serde_json::from_slice(bytes).map_err(|e| format!("the proof is damaged: {e}"))?;
    let v = verify_state_proof(genesis, &proof).map_err(|e| e.to_string())?;
    let key = String::from_utf8_lossy(&proof.key).into_owned();
    let value = proof.value.as_ref().map(|v| v.0.as_slice());
    // Consents are what people ask about; other values are shown as they are stored.
    let consent = value
        .filter(|_| key.starts_with("consent/"))
        .and_then(|bytes| ConsentRecord::from_canonical(bytes).ok());
    let what = match (&consent, value) {
        (_, None) => "was not on the ledger".to_owned(),
        (Some(c), _) => format!("was version {}, {:?}", c.core.version, c.core.status).to_lowercase(),
        (None, Some(bytes)) => format!("was {}", hex::encode(bytes)),
    };
    let text = format!("PROVEN: `{key}` {what} after block {}, until {}", v.height, v.until.to_instant());
    let json = json!({
        "verified": true, "kind": "state", "key": key, "present": value.is_some(), "value": value.map(hex::encode),
        "consent": consent.map(|c| json!({"version": c.core.version, "status": c.core.status})),
        "height": v.height, "until": v.until.to_instant()
    });
    Ok((text, json))
}

fn sample(genesis: &Genesis, bytes: &[u8]) -> Proven {
    let proof: SampleProof =
        serde_json::from_slice(bytes).map_err(|e| format!("the proof is damaged: {e}"))?;
    let v = verify_sample_proof(genesis, &proof).map_err(|e| e.to_string())?;
    let sample = &proof.sample;
    let text = format!(
        "PROVEN: sample {} of series {} of {}, {} at {}, was committed in block {} at {}",
        sample.index,
        v.series,
        v.custodian,
        sample.value,
        sample.time.to_instant(),
        v.height,
        v.time.to_instant()
    );
    let json = json!({
        "verified": true, "kind": "sample", "custodian": v.custodian, "series": v.series, "index": sample.index,
        "value": sample.value, "measured": sample.time.to_instant(), "height": v.height,
        "time": v.time.to_instant(), "block": v.block
    });
    Ok((text, json))
}

fn checkpoint(genesis: &Genesis, bytes: &[u8]) -> Proven {
    let proof: CheckpointProof =
        serde_json::from_slice(bytes).map_err(|e| format!("the proof is damaged: {e}"))?;
    let v = verify_checkpoint_proof(genesis, &proof).map_err(|e| e.to_string())?;
    let names: Vec<&str> = v.cosigners.iter().map(|o| o.as_str()).collect();
    let text = format!(
        "PROVEN: the ledger log had {} transactions and root {} before block {}\n  cosigned by {}",
        v.size,
        v.root,
        v.height,
        names.join(", ")
    );
    let json = json!({
        "verified": true, "kind": "checkpoint", "size": v.size, "root": v.root, "height": v.height,
        "cosigners": v.cosigners
    });
    Ok((text, json))
}

fn transaction(genesis: &Genesis, bytes: &[u8]) -> Proven {
    let proof: TransactionProof =
        serde_json::from_slice(bytes).map_err(|e| format!("the proof is damaged: {e}"))?;
    let v = verify_transaction_proof(genesis, &proof).map_err(|e| e.to_string())?;
    let sender = &v.tx.unsigned.sender;
    let text = format!(
        "PROVEN: transaction {} of {sender} was committed in block {} at {}",
        v.id,
        v.height,
        v.time.to_instant()
    );
    let json = json!({
        "verified": true, "kind": "transaction", "id": v.id, "sender": sender, "height": v.height,
        "time": v.time.to_instant(), "block": v.block, "body": v.tx.unsigned.body
    });
    Ok((text, json))
}

/// The part of all files that are about a transaction.
#[derive(Deserialize)]
struct About {
    transaction: TxProof,
}

/// Whether the transaction stands in the cosigned log of a folder.
fn in_log(genesis: &Genesis, bytes: &[u8], log: &Path) -> Proven {
    let about: About = serde_json::from_slice(bytes)
        .map_err(|_| "log: this kind of proof is about no transaction: leave `--log` out".to_owned())?;
    let file = log.join("checkpoint.json");
    let checkpoint = std::fs::read(&file).map_err(|e| format!("log: {}: {e}", file.display()))?;
    let checkpoint: CheckpointProof =
        serde_json::from_slice(&checkpoint).map_err(|e| format!("log: the checkpoint is damaged: {e}"))?;
    let v = verify_checkpoint_proof(genesis, &checkpoint).map_err(|e| format!("log: {e}"))?;
    // Verified before: header and place are those of a committed block.
    let (tx, place) = (&about.transaction, about.transaction.inclusion.index);
    let number = tx.header.log_size.saturating_add(place);
    log_proof::verify((v.size, &v.root), number, &leaf_hash(&tx.tx), |level, index, width| {
        std::fs::read(log.join("tile").join(log_proof::path(level, index, width))).ok()
    })
    .map_err(|e| format!("log: {e}"))?;
    let names: Vec<&str> = v.cosigners.iter().map(|o| o.as_str()).collect();
    let text = format!("  number {number} of the log of {} that {} have cosigned", v.size, names.join(", "));
    Ok((text, json!({"number": number, "size": v.size, "root": v.root, "cosigners": v.cosigners})))
}

fn both(shown: (String, serde_json::Value), log: (String, serde_json::Value)) -> (String, serde_json::Value) {
    let mut value = shown.1;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("log".to_owned(), log.1);
    }
    (format!("{}\n{}", shown.0, log.0), value)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
