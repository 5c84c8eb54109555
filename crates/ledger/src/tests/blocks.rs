//! Blocks: validity, determinism, replay, building, pruning.

use super::fixture::{MemoryView, World, known_none, org};
use crate::apply::{BlockError, Effect, Ledger, prune, prune_range};
use crate::check::TxError;
use crate::genesis::{GenesisError, MembersError, genesis_state};
use crate::sign::SigningKey;
use crate::state::{self, HeadRecord};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::Params;
use consilium_domain::merkle;
use consilium_domain::tx::tx_id;
use consilium_domain::{Digest, Height, Timestamp};
use proptest::prelude::*;

#[test]
fn a_block_continues_its_parent_in_every_field() {
    let mut world = World::new(4);
    world.commit(&[world.any_batch("one")]);
    let tx = world.any_batch("two").to_canonical();
    let now = Timestamp(world.now.0 + 5);
    let good = world.ledger().build_block(&org(2), &[tx], now, &known_none).unwrap().block;
    let judge = |b: &consilium_domain::block::Block| world.ledger().validate_block(b, now, &known_none);
    judge(&good).unwrap();
    let wrong = |change: &dyn Fn(&mut consilium_domain::block::Header)| {
        let mut block = good.clone();
        change(&mut block.header);
        judge(&block).unwrap_err()
    };
    let other = Digest::tagged("other", b"");
    assert_eq!(wrong(&|h| h.version = 1), BlockError::Header("version"));
    assert_eq!(
        wrong(&|h| h.channel = consilium_domain::ChannelId::new("x").unwrap()),
        BlockError::Header("channel")
    );
    assert_eq!(wrong(&|h| h.height = Height(3)), BlockError::Header("height"));
    assert_eq!(wrong(&|h| h.previous = other), BlockError::Header("previous"));
    assert_eq!(wrong(&|h| h.proposer = org(9)), BlockError::Header("proposer"));
    assert_eq!(wrong(&|h| h.time = Timestamp(world.now.0)), BlockError::Header("time"));
    assert_eq!(wrong(&|h| h.tx_root = other), BlockError::Header("tx_root"));
    assert_eq!(wrong(&|h| h.state_root = other), BlockError::Header("state_root"));
    assert_eq!(wrong(&|h| h.log_size = 0), BlockError::Header("log_size"));
    assert_eq!(wrong(&|h| h.log_root = other), BlockError::Header("log_root"));
    assert_eq!(wrong(&|h| h.next_members = other), BlockError::Header("next_members"));
    assert_eq!(wrong(&|h| h.time = Timestamp(now.0 + 5001)), BlockError::Drift(5001));
    let mut emptied = good.clone();
    emptied.txs.clear();
    assert_eq!(judge(&emptied).unwrap_err(), BlockError::Header("tx_root"));
}

#[test]
fn one_invalid_transaction_makes_the_block_invalid() {
    let mut world = World::new(4);
    let old = world.any_batch("old");
    world.commit(std::slice::from_ref(&old));
    let candidates = [world.any_batch("new").to_canonical(), old.to_canonical()];
    let now = Timestamp(world.now.0 + 5);
    let built = world.ledger().build_block(&org(0), &candidates, now, &known_none).unwrap();
    let root = Digest::tagged("test/batch", b"old");
    assert_eq!(built.dropped, vec![(tx_id(&candidates[1]), TxError::DuplicateBatch(root))]);
    let mut block = built.block;
    block.txs.push(candidates[1].clone());
    block.header.tx_root = merkle::root(&block.tx_leaves());
    let error = world.ledger().validate_block(&block, now, &known_none).unwrap_err();
    assert_eq!(error, BlockError::Tx { index: 1, error: TxError::DuplicateBatch(root) });
    // The certified path does not skip the rules of state either.
    assert!(world.ledger().apply_block(&block).is_err());
    // The same transaction twice in one block.
    block.txs[1] = block.txs[0].clone();
    block.header.tx_root = merkle::root(&block.tx_leaves());
    let error = world.ledger().validate_block(&block, now, &known_none).unwrap_err();
    assert!(matches!(error, BlockError::Tx { index: 1, error: TxError::DuplicateBatch(_) }));
}

