//! A block in the making: transactions executed one after the other on a copy of what they touch.

use crate::apply::{Applied, Effect, Ledger, Outcome};
use crate::check::{self, CheckError, Look, check_with_state, find};
use crate::committee;
use crate::state::{
    self, AnchorRecord, BatchRecord, ConsentRecord, DisputeRecord, ErasureRecord, EvidenceHead,
    EvidenceRecord, HeadRecord, KeyEpochRecord, PendingMembers, PolicyRecord, ReadError, SchemaRecord,
    SeriesRecord, VoteRecord,
};
use crate::{dispute, governance, tiles, tree};
use consilium_domain::block::Header;
use consilium_domain::canon::Canonical;
use consilium_domain::evidence::Evidence;
use consilium_domain::governance::{Action, Motion, Sanction};
use consilium_domain::tx::{Erasure, ProfileVote, Tx, TxBody, tx_id};
use consilium_domain::{Digest, Height, OrgId};
use std::collections::BTreeMap;

/// A state key as a block finds it and as it leaves it.
struct Slot {
    /// Version that wrote the value before this block.
    version: Option<u64>,
    value: Option<Vec<u8>>,
    /// The value before this block, once there is another.
    replaced: Option<Option<Vec<u8>>>,
}

/// The state in the middle of a block.
pub(crate) struct Session<'l> {
    ledger: &'l Ledger<'l>,
    height: Height,
    slots: BTreeMap<Vec<u8>, Slot>,
    outcomes: Vec<Outcome>,
}

impl Look for Session<'_> {
    fn look(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.slot(key)?.value.clone())
    }
}

impl<'l> Session<'l> {
    pub(crate) fn new(ledger: &'l Ledger<'l>) -> Self {
        Self { ledger, height: ledger.head().height.next(), slots: BTreeMap::new(), outcomes: Vec::new() }
    }

