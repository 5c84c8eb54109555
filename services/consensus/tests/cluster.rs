//! Four whole services on an in-memory bus, each with its own disk.

#[cfg(test)]
mod cluster {
    use consilium_consensus::{Config, Consensus};
    use consilium_contracts::v1::submit_response::Status;
    use consilium_contracts::v1::{CommittedTx, FindRequest, FindResponse, HeadRequest, HeadResponse};
    use consilium_contracts::v1::{StateRequest, StateResponse, SubmitRequest, SubmitResponse};
    use consilium_contracts::{Message, Participant};
    use consilium_domain::block::Precommit;
    use consilium_domain::evidence::{SignedStep, Step};
    use consilium_domain::genesis::{Genesis, Member, Params};
    use consilium_domain::governance::{Action, Governance, Motion};
    use consilium_domain::tx::{ProfileVote, TxBody, UnsignedTx};
    use consilium_domain::{Canonical, ChannelId, Digest, Height, OrgId, Timestamp};
    use consilium_ledger::SigningKey;
    use consilium_runtime::{Entropy, Kit, MemoryHub, Service, SystemClock};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::task::JoinHandle;

    pub fn org(i: usize) -> OrgId {
        OrgId::new(format!("org-{i}")).unwrap()
    }

    pub fn channel() -> ChannelId {
        ChannelId::new("test").unwrap()
    }

    fn seed(org: usize, role: u8) -> [u8; 32] {
        let mut seed = [role; 32];
        seed[0] = u8::try_from(org + 1).unwrap();
        seed
    }

    pub fn member(i: usize) -> Member {
        let key = |i, role| SigningKey::from_seed(seed(i, role)).public();
        Member {
            organisation: org(i),
            consensus: key(i, 1),
            validate: key(i, 2),
            ingest: key(i, 3),
            audit: key(i, 4),
            governance: key(i, 5),
            cosign: SigningKey::cosigner(seed(i, 1)).public(),
            authority: Vec::new(),
        }
    }

    pub fn genesis(n: usize) -> Genesis {
        let members = (0..n).map(member).collect();
        let params = Params { heartbeat_ms: 100, ..Params::default() };
        Genesis { channel: channel(), time: Timestamp(1), members, schemas: Vec::new(), params }
    }

    /// A vote on a schema: the simplest transaction.
    pub fn tx(sender: usize, schema: &str, round: u64) -> Vec<u8> {
        let schema = Digest::tagged("test", schema.as_bytes());
        let body = TxBody::ProfileVote(ProfileVote { schema, admit: 1, activates: Height(0), round });
        let unsigned = UnsignedTx { sender: org(sender), body };
        SigningKey::from_seed(seed(sender, 5)).sign_tx(&channel(), unsigned).to_canonical()
    }

    /// A motion with the approvals of these members, sent by the first of them.
    pub fn motion(sequence: u64, action: Action, by: &[usize]) -> Vec<u8> {
        let motion = Motion { sequence, expires: Height(100_000), action };
        let key = |i: &usize| SigningKey::from_seed(seed(*i, 5));
        let approvals = by.iter().map(|i| key(i).approve(&channel(), &org(*i), &motion)).collect();
        let body = TxBody::Governance(Governance { motion, approvals });
        let unsigned = UnsignedTx { sender: org(by[0]), body };
        key(&by[0]).sign_tx(&channel(), unsigned).to_canonical()
    }

    pub struct Consortium {
        pub hub: MemoryHub,
        pub folder: PathBuf,
        pub nodes: Vec<Option<Running>>,
    }

    pub struct Running {
        pub kit: Kit,
        pub client: Kit,
        task: JoinHandle<anyhow::Result<()>>,
    }

    impl Consortium {
        pub async fn new(name: &str, n: usize) -> Self {
            Self::some(name, n, n).await
        }

