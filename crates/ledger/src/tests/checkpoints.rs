//! The ledger log as others see it: tiles, checkpoints, cosignatures.

use super::fixture::{World, org};
use crate::checkpoint::{self, CheckpointError};
use crate::receipt::{ReceiptError, verify_checkpoint_proof};
use crate::tiles;
use consilium_domain::block::Header;
use consilium_domain::canon::Canonical;
use consilium_domain::merkle;
use consilium_domain::receipt::{CHECKPOINT_FORMAT, CheckpointProof};
use consilium_domain::{ChannelId, Digest, Height, Timestamp};

/// A log of `count` transactions in blocks of different sizes; their leaf hashes.
fn logged(world: &mut World, count: usize) -> Vec<Digest> {
    let (mut leaves, mut sizes) = (Vec::new(), [1_usize, 0, 7, 64, 3, 130].into_iter().cycle());
    while leaves.len() < count {
        let take = sizes.next().unwrap().min(count - leaves.len());
        let txs: Vec<_> = (0..take).map(|i| world.any_batch(&format!("{}", leaves.len() + i))).collect();
        leaves.extend(world.commit(&txs).0.tx_leaves());
    }
    leaves
}

#[test]
fn tiles_are_the_hashes_of_the_tree_and_lead_to_its_root() {
    let mut world = World::new(1);
    let leaves = logged(&mut world, 600);
    let tile = |level, index, width| tiles::tile(&world.view, level, index, width).unwrap();
    let bytes = |hashes: &[Digest]| -> Vec<u8> { hashes.iter().flat_map(|h| h.0).collect() };
    assert_eq!(tile(0, 0, 256), Some(bytes(&leaves[..256])));
    assert_eq!(tile(0, 1, 256), Some(bytes(&leaves[256..512])));
    for width in [1, 50, 88] {
        assert_eq!(tile(0, 2, width), Some(bytes(&leaves[512..512 + width as usize])));
    }
    assert_eq!(tile(0, 2, 89), None, "not that long yet");
    assert_eq!(tile(0, 3, 1), None);
    let roots = [merkle::root(&leaves[..256]), merkle::root(&leaves[256..512])];
    assert_eq!(tile(1, 0, 2), Some(bytes(&roots)));
    assert_eq!(tile(1, 0, 3), None);
    assert_eq!((tile(2, 0, 1), tile(8, 0, 1), tile(0, 0, 0), tile(0, 0, 257)), (None, None, None, None));
    assert_eq!(tile(0, u64::MAX, 1), None);
    // Whoever has the tiles has the root.
    let rest = merkle::root(&leaves[512..]);
    let root = merkle::node_hash(&merkle::node_hash(&roots[0], &roots[1]), &rest);
    assert_eq!(world.ledger().log_root(), root);
}

#[test]
fn entries_are_framed_as_c2sp_says() {
    let world = World::new(1);
    let txs = [world.any_batch("a").to_canonical(), world.vote(0, Digest::default(), 1, 1).to_canonical()];
    let bundle = tiles::entries(&txs);
    let length = usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
    assert_eq!(&bundle[2..2 + length], &txs[0]);
    assert_eq!(bundle.len(), 4 + txs[0].len() + txs[1].len());
    assert!(u16::try_from(consilium_domain::tx::MAX_TX).is_ok());
}

fn note(world: &World, header: &Header, signers: &[usize]) -> String {
    let lines: Vec<String> = signers
        .iter()
        .map(|i| &world.keys[*i])
        .map(|k| checkpoint::cosign(&k.cosign, &k.organisation, header))
        .collect();
    checkpoint::note(&checkpoint::text(header), &lines)
}

fn proof(world: &mut World) -> CheckpointProof {
    logged(world, 9);
    let (block, _) = world.commit(&[]);
    CheckpointProof {
        format: CHECKPOINT_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        note: note(world, &block.header, &[0, 1, 3]),
        certificate: world.certificate(&block, &[0, 1, 2]),
        validator_changes: world.changes_before(block.header.height),
        header: block.header,
    }
}

