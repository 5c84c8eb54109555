//! The log against whoever can write its database, and against a node that answers wrongly.

use crate::anchor::Anchors;
use crate::integrity::{Verdict, verdict};
use crate::log::Log;
use crate::seal::Seal;
use consilium_contracts::Participant;
use consilium_contracts::v1::submit_response::Status;
use consilium_contracts::v1::{CommittedTx, SubmitRequest, SubmitResponse};
use consilium_domain::block::{CommitCertificate, CommitSignature, Precommit};
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::merkle::Inclusion;
use consilium_domain::port::kv::{Kv, Pair};
use consilium_domain::receipt::TxProof;
use consilium_domain::tx::{AuditAnchor, Tx, TxBody, UnsignedTx};
use consilium_domain::{Canonical, ChannelId, Clock, Digest, OrgId, Timestamp};
use consilium_ledger::{Ledger, ReadError, SigningKey, StateRead, genesis_state};
use consilium_runtime::config::parse;
use consilium_runtime::{Entropy, Kit, MemoryHub, Meter, SystemClock};
use consilium_store::sql::Sql;
use consilium_store::sql::audit::AuditLog;
use consilium_testkit::MemoryKv;
use sqlx::{Connection, SqliteConnection};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const EVENTS: usize = 20;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("consilium-audit-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.0.join("audit.db").display())
    }

    async fn log(&self) -> (Arc<Log>, Sql) {
        let sql = Sql::open(&self.url(), 2).await.unwrap();
        let (seal, clock) = (Seal::new(&[5; 32]).unwrap(), Arc::new(SystemClock::new()));
        let log = Log::open(AuditLog::new(&sql), seal, clock, &Meter::new("audit")).await.unwrap();
        (Arc::new(log), sql)
    }

    /// What somebody does who has the database and not the service.
    async fn alter(&self, statement: &'static str) {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
        connection.close().await.unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn event(i: usize) -> Vec<u8> {
    format!(
        r#"{{"resourceType":"AuditEvent","id":"e{i}","type":{{"code":"rest"}},"subtype":[{{"code":"read"}}],"recorded":"2026-11-22T10:00:00Z","agent":[{{"requestor":true,"who":{{"display":"Dr Who"}}}}],"entity":[{{"what":{{"reference":"Patient/p1"}}}}]}}"#
    )
    .into_bytes()
}

#[tokio::test]
async fn the_self_check_finds_what_was_done_to_the_database() {
    let said = |verdict: Verdict| match verdict {
        Verdict::Altered { first, .. } => first.map_or("root".to_owned(), |seq| seq.to_string()),
        Verdict::Intact { events, anchored, block, .. } => format!("intact {events} {anchored} {block}"),
        Verdict::Unknown => "unknown".to_owned(),
    };
    let cases = [
        ("nothing", "UPDATE audit_events SET kind = kind", "intact 20 15 9"),
        (
            "a byte",
            "UPDATE audit_events SET event = CAST(X'00' || substr(event, 2) AS BLOB) WHERE seq = 7",
            "7",
        ),
        // A row that cannot even be read must not leave the last good verdict standing.
        ("a type", "UPDATE audit_events SET event = CAST(X'00ff' AS TEXT) WHERE seq = 7", "unknown"),
        // Sealed for its place: another event's bytes do not open there.
        (
            "a copy",
            "UPDATE audit_events SET event = (SELECT event FROM audit_events WHERE seq = 3) WHERE seq = 4",
            "4",
        ),
        ("a leaf", "UPDATE audit_events SET leaf = zeroblob(32) WHERE seq = 0", "0"),
        ("a gap", "DELETE FROM audit_events WHERE seq = 11", "11"),
        // Whoever holds the storage key could write a log that is sound in itself.
        ("another history", "UPDATE audit_anchors SET root = zeroblob(32)", "root"),
        ("the end", "DELETE FROM audit_events WHERE seq >= 10", "root"),
    ];
    for (name, statement, expected) in cases {
        let place = Place::new(&name.replace(' ', "-"));
        let (log, sql) = place.log().await;
        log.append((0..EVENTS).map(event).collect()).await.unwrap();
        assert_eq!(verdict(&log, Timestamp(1)).await, Verdict::Unknown, "nothing is anchored yet");
        log.store.put_anchor(15, &log.root(15).await.unwrap(), b"tx").await.unwrap();
        log.store.commit_anchor(15, 9, b"proof").await.unwrap();
        place.alter(statement).await;
        assert_eq!(said(verdict(&log, Timestamp(1)).await), expected, "{name}");
        sql.close().await;
    }
}

fn org() -> OrgId {
    OrgId::new("hospital-a").unwrap()
}

fn key(role: u8) -> SigningKey {
    SigningKey::from_seed([role; 32])
}

fn genesis() -> Genesis {
    let member = Member {
        organisation: org(),
        consensus: key(1).public(),
        validate: key(2).public(),
        ingest: key(3).public(),
        audit: key(4).public(),
        governance: key(5).public(),
        cosign: key(6).public(),
        authority: Vec::new(),
    };
    let channel = ChannelId::new("test").unwrap();
    Genesis {
        channel,
        time: Timestamp(1),
        members: vec![member],
        schemas: Vec::new(),
        params: Params::default(),
    }
}

struct View<'a>(&'a MemoryKv);

