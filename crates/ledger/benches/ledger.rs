//! Thread CPU time of commitments to real records (`commitment`) and of the offline verifier (`ledger-verify`).
//!
//! `cargo bench -p consilium-ledger --bench ledger [NAME…]`

use std::collections::BTreeMap;
use std::hint::black_box;

use consilium_domain::block::{CommitCertificate, CommitSignature, Precommit};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::interop::{InteropProof, Statement};
use consilium_domain::merkle::Inclusion;
use consilium_domain::port::kv::{Pair, Write};
use consilium_domain::receipt::{RECEIPT_FORMAT, Receipt, TxProof};
use consilium_domain::record::{LeafKind, RecordCommitment};
use consilium_domain::tx::{Batch, TxBody, UnsignedTx};
use consilium_domain::{ChannelId, Digest, Height, OrgId, Timestamp};
use consilium_fhir::tape::Cursor;
use consilium_fhir::{Limits, Tape, leaves};
use consilium_ledger::commitment::{self, Leaf};
use consilium_ledger::{Ledger, ReadError, SigningKey, StateRead, genesis_state, verify_receipt};
use consilium_testkit::bench::{Report, Series, Unit, patients, skip, wanted};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 15;
const PATIENTS: usize = 6;
const NAMES: [&str; 2] = ["commitment", "ledger-verify"];
const MEMBERS: usize = 4;
/// Verifications in a round.
const VERIFICATIONS: u64 = 20;

