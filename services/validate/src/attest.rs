//! Attestations: whether the records of a batch conform, as far as their projections show it.
//!
//! Nothing is remembered, and a statement may be signed twice, so a repeated request is harmless. Statements of requests
//! that come in at nearly the same time are signed together: ledger nodes check what they have in common once. Epoch, expiry and committee are judged where they count, at the commit of the batch.

use crate::error::Refusal;
use consilium_contracts::Message;
use consilium_contracts::v1::AttestPayload;
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::interop::{Attestation, Statement};
use consilium_domain::message::Envelope;
use consilium_domain::record::{LeafKind, LeafValue, Projection, RecordCommitment};
use consilium_domain::{Canonical, Digest, OrgId, Timestamp};
use consilium_fhir::deid::Action;
use consilium_fhir::leaves::{LeafKind as FhirKind, rebuild};
use consilium_fhir::projection::{ProjectedLeaf, project};
use consilium_fhir::tape::{Cursor, NodeId};
use consilium_fhir::{Limits, Options, Report, Tape, Validator};
use consilium_ledger::commitment;
use consilium_ledger::envelope::{Expect, open};
use consilium_ledger::{Role, SigningKey};
use consilium_runtime::Followed;
use std::collections::BTreeSet;
use std::time::Duration;

/// Subject that a request's envelope names.
pub const SUBJECT: &str = "validate/attest";
/// Most records of one batch.
pub const MAX_RECORDS: usize = 10_000;
/// Issues after which the rest of a batch is not looked at: the custodian has enough to mend.
const MAX_ISSUES: usize = 200;

/// What this organisation needs in order to attest.
pub struct Attester {
    pub validator: Validator,
    pub options: Options,
    pub genesis: Genesis,
    /// As the ledger has them now.
    pub members: Followed<Vec<Member>>,
    pub organisation: OrgId,
    pub key: SigningKey,
    /// How far a request's time may be from the own clock.
    pub window: Duration,
}

/// A statement that is to be signed, and what its verdict does not cover.
#[derive(Debug)]
pub struct Judged {
    pub statement: Statement,
    pub records: usize,
    /// Checks that could not be made, over all records.
    pub unevaluated: u64,
}

impl Attester {
    /// Digest of the definitions: what statements name as their schema.
    pub fn schema(&self) -> Digest {
        Digest(self.validator.schema().digest())
    }

    /// Judges a custodian's batch. `envelope` holds the canonical bytes of its signed request.
    pub fn judge(&self, envelope: &[u8], now: Timestamp) -> Result<Judged, Refusal> {
        let envelope = Envelope::from_canonical(envelope).map_err(|_| Refusal::Malformed("envelope"))?;
        let members = self.members.get();
        let expect = Expect {
            channel: &self.genesis.channel,
            members: &members,
            role: Role::Ingest,
            recipient: &self.organisation,
            subject: SUBJECT,
            now,
            window: self.window,
        };
        let sealed = open(envelope, &expect, |_, _| true)?;
        let payload =
            AttestPayload::decode(sealed.payload.as_slice()).map_err(|_| Refusal::Malformed("payload"))?;
        let statement =
            Statement::from_canonical(&payload.statement).map_err(|_| Refusal::Malformed("statement"))?;
        if statement.custodian != sealed.sender {
            return Err(Refusal::NotCustodian);
        }
        if statement.schema != self.schema() {
            return Err(Refusal::OtherSchema { own: self.schema(), asked: statement.schema });
        }
        let records = payload.projections.len();
        if records == 0 || records > MAX_RECORDS || u32::try_from(records) != Ok(statement.records) {
            return Err(Refusal::RecordCount { claimed: statement.records, found: records });
        }
        let projections = self.read(&payload.projections, &statement)?;
        let unevaluated = self.validate(&projections)?;
        Ok(Judged { statement, records, unevaluated })
    }

    /// Signs what was judged, all of it together.
    pub fn sign(&self, statements: &[Statement]) -> Vec<Attestation> {
        self.key.attest_all(&self.genesis.channel, &self.organisation, statements)
    }

    /// The projections, once they are known to be those of the statement's root.
    fn read(&self, encoded: &[Vec<u8>], statement: &Statement) -> Result<Vec<Projection>, Refusal> {
        let mut projections = Vec::with_capacity(encoded.len());
        let mut commitments: Vec<RecordCommitment> = Vec::with_capacity(encoded.len());
        for (record, bytes) in encoded.iter().enumerate() {
            let projection =
                Projection::from_canonical(bytes).map_err(|_| Refusal::Malformed("projections"))?;
            let commitment = commitment::commitment_of(&projection)
                .map_err(|_| Refusal::Projection { record, why: "its leaves have no commitment" })?;
            commitments.push(commitment);
            projections.push(projection);
        }
        if commitment::batch_root(&commitments) != statement.batch_root {
            return Err(Refusal::OtherRoot);
        }
        Ok(projections)
    }