impl StateRead for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.get(key).map_err(|e| ReadError(e.to_string()))
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.0.last(from, to).map_err(|e| ReadError(e.to_string()))
    }
}

/// A ledger of one member.
struct Chain {
    kv: MemoryKv,
    clock: SystemClock,
    sizes: Vec<u64>,
}

impl Chain {
    fn new() -> Self {
        let kv = MemoryKv::new();
        kv.write(&genesis_state(&genesis()).unwrap().writes, true).unwrap();
        Self { kv, clock: SystemClock::new(), sizes: Vec::new() }
    }

    fn commit(&mut self, tx: &[u8]) -> Option<CommittedTx> {
        let view = View(&self.kv);
        let ledger = Ledger::open(&view).unwrap();
        let built = ledger.build_block(&org(), &[tx.to_vec()], self.clock.now(), &|_| false).unwrap();
        if !built.dropped.is_empty() {
            return None;
        }
        let header = built.block.header.clone();
        let vote = Precommit { height: header.height, round: 0, block: Some(header.id()), validator: 0 };
        let signature = key(1).sign(&vote.signing_bytes(&genesis().channel));
        let certificate = CommitCertificate {
            height: header.height,
            round: 0,
            block: header.id(),
            signatures: vec![CommitSignature { validator: 0, signature }],
        };
        let inclusion = Inclusion::of(&built.block.tx_leaves(), 0).unwrap();
        self.kv.write(&built.applied.writes, false).unwrap();
        if let TxBody::AuditAnchor(a) = Tx::from_canonical(tx).unwrap().unsigned.body {
            self.sizes.push(a.size);
        }
        Some(CommittedTx::from(&TxProof {
            tx: tx.to_vec(),
            inclusion,
            header,
            certificate,
            validator_changes: vec![],
        }))
    }
}

fn kit(hub: &MemoryHub, participant: Participant) -> Kit {
    #[derive(serde::Deserialize)]
    struct Nothing {}
    let text = "[organisation]\nname = \"hospital-a\"\nchannel = \"test\"\n[bus]\nurl = \"nats://none\"\n\
                user = \"x\"\npassword_file = \"x\"\n[health]\nlisten = \"x\"\n";
    let (common, Nothing {}) = parse(text).unwrap();
    Kit::in_memory(hub, participant, common, Arc::new(SystemClock::new()), Entropy::system()).unwrap()
}

/// What the node does with a submission, besides keeping the ledger.
#[derive(Clone, Copy, PartialEq)]
enum Node {
    Honest,
    /// It answers with the proof of an older checkpoint.
    Stale,
    /// It answers with a proof that nobody signed.
    Forging,
    Refusing,
}

