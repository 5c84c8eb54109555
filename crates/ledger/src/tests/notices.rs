//! Evidence, disputes, policies, key epochs, erasures, votes with a date: checked, executed, never twice.

use super::fixture::{Keys, World, org, patient, schema};
use crate::apply::Effect;
use crate::check::{CheckError, MAX_ATTESTATIONS, TxError, check};
use crate::commitment::{self, Leaf};
use crate::interop::InteropError;
use crate::state::{self, DisputeRecord, ErasureRecord, EvidenceHead, KeyEpochRecord, PolicyRecord};
use consilium_domain::block::{Precommit, Proposal};
use consilium_domain::canon::Canonical;
use consilium_domain::dispute::{Dispute, Fault, Finding};
use consilium_domain::evidence::{Evidence, SignedStep, Step};
use consilium_domain::governance::{Action, Approval, Governance, Motion};
use consilium_domain::merkle::Inclusion;
use consilium_domain::record::LeafKind;
use consilium_domain::tx::{
    ErasedKind, Erasure, ErasureGround, KeyEpoch, MAX_TX, PolicyNotice, ProfileVote, Tx, TxBody,
};
use consilium_domain::{CanonError, Digest, Height, Signature};
use proptest::prelude::*;

fn refused(world: &World, tx: &Tx) -> TxError {
    match world.ledger().check_tx(&tx.to_canonical()) {
        Err(CheckError::Invalid(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn accepted(world: &World, tx: &Tx) {
    world.ledger().check_tx(&tx.to_canonical()).unwrap();
}

fn block(name: &str) -> Option<Digest> {
    Some(Digest::tagged("test/block", name.as_bytes()))
}

fn vote(height: u64, round: u32, validator: u16, block: Option<Digest>) -> Precommit {
    Precommit { height: Height(height), round, block, validator }
}

fn signed(world: &World, signer: usize, step: Step) -> SignedStep {
    let signature = world.keys[signer].consensus.sign(&step.signing_bytes(world.channel()));
    SignedStep { step, signature }
}

/// Two precommits of validator 2 at a height.
fn double_vote(world: &World, height: u64) -> Evidence {
    Evidence::new(
        signed(world, 2, Step::Precommit(vote(height, 0, 2, block("a")))),
        signed(world, 2, Step::Precommit(vote(height, 0, 2, None))),
    )
}

#[test]
fn evidence_of_every_kind_is_recorded_once_and_nobody_is_punished() {
    let mut world = World::new(4);
    world.commit(&[]);
    world.commit(&[]);
    let proposal = |b: &str| {
        Step::Proposal(Proposal {
            height: Height(2),
            round: 1,
            pol_round: None,
            block: block(b).unwrap(),
            validator: 2,
        })
    };
    let prevote = |b| Step::Prevote(vote(3, 7, 2, b));
    let of_proposals = Evidence::new(signed(&world, 2, proposal("a")), signed(&world, 2, proposal("b")));
    let of_prevotes =
        Evidence::new(signed(&world, 2, prevote(block("a"))), signed(&world, 2, prevote(block("b"))));
    let all = [double_vote(&world, 1), of_proposals, of_prevotes];
    let txs: Vec<Tx> = all.iter().map(|e| world.sign(0, TxBody::Evidence(e.clone()))).collect();
    let (_, applied) = world.commit(&txs);
    for (outcome, height) in applied.outcomes.iter().zip([1, 2, 3]) {
        assert_eq!(outcome.effect, Effect::Evidence { offender: org(2), height: Height(height) });
    }
    let listed = world.ledger().evidence(&org(2), 10).unwrap();
    assert_eq!(listed.iter().map(|(h, _)| h.0).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((listed[0].1.tx, &listed[0].1.reporter), (applied.outcomes[2].id, &org(0)));
    assert_eq!(world.ledger().evidence(&org(2), 2).unwrap().len(), 2);
    assert_eq!(world.ledger().evidence(&org(1), 9).unwrap(), []);
    let head: EvidenceHead = world.state(&state::evidence_key(&org(2))).unwrap();
    assert_eq!(head, EvidenceHead { count: 3, newest: Height(3) });
    // The same again by another reporter, or another pair of that height, brings nothing new.
    for evidence in all {
        let height = evidence.first.step.height();
        let error = refused(&world, &world.sign(1, TxBody::Evidence(evidence)));
        assert_eq!(error, TxError::KnownEvidence { offender: org(2), height });
    }
    assert_eq!(world.ledger().validators().validators.len(), 4);
    accepted(&world, &world.any_batch_of(2));
}

#[test]
fn what_is_no_evidence_is_refused() {
    let mut world = World::new(4);
    world.commit(&[]);
    let judge = |evidence: Evidence| refused(&world, &world.sign(0, TxBody::Evidence(evidence)));
    let good = double_vote(&world, 1);
    accepted(&world, &world.sign(0, TxBody::Evidence(good.clone())));
    let pair = |a: Step, b: Step| Evidence::new(signed(&world, 2, a), signed(&world, 2, b));
    let no = |evidence| assert!(matches!(judge(evidence), TxError::NoEvidence(_)));
    let a = vote(1, 0, 2, block("a"));
    // The same vote twice, two rounds, two heights, two validators, a prevote and a precommit: all honest.
    no(pair(Step::Precommit(a.clone()), Step::Precommit(a.clone())));
    no(pair(Step::Precommit(a.clone()), Step::Precommit(vote(1, 1, 2, block("b")))));
    no(pair(Step::Precommit(a.clone()), Step::Precommit(vote(2, 0, 2, block("b")))));
    no(pair(Step::Precommit(a.clone()), Step::Precommit(vote(1, 0, 1, block("b")))));
    no(pair(Step::Precommit(a.clone()), Step::Prevote(vote(1, 0, 2, block("b")))));
    no(Evidence { first: good.second.clone(), second: good.first.clone() });
    // Somebody else's signature, a validator that is none, heights that are not decided yet.
    let forged = signed(&world, 1, Step::Precommit(vote(1, 0, 2, block("b"))));
    no(Evidence::new(good.first.clone(), forged));
    no(pair(Step::Precommit(vote(1, 0, 4, block("a"))), Step::Precommit(vote(1, 0, 4, block("b")))));
    no(double_vote(&world, 0));
    no(double_vote(&world, 3));
    // Votes of another channel convict nobody here.
    let elsewhere = World::on("claims", 4, world.genesis.params.clone());
    no(double_vote(&elsewhere, 1));
}

#[test]
fn evidence_is_judged_by_the_members_of_its_height() {
    let mut world = World::new(4);
    let rotated = Keys::new(org(2), 1);
    world.commit(&[world.motion(Action::Rotate(rotated.member()), &[0, 1, 2])]);
    world.keys.push(rotated);
    world.commit(&[]);
    world.commit(&[]);
    // Height 2 was the old key's, height 3 is the new one's.
    let by = |key: usize, height| {
        Evidence::new(
            signed(&world, key, Step::Precommit(vote(height, 0, 2, block("a")))),
            signed(&world, key, Step::Precommit(vote(height, 0, 2, block("b")))),
        )
    };
    for (key, height, convicts) in [(2, 2, true), (4, 2, false), (2, 3, false), (4, 3, true)] {
        let tx = world.sign(0, TxBody::Evidence(by(key, height)));
        assert_eq!(world.ledger().check_tx(&tx.to_canonical()).is_ok(), convicts, "{key} at {height}");
    }
}

/// A committed batch of one record with these leaves; its transaction and the record.
fn disputable<'l>(world: &mut World, leaves: &'l [Leaf<'l>]) -> (Tx, commitment::CommittedRecord<'l>) {
    let record = commitment::commit("Patient", leaves, &[7; 32]).unwrap();
    let root = commitment::batch_root(std::slice::from_ref(record.commitment()));
    let tx = world.batch(world.statement(1, root, 1), &[0, 1, 2]);
    world.commit(std::slice::from_ref(&tx));
    (tx, record)
}

fn dispute(batch: &Tx, record: &commitment::CommittedRecord<'_>, fault: Fault) -> Dispute {
    Dispute {
        batch: batch.to_canonical(),
        record: record.commitment().clone(),
        place: Inclusion { index: 0, size: 1, path: vec![] },
        fault,
    }
}

#[test]
fn a_leaf_that_contradicts_its_attestation_is_laid_open() {
    let faulty = [
        Leaf { path: "Patient.resourceType", kind: LeafKind::String, token: b"\"Patient\"" },
        Leaf { path: "Observation.status", kind: LeafKind::String, token: b"\"final\"" },
        Leaf { path: "Patient.multipleBirthInteger", kind: LeafKind::Number, token: b"01" },
        Leaf { path: "Patient.extension[0].valueDecimal", kind: LeafKind::Number, token: b"-1.50e+3" },
    ];
    let mut world = World::new(4);
    let (tx, record) = disputable(&mut world, &faulty);
    let evident = |leaf| dispute(&tx, &record, Fault::Evident(record.open(leaf).unwrap()));
    for honest in [0, 3] {
        let error = refused(&world, &world.sign(3, TxBody::Dispute(evident(honest))));
        assert!(matches!(error, TxError::NoDispute(why) if why.contains("no fault")), "{error}");
    }
    accepted(&world, &world.sign(3, TxBody::Dispute(evident(1))));
    let (_, applied) = world.commit(&[world.sign(3, TxBody::Dispute(evident(2)))]);
    let (root, digest) = (tx_root(&tx), record.commitment().digest());
    let attesters = vec![org(0), org(1), org(2)];
    let effect = Effect::Dispute { batch: root, record: digest, attesters: attesters.clone() };
    assert_eq!(applied.outcomes[0].effect, effect);
    let entry: DisputeRecord = world.state(&state::dispute_key(&root, &digest)).unwrap();
    assert_eq!((entry.attesters, entry.reporter, entry.schema), (attesters, org(3), schema()));
    let again = refused(&world, &world.sign(2, TxBody::Dispute(evident(1))));
    assert!(matches!(again, TxError::NoDispute(why) if why.contains("already")));
}

fn tx_root(tx: &Tx) -> Digest {
    match &tx.unsigned.body {
        TxBody::Batch(b) => b.statement.batch_root,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_resource_type_other_than_the_committed_one_is_a_fault() {
    let leaves = [Leaf { path: "Patient.resourceType", kind: LeafKind::String, token: b"\"Person\"" }];
    let mut world = World::new(4);
    let (tx, record) = disputable(&mut world, &leaves);
    let fault = Fault::Evident(record.open(0).unwrap());
    accepted(&world, &world.sign(3, TxBody::Dispute(dispute(&tx, &record, fault))));
}

#[test]
fn what_the_ledger_cannot_see_is_judged_by_two_thirds_and_stays_closed() {
    let leaves = patient();
    let mut world = World::new(4);
    let (tx, record) = disputable(&mut world, &leaves);
    let opening = record.open(2).unwrap();
    let leaf = commitment::opening_leaf(&opening);
    let finding =
        Finding { batch_root: tx_root(&tx), record: record.commitment().digest(), leaf, schema: schema() };
    let judged = |finders: &[usize], finding: &Finding| {
        let one = |i: &usize| {
            let k = &world.keys[*i];
            k.validate.find(world.channel(), &k.organisation, finding)
        };
        let findings = finders.iter().map(one).collect();
        let fault = Fault::Judged { leaf, inclusion: opening.inclusion.clone(), findings };
        world.sign(3, TxBody::Dispute(dispute(&tx, &record, fault)))
    };
    let good = judged(&[0, 2, 3], &finding);
    accepted(&world, &good);
    let shown = good.to_canonical();
    assert!(!shown.windows(7).any(|w| w == b"Example"), "the value must not stand on the ledger");
    assert_eq!(refused(&world, &judged(&[0, 3], &finding)), TxError::Approvals { have: 2, need: 3 });
    assert!(matches!(refused(&world, &judged(&[3, 2, 0], &finding)), TxError::NoDispute(_)));
    let other = Finding { leaf: Digest::default(), ..finding.clone() };
    assert_eq!(refused(&world, &judged(&[0, 2, 3], &other)), TxError::BadApproval(org(0)));
    // Attestations of members are no findings of theirs.
    let mut tx = good;
    if let TxBody::Dispute(Dispute { fault: Fault::Judged { findings, .. }, .. }) = &mut tx.unsigned.body {
        findings[0].signed.signature = Signature([0; 64]);
    }
    let body = tx.unsigned.body.clone();
    assert_eq!(refused(&world, &world.sign(3, body)), TxError::BadApproval(org(0)));
}

#[test]
fn a_dispute_is_about_a_record_of_a_batch_on_this_ledger() {
    let faulty = [Leaf { path: "Patient.multipleBirthInteger", kind: LeafKind::Number, token: b"1." }];
    let mut world = World::new(4);
    let (tx, record) = disputable(&mut world, &faulty);
    let good = dispute(&tx, &record, Fault::Evident(record.open(0).unwrap()));
    accepted(&world, &world.sign(0, TxBody::Dispute(good.clone())));
    let judge = |change: &dyn Fn(&mut Dispute)| {
        let mut d = good.clone();
        change(&mut d);
        let error = refused(&world, &world.sign(0, TxBody::Dispute(d)));
        assert!(matches!(error, TxError::NoDispute(_)), "{error}");
    };
    judge(&|d| d.batch = vec![1, 2, 3]);
    judge(&|d| d.batch = world.vote(0, Digest::default(), 1, 1).to_canonical());
    judge(&|d| d.record.root = Digest::default());
    judge(&|d| d.place.size = 2);
    // The same batch with another set of attesters is not what the ledger has.
    let accuse = world.batch(world.statement(1, tx_root(&tx), 1), &[0, 1, 3]).to_canonical();
    judge(&|d| d.batch = accuse.clone());
    let Fault::Evident(opening) = &good.fault else { panic!("evident") };
    let mut long = opening.clone();
    long.token = "1".repeat(300);
    judge(&|d| d.fault = Fault::Evident(long.clone()));
    let mut moved = opening.clone();
    moved.salt = Digest::default();
    judge(&|d| d.fault = Fault::Evident(moved.clone()));
}

#[test]
fn policies_epochs_and_erasures_count_up_per_organisation() {
    let mut world = World::new(4);
    let policy = |version, activates| {
        TxBody::Policy(PolicyNotice { version, digest: schema(), activates: Height(activates) })
    };
    let epoch = |epoch| TxBody::KeyEpoch(KeyEpoch { epoch, keys: schema() });
    let erasure = |sequence, count| {
        let (kind, ground) = (ErasedKind::ClassKey, ErasureGround::Request);
        TxBody::Erasure(Erasure { sequence, kind, ground, count, record: Digest([7; 32]) })
    };
    let txs = [policy(1, 1), epoch(1), erasure(1, 3), erasure(2, 4)].map(|b| world.sign(1, b));
    let (_, applied) = world.commit(&txs);
    let effect = Effect::Erasure { kind: ErasedKind::ClassKey, ground: ErasureGround::Request, count: 3 };
    assert_eq!(applied.outcomes[2].effect, effect);
    let record: PolicyRecord = world.state(&state::policy_key(&org(1))).unwrap();
    assert_eq!((record.version, record.activates, record.height), (1, Height(1), Height(1)));
    let record: KeyEpochRecord = world.state(&state::key_epoch_key(&org(1))).unwrap();
    assert_eq!((record.epoch, record.keys), (1, schema()));
    let record: ErasureRecord = world.state(&state::erasure_key(&org(1))).unwrap();
    assert_eq!((record.sequence, record.total), (2, 7));
    for replayed in txs {
        assert!(matches!(refused(&world, &replayed), TxError::Sequence { .. }));
    }
    let judge = |body: TxBody| refused(&world, &world.sign(1, body));
    assert_eq!(judge(policy(3, 9)), TxError::Sequence { expected: 2, found: 3 });
    assert_eq!(judge(policy(2, 1)), TxError::TooEarly { activates: Height(1), height: Height(2) });
    assert_eq!(judge(epoch(3)), TxError::Sequence { expected: 2, found: 3 });
    assert_eq!(judge(erasure(3, 0)), TxError::NothingErased);
    // Another organisation counts for itself.
    accepted(&world, &world.sign(2, epoch(1)));
}

#[test]
fn a_schema_is_admitted_and_withdrawn_at_the_height_that_was_voted() {
    let mut world = World::new(4);
    let new = Digest::tagged("test", b"new schema");
    let vote = |member, admit, activates: u64, round| {
        let body = ProfileVote { schema: new, admit, activates: Height(activates), round };
        (member, TxBody::ProfileVote(body))
    };
    let cast = |w: &mut World, votes: Vec<(usize, TxBody)>| {
        let txs: Vec<Tx> = votes.into_iter().map(|(m, b)| w.sign(m, b)).collect();
        w.commit(&txs).1
    };
    // Three want it, but not from the same height on.
    cast(&mut world, vec![vote(0, 1, 5, 1), vote(1, 1, 5, 1), vote(2, 1, 6, 1)]);
    cast(&mut world, vec![]);
    assert!(!world.ledger().admits(&new).unwrap());
    let applied = cast(&mut world, vec![vote(2, 1, 5, 2)]);
    let effect = Effect::ProfileVote { schema: new, admit: true, decided: true };
    assert_eq!(applied.outcomes[0].effect, effect);
    assert!(!world.ledger().admits(&new).unwrap(), "block 4 comes before height 5");
    cast(&mut world, vec![vote(0, 0, 8, 3), vote(1, 0, 8, 3), vote(3, 0, 8, 1)]);
    // Admitted for blocks 5 to 7.
    for next in 5..10 {
        assert_eq!(world.ledger().head().height.next(), Height(next));
        assert_eq!(world.ledger().admits(&new).unwrap(), (5..8).contains(&next), "{next}");
        let mut statement = world.statement(0, Digest::tagged("r", &[next as u8]), 1);
        statement.schema = new;
        let verdict = world.ledger().check_tx(&world.batch(statement, &[0, 1, 2]).to_canonical());
        assert_eq!(verdict.is_ok(), (5..8).contains(&next), "{next}");
        world.commit(&[]);
    }
    // What was withdrawn may be admitted again.
    let votes = (0..3).map(|m| vote(m, 1, 0, 9)).collect();
    cast(&mut world, votes);
    assert!(world.ledger().admits(&new).unwrap());
}

#[test]
fn limits_come_before_everything_else() {
    let world = World::new(4);
    let motion = Motion { sequence: 1, expires: Height(5), action: Action::Remove(org(1)) };
    let approvals = (0..=MAX_ATTESTATIONS)
        .map(|i| Approval { organisation: org(i), signature: Signature([0; 64]) })
        .collect();
    let tx = world.sign(0, TxBody::Governance(Governance { motion, approvals }));
    assert_eq!(refused(&world, &tx), TxError::NotCanonical(CanonError::TooLong("approvals")));
    let statement = world.statement(0, Digest::default(), 1);
    let mut batch = world.batch(statement, &[0, 1, 2]);
    if let TxBody::Batch(b) = &mut batch.unsigned.body {
        let one = b.proof.attestations[0].clone();
        b.proof.attestations = vec![one; MAX_ATTESTATIONS + 1];
    }
    assert!(refused(&world, &batch) == TxError::NotCanonical(CanonError::TooLong("attestations")));
    if let TxBody::Batch(b) = &mut batch.unsigned.body {
        b.proof.attestations.truncate(2);
    }
    assert_eq!(refused(&world, &batch), TxError::Interop(InteropError::NotSorted));
    assert_eq!(check(&vec![5; MAX_TX + 1]), Err(TxError::TooLarge(MAX_TX + 1)));
}

/// One transaction of every kind, all acceptable to `world` after its second block.
pub fn one_of_each(world: &mut World) -> Vec<Tx> {
    let faulty = [Leaf { path: "Patient.multipleBirthInteger", kind: LeafKind::Number, token: b"1." }];
    let (tx, record) = disputable(world, &faulty);
    let (series, samples) = super::samples::described(world, 0, 40);
    let fault = Fault::Evident(record.open(0).unwrap());
    let key = crate::SigningKey::from_seed([9; 32]);
    let anchor = consilium_domain::tx::AuditAnchor { size: 1, root: Digest::default(), consistency: vec![] };
    let erasure = Erasure {
        sequence: 1,
        kind: ErasedKind::Backup,
        ground: ErasureGround::Retention,
        count: 1,
        record: Digest::default(),
    };
    vec![
        world.any_batch("each"),
        world.consent("each", 1, &key, &key),
        world.anchor(1, anchor),
        world.vote(2, Digest::default(), 1, 7),
        world.motion(Action::Remove(org(3)), &[0, 1, 2]),
        world.sign(0, TxBody::Evidence(double_vote(world, 1))),
        world.sign(3, TxBody::Dispute(dispute(&tx, &record, fault))),
        world.sign(2, TxBody::Policy(PolicyNotice { version: 1, digest: schema(), activates: Height(9) })),
        world.sign(1, TxBody::KeyEpoch(KeyEpoch { epoch: 1, keys: schema() })),
        world.sign(1, TxBody::Erasure(erasure)),
        super::samples::batch(world, &series, 0, &samples),
    ]
}

#[test]
fn every_byte_of_every_kind_matters_and_none_is_executed_twice() {
    let mut world = World::new(4);
    let txs = one_of_each(&mut world);
    let tags: Vec<u8> = txs.iter().map(|t| t.unsigned.body.to_canonical()[0]).collect();
    assert_eq!(tags, (1..=11).collect::<Vec<u8>>(), "one of each kind");
    for tx in &txs {
        let bytes = tx.to_canonical();
        world.ledger().check_tx(&bytes).unwrap();
        for i in 0..bytes.len() {
            let mut mutated = bytes.clone();
            mutated[i] ^= 1 << (i % 8);
            assert!(world.ledger().check_tx(&mutated).is_err(), "byte {i} of {tx:?}");
            assert!(check(&bytes[..i]).is_err());
        }
    }
    world.commit(&txs);
    for tx in &txs {
        refused(&world, tx);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any transactions of any kind, replayed, reordered, damaged: whatever enters a block is executed alike by a node
    /// that builds it and one that only applies it, and what is refused leaves no trace.
    #[test]
    fn any_mixture_is_executed_alike_everywhere(order in proptest::collection::vec((0_usize..11, any::<u16>()), 0..24)) {
        let mut world = World::new(4);
        let txs = one_of_each(&mut world);
        let candidates: Vec<Vec<u8>> = order
            .iter()
            .map(|(kind, at)| {
                let mut bytes = txs[*kind].to_canonical();
                if at % 5 == 0 {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] ^= 0x20;
                }
                bytes
            })
            .collect();
        let known = |_: &Digest| false;
        let built = world.ledger().build_block(&org(0), &candidates, world.now, &known).unwrap();
        prop_assert!(built.block.txs.len() <= 11, "each at most once");
        prop_assert_eq!(built.block.txs.len() + built.dropped.len(), candidates.len());
        let again = world.ledger().validate_block(&built.block, built.block.header.time, &known).unwrap();
        prop_assert_eq!(&again, &built.applied);
        let alone = world.ledger().build_block(&org(0), &built.block.txs, world.now, &known).unwrap();
        prop_assert_eq!(alone.applied.state_root, built.applied.state_root);
    }
}