    /// Checks what is withheld and validates what is shown. Returns the number of checks that could not be made.
    fn validate(&self, projections: &[Projection]) -> Result<u64, Refusal> {
        let (mut all, mut unevaluated) = (Report::default(), 0_u64);
        for (record, projection) in projections.iter().enumerate() {
            let refused = |why| Refusal::Projection { record, why };
            let leaves = fhir_leaves(projection).ok_or_else(|| refused("a token is not UTF-8"))?;
            self.check_mask(projection, &leaves).map_err(refused)?;
            let report = self
                .validator
                .validate_projection(&leaves, &self.options)
                .map_err(|_| refused("its leaves are not those of one resource in document order"))?;
            unevaluated = unevaluated.saturating_add(report.unevaluated.total());
            for mut issue in report.issues.into_iter().filter(|i| i.is_error()) {
                issue.text = format!("Record {record}: {}", issue.text);
                all.issues.push(issue);
            }
            if all.issues.len() >= MAX_ISSUES {
                break;
            }
        }
        if all.is_valid() {
            Ok(unevaluated)
        } else {
            Err(Refusal::NotConforming { outcome: all.to_operation_outcome_json(), errors: all.errors() })
        }
    }

    /// Exactly the leaves of the agreed list are withheld: fewer would disclose a patient, more would hide a fault.
    fn check_mask(&self, projection: &Projection, leaves: &[ProjectedLeaf]) -> Result<(), &'static str> {
        let shown = leaves.iter().map(|leaf| {
            let token = leaf.token.as_deref().unwrap_or_else(|| blank(leaf.kind));
            (leaf.path.as_str(), token)
        });
        let document =
            rebuild(shown).map_err(|_| "its leaves are not those of one resource in document order")?;
        let tape = Tape::parse(document.as_bytes(), &Limits::default())
            .map_err(|_| "its leaves are not those of one resource in document order")?;
        let named = tape.root().get("resourceType").and_then(Cursor::as_str);
        if named.as_deref() != Some(projection.resource_type.as_str()) {
            return Err("its `resourceType` is not the type of the projection");
        }
        let withheld = |leaf: &ProjectedLeaf| leaf.token.is_none();
        let units: BTreeSet<&str> =
            leaves.iter().filter(|l| withheld(l)).filter_map(|l| l.path.strip_suffix(".unit")).collect();
        let actions = project(&tape, NodeId::ROOT, self.validator.schema());
        for (leaf, (_, action)) in leaves.iter().zip(actions) {
            match (action, withheld(leaf)) {
                (Action::Keep, false) | (Action::Withhold, true) => {}
                (Action::Withhold, false) => return Err("it shows a leaf that the agreed list withholds"),
                (Action::Keep, true) => {
                    // A quantity in years may be an age over 89; which unit it has, we are not shown.
                    let age = leaf.path.strip_suffix(".value").is_some_and(|parent| units.contains(parent));
                    if !age {
                        return Err("it withholds a leaf that the agreed list shows");
                    }
                }
            }
        }
        Ok(())
    }
}

fn fhir_leaves(projection: &Projection) -> Option<Vec<ProjectedLeaf>> {
    let one = |leaf: &consilium_domain::record::ProjectedLeaf| {
        let token = match &leaf.value {
            LeafValue::Shown { token, .. } => Some(std::str::from_utf8(token).ok()?.to_owned()),
            LeafValue::Withheld { .. } => None,
        };
        let kind = match leaf.kind {
            LeafKind::String => FhirKind::String,
            LeafKind::Number => FhirKind::Number,
            LeafKind::Boolean => FhirKind::Boolean,
            LeafKind::Null => FhirKind::Null,
        };
        Some(ProjectedLeaf { path: leaf.path.clone(), kind, token })
    };
    projection.leaves.iter().map(one).collect()
}

/// A token that stands for a withheld one of this kind.
fn blank(kind: FhirKind) -> &'static str {
    match kind {
        FhirKind::String => "\"\"",
        FhirKind::Number => "0",
        FhirKind::Boolean => "false",
        FhirKind::Null => "null",
        FhirKind::EmptyObject => "{}",
        FhirKind::EmptyArray => "[]",
    }
}