#[tokio::test]
async fn a_checkpoint_counts_with_the_proof_of_itself_only() {
    let (place, hub) = (Place::new("anchors"), MemoryHub::new());
    let (log, sql) = place.log().await;
    let chain = Arc::new(Mutex::new(Chain::new()));
    let (mode, last) = (Arc::new(Mutex::new(Node::Honest)), Arc::new(Mutex::new(None::<CommittedTx>)));
    let node = kit(&hub, Participant::Consensus);
    let (ledger, asked) = (Arc::clone(&chain), Arc::clone(&mode));
    let answer = move |request: SubmitRequest| {
        let mode = *asked.lock().unwrap();
        let stale = last.lock().unwrap().clone();
        let committed = match mode {
            Node::Refusing => None,
            Node::Stale => stale,
            Node::Honest | Node::Forging => ledger.lock().unwrap().commit(&request.tx),
        };
        let committed = committed.map(|mut committed| {
            if mode == Node::Honest {
                *last.lock().unwrap() = Some(committed.clone());
            }
            if mode == Node::Forging {
                committed.certificate.reverse();
            }
            committed
        });
        let status = if committed.is_some() { Status::Committed } else { Status::Refused };
        let response = SubmitResponse { status: status.into(), committed, failure: None };
        async move { response }
    };
    node.bus.serve_messages(&node.subjects.consensus_submit(), None, 4, answer).await.unwrap();
    let anchors = Anchors::new(kit(&hub, Participant::Audit), Arc::clone(&log), key(4), genesis());
    let newest = async || log.store.newest_anchor().await.unwrap().map(|a| a.size);

    anchors.advance().await.unwrap();
    assert_eq!(newest().await, None, "an empty log needs no checkpoint");
    log.append((0..5).map(event).collect()).await.unwrap();
    anchors.advance().await.unwrap();
    assert_eq!(newest().await, Some(5));
    anchors.advance().await.unwrap();
    assert_eq!(chain.lock().unwrap().sizes, [5], "nothing new, nothing anchored");

    log.append((5..9).map(event).collect()).await.unwrap();
    *mode.lock().unwrap() = Node::Stale;
    let error = anchors.advance().await.unwrap_err().to_string();
    assert!(error.contains("another transaction"), "{error}");
    assert_eq!(newest().await, Some(5));
    *mode.lock().unwrap() = Node::Refusing;
    assert!(anchors.advance().await.is_err());
    *mode.lock().unwrap() = Node::Forging;
    assert!(anchors.advance().await.is_err());
    assert_eq!(newest().await, Some(5), "what does not convince a stranger does not count");
    assert_eq!(chain.lock().unwrap().sizes, [5, 9], "though it is there");

    // Whatever the database says by now, the next checkpoint must extend the anchored one.
    place.alter("DELETE FROM audit_anchors WHERE height IS NULL").await;
    place.alter("UPDATE audit_hashes SET hash = zeroblob(32) WHERE level = 0 AND position = 4").await;
    *mode.lock().unwrap() = Node::Honest;
    let error = anchors.advance().await.unwrap_err().to_string();
    assert!(error.contains("altered"), "{error}");
    assert_eq!(chain.lock().unwrap().sizes, [5, 9]);
    sql.close().await;
}

/// The ledger asks for the same: a checkpoint that does not extend the last one stays out.
#[test]
fn the_ledger_takes_no_checkpoint_of_another_log() {
    let mut chain = Chain::new();
    let anchor = |size, root: &[u8], consistency| {
        let body = TxBody::AuditAnchor(AuditAnchor { size, root: Digest::tagged("log", root), consistency });
        key(4).sign_tx(&genesis().channel, UnsignedTx { sender: org(), body }).to_canonical()
    };
    assert!(chain.commit(&anchor(5, b"one", vec![])).is_some());
    assert!(chain.commit(&anchor(9, b"two", vec![])).is_none());
    assert!(chain.commit(&anchor(9, b"two", vec![Digest::tagged("log", b"three")])).is_none());
}