fn main() -> Result<(), Failure> {
    let names: Vec<&str> = NAMES.into_iter().filter(|name| wanted(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let Some(bundles) = patients(PATIENTS)? else {
        for name in names {
            skip(name, "the Synthea bundles are absent")?;
        }
        return Ok(());
    };
    let tapes = bundles
        .iter()
        .map(|bundle| Tape::parse(bundle, &Limits::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let resources: Vec<Vec<Cursor<'_, '_>>> = tapes
        .iter()
        .map(|tape| {
            let entries = tape.root().get("entry").into_iter().flat_map(Cursor::children);
            entries.filter_map(|entry| entry.get("resource")).collect()
        })
        .collect();
    if wanted("commitment") {
        commitments(&resources)?;
    }
    if wanted("ledger-verify") {
        receipts(&resources)?;
    }
    Ok(())
}

/// A record's type and leaves, owning their paths.
struct Record<'t> {
    kind: String,
    leaves: Vec<leaves::Leaf<'t>>,
}

impl<'t> Record<'t> {
    fn of(resource: Cursor<'_, 't>) -> Self {
        let kind = resource.get("resourceType").and_then(Cursor::as_str).unwrap_or_default().into_owned();
        Self { kind, leaves: leaves::leaves(resource) }
    }

    /// The leaves as the ledger takes them. A valid resource has no empty objects or arrays.
    fn borrowed(&self) -> Result<Vec<Leaf<'_>>, &'static str> {
        let all = self.leaves.iter().map(|leaf| {
            let kind = match leaf.kind {
                leaves::LeafKind::String => LeafKind::String,
                leaves::LeafKind::Number => LeafKind::Number,
                leaves::LeafKind::Boolean => LeafKind::Boolean,
                leaves::LeafKind::Null => LeafKind::Null,
                leaves::LeafKind::EmptyObject | leaves::LeafKind::EmptyArray => {
                    return Err("a record with an empty object or array");
                }
            };
            Ok(Leaf { path: &leaf.path, kind, token: leaf.token.as_bytes() })
        });
        all.collect()
    }
}

/// A seed per record; the service draws them at random.
fn seed(index: usize) -> [u8; 32] {
    Digest::tagged("bench/seed", &(index as u64).to_be_bytes()).0
}

fn commit_all(records: &[Vec<Leaf<'_>>], kinds: &[&str]) -> Result<Digest, Failure> {
    let mut commitments: Vec<RecordCommitment> = Vec::with_capacity(records.len());
    for (index, (leaves, kind)) in records.iter().zip(kinds).enumerate() {
        commitments.push(commitment::commit(kind, leaves, &seed(index))?.commitment().clone());
    }
    Ok(commitment::batch_root(&commitments))
}

fn commitments(bundles: &[Vec<Cursor<'_, '_>>]) -> Result<(), Failure> {
    let report = Report::new("commitment", Unit::MegabytesPerSecond);
    // Bytes of the resources as they stand in their bundles; the bundles' own frames are not committed to.
    let bytes: u64 =
        bundles.iter().flatten().map(|resource| (resource.end() - resource.start()) as u64).sum();
    let owned: Vec<Vec<Record<'_>>> =
        bundles.iter().map(|bundle| bundle.iter().map(|resource| Record::of(*resource)).collect()).collect();
    let (mut whole, mut hashing) = (
        Series::new("leaves, commitments and batch root"),
        Series::new("commitments and batch root, leaves ready"),
    );
    let mut ready = Vec::new();
    for bundle in &owned {
        let leaves = bundle.iter().map(Record::borrowed).collect::<Result<Vec<_>, _>>()?;
        ready.push((leaves, bundle.iter().map(|record| record.kind.as_str()).collect::<Vec<_>>()));
    }
    for _ in 0..ROUNDS {
        hashing.time(bytes, || -> Result<(), Failure> {
            for (leaves, kinds) in &ready {
                black_box(commit_all(black_box(leaves), kinds)?);
            }
            Ok(())
        })??;
        whole.time(bytes, || -> Result<(), Failure> {
            for bundle in bundles {
                let records: Vec<Record<'_>> = bundle.iter().map(|resource| Record::of(*resource)).collect();
                let leaves = records.iter().map(Record::borrowed).collect::<Result<Vec<_>, _>>()?;
                let kinds: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
                black_box(commit_all(&leaves, &kinds)?);
            }
            Ok(())
        })??;
    }
    let (records, leaves) = (
        owned.iter().map(Vec::len).sum::<usize>(),
        owned.iter().flatten().map(|record| record.leaves.len()).sum::<usize>(),
    );
    report
        .condition("measured", "CPU time of one thread, from parsed bundles to one batch root each; parsing not included")
        .condition(
            "data",
            format!(
                "the {} smallest whole-patient Synthea R4 bundles of the test data: {records} resources, {leaves} \
                 leaves, {bytes} bytes of resources",
                bundles.len()
            ),
        )
        .condition("rounds", format!("{ROUNDS}, each over all bundles, both ways in turn"))
        .condition("threads", "1")
        .condition("checks", "leaf counts, path lengths, duplicate paths, kinds of tokens")
        .condition("hashes", "per leaf HMAC-SHA-256 for the salt, SHA-256 of the value, RFC 6962 leaf and node hashes")
        .condition("peers", "none is named for this benchmark")
        .finish(&whole, &[hashing])?;
    Ok(())
}

#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl StateRead for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.get(key).cloned())
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError> {
        Ok(self.0.range(from.to_vec()..=to.to_vec()).next_back().map(|(k, v)| (k.clone(), v.clone())))
    }
}

/// An organisation's keys.
struct Keys {
    organisation: OrgId,
    consensus: SigningKey,
    validate: SigningKey,
    ingest: SigningKey,
    audit: SigningKey,
    governance: SigningKey,
    cosign: SigningKey,
}

fn members() -> Result<Vec<Keys>, Failure> {
    let one = |i: usize| {
        let organisation = OrgId::new(format!("hospital-{i}"))?;
        let key =
            |role: &str| SigningKey::from_seed(Digest::tagged(role, organisation.as_str().as_bytes()).0);
        Ok(Keys {
            consensus: key("consensus"),
            validate: key("validate"),
            ingest: key("ingest"),
            audit: key("audit"),
            governance: key("governance"),
            cosign: key("cosign"),
            organisation,
        })
    };
    (0..MEMBERS).map(one).collect()
}

fn genesis(members: &[Keys], schema: Digest) -> Result<Genesis, Failure> {
    let member = |keys: &Keys| Member {
        organisation: keys.organisation.clone(),
        consensus: keys.consensus.public(),
        validate: keys.validate.public(),
        ingest: keys.ingest.public(),
        audit: keys.audit.public(),
        governance: keys.governance.public(),
        cosign: keys.cosign.public(),
        authority: vec![1, 2, 3],
    };
    Ok(Genesis {
        channel: ChannelId::new("care")?,
        time: Timestamp(1_000_000),
        members: members.iter().map(member).collect(),
        schemas: vec![schema],
        params: Params::default(),
    })
}

/// Commits one bundle as a batch in block 1; the proof that it is there.
fn committed(genesis: &Genesis, members: &[Keys], records: &[RecordCommitment]) -> Result<TxProof, Failure> {
    let first = members.first().ok_or("no members")?;
    let custodian = &first.organisation;
    let mut state = Memory::default();
    for write in genesis_state(genesis)?.writes {
        if let Write::Put(key, value) = write {
            state.0.insert(key, value);
        }
    }
    let statement = Statement {
        custodian: custodian.clone(),
        batch_root: commitment::batch_root(records),
        records: u32::try_from(records.len())?,
        schema: *genesis.schemas.first().ok_or("no schema")?,
        epoch: 0,
        expires: Height(10),
    };
    let quorum = members.iter().take(MEMBERS * 2 / 3 + 1);
    let attest = |keys: &Keys| keys.validate.attest(&genesis.channel, &keys.organisation, &statement);
    let proof = InteropProof { attestations: quorum.clone().map(attest).collect() };
    let body = TxBody::Batch(Batch { statement: statement.clone(), proof });
    let tx = first.ingest.sign_tx(&genesis.channel, UnsignedTx { sender: custodian.clone(), body });
    let built =
        Ledger::open(&state)?
            .build_block(custodian, &[tx.to_canonical()], Timestamp(2_000_000), &|_| false)?;
    let block = built.block;
    let (height, round, id) = (block.header.height, 0, block.id());
    let sign = |(validator, keys): (u16, &Keys)| {
        let vote = Precommit { height, round, block: Some(id), validator };
        CommitSignature { validator, signature: keys.consensus.sign(&vote.signing_bytes(&genesis.channel)) }
    };
    Ok(TxProof {
        tx: block.txs.first().ok_or("the block refused the batch")?.clone(),
        inclusion: Inclusion::of(&block.tx_leaves(), 0).ok_or("an empty block")?,
        header: block.header.clone(),
        certificate: CommitCertificate {
            height,
            round,
            block: id,
            signatures: (0..).zip(quorum).map(sign).collect(),
        },
        validator_changes: Vec::new(),
    })
}

fn receipts(bundles: &[Vec<Cursor<'_, '_>>]) -> Result<(), Failure> {
    let report = Report::new("ledger-verify", Unit::Microseconds).missing(
        "CometBFT",
        "its light verifier needs a Go toolchain and module; no set-up installs them yet",
    );
    let bundle = bundles.first().ok_or("no bundle")?;
    let owned: Vec<Record<'_>> = bundle.iter().map(|resource| Record::of(*resource)).collect();
    let place = owned.iter().position(|record| record.kind == "Patient").ok_or("a bundle without Patient")?;
    let mut records = Vec::new();
    for (index, record) in owned.iter().enumerate() {
        let leaves = record.borrowed()?;
        records.push(commitment::commit(&record.kind, &leaves, &seed(index))?.commitment().clone());
    }
    let members = members()?;
    let genesis = genesis(&members, Digest::tagged("bench", b"schema"))?;
    let leaves = owned.get(place).ok_or("no record")?.borrowed()?;
    let patient = commitment::commit("Patient", &leaves, &seed(place))?;
    let inclusions = commitment::batch_inclusions(&records);
    let open = Receipt {
        format: RECEIPT_FORMAT.to_owned(),
        genesis: genesis.digest(),
        record: patient.commitment().clone(),
        batch: inclusions.get(place).ok_or("no inclusion")?.clone(),
        transaction: committed(&genesis, &members, &records)?,
        openings: patient.open_all()?,
    };
    let closed = Receipt { openings: Vec::new(), ..open.clone() };
    let attesters = verify_receipt(&genesis, &open, Some(&leaves))?.attesters.len();
    let mut forged = closed.clone();
    forged.record.root = Digest::default();
    if verify_receipt(&genesis, &forged, None).is_ok() {
        return Err("a forged receipt was accepted".into());
    }
    let mut bare = Series::new("receipt without opened leaves");
    let mut full = Series::new("receipt with the whole record");
    for _ in 0..ROUNDS {
        for (series, receipt, record) in
            [(&mut bare, &closed, None), (&mut full, &open, Some(leaves.as_slice()))]
        {
            series.time(VERIFICATIONS, || -> Result<(), Failure> {
                for _ in 0..VERIFICATIONS {
                    black_box(verify_receipt(black_box(&genesis), black_box(receipt), record)?);
                }
                Ok(())
            })??;
        }
    }
    report
        .condition("measured", "CPU time of one thread, one offline verification of a parsed receipt against the genesis")
        .condition(
            "data",
            format!(
                "{MEMBERS} members; a Synthea Patient of {} leaves in a batch of {} records, the only transaction of \
                 block 1",
                leaves.len(),
                records.len()
            ),
        )
        .condition("rounds", format!("{ROUNDS} of {VERIFICATIONS} verifications each, both ways in turn"))
        .condition("threads", "1")
        .condition(
            "checks",
            format!(
                "the sender's signature, {attesters} attestations, {} precommits (Ed25519, ZIP 215), inclusion in \
                 batch and block, format and genesis; with the whole record every opened leaf against the record and \
                 its root",
                open.transaction.certificate.signatures.len()
            ),
        )
        .finish(&full, &[bare])?;
    Ok(())
}
