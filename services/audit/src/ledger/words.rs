//! Transactions and motions in words. Nothing of a patient is on the ledger, so nothing of one is here.

use consilium_domain::evidence::Step;
use consilium_domain::governance::{Action, Motion};
use consilium_domain::tx::{ConsentStatus, Tx, TxBody};

/// Kind and one sentence.
pub fn transaction(tx: &Tx) -> (&'static str, String) {
    let sender = &tx.unsigned.sender;
    match &tx.unsigned.body {
        TxBody::Batch(b) => {
            let (records, by) = (b.statement.records, b.proof.attestations.len());
            ("batch", format!("{sender} committed {}, attested by {by}", counted(records.into(), "record")))
        }
        TxBody::Consent(c) => {
            let what = match c.core.status {
                ConsentStatus::Active => "is active",
                ConsentStatus::Inactive => "no longer counts",
            };
            ("consent", format!("version {} of a consent at {sender} {what}", c.core.version))
        }
        TxBody::AuditAnchor(a) => {
            ("audit-anchor", format!("{sender} anchored its audit log of {}", counted(a.size, "event")))
        }
        TxBody::ProfileVote(v) => {
            let what = if v.admit == 1 { "admit" } else { "withdraw" };
            ("profile-vote", format!("{sender} votes to {what} the schema {}", v.schema))
        }
        TxBody::Governance(g) => {
            ("motion", format!("{}, approved by {}", motion(&g.motion), g.approvals.len()))
        }
        TxBody::Evidence(e) => {
            let what = match e.first.step {
                Step::Prevote(_) | Step::Precommit(_) => "votes",
                Step::Proposal(_) => "proposals",
            };
            let about = e.first.step.height();
            ("evidence", format!("{sender} reports two contradicting {what} of one member in block {about}"))
        }
        TxBody::Dispute(_) => ("dispute", format!("{sender} shows that an attestation is false")),
        TxBody::Policy(p) => ("policy", format!("{sender} announces version {} of its policies", p.version)),
        TxBody::KeyEpoch(k) => ("key-epoch", format!("{sender} begins key epoch {}", k.epoch)),
        TxBody::Erasure(e) => {
            ("erasure", format!("{sender} destroyed {}", counted(e.count.into(), "secret")))
        }
        TxBody::Samples(s) => {
            ("samples", format!("{sender} anchored {}", counted(s.count.into(), "device sample")))
        }
    }
}

/// What a motion decides.
pub fn motion(motion: &Motion) -> String {
    match &motion.action {
        Action::Admit(m) => format!("{} joins", m.organisation),
        Action::Remove(organisation) => format!("{organisation} leaves"),
        Action::Rotate(m) => format!("{} gets new keys", m.organisation),
        Action::Sanction(s) => format!("{} is suspended until block {}", s.organisation, s.until),
    }
}

/// `1 record`, `2 records`.
pub fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