#[test]
fn a_forged_signature_is_seen_unless_this_node_has_verified_that_transaction() {
    let world = World::new(4);
    let mut tx = world.any_batch("x");
    tx.signed.signature.0[5] ^= 1;
    let bytes = tx.to_canonical();
    let build = |known: &dyn Fn(&Digest) -> bool| {
        world.ledger().build_block(&org(0), std::slice::from_ref(&bytes), world.now, known).unwrap()
    };
    assert_eq!(build(&known_none).block.txs.len(), 0);
    let block = build(&|_| true).block;
    let error = world.ledger().validate_block(&block, world.now, &known_none).unwrap_err();
    assert!(matches!(error, BlockError::Tx { index: 0, error: TxError::BadSignature(_) }));
}

#[test]
fn a_body_over_the_limit_is_neither_built_nor_accepted() {
    let params = Params { max_block_bytes: 64 * 1024 + 4, ..Params::default() };
    let world = World::with(10, params);
    let candidates: Vec<Vec<u8>> = (0..80).map(|i| world.any_batch(&i.to_string()).to_canonical()).collect();
    let built = world.ledger().build_block(&org(0), &candidates, world.now, &known_none).unwrap();
    let size: usize = built.block.txs.iter().map(|t| t.len() + 4).sum();
    assert!(size <= 64 * 1024 + 4 && size + candidates[0].len() + 4 > 64 * 1024 + 4, "{size}");
    assert_eq!(built.dropped, vec![]);
    let mut block = built.block;
    block.txs = candidates;
    block.header.tx_root = merkle::root(&block.tx_leaves());
    let error = world.ledger().validate_block(&block, world.now, &known_none).unwrap_err();
    assert_eq!(error, BlockError::TooLarge);
}

#[test]
fn time_grows_even_where_the_proposers_clock_lags() {
    let mut world = World::new(4);
    let (first, _) = world.commit(&[]);
    let earlier = Timestamp(first.header.time.0 - 500);
    let block = world.ledger().build_block(&org(1), &[], earlier, &known_none).unwrap().block;
    assert_eq!(block.header.time, Timestamp(first.header.time.0 + 1));
    world.ledger().validate_block(&block, earlier, &known_none).unwrap();
}

#[test]
fn a_block_reports_what_it_did_and_where_it_stands() {
    let mut world = World::new(4);
    let (block, applied) = world.commit(&[world.any_batch("x"), world.vote(1, Digest::default(), 1, 1)]);
    let root = Digest::tagged("test/batch", b"x");
    assert_eq!(applied.outcomes[0].effect, Effect::Batch { root, records: 1 });
    let vote = Effect::ProfileVote { schema: Digest::default(), admit: true, decided: false };
    assert_eq!((applied.outcomes[1].effect.clone(), &applied.outcomes[1].sender), (vote, &org(1)));
    assert_eq!(applied.outcomes[0].id, tx_id(&block.txs[0]));
    let ledger = world.ledger();
    let head = HeadRecord { height: Height(1), time: block.header.time, block: block.id() };
    assert_eq!(*ledger.head(), head);
    let stored = ledger.get(&state::head_key()).unwrap().unwrap();
    assert_eq!(HeadRecord::from_canonical(&stored).unwrap(), head);
    assert_eq!((ledger.state_root(), ledger.log_size()), (applied.state_root, 2));
    assert_eq!(applied.log_root, merkle::root(&block.tx_leaves()));
}

#[test]
fn an_applied_block_cannot_be_applied_again() {
    let mut world = World::new(4);
    let (block, _) = world.commit(&[world.any_batch("x")]);
    assert_eq!(world.ledger().apply_block(&block).unwrap_err(), BlockError::Header("height"));
}

