//! Disputes: false attestations, proven by one leaf.

use crate::check::{CheckError, Context, Look, TxError, find};
use crate::state::{self, BatchRecord};
use crate::{commitment, committee, sign};
use consilium_domain::canon::Canonical;
use consilium_domain::dispute::{Dispute, Fault, Finding};
use consilium_domain::receipt::Opening;
use consilium_domain::record::{LeafKind, RecordCommitment};
use consilium_domain::tx::{Batch, Tx, TxBody, tx_id};
use consilium_domain::{Digest, OrgId};

/// Longest token that is laid open on the ledger.
const MAX_TOKEN: usize = 256;

/// Stateless part: the batch it names is one, and the fault can be seen where the ledger is to see it.
pub(crate) fn check_shape(dispute: &Dispute) -> Result<(), TxError> {
    let Some(batch) = batch_of(dispute) else { return Err(TxError::NoDispute("it names no batch")) };
    let fits = dispute.place.size == u64::from(batch.statement.records);
    if !fits || !dispute.place.verify(&dispute.record.digest(), &batch.statement.batch_root) {
        return Err(TxError::NoDispute("its record is not in the batch"));
    }
    match &dispute.fault {
        Fault::Evident(opening) => {
            if opening.token.len() > MAX_TOKEN {
                return Err(TxError::NoDispute("its token is too long to be laid open on the ledger"));
            }
            if commitment::verify_opening(opening, &dispute.record).is_err() {
                return Err(TxError::NoDispute("its leaf is not in the record"));
            }
            if !is_faulty(&dispute.record, opening) {
                return Err(TxError::NoDispute("the ledger sees no fault in the leaf: have it judged"));
            }
        }
        Fault::Judged { leaf, inclusion, findings } => {
            let fits = inclusion.size == u64::from(dispute.record.leaf_count);
            if !fits || !inclusion.verify(leaf, &dispute.record.root) {
                return Err(TxError::NoDispute("its leaf is not in the record"));
            }
            if !findings.is_sorted_by(|a, b| a.attester < b.attester) {
                return Err(TxError::NoDispute("its findings are not sorted by organisation, each once"));
            }
        }
    }
    Ok(())
}

/// Checks a dispute against the state; not the signatures.
pub(crate) fn check(context: &Context, state: &mut impl Look, dispute: &Dispute) -> Result<(), CheckError> {
    let Some(batch) = batch_of(dispute) else { return Err(TxError::NoDispute("it names no batch").into()) };
    let root = &batch.statement.batch_root;
    let record: Option<BatchRecord> = find(state, &state::batch_key(root))?;
    if record.is_none_or(|r| r.tx != tx_id(&dispute.batch)) {
        return Err(TxError::NoDispute("its batch is not on the ledger").into());
    }
    if state.look(&state::dispute_key(root, &dispute.record.digest()))?.is_some() {
        return Err(TxError::NoDispute("its record is disputed already").into());
    }
    if let Fault::Judged { findings, .. } = &dispute.fault {
        for finding in findings {
            context.member(&finding.attester)?;
        }
        let (have, need) = (findings.len(), committee::quorum(context.members.len()));
        if have < need {
            return Err(TxError::Approvals { have, need }.into());
        }
    }
    Ok(())
}

/// Checks the signature of every finding.
pub(crate) fn check_signatures(context: &Context, dispute: &Dispute) -> Result<(), TxError> {
    let (Fault::Judged { leaf, findings, .. }, Some(batch)) = (&dispute.fault, batch_of(dispute)) else {
        return Ok(());
    };
    let finding = Finding {
        batch_root: batch.statement.batch_root,
        record: dispute.record.digest(),
        leaf: *leaf,
        schema: batch.statement.schema,
    };
    for f in findings {
        let member = context.member(&f.attester)?;
        if !sign::verify_finding(&context.channel, &member.validate, &finding, f) {
            return Err(TxError::BadApproval(f.attester.clone()));
        }
    }
    Ok(())
}

/// Batch root, schema and the organisations whose attestations a dispute shows to be false.
pub(crate) fn accused(dispute: &Dispute) -> Option<(Digest, Digest, Vec<OrgId>)> {
    let Batch { statement, proof } = batch_of(dispute)?;
    let attesters = proof.attestations.into_iter().map(|a| a.attester).collect();
    Some((statement.batch_root, statement.schema, attesters))
}

fn batch_of(dispute: &Dispute) -> Option<Batch> {
    match Tx::from_canonical(&dispute.batch).ok()?.unsigned.body {
        TxBody::Batch(batch) => Some(batch),
        _ => None,
    }
}

/// Faults that need no profile and no terminology to be seen.
fn is_faulty(record: &RecordCommitment, opening: &Opening) -> bool {
    let Some(rest) = opening.path.strip_prefix(&record.resource_type) else { return true };
    if rest == ".resourceType" {
        return opening.token != format!("\"{}\"", record.resource_type);
    }
    !rest.starts_with('.') || (opening.kind == LeafKind::Number && !is_number(&opening.token))
}

/// Whether a token is a JSON number (RFC 8259 §6).
pub(crate) fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let rest = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}