    fn slot(&mut self, key: &[u8]) -> Result<&mut Slot, ReadError> {
        if !self.slots.contains_key(key) {
            let found = tree::read(self.ledger.view, tree::key_hash(key), self.ledger.head().height.0)?;
            let (version, value) = found.map_or((None, None), |(version, value)| (Some(version), value));
            self.slots.insert(key.to_vec(), Slot { version, value, replaced: None });
        }
        self.slots.get_mut(key).ok_or_else(|| ReadError("a slot is missing".to_owned()))
    }

    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), ReadError> {
        let slot = self.slot(key)?;
        let before = std::mem::replace(&mut slot.value, value);
        slot.replaced.get_or_insert(before);
        Ok(())
    }

    fn put<T: Canonical>(&mut self, key: &[u8], value: &T) -> Result<(), ReadError> {
        self.set(key, Some(value.to_canonical()))
    }

    /// Checks and executes one transaction; one that is refused leaves no trace.
    pub(crate) fn run(&mut self, bytes: &[u8], known: &dyn Fn(&Digest) -> bool) -> Result<(), CheckError> {
        let tx = check::check(bytes)?;
        let id = tx_id(bytes);
        check_with_state(&self.ledger.context, self, self.height, &tx, known(&id))?;
        let sender = tx.unsigned.sender.clone();
        let effect = self.execute(id, tx)?;
        self.outcomes.push(Outcome { id, sender, effect });
        Ok(())
    }

    /// Executes a transaction that has passed its checks.
    fn execute(&mut self, id: Digest, tx: Tx) -> Result<Effect, ReadError> {
        let (sender, height) = (tx.unsigned.sender, self.height);
        Ok(match tx.unsigned.body {
            TxBody::Batch(batch) => {
                let s = batch.statement;
                let record = BatchRecord { height, custodian: s.custodian, records: s.records, tx: id };
                self.put(&state::batch_key(&s.batch_root), &record)?;
                Effect::Batch { root: s.batch_root, records: s.records }
            }
            TxBody::Consent(change) => {
                let (handle, version) = (change.core.handle, change.core.version);
                let record = ConsentRecord { core: change.core, height, sender };
                self.put(&state::consent_key(&handle), &record)?;
                Effect::Consent { handle, version }
            }
            TxBody::AuditAnchor(anchor) => {
                let record = AnchorRecord { size: anchor.size, root: anchor.root, height };
                self.put(&state::anchor_key(&sender), &record)?;
                Effect::AuditAnchor { size: anchor.size }
            }
            TxBody::ProfileVote(vote) => {
                let decided = self.vote(&sender, &vote)?;
                Effect::ProfileVote { schema: vote.schema, admit: vote.admit == 1, decided }
            }
            TxBody::Governance(governance) => self.carry(governance.motion)?,
            TxBody::Evidence(evidence) => self.record_evidence(id, &sender, &evidence)?,
            TxBody::Dispute(dispute) => {
                let (root, schema, attesters) = dispute::accused(&dispute)
                    .ok_or_else(|| ReadError("a checked dispute has lost its batch".to_owned()))?;
                let record = dispute.record.digest();
                let entry =
                    DisputeRecord { schema, attesters: attesters.clone(), reporter: sender, height, tx: id };
                self.put(&state::dispute_key(&root, &record), &entry)?;
                Effect::Dispute { batch: root, record, attesters }
            }
            TxBody::Policy(n) => {
                let record =
                    PolicyRecord { version: n.version, digest: n.digest, activates: n.activates, height };
                self.put(&state::policy_key(&sender), &record)?;
                Effect::Policy { version: n.version }
            }
            TxBody::KeyEpoch(k) => {
                let record = KeyEpochRecord { epoch: k.epoch, keys: k.keys, height };
                self.put(&state::key_epoch_key(&sender), &record)?;
                Effect::KeyEpoch { epoch: k.epoch }
            }
            TxBody::Erasure(erasure) => self.record_erasure(&sender, &erasure)?,
            TxBody::Samples(s) => {
                let series = s.series.digest();
                let next = s.first.saturating_add(u64::from(s.count));
                let record = SeriesRecord { custodian: sender, next, height };
                self.put(&state::series_key(&series), &record)?;
                Effect::Samples { series, first: s.first, count: s.count }
            }
        })
    }

    /// Records a vote; true when it carries the motion and changes the schema set.
    fn vote(&mut self, sender: &OrgId, vote: &ProfileVote) -> Result<bool, ReadError> {
        let record = VoteRecord { admit: vote.admit, activates: vote.activates, round: vote.round };
        self.put(&state::vote_key(&vote.schema, sender), &record)?;
        let ledger = self.ledger;
        let mut alike = 0_usize;
        for member in ledger.members() {
            let cast: Option<VoteRecord> = find(self, &state::vote_key(&vote.schema, &member.organisation))?;
            alike +=
                usize::from(cast.is_some_and(|c| (c.admit, c.activates) == (vote.admit, vote.activates)));
        }
        if alike < committee::quorum(ledger.members().len()) {
            return Ok(false);
        }
        let key = state::schema_key(&vote.schema);
        let from = vote.activates.max(self.height.next());
        let before: Option<SchemaRecord> = find(self, &key)?;
        let after = match (vote.admit == 1, before) {
            (true, Some(b)) if b.in_force(from) && b.until.is_none() => return Ok(false),
            (true, Some(b)) if b.in_force(from) => SchemaRecord { until: None, ..b },
            (true, _) => SchemaRecord { since: from, until: None },
            (false, Some(b)) if b.until.is_none_or(|until| until > from) => {
                SchemaRecord { until: Some(from), ..b }
            }
            (false, _) => return Ok(false),
        };
        self.put(&key, &after)?;
        Ok(true)
    }

    /// Executes a motion that enough organisations have approved.
    fn carry(&mut self, motion: Motion) -> Result<Effect, ReadError> {
        self.put(&state::motions_key(), &motion.sequence)?;
        let sequence = motion.sequence;
        if let Action::Sanction(sanction) = motion.action {
            let effect = Effect::Sanction {
                sequence,
                organisation: sanction.organisation.clone(),
                until: sanction.until,
            };
            self.sanction(sanction)?;
            return Ok(effect);
        }
        let members = governance::after(self.ledger.members(), &motion.action);
        let from = self.height.next().next();
        self.put(&state::pending_key(), &PendingMembers { members, from })?;
        Ok(Effect::Members { sequence, from })
    }

    fn sanction(&mut self, sanction: Sanction) -> Result<(), ReadError> {
        let height = self.height;
        let mut all: Vec<Sanction> = find(self, &state::sanctions_key())?.unwrap_or_default();
        // Those that are over go with it: the list stays as short as what is in force.
        all.retain(|s| s.organisation != sanction.organisation && s.until > height);
        if sanction.until > height {
            all.push(sanction);
        }
        all.sort_by(|a, b| a.organisation.cmp(&b.organisation));
        self.put(&state::sanctions_key(), &all)
    }

    fn record_evidence(
        &mut self,
        id: Digest,
        reporter: &OrgId,
        evidence: &Evidence,
    ) -> Result<Effect, ReadError> {
        let step = &evidence.first.step;
        let members = state::members_at(self, step.height())?;
        let offender = members
            .get(usize::from(step.validator()))
            .map(|m| m.organisation.clone())
            .ok_or_else(|| ReadError("checked evidence has lost its validator".to_owned()))?;
        let key = state::evidence_key(&offender);
        let head: EvidenceHead = find(self, &key)?.unwrap_or_default();
        let record =
            EvidenceRecord { tx: id, reporter: reporter.clone(), height: self.height, previous: head.newest };
        self.put(&state::evidence_at_key(&offender, step.height()), &record)?;
        let count = head.count.saturating_add(1);
        self.put(&key, &EvidenceHead { count, newest: step.height() })?;
        Ok(Effect::Evidence { offender, height: step.height() })
    }

    fn record_erasure(&mut self, sender: &OrgId, erasure: &Erasure) -> Result<Effect, ReadError> {
        let key = state::erasure_key(sender);
        let before: Option<ErasureRecord> = find(self, &key)?;
        let count = u64::from(erasure.count);
        let record = ErasureRecord {
            sequence: erasure.sequence,
            total: before.map_or(0, |b| b.total).saturating_add(count),
            height: self.height,
        };
        self.put(&key, &record)?;
        Ok(Effect::Erasure { kind: erasure.kind, ground: erasure.ground, count: erasure.count })
    }

    /// Closes the block: head, committee seed, members of the next height, log, tree.
    pub(crate) fn finish(mut self, header: &Header, leaves: Vec<Digest>) -> Result<Applied, ReadError> {
        let block = header.id();
        let head = HeadRecord { height: header.height, time: header.time, block };
        self.put(&state::head_key(), &head)?;
        let params = self.ledger.params();
        let (epoch, next) =
            (committee::epoch_of(params, header.height), committee::epoch_of(params, header.height.next()));
        if next != epoch {
            self.put(&state::epoch_key(next), &block)?;
            // Attestations of the epoch that is now the one before are still accepted, older ones are not.
            if let Some(old) = next.checked_sub(2)
                && self.look(&state::epoch_key(old))?.is_some()
            {
                self.set(&state::epoch_key(old), None)?;
            }
        }
        let members_change = self.change_members(header.height)?;
        let mut log = self.ledger.log.clone();
        let mut writes = tiles::append(&mut log, &leaves);
        let changes = self
            .slots
            .into_iter()
            .filter_map(|(key, Slot { version, value, replaced })| {
                replaced.map(|before| (key, (version.map(|v| (v, before)), value)))
            })
            .collect();
        let (state_root, state_writes) = tree::write(self.ledger.view, header.height.0, changes)?;
        writes.extend(state_writes);
        writes.push(tree::frontier_write(&log));
        Ok(Applied {
            height: header.height,
            block,
            time: header.time,
            writes,
            state_root,
            log_size: log.size(),
            log_root: log.root(),
            members_change,
            outcomes: self.outcomes,
            leaves,
        })
    }

    /// Puts members in force that wait for the height after this block; its header has announced them.
    fn change_members(&mut self, height: Height) -> Result<bool, ReadError> {
        let Some(pending) = self.ledger.pending.as_ref().filter(|p| p.from == height.next()) else {
            return Ok(false);
        };
        self.put(&state::members_key(), &pending.members)?;
        self.put(&state::members_since_key(pending.from), &pending.members)?;
        self.set(&state::pending_key(), None)?;
        let mut changes: Vec<Height> = find(self, &state::changes_key())?.unwrap_or_default();
        changes.push(height);
        self.put(&state::changes_key(), &changes)?;
        Ok(true)
    }
}
