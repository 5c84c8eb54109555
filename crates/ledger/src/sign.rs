//! Ed25519 (RFC 8032) by the ZIP 215 validation rules, which are the same for single and batch verification and on
//! every machine: validators and the offline verifier can never differ about a signature.

use consilium_domain::dispute::Finding;
use consilium_domain::genesis::Member;
use consilium_domain::governance::{Approval, Motion};
use consilium_domain::group::{GroupSignature, sign_alone, sign_together};
use consilium_domain::interop::{Attestation, Statement};
use consilium_domain::sign::Purpose;
use consilium_domain::tx::{ConsentChange, ConsentCore, Tx, UnsignedTx};
use consilium_domain::{Canonical, ChannelId, Digest, OrgId, PublicKey, Signature};
use std::fmt;

/// A service's private key. `Debug` shows the public half only.
pub struct SigningKey(ed25519_consensus::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_consensus::SigningKey::from(seed))
    }
    /// The checkpoint cosigner that belongs to a consensus seed. It is a key of its own: what one signs says nothing
    /// under the other, and it gives the seed away no more than any hash does.
    pub fn cosigner(consensus_seed: [u8; 32]) -> Self {
        Self::from_seed(Digest::tagged("consilium/v1/cosigner", &consensus_seed).0)
    }
    /// The verification key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verification_key().to_bytes())
    }
    /// Signs bytes, which ought to come from [`Purpose::bytes`].
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
    fn together<T: Canonical>(
        &self,
        purpose: Purpose,
        channel: &ChannelId,
        messages: &[T],
    ) -> Vec<GroupSignature> {
        sign_together(purpose, channel, messages, |bytes| self.sign(bytes))
    }
    /// One message alone.
    fn alone<T: Canonical>(&self, purpose: Purpose, channel: &ChannelId, message: &T) -> GroupSignature {
        sign_alone(purpose, channel, message, |bytes| self.sign(bytes))
    }
    /// Signs a transaction.
    pub fn sign_tx(&self, channel: &ChannelId, unsigned: UnsignedTx) -> Tx {
        Tx { signed: self.alone(Purpose::Transaction, channel, &unsigned), unsigned }
    }
    /// Signs transactions together: validators check what they have in common once.
    pub fn sign_txs(&self, channel: &ChannelId, unsigned: Vec<UnsignedTx>) -> Vec<Tx> {
        let signed = self.together(Purpose::Transaction, channel, &unsigned);
        signed.into_iter().zip(unsigned).map(|(signed, unsigned)| Tx { signed, unsigned }).collect()
    }
    /// Signs a statement as `attester`.
    pub fn attest(&self, channel: &ChannelId, attester: &OrgId, statement: &Statement) -> Attestation {
        let signed = self.alone(Purpose::Attestation, channel, statement);
        Attestation { attester: attester.clone(), signed }
    }
    /// Signs statements together as `attester`.
    pub fn attest_all(
        &self,
        channel: &ChannelId,
        attester: &OrgId,
        statements: &[Statement],
    ) -> Vec<Attestation> {
        let signed = self.together(Purpose::Attestation, channel, statements);
        signed.into_iter().map(|signed| Attestation { attester: attester.clone(), signed }).collect()
    }
    /// Approves a motion as `organisation`, with its governance key.
    pub fn approve(&self, channel: &ChannelId, organisation: &OrgId, motion: &Motion) -> Approval {
        let signature = self.sign(&motion.signing_bytes(channel));
        Approval { organisation: organisation.clone(), signature }
    }
    /// Signs a finding as `organisation`, with its validate key.
    pub fn find(&self, channel: &ChannelId, organisation: &OrgId, finding: &Finding) -> Attestation {
        let signed = self.alone(Purpose::Finding, channel, finding);
        Attestation { attester: organisation.clone(), signed }
    }
    /// Signs a consent's next version. This key must be the controller that the version before named.
    pub fn sign_consent(&self, channel: &ChannelId, core: ConsentCore) -> ConsentChange {
        let signature = self.sign(&Purpose::Consent.bytes(channel, &core));
        ConsentChange { core, signature }
    }
}

/// Whether `signature` is `key`'s over `bytes` (ZIP 215). A key that is no curve point verifies nothing.
pub fn verify(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    let Ok(key) = ed25519_consensus::VerificationKey::try_from(key.0) else { return false };
    key.verify(&ed25519_consensus::Signature::from(signature.0), bytes).is_ok()
}

/// Whether what a key signed, alone or together with other messages, covers this one.
fn covers<T: Canonical>(
    purpose: Purpose,
    channel: &ChannelId,
    key: &PublicKey,
    message: &T,
    signed: &GroupSignature,
) -> bool {
    let bytes = signed.signed_bytes(purpose, channel, message);
    bytes.is_some_and(|bytes| verify(key, &bytes, &signed.signature))
}

/// Whether a transaction is signed by this key on this channel.
pub fn verify_tx(channel: &ChannelId, key: &PublicKey, tx: &Tx) -> bool {
    covers(Purpose::Transaction, channel, key, &tx.unsigned, &tx.signed)
}

/// Whether a finding is by this key on this channel.
pub fn verify_finding(channel: &ChannelId, key: &PublicKey, finding: &Finding, by: &Attestation) -> bool {
    covers(Purpose::Finding, channel, key, finding, &by.signed)
}

/// Whether an attestation over `statement` is by this key on this channel.
pub fn verify_attestation(
    channel: &ChannelId,
    key: &PublicKey,
    statement: &Statement,
    attestation: &Attestation,
) -> bool {
    covers(Purpose::Attestation, channel, key, statement, &attestation.signed)
}

/// Whether a consent change is by this controller on this channel.
pub fn verify_consent(channel: &ChannelId, controller: &PublicKey, change: &ConsentChange) -> bool {
    verify(controller, &Purpose::Consent.bytes(channel, &change.core), &change.signature)
}

/// Which of an organisation's services speaks; each has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Consensus,
    Validate,
    Ingest,
    Audit,
    Governance,
}

impl Role {
    /// The member's key for this role.
    pub fn key(self, member: &Member) -> PublicKey {
        match self {
            Self::Consensus => member.consensus,
            Self::Validate => member.validate,
            Self::Ingest => member.ingest,
            Self::Audit => member.audit,
            Self::Governance => member.governance,
        }
    }
}