#[test]
fn a_checkpoint_is_cosigned_by_more_than_two_thirds_and_certified_by_a_header() {
    let mut world = World::new(4);
    let good = proof(&mut world);
    let verified = verify_checkpoint_proof(&world.genesis, &good).unwrap();
    assert_eq!((verified.size, verified.root), (9, world.ledger().log_root()));
    assert_eq!(verified.cosigners, [org(0), org(1), org(3)]);
    let with =
        |note: String| verify_checkpoint_proof(&world.genesis, &CheckpointProof { note, ..good.clone() });
    let fails = |note: String| match with(note) {
        Err(ReceiptError::Checkpoint(error)) => error,
        other => panic!("{other:?}"),
    };
    let header = &good.header;
    assert_eq!(fails(note(&world, header, &[0, 1])), CheckpointError::NoQuorum { have: 2, need: 3 });
    // Twice the same is one.
    assert_eq!(fails(note(&world, header, &[0, 1, 1])), CheckpointError::NoQuorum { have: 2, need: 3 });
    // A witness nobody knows here is passed over; a bad line of a member voids all.
    let stranger = super::fixture::Keys::new(org(9), 0);
    let lines = [checkpoint::cosign(&stranger.cosign, &stranger.organisation, header)];
    with(format!("{}{}", good.note, lines[0])).unwrap();
    let mut later = header.clone();
    later.time = Timestamp(later.time.0 + 60_000);
    let late = checkpoint::cosign(&world.keys[2].cosign, &org(2), &later);
    // A cosignature carries its own time: a later one is good too.
    with(format!("{}{late}", good.note)).unwrap();
    later.log_size += 1;
    let other = checkpoint::cosign(&world.keys[2].cosign, &org(2), &later);
    assert_eq!(fails(format!("{}{other}", good.note)), CheckpointError::BadCosignature(org(2)));
    // Neither do vote keys cosign nor cosigners vote.
    let voted = checkpoint::cosign(&world.keys[2].consensus, &org(2), header);
    with(format!("{}{voted}", good.note)).unwrap();
    assert_eq!(verify_checkpoint_proof(&world.genesis, &good).unwrap().cosigners.len(), 3);
    // A true note about another block's log.
    let older = world.chain[3].0.header.clone();
    assert_eq!(with(note(&world, &older, &[0, 1, 2])), Err(ReceiptError::OtherLog));
    let mut elsewhere = header.clone();
    elsewhere.channel = ChannelId::new("claims").unwrap();
    assert!(matches!(fails(note(&world, &elsewhere, &[0, 1, 2])), CheckpointError::OtherOrigin(_)));
    for bad in ["", "\n\n", "x\n\ny\n", &good.note[..good.note.len() - 1], &"\u{2014} ".repeat(40_000)] {
        assert!(matches!(
            fails(bad.to_owned()),
            CheckpointError::Malformed | CheckpointError::OtherOrigin(_)
        ));
    }
}

#[test]
fn every_byte_of_a_note_matters() {
    let mut world = World::new(4);
    let good = proof(&mut world);
    for i in 0..good.note.len() {
        let mut bytes = good.note.clone().into_bytes();
        bytes[i] ^= 1;
        let Ok(note) = String::from_utf8(bytes) else { continue };
        let verdict = verify_checkpoint_proof(&world.genesis, &CheckpointProof { note, ..good.clone() });
        assert!(verdict.is_err(), "byte {i}");
    }
}

/// The layout of c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature, checked by hand and not by our parser.
#[test]
fn the_note_is_spelt_as_c2sp_says() {
    let world = World::new(1);
    let key = &world.keys[0];
    let header = Header {
        version: 2,
        channel: ChannelId::new("care").unwrap(),
        height: Height(8),
        previous: Digest::default(),
        proposer: org(0),
        time: Timestamp(1_700_000_000_999),
        tx_root: merkle::root(&[]),
        state_root: Digest::default(),
        log_size: 0,
        log_root: merkle::root(&[]),
        next_members: Digest::default(),
    };
    let note = note(&world, &header, &[0]);
    let (text, line) = note.split_once("\n\n").unwrap();
    assert_eq!(text, "consilium.example/ledger/care\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    let name = "consilium.example/cosigner/care/hospital-00";
    let encoded = line.strip_prefix(&format!("\u{2014} {name} ")).unwrap().trim_end();
    let decoded: Vec<u8> = {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: String = encoded
            .trim_end_matches('=')
            .bytes()
            .map(|b| format!("{:06b}", alphabet.iter().position(|a| *a == b).unwrap()))
            .collect();
        bits.as_bytes()
            .chunks_exact(8)
            .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 2).unwrap())
            .collect()
    };
    assert_eq!(decoded.len(), 4 + 8 + 64);
    let id = Digest::sha256(&[name.as_bytes(), b"\n\x04", &key.cosign.public().0]);
    assert_eq!(decoded[..4], id.0[..4]);
    assert_eq!(decoded[4..12], 1_700_000_000_u64.to_be_bytes());
    let message = format!("cosignature/v1\ntime 1700000000\n{text}\n");
    let signature = consilium_domain::Signature(decoded[12..].try_into().unwrap());
    assert!(crate::verify(&key.cosign.public(), message.as_bytes(), &signature));
    let vkey = checkpoint::verifier_key(world.channel(), &key.member());
    assert!(vkey.starts_with(&format!("{name}+{}+B", hex::encode(&id.0[..4]))), "{vkey}");
}
