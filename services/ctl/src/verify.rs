//! `consilium verify`: offline proof, trusting only a genesis file.

use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_domain::genesis::Genesis;
use consilium_domain::receipt::{AUDIT_FORMAT, AuditProof, RECEIPT_FORMAT, Receipt};
use consilium_domain::record::LeafKind;
use consilium_fhir::leaves::{LeafKind as Found, leaves};
use consilium_fhir::{Limits, Tape};
use consilium_ledger::commitment::Leaf;
use consilium_ledger::receipt::{verify_audit_proof, verify_receipt};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct VerifyArgs {
    /// Receipt or audit proof (JSON).
    file: PathBuf,
    /// Genesis of the channel: the only thing that is trusted.
    #[arg(long, default_value = ".demo/genesis.json")]
    genesis: PathBuf,
    /// The FHIR resource itself: every leaf must be laid open in the receipt with the very same content.
    #[arg(long)]
    resource: Option<PathBuf>,
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
    match prove(args, &genesis, &bytes)? {
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
                genesis.members.len(),
                v.schema,
                v.block,
                receipt.transaction.certificate.signatures.len(),
                genesis.members.len(),
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
