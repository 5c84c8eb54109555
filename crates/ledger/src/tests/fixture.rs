//! A consortium in memory: members with keys, a key-value view, blocks with certificates.

use crate::apply::{Applied, Ledger};
use crate::commitment::{self, Leaf};
use crate::genesis::genesis_state;
use crate::sign::{Role, SigningKey};
use crate::state::{ReadError, StateRead};
use consilium_domain::block::{Block, CommitCertificate, CommitSignature, Precommit};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::governance::{Action, Approval, Governance, Motion};
use consilium_domain::interop::{Attestation, InteropProof, Statement};
use consilium_domain::merkle::Inclusion;
use consilium_domain::port::kv::{Pair, Write};
use consilium_domain::receipt::{RECEIPT_FORMAT, Receipt, TxProof, ValidatorChange};
use consilium_domain::record::{LeafKind, RecordCommitment};
use consilium_domain::tx::{
    AuditAnchor, Batch, ConsentCore, ConsentStatus, ProfileVote, Tx, TxBody, UnsignedTx,
};
use consilium_domain::{ChannelId, Digest, Height, OrgId, Timestamp};
use std::collections::BTreeMap;

/// Key-value pairs in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryView(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl StateRead for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.get(key).cloned())
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError> {
        let found = self.0.range(from.to_vec()..=to.to_vec()).next_back();
        Ok(found.map(|(k, v)| (k.clone(), v.clone())))
    }
}

impl MemoryView {
    pub fn write(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    self.0.insert(key.clone(), value.clone());
                }
                Write::Delete(key) => {
                    self.0.remove(key);
                }
            }
        }
    }
}

/// An organisation's private keys.
pub struct Keys {
    pub organisation: OrgId,
    pub consensus: SigningKey,
    pub validate: SigningKey,
    pub ingest: SigningKey,
    pub audit: SigningKey,
    pub governance: SigningKey,
    pub cosign: SigningKey,
}

impl Keys {
    /// The keys of an organisation, another set per generation.
    pub fn new(organisation: OrgId, generation: u8) -> Self {
        let name = match generation {
            0 => organisation.to_string(),
            n => format!("{organisation}/{n}"),
        };
        let key = |role| SigningKey::from_seed(seed(&name, role));
        Self {
            consensus: key("consensus"),
            validate: key("validate"),
            ingest: key("ingest"),
            audit: key("audit"),
            governance: key("governance"),
            cosign: key("cosign"),
            organisation,
        }
    }

    pub fn member(&self) -> Member {
        Member {
            organisation: self.organisation.clone(),
            consensus: self.consensus.public(),
            validate: self.validate.public(),
            ingest: self.ingest.public(),
            audit: self.audit.public(),
            governance: self.governance.public(),
            cosign: self.cosign.public(),
            authority: vec![1, 2, 3],
        }
    }
}

fn seed(name: &str, role: &str) -> [u8; 32] {
    Digest::tagged(role, name.as_bytes()).0
}

/// A running consortium.
pub struct World {
    pub genesis: Genesis,
    pub keys: Vec<Keys>,
    pub view: MemoryView,
    pub now: Timestamp,
    /// All blocks, with certificates.
    pub chain: Vec<(Block, CommitCertificate)>,
}

pub fn org(i: usize) -> OrgId {
    OrgId::new(format!("hospital-{i:02}")).unwrap()
}

pub fn schema() -> Digest {
    Digest::tagged("test", b"schema")
}

pub fn known_none(_: &Digest) -> bool {
    false
}

impl World {
    pub fn new(n: usize) -> Self {
        Self::with(n, Params::default())
    }

    pub fn with(n: usize, params: Params) -> Self {
        Self::on("care", n, params)
    }

    /// Members of the same names and keys on any channel.
    pub fn on(channel: &str, n: usize, params: Params) -> Self {
        let keys: Vec<Keys> = (0..n).map(|i| Keys::new(org(i), 0)).collect();
        let members = keys.iter().map(Keys::member).collect();
        let genesis = Genesis {
            channel: ChannelId::new(channel).unwrap(),
            time: Timestamp(1_000_000),
            members,
            schemas: vec![schema()],
            params,
        };
        let mut view = MemoryView::default();
        view.write(&genesis_state(&genesis).unwrap().writes);
        Self { genesis, keys, view, now: Timestamp(2_000_000), chain: Vec::new() }
    }