        /// Only the first `running` of `n` members are there.
        pub async fn some(name: &str, n: usize, running: usize) -> Self {
            let folder = std::env::temp_dir().join(format!("consilium-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            let genesis = serde_json::to_vec(&genesis(n)).unwrap();
            std::fs::write(folder.join("genesis.json"), genesis).unwrap();
            let mut consortium =
                Self { hub: MemoryHub::new(), folder, nodes: (0..n).map(|_| None).collect() };
            for i in 0..running {
                consortium.found(i, "first_start_until = \"2999-01-01T00:00:00Z\"\n");
            }
            consortium
        }

        /// Starts a node for the first time, with this in its configuration.
        pub fn found(&mut self, i: usize, more: &str) {
            let dir = self.folder.join(org(i).as_str());
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("key"), hex::encode(seed(i, 1))).unwrap();
            self.nodes.resize_with(self.nodes.len().max(i + 1), || None);
            self.run(i, more);
        }

        /// Waits until a node signs: it says up to which height it may have voted.
        pub async fn votes(&self, i: usize) {
            for _ in 0..600 {
                let client = &self.nodes[(i + 1) % self.nodes.len()].as_ref().unwrap().kit;
                let subject = client.subjects.at(&org(i)).consensus_sync();
                match client.bus.request(&subject, Vec::new(), Duration::from_secs(60)).await {
                    Ok(answer) if answer.len() == 9 => return,
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            panic!("node {i} does not vote");
        }

        pub fn data(&self, i: usize) -> PathBuf {
            self.folder.join(org(i).as_str()).join("data")
        }

        /// Starts a node that has run before.
        pub fn start(&mut self, i: usize) {
            self.run(i, "");
        }

        fn run(&mut self, i: usize, more: &str) {
            let text = format!(
                "{more}data_dir = {:?}\ngenesis_file = {:?}\nkey_file = {:?}\n\
                 [timeouts]\npropose_ms = 1500\nprevote_ms = 500\nprecommit_ms = 500\n\
                 [organisation]\nname = \"{}\"\nchannel = \"test\"\n\
                 [bus]\nurl = \"nats://127.0.0.1:1\"\nuser = \"x\"\npassword_file = \"/x\"\n\
                 [health]\nlisten = \"127.0.0.1:0\"\n",
                self.data(i),
                self.folder.join("genesis.json"),
                self.folder.join(org(i).as_str()).join("key"),
                org(i)
            );
            let (common, config) = consilium_runtime::config::parse::<Config>(&text).unwrap();
            let clock = Arc::new(SystemClock::new());
            let entropy = Entropy::system();
            let kit = |p| {
                Kit::in_memory(&self.hub, p, common.clone(), Arc::clone(&clock) as _, entropy.clone())
                    .unwrap()
            };
            let (kit, client) = (kit(Participant::Consensus), kit(Participant::Ingest));
            let task = tokio::spawn(Consensus::run(config, kit.clone()));
            self.nodes[i] = Some(Running { kit, client, task });
        }

        /// Stops a node between two events: what is not on its disk is lost.
        pub async fn stop(&mut self, i: usize) {
            let running = self.nodes[i].take().unwrap();
            running.kit.shutdown.trigger();
            running.task.await.unwrap().unwrap();
            // The store lets go of its folder when the last handler is gone.
            running.kit.shutdown.drained(Duration::from_secs(5)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }

        async fn ask<Q: Message, A: Message + Default>(&self, i: usize, subject: &str, request: &Q) -> A {
            let client = &self.nodes[i].as_ref().unwrap().client;
            for _ in 0..200 {
                match client.bus.request_message(subject, request, Duration::from_secs(60)).await {
                    Ok(answer) => return answer,
                    Err(e) if e.is_transient() => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(e) => panic!("{e}"),
                }
            }
            panic!("nobody answers at {subject}");
        }

        fn subjects(&self, i: usize) -> &consilium_contracts::Subjects {
            &self.nodes[i].as_ref().unwrap().client.subjects
        }

        pub async fn submit(&self, i: usize, tx: Vec<u8>) -> SubmitResponse {
            let request = SubmitRequest { tx, wait_ms: 50_000 };
            self.ask(i, &self.subjects(i).consensus_submit(), &request).await
        }

        pub async fn commit(&self, i: usize, tx: Vec<u8>) -> CommittedTx {
            let response = self.submit(i, tx).await;
            assert_eq!(response.status(), Status::Committed, "{:?}", response.failure);
            response.committed.unwrap()
        }

        pub async fn head(&self, i: usize) -> HeadResponse {
            self.ask(i, &self.subjects(i).consensus_head(), &HeadRequest {}).await
        }

        pub async fn find(&self, i: usize, id: Digest) -> Option<CommittedTx> {
            let request = FindRequest { tx_id: id.0.to_vec() };
            let response: FindResponse = self.ask(i, &self.subjects(i).consensus_find(), &request).await;
            response.committed
        }

        pub async fn state(&self, i: usize, key: Vec<u8>) -> StateResponse {
            self.ask(
                i,
                &self.subjects(i).consensus_state(),
                &StateRequest { key, current: true, prove: false },
            )
            .await
        }

        /// A member's connection without its service, for one that does as it likes.
        pub fn stranger(&self, i: usize) -> Kit {
            let mut common = self.nodes[0].as_ref().unwrap().kit.common.clone();
            common.organisation.name = org(i);
            let (clock, entropy) = (Arc::new(SystemClock::new()), Entropy::system());
            Kit::in_memory(&self.hub, Participant::Consensus, common, clock, entropy).unwrap()
        }

        /// A connection of another service of a running member's.
        pub fn client(&self, i: usize, participant: Participant) -> Kit {
            let common = self.nodes[i].as_ref().unwrap().kit.common.clone();
            let (clock, entropy) = (Arc::new(SystemClock::new()), Entropy::system());
            Kit::in_memory(&self.hub, participant, common, clock, entropy).unwrap()
        }

        /// Two prevotes of one member for different blocks, as they travel.
        pub fn contradiction(&self, i: usize, height: u64) -> [Vec<u8>; 2] {
            [1, 2].map(|block| {
                let step = Step::Prevote(Precommit {
                    height: Height(height),
                    round: 0,
                    block: Some(Digest([block; 32])),
                    validator: u16::try_from(i).unwrap(),
                });
                let key = SigningKey::from_seed(seed(i, 1));
                let signature = key.sign(&step.signing_bytes(&channel()));
                let message = consilium_bft::evidence::message_of(&SignedStep { step, signature });
                // First octet of a message of the agreement.
                [&[1], message.as_slice()].concat()
            })
        }

        /// Waits until the members of the next block are these.
        pub async fn members_are(&self, i: usize, expected: &[Member]) {
            for _ in 0..600 {
                // A node that is catching up says so instead of answering with what is no longer so.
                let found = self.state(i, consilium_ledger::state::members_key()).await;
                if found.has_value && Vec::<Member>::from_canonical(&found.value).unwrap() == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("the members do not change at node {i}");
        }

        /// Waits until a node has this height.
        pub async fn reach(&self, i: usize, height: u64) {
            for _ in 0..600 {
                if self.head(i).await.height >= height {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("node {i} does not reach height {height}");
        }
    }

    impl Drop for Consortium {
        fn drop(&mut self) {
            for running in self.nodes.iter().flatten() {
                running.kit.shutdown.trigger();
            }
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    pub fn has_file(folder: &Path, name: &str) -> bool {
        folder.join(name).exists()
    }
}

use cluster::{Consortium, channel, genesis, has_file, member, motion, org, tx};
use consilium_contracts::v1::submit_response::Status;
use consilium_domain::receipt::TxProof;
use consilium_domain::tx::tx_id;
use consilium_domain::{Canonical, merkle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitted_transaction_is_committed_everywhere_with_a_proof() {
    let net = Consortium::new("commit", 4).await;
    let bytes = tx(1, "a", 1);
    let committed = net.commit(1, bytes.clone()).await;
    let proof = TxProof::try_from(committed).unwrap();
    assert_eq!(proof.tx, bytes);
    let set = genesis(4).validators();
    consilium_ledger::certificate::verify(&channel(), &set, &proof.header, &proof.certificate).unwrap();
    assert!(proof.inclusion.verify(&merkle::leaf_hash(&bytes), &proof.header.tx_root));
    for i in 0..4 {
        net.reach(i, proof.header.height.0).await;
        assert!(net.find(i, tx_id(&bytes)).await.is_some());
    }
    // The same again is answered, not executed twice.
    assert_eq!(net.commit(1, bytes).await.header, proof.header.to_canonical());
    // An older vote on the same schema cannot enter a block.
    let stale = net.submit(1, tx(1, "a", 1).iter().rev().copied().collect()).await;
    assert_eq!(stale.status(), Status::Refused);
    let schema = consilium_domain::Digest::tagged("test", b"a");
    let key = consilium_ledger::state::vote_key(&schema, &org(1));
    let state = net.state(2, key).await;
    assert!(state.has_value && state.height >= proof.header.height.0 && state.time_ms > 1);
    assert!(!net.state(2, b"consent/nothing".to_vec()).await.has_value);
    // The heartbeat keeps the chain's clock going without transactions.
    let height = net.head(0).await.height;
    net.reach(0, height + 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up() {
    let mut net = Consortium::new("away", 4).await;
    net.commit(0, tx(0, "a", 1)).await;
    net.stop(3).await;
    let missed = tx(0, "b", 1);
    net.commit(0, missed.clone()).await;
    let height = net.head(0).await.height;
    net.start(3);
    net.reach(3, height).await;
    assert!(net.find(3, tx_id(&missed)).await.is_some());
    // It votes again: without it and with another one down there would be no quorum.
    net.stop(2).await;
    net.commit(3, tx(3, "c", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_at_once_come_back_from_their_disks() {
    let mut net = Consortium::new("restart", 4).await;
    let before = tx(2, "a", 1);
    net.commit(2, before.clone()).await;
    let height = net.head(2).await.height;
    for i in 0..4 {
        net.reach(i, height).await;
    }
    for i in 0..4 {
        net.stop(i).await;
    }
    for i in 0..4 {
        net.start(i);
    }
    assert!(net.find(1, tx_id(&before)).await.is_some());
    net.commit(1, tx(1, "b", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_comes_back_and_does_not_sign_at_once() {
    let mut net = Consortium::new("lost", 4).await;
    net.commit(0, tx(0, "a", 1)).await;
    net.stop(3).await;
    std::fs::remove_dir_all(net.data(3)).unwrap();
    assert!(!has_file(&net.data(3), "wal"));
    let height = net.head(0).await.height;
    net.start(3);
    net.reach(3, 1).await;
    // It has a disk again, but still no memory.
    net.stop(3).await;
    net.start(3);
    net.votes(3).await;
    // Its first vote is past what it can have signed: see `bft::rejoin`.
    assert!(net.head(3).await.height >= height + 2);
    net.stop(2).await;
    net.commit(3, tx(3, "b", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_contradicts_itself_stands_on_the_ledger_and_keeps_its_seat() {
    use consilium_domain::genesis::Member;
    use consilium_domain::tx::{Tx, TxBody};
    use consilium_ledger::state::{self, EvidenceHead, EvidenceRecord};
    // Three of four agree without the fourth, who signs two prevotes at every height.
    let net = Consortium::some("evidence", 4, 3).await;
    let villain = net.stranger(3);
    let gossip = villain.subjects.consensus_gossip();
    let mut said = 0;
    let newest = loop {
        let state = net.state(0, state::evidence_key(&org(3))).await;
        if state.has_value {
            break EvidenceHead::from_canonical(&state.value).unwrap().newest;
        }
        let height = net.head(0).await.height;
        assert!(height < 200, "nobody reports what everybody has seen");
        for height in height + 1..=height + 3 {
            for message in net.contradiction(3, height) {
                villain.bus.publish(&gossip, message).await.unwrap();
            }
            said = said.max(height);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert!((1..=said).contains(&newest.0));
    // The others have that block a moment later, perhaps.
    let height = net.head(0).await.height;
    for i in [1, 2] {
        net.reach(i, height).await;
    }
    let record = net.state(1, state::evidence_at_key(&org(3), newest)).await;
    let record = EvidenceRecord::from_canonical(&record.value).unwrap();
    let found = TxProof::try_from(net.find(2, record.tx).await.unwrap()).unwrap();
    let tx = Tx::from_canonical(&found.tx).unwrap();
    assert_eq!(tx.unsigned.sender, record.reporter);
    let TxBody::Evidence(evidence) = tx.unsigned.body else { panic!("{tx:?}") };
    assert!(consilium_ledger::evidence::verify(&channel(), &genesis(4).members, &evidence));
    // Each member reports each height at most once, and the ledger has one of them.
    net.reach(0, said + 5).await;
    let head = net.state(0, state::evidence_key(&org(3))).await;
    let head = EvidenceHead::from_canonical(&head.value).unwrap();
    assert!(head.count <= said, "{head:?}");
    // Nobody is punished by it, and nobody else accused.
    let members = net.state(0, state::members_key()).await.value;
    assert_eq!(Vec::<Member>::from_canonical(&members).unwrap().len(), 4);
    assert!(!net.state(0, state::sanctions_key()).await.has_value);
    for honest in 0..3 {
        assert!(!net.state(0, state::evidence_key(&org(honest))).await.has_value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_by_motion_while_everybody_runs() {
    use consilium_domain::governance::Action;
    let mut net = Consortium::new("motions", 4).await;
    let four: Vec<_> = (0..4).map(member).collect();
    let five: Vec<_> = (0..5).map(member).collect();
    // The genesis does not know the fifth: it follows, and its vote counts for nothing.
    net.found(4, "");
    net.reach(4, net.head(0).await.height).await;
    net.members_are(4, &four).await;
    net.commit(0, motion(1, Action::Admit(member(4)), &[0, 1, 2])).await;
    for i in 0..5 {
        net.members_are(i, &five).await;
    }
    // Four of five must sign from now on: without the first, nothing happens unless the fifth votes, and it votes once it
    // is past what it may have signed on a disk that it had before.
    net.votes(4).await;
    net.stop(0).await;
    let late = net.commit(4, tx(4, "by the fifth", 1)).await;
    let proof = TxProof::try_from(late).unwrap();
    assert_eq!(proof.certificate.signatures.len(), 4);
    assert_eq!(proof.validator_changes.len(), 1);
    consilium_ledger::receipt::verify_tx_proof(&genesis(4), &proof).unwrap();
    // Out goes the one that is away; then three of four are enough.
    net.commit(1, motion(2, Action::Remove(org(0)), &[1, 2, 3, 4])).await;
    for i in 1..5 {
        net.members_are(i, &five[1..]).await;
    }
    net.stop(1).await;
    let committed = net.commit(2, tx(2, "without two", 1)).await;
    consilium_ledger::receipt::verify_tx_proof(&genesis(4), &TxProof::try_from(committed).unwrap()).unwrap();
    // Who was removed has nothing to say.
    assert_eq!(net.submit(2, tx(0, "too late", 1)).await.status(), Status::Refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cosigned_and_served_in_tiles_with_proofs_of_the_state() {
    use consilium_contracts::v1::{CheckpointRequest, CheckpointResponse, TileRequest, TileResponse};
    use consilium_domain::receipt::{CheckpointProof, StateProof};
    use consilium_ledger::{log_proof, receipt, state};
    let net = Consortium::new("log", 4).await;
    let auditor = net.client(0, consilium_contracts::Participant::Audit);
    let patience = std::time::Duration::from_secs(10);
    let txs: Vec<_> = (1..=9).map(|round| tx(1, "logged", round)).collect();
    for tx in &txs {
        net.commit(1, tx.clone()).await;
    }
    let subject = auditor.subjects.consensus_checkpoint();
    let checkpoint = loop {
        let answer: CheckpointResponse =
            auditor.bus.request_message(&subject, &CheckpointRequest {}, patience).await.unwrap();
        let proof = serde_json::from_slice::<CheckpointProof>(&answer.proof).ok();
        if let Some(proof) = proof.filter(|p| p.header.log_size >= 9) {
            break proof;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let genesis = genesis(4);
    let shown = receipt::verify_checkpoint_proof(&genesis, &checkpoint).unwrap();
    assert!(shown.cosigners.len() >= 3);
    // Tiles lead from each transaction to the cosigned root.
    let tile = async |level, index, width: u64, entries| {
        let request = TileRequest { level, index, width: u32::try_from(width).unwrap(), entries };
        let subject = auditor.subjects.consensus_tile();
        let answer: TileResponse = auditor.bus.request_message(&subject, &request, patience).await.unwrap();
        answer.tile
    };
    let mut tiles = std::collections::BTreeMap::new();
    for (level, index, width) in log_proof::tiles_of(shown.size) {
        tiles.insert((level, index, width), tile(level, index, width, false).await);
    }
    for (number, tx) in (0..).zip(&txs) {
        let fetch = |level, index, width| tiles.get(&(level, index, width)).cloned();
        log_proof::verify((shown.size, &shown.root), number, &merkle::leaf_hash(tx), fetch).unwrap();
    }
    assert_eq!(tile(0, 0, 9, true).await, consilium_ledger::tiles::entries(&txs));
    assert_eq!(tile(0, 0, 4, true).await, consilium_ledger::tiles::entries(&txs[..4]));
    assert!(tile(0, 0, 200, true).await.is_empty() && tile(0, 7, 1, true).await.is_empty());
    assert!(tile(0, 0, 200, false).await.is_empty() && tile(9, 0, 1, false).await.is_empty());
    // Keys of the state, there and not there.
    for (key, there) in [(state::members_key(), true), (b"consent/nobody".to_vec(), false)] {
        let request = consilium_contracts::v1::StateRequest { key: key.clone(), current: false, prove: true };
        let subject = auditor.subjects.consensus_state();
        let answer: consilium_contracts::v1::StateResponse =
            auditor.bus.request_message(&subject, &request, patience).await.unwrap();
        let proof: StateProof = serde_json::from_slice(&answer.proof).unwrap();
        assert_eq!((proof.key.clone(), proof.value.is_some()), (key, there));
        let shown = receipt::verify_state_proof(&genesis, &proof).unwrap();
        assert_eq!(shown.height.0, answer.height);
    }
}