#[test]
fn pruning_keeps_the_newest_state_whole() {
    let mut world = World::new(4);
    let key = SigningKey::from_seed([9; 32]);
    for i in 1..30 {
        let txs = [world.any_batch(&i.to_string()), world.consent("c", i, &key, &key)];
        world.commit(&txs);
    }
    let whole = world.view.clone();
    let (from, to) = prune_range(Height(29));
    let marks: Vec<_> = world.view.0.range(from..to).map(|(k, v)| (k.clone(), v.clone())).collect();
    world.view.write(&prune(&marks).unwrap());
    assert!(world.view.0.len() * 2 < whole.0.len(), "{} of {}", world.view.0.len(), whole.0.len());
    let (pruned, full) = (world.ledger(), Ledger::open(&whole).unwrap());
    assert_eq!(pruned.state_root(), full.state_root());
    let handles = [b"c".as_slice(), b"d"].map(|h| state::consent_key(&Digest::tagged("test/consent", h)));
    let batches = (1..30).map(|i| state::batch_key(&Digest::tagged("test/batch", i.to_string().as_bytes())));
    for key in handles.into_iter().chain(batches) {
        assert_eq!(pruned.get(&key).unwrap(), full.get(&key).unwrap());
        let (value, proof) = crate::proof::prove(&world.view, Height(29), &key).unwrap();
        crate::proof::verify(&full.state_root(), &key, value.as_deref(), &proof).unwrap();
    }
    world.commit(&[world.any_batch("after")]);
}

#[test]
fn a_damaged_view_is_an_error_not_a_panic() {
    let mut world = World::new(4);
    world.commit(&[world.any_batch("x")]);
    let tx = world.any_batch("y").to_canonical();
    for (key, value) in world.view.0.clone() {
        for cut in [0, value.len() / 2] {
            let mut view = world.view.clone();
            view.0.insert(key.clone(), value[..cut].to_vec());
            if let Ok(ledger) = Ledger::open(&view) {
                let _ = ledger.build_block(&org(0), std::slice::from_ref(&tx), world.now, &known_none);
            }
        }
    }
    let empty = MemoryView::default();
    assert!(Ledger::open(&empty).is_err());
}

#[test]
fn a_genesis_that_cannot_run_is_refused() {
    let good = World::new(7).genesis;
    let wrong = |change: &dyn Fn(&mut consilium_domain::genesis::Genesis)| {
        let mut genesis = good.clone();
        change(&mut genesis);
        genesis_state(&genesis).unwrap_err()
    };
    assert_eq!(wrong(&|g| g.members.clear()), MembersError::Count(0).into());
    assert_eq!(wrong(&|g| g.members.swap(0, 1)), MembersError::NotSorted.into());
    let shared = wrong(&|g| g.members[1].audit = g.members[1].ingest);
    assert_eq!(shared, MembersError::SharedKey(good.members[1].ingest).into());
    assert_eq!(wrong(&|g| g.schemas = vec![Digest::default(); 2]), GenesisError::SchemasNotSorted);
    assert_eq!(wrong(&|g| g.params.epoch_blocks = 0), GenesisError::Zero("epoch_blocks"));
    assert!(matches!(wrong(&|g| g.params.max_block_bytes = 100), GenesisError::BlockBytes(_)));
    // n = 7 tolerates f = 2: a committee below 3 could be all villains.
    assert_eq!(wrong(&|g| g.params.committee = 2), MembersError::Committee { found: 2, least: 3 }.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Same blocks, same state: however the nodes came by them.
    #[test]
    fn two_nodes_that_apply_the_same_blocks_agree(plan in proptest::collection::vec(proptest::collection::vec(0_u8..6, 0..5), 1..8)) {
        let mut world = World::with(4, Params { epoch_blocks: 2, ..Params::default() });
        let mut follower = MemoryView::default();
        follower.write(&genesis_state(&world.genesis).unwrap().writes);
        let key = SigningKey::from_seed([9; 32]);
        let (mut consents, mut n) = (0, 0_u64);
        for kinds in plan {
            let mut txs = Vec::new();
            for kind in kinds {
                n += 1;
                txs.push(match kind {
                    0 | 1 => world.any_batch(&n.to_string()),
                    2 => { consents += 1; world.consent("c", consents, &key, &key) }
                    3 => world.consent(&n.to_string(), 1, &key, &key),
                    _ => world.vote(usize::from(kind) - 3, Digest::tagged("s", &[(n % 2) as u8]), (n % 2) as u16, n),
                });
            }
            let (block, applied) = world.commit(&txs);
            let again = Ledger::open(&follower).unwrap().apply_block(&block).unwrap();
            prop_assert_eq!(&again, &applied);
            follower.write(&again.writes);
        }
        prop_assert_eq!(&follower, &world.view);
    }
}