    pub fn ledger(&self) -> Ledger<'_> {
        Ledger::open(&self.view).unwrap()
    }

    pub fn channel(&self) -> &ChannelId {
        &self.genesis.channel
    }

    pub fn statement(&self, custodian: usize, root: Digest, records: u32) -> Statement {
        let height = self.ledger().head().height.next();
        Statement {
            custodian: org(custodian),
            batch_root: root,
            records,
            schema: schema(),
            epoch: height.0 / self.genesis.params.epoch_blocks,
            expires: Height(height.0 + 10),
        }
    }

    pub fn attest(&self, statement: &Statement, attesters: &[usize]) -> InteropProof {
        let one = |i: &usize| {
            let k = &self.keys[*i];
            k.validate.attest(self.channel(), &k.organisation, statement)
        };
        InteropProof { attestations: attesters.iter().map(one).collect() }
    }

    pub fn batch(&self, statement: Statement, attesters: &[usize]) -> Tx {
        let proof = self.attest(&statement, attesters);
        let sender = statement.custodian.clone();
        let keys = self.keys.iter().find(|k| k.organisation == sender).unwrap();
        keys.ingest
            .sign_tx(self.channel(), UnsignedTx { sender, body: TxBody::Batch(Batch { statement, proof }) })
    }

    /// Batches of one custodian, with attestations and signatures that were made together.
    pub fn batches(&self, statements: &[Statement], attesters: &[usize]) -> Vec<Tx> {
        let of = |i: &usize| {
            let k = &self.keys[*i];
            k.validate.attest_all(self.channel(), &k.organisation, statements)
        };
        let attested: Vec<Vec<Attestation>> = attesters.iter().map(of).collect();
        let sender = &statements[0].custodian;
        let unsigned = statements.iter().enumerate().map(|(i, statement)| {
            let attestations = attested.iter().map(|all| all[i].clone()).collect();
            let batch = Batch { statement: statement.clone(), proof: InteropProof { attestations } };
            UnsignedTx { sender: sender.clone(), body: TxBody::Batch(batch) }
        });
        let keys = self.keys.iter().find(|k| k.organisation == *sender).unwrap();
        keys.ingest.sign_txs(self.channel(), unsigned.collect())
    }

    /// A valid batch of one record with this content.
    pub fn any_batch(&self, content: &str) -> Tx {
        let statement = self.statement(0, Digest::tagged("test/batch", content.as_bytes()), 1);
        let all: Vec<usize> = (0..self.keys.len()).collect();
        self.batch(statement, &all)
    }

    /// A valid batch of this custodian, attested by its first two thirds of members.
    pub fn any_batch_of(&self, custodian: usize) -> Tx {
        let statement = self.statement(custodian, Digest::tagged("test/batch-of", &[custodian as u8]), 1);
        self.batch(statement, &[0, 1, 2])
    }

    pub fn consent(&self, handle: &str, version: u64, signer: &SigningKey, next: &SigningKey) -> Tx {
        let core = ConsentCore {
            handle: Digest::tagged("test/consent", handle.as_bytes()),
            version,
            status: ConsentStatus::Active,
            content: Digest::tagged("test/content", &version.to_be_bytes()),
            controller: next.public(),
        };
        let change = signer.sign_consent(self.channel(), core);
        self.sign(0, TxBody::Consent(change))
    }

    pub fn sign(&self, member: usize, body: TxBody) -> Tx {
        let keys = &self.keys[member];
        let key = match crate::check::signer(&body) {
            Role::Consensus => &keys.consensus,
            Role::Validate => &keys.validate,
            Role::Ingest => &keys.ingest,
            Role::Audit => &keys.audit,
            Role::Governance => &keys.governance,
        };
        key.sign_tx(self.channel(), UnsignedTx { sender: keys.organisation.clone(), body })
    }

    /// A motion with the approvals of these members, sent by the first.
    pub fn motion(&self, action: Action, approvers: &[usize]) -> Tx {
        let carried: Option<u64> = self.state(&crate::state::motions_key());
        let height = self.ledger().head().height;
        let motion = Motion { sequence: carried.unwrap_or(0) + 1, expires: Height(height.0 + 10), action };
        self.approved(motion, approvers)
    }

    pub fn approved(&self, motion: Motion, approvers: &[usize]) -> Tx {
        let mut approvals: Vec<Approval> = approvers
            .iter()
            .map(|i| &self.keys[*i])
            .map(|k| k.governance.approve(self.channel(), &k.organisation, &motion))
            .collect();
        approvals.sort_by(|a, b| a.organisation.cmp(&b.organisation));
        self.sign(approvers[0], TxBody::Governance(Governance { motion, approvals }))
    }

    /// The decoded value of a state key.
    pub fn state<T: Canonical>(&self, key: &[u8]) -> Option<T> {
        self.ledger().get(key).unwrap().map(|bytes| T::from_canonical(&bytes).unwrap())
    }

    pub fn anchor(&self, member: usize, anchor: AuditAnchor) -> Tx {
        self.sign(member, TxBody::AuditAnchor(anchor))
    }

    pub fn vote(&self, member: usize, schema: Digest, admit: u16, round: u64) -> Tx {
        self.sign(member, TxBody::ProfileVote(ProfileVote { schema, admit, activates: Height(0), round }))
    }

    /// Builds a block of these transactions, all of which must be valid, and commits it.
    pub fn commit(&mut self, txs: &[Tx]) -> (Block, Applied) {
        self.now = Timestamp(self.now.0 + 1000);
        let bytes: Vec<Vec<u8>> = txs.iter().map(Canonical::to_canonical).collect();
        let proposer = self.ledger().members()[0].organisation.clone();
        let built = self.ledger().build_block(&proposer, &bytes, self.now, &known_none).unwrap();
        assert_eq!(built.dropped, Vec::new());
        assert_eq!(built.block.txs, bytes);
        let validated = self.ledger().validate_block(&built.block, self.now, &known_none).unwrap();
        assert_eq!(validated, built.applied);
        let n = self.ledger().members().len();
        let signers: Vec<u16> = (0..n * 2 / 3 + 1).map(|i| i as u16).collect();
        let certificate = self.certificate(&built.block, &signers);
        self.view.write(&built.applied.writes);
        self.chain.push((built.block.clone(), certificate));
        (built.block, built.applied)
    }

    /// Precommits of these validators of the block's height.
    pub fn certificate(&self, block: &Block, signers: &[u16]) -> CommitCertificate {
        let (height, round, id) = (block.header.height, 3, block.id());
        let members =
            self.ledger().members_at(height).unwrap().unwrap_or_else(|| self.genesis.members.clone());
        let signatures = signers
            .iter()
            .map(|v| {
                let vote = Precommit { height, round, block: Some(id), validator: *v };
                let key = members[usize::from(*v)].consensus;
                let key = &self.keys.iter().find(|k| k.consensus.public() == key).unwrap().consensus;
                CommitSignature { validator: *v, signature: key.sign(&vote.signing_bytes(self.channel())) }
            })
            .collect();
        CommitCertificate { height, round, block: id, signatures }
    }

    /// Each change of the members before a height, as proofs carry it.
    pub fn changes_before(&self, height: Height) -> Vec<ValidatorChange> {
        let ledger = self.ledger();
        let one = |at: Height| {
            let (block, certificate) = self.chain[at.0 as usize - 1].clone();
            ValidatorChange {
                header: block.header,
                certificate,
                members: ledger.members_at(at.next()).unwrap().unwrap(),
            }
        };
        ledger.changes_before(height).unwrap().into_iter().map(one).collect()
    }

    pub fn tx_proof(&self, block: &Block, index: usize) -> TxProof {
        let n = self.ledger().members_at(block.header.height).unwrap().map_or(self.keys.len(), |m| m.len());
        let signers: Vec<u16> = (0..n * 2 / 3 + 1).map(|i| i as u16).collect();
        TxProof {
            tx: block.txs[index].clone(),
            inclusion: Inclusion::of(&block.tx_leaves(), index).unwrap(),
            header: block.header.clone(),
            certificate: self.certificate(block, &signers),
            validator_changes: self.changes_before(block.header.height),
        }
    }

    /// Commits a batch of three records; a receipt of the second with all leaves open.
    pub fn receipt(&mut self) -> Receipt {
        self.receipt_by(&[0, 1, 2])
    }

    /// The same with these attesters.
    pub fn receipt_by(&mut self, attesters: &[usize]) -> Receipt {
        let leaves = patient();
        let height = self.ledger().head().height.0;
        let seeds = [1, 2, 3].map(|i| [height as u8 + i; 32]);
        let records: Vec<RecordCommitment> = seeds
            .iter()
            .map(|s| commitment::commit("Patient", &leaves, s).unwrap().commitment().clone())
            .collect();
        let statement = self.statement(1, commitment::batch_root(&records), 3);
        let neighbour = |name: &str| {
            let root = Digest::tagged("test/batch", format!("{name}{height}").as_bytes());
            self.statement(1, root, 1)
        };
        let (before, after) = (neighbour("before"), neighbour("after"));
        let txs = self.batches(&[before, statement, after], attesters);
        let (block, _) = self.commit(&txs);
        let committed = commitment::commit("Patient", &leaves, &seeds[1]).unwrap();
        Receipt {
            format: RECEIPT_FORMAT.to_owned(),
            genesis: self.genesis.digest(),
            record: committed.commitment().clone(),
            batch: commitment::batch_inclusions(&records)[1].clone(),
            transaction: self.tx_proof(&block, 1),
            openings: committed.open_all().unwrap(),
        }
    }
}

/// A made-up patient.
pub fn patient() -> Vec<Leaf<'static>> {
    vec![
        Leaf { path: "Patient.resourceType", kind: LeafKind::String, token: b"\"Patient\"" },
        Leaf { path: "Patient.active", kind: LeafKind::Boolean, token: b"true" },
        Leaf { path: "Patient.name[0].family", kind: LeafKind::String, token: b"\"Example\"" },
        Leaf { path: "Patient.multipleBirthInteger", kind: LeafKind::Number, token: b"2" },
        Leaf { path: "Patient.name[0].given[0]", kind: LeafKind::Null, token: b"null" },
    ]
}
