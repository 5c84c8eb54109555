//! A member that joins from nothing when the members have changed since genesis: it follows the chain of sets to the
//! newest snapshot, takes part, and makes proofs of its own that lead back to genesis.

#[cfg(test)]
mod consortium {
    use consilium_consensus::backup::Backups;
    use consilium_consensus::chain::Chain;
    use consilium_consensus::snapshot::Snapshots;
    use consilium_consensus::wal::Wal;
    use consilium_consensus::{Config, Consensus};
    use consilium_contracts::v1::submit_response::Status;
    use consilium_contracts::v1::{
        CommittedTx, FindRequest, FindResponse, HeadRequest, HeadResponse, SubmitRequest, SubmitResponse,
        TileRequest, TileResponse,
    };
    use consilium_contracts::{Message, Participant};
    use consilium_domain::block::{CommitCertificate, CommitSignature, Precommit};
    use consilium_domain::genesis::{Genesis, Member, Params};
    use consilium_domain::governance::{Action, Governance, Motion};
    use consilium_domain::tx::{ProfileVote, TxBody, UnsignedTx, tx_id};
    use consilium_domain::{Canonical, ChannelId, Clock, Digest, Height, OrgId};
    use consilium_ledger::SigningKey;
    use consilium_runtime::{Entropy, Kit, MemoryHub, Service, SystemClock};
    use consilium_store::FjallKv;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    pub const FOUNDERS: usize = 4;
    const CONSENSUS: u8 = 1;
    const GOVERNANCE: u8 = 5;
    /// A key of the second generation.
    const ROTATED: u8 = 100;

    pub fn org(i: usize) -> OrgId {
        OrgId::new(format!("org-{i}")).unwrap()
    }

    fn channel() -> ChannelId {
        ChannelId::new("test").unwrap()
    }

    fn seed(org: usize, role: u8) -> [u8; 32] {
        let mut seed = [role; 32];
        seed[0] = u8::try_from(org + 1).unwrap();
        seed
    }

    fn key(org: usize, role: u8) -> SigningKey {
        SigningKey::from_seed(seed(org, role))
    }

    pub fn member(i: usize, consensus: u8) -> Member {
        Member {
            organisation: org(i),
            consensus: key(i, consensus).public(),
            validate: key(i, 2).public(),
            ingest: key(i, 3).public(),
            audit: key(i, 4).public(),
            governance: key(i, GOVERNANCE).public(),
            cosign: key(i, 6).public(),
            authority: Vec::new(),
        }
    }

    /// A vote on a schema: the simplest transaction.
    pub fn vote(sender: usize, schema: &str, round: u64) -> Vec<u8> {
        let schema = Digest::tagged("test", schema.as_bytes());
        let body = TxBody::ProfileVote(ProfileVote { schema, admit: 1, activates: Height(0), round });
        let unsigned = UnsignedTx { sender: org(sender), body };
        key(sender, GOVERNANCE).sign_tx(&channel(), unsigned).to_canonical()
    }

    fn motion(sequence: u64, action: Action) -> Vec<u8> {
        let motion = Motion { sequence, expires: Height(1_000), action };
        let approve = |i: usize| key(i, GOVERNANCE).approve(&channel(), &org(i), &motion);
        let approvals = (0..FOUNDERS).map(approve).collect();
        let body = TxBody::Governance(Governance { motion: motion.clone(), approvals });
        key(0, GOVERNANCE).sign_tx(&channel(), UnsignedTx { sender: org(0), body }).to_canonical()
    }

    /// Five organisations, four of them founders, on a chain of 700 blocks: organisation 4 is admitted at height 12,
    /// organisation 1 has another key for votes from height 202 on. There is a snapshot of height 600.
    pub struct Consortium {
        pub hub: MemoryHub,
        pub folder: PathBuf,
        pub genesis: Genesis,
        pub clients: Vec<Option<(Kit, Kit)>>,
        clock: Arc<SystemClock>,
    }

    impl Consortium {
        pub fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("consilium-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            let clock = Arc::new(SystemClock::new());
            let genesis = Genesis {
                channel: channel(),
                time: clock.now(),
                members: (0..FOUNDERS).map(|i| member(i, CONSENSUS)).collect(),
                schemas: Vec::new(),
                params: Params { heartbeat_ms: 100, ..Params::default() },
            };
            std::fs::write(folder.join("genesis.json"), serde_json::to_vec(&genesis).unwrap()).unwrap();
            let clients = (0..=FOUNDERS).map(|_| None).collect();
            let new = Self { hub: MemoryHub::new(), folder, genesis, clients, clock };
            new.make_chain();
            new
        }

        pub fn data(&self, i: usize) -> PathBuf {
            self.folder.join(org(i).as_str()).join("data")
        }

        /// What the founders would have agreed on, executed and certified in the name of all members of each height.
        fn make_chain(&self) {
            let data = self.data(0);
            std::fs::create_dir_all(&data).unwrap();
            let chain =
                Chain::open(Arc::new(FjallKv::open(&data.join("kv")).unwrap()), &self.genesis, true).unwrap();
            for height in 1..=700_u64 {
                let txs = match height {
                    5 => vec![vote(0, "before all changes", 1)],
                    10 => vec![motion(1, Action::Admit(member(FOUNDERS, CONSENSUS)))],
                    200 => vec![motion(2, Action::Rotate(member(1, ROTATED)))],
                    _ => Vec::new(),
                };
                let view = chain.view().unwrap();
                let ledger = view.ledger().unwrap();
                let now = self.genesis.time;
                let built = ledger.build_block(&org(0), &txs, now, &|_| true).unwrap();
                assert!(built.dropped.is_empty(), "{:?}", built.dropped);
                let (of, block) = (built.block.header.height, built.block.id());
                let set = ledger.validators();
                let signatures = set.validators.iter().zip(0_u16..).map(|(v, validator)| {
                    let vote = Precommit { height: of, round: 0, block: Some(block), validator };
                    let i = (0..=FOUNDERS).find(|i| org(*i) == v.organisation).unwrap();
                    let generations = [CONSENSUS, ROTATED].map(|role| key(i, role));
                    let key = generations.iter().find(|k| k.public() == v.key).unwrap();
                    CommitSignature { validator, signature: key.sign(&vote.signing_bytes(&channel())) }
                });
                let signatures = signatures.collect();
                let certificate = CommitCertificate { height: of, round: 0, block, signatures };
                chain.commit(&built.block.to_canonical(), &certificate, built.applied).unwrap();
                if height == 600 {
                    let backups = Some(Backups::new(self.folder.join("backups")));
                    let snapshots = Snapshots::new(&data).with_backups(backups);
                    snapshots.make(&chain.view().unwrap()).unwrap();
                }
            }
            chain.persist().unwrap();
            drop(chain);
            drop(Wal::open(&data.join("wal"), || Ok(())).unwrap());
            for i in 1..=FOUNDERS {
                let folder = self.data(i);
                std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
                let copied =
                    std::process::Command::new("cp").arg("-r").arg(&data).arg(&folder).status().unwrap();
                assert!(copied.success());
            }
        }

        pub fn start(&mut self, i: usize) {
            let own = self.folder.join(org(i).as_str());
            std::fs::create_dir_all(&own).unwrap();
            let role = if i == 1 { ROTATED } else { CONSENSUS };
            std::fs::write(own.join("key"), hex::encode(seed(i, role))).unwrap();
            let text = format!(
                "data_dir = {:?}\ngenesis_file = {:?}\nkey_file = {:?}\n\
                 [organisation]\nname = \"{}\"\nchannel = \"test\"\n\
                 [bus]\nurl = \"nats://127.0.0.1:1\"\nuser = \"x\"\npassword_file = \"/x\"\n\
                 [health]\nlisten = \"127.0.0.1:0\"\n",
                self.data(i),
                self.folder.join("genesis.json"),
                own.join("key"),
                org(i)
            );
            let (common, config) = consilium_runtime::config::parse::<Config>(&text).unwrap();
            let kit = |p| {
                let clock = Arc::clone(&self.clock) as _;
                Kit::in_memory(&self.hub, p, common.clone(), clock, Entropy::system()).unwrap()
            };
            let (kit, client) = (kit(Participant::Consensus), kit(Participant::Ingest));
            tokio::spawn(Consensus::run(config, kit.clone()));
            self.clients[i] = Some((kit, client));
        }

        async fn ask<Q: Message, A: Message + Default>(&self, i: usize, subject: &str, request: &Q) -> A {
            let (_, client) = self.clients[i].as_ref().unwrap();
            for _ in 0..600 {
                match client.bus.request_message(subject, request, Duration::from_secs(60)).await {
                    Ok(answer) => return answer,
                    Err(e) if e.is_transient() => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(e) => panic!("{e}"),
                }
            }
            panic!("nobody answers at {subject}");
        }

        pub async fn commit(&self, i: usize, tx: Vec<u8>) -> CommittedTx {
            let response = self.submit(i, tx).await;
            assert_eq!(response.status(), Status::Committed, "{:?}", response.failure);
            response.committed.unwrap()
        }

        pub async fn height(&self, i: usize) -> u64 {
            let subject = self.clients[i].as_ref().unwrap().1.subjects.consensus_head();
            let head: HeadResponse = self.ask(i, &subject, &HeadRequest {}).await;
            head.height
        }

        pub async fn stop(&mut self, i: usize) {
            let (kit, _) = self.clients[i].take().unwrap();
            kit.shutdown.trigger();
            kit.shutdown.drained(Duration::from_secs(5)).await;
        }

        pub async fn find(&self, i: usize, tx: &[u8]) -> FindResponse {
            let subject = self.clients[i].as_ref().unwrap().1.subjects.consensus_find();
            self.ask(i, &subject, &FindRequest { tx_id: tx_id(tx).0.to_vec() }).await
        }

        pub async fn has(&self, i: usize, tx: &[u8]) -> bool {
            self.find(i, tx).await.committed.is_some()
        }

        /// The chain of a node that does not run.
        pub fn chain(&self, i: usize) -> Chain {
            Chain::open(Arc::new(FjallKv::open(&self.data(i).join("kv")).unwrap()), &self.genesis, true)
                .unwrap()
        }

        pub async fn tile(&self, i: usize, entries: bool, width: u32) -> Vec<u8> {
            let (_, client) = self.clients[i].as_ref().unwrap();
            let (common, clock) = (client.common.clone(), Arc::clone(&self.clock) as _);
            let audit =
                Kit::in_memory(&self.hub, Participant::Audit, common, clock, Entropy::system()).unwrap();
            let request = TileRequest { level: 0, index: 0, width, entries };
            let (subject, patience) = (audit.subjects.consensus_tile(), Duration::from_secs(60));
            audit.bus.request_message::<_, TileResponse>(&subject, &request, patience).await.unwrap().tile
        }

        pub async fn submit(&self, i: usize, tx: Vec<u8>) -> SubmitResponse {
            let subject = self.clients[i].as_ref().unwrap().1.subjects.consensus_submit();
            self.ask(i, &subject, &SubmitRequest { tx, wait_ms: 50_000 }).await
        }

        pub async fn reach(&self, i: usize, height: u64) {
            for _ in 0..1200 {
                if self.height(i).await >= height {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("node {i} does not reach height {height}");
        }
    }

    impl Drop for Consortium {
        fn drop(&mut self) {
            for (kit, _) in self.clients.iter().flatten() {
                kit.shutdown.trigger();
            }
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

use consilium_consensus::aftermath::{Aftermath, Decided};
use consilium_consensus::backup::restore;
use consilium_consensus::prune::Keep;
use consilium_consensus::snapshot::Snapshots;
use consilium_contracts::v1::submit_response::Status;
use consilium_domain::Canonical;
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::receipt::TxProof;
use consortium::{Consortium, FOUNDERS, org, vote};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_admitted_after_genesis_joins_by_a_snapshot_behind_two_changes_of_the_members() {
    let mut net = Consortium::new("join");
    std::fs::remove_dir_all(net.data(FOUNDERS)).unwrap();
    for i in 0..FOUNDERS {
        net.start(i);
    }
    // Five members, four of them here: the chain goes on, one of them with its second key.
    net.reach(0, 702).await;
    net.start(FOUNDERS);
    // Past the heights at which a node without a memory is silent.
    let height = net.height(0).await;
    net.reach(FOUNDERS, height + 5).await;
    let proof =
        TxProof::try_from(net.commit(FOUNDERS, vote(FOUNDERS, "after all changes", 1)).await).unwrap();
    assert_eq!(proof.validator_changes.len(), 2, "a proof made by the new node has the whole chain of sets");
    let members = consilium_ledger::receipt::verify_header(
        &net.genesis,
        &proof.header,
        &proof.certificate,
        &proof.validator_changes,
    );
    assert!(members.unwrap().iter().any(|m| m.organisation == org(FOUNDERS)));
    let old = vote(0, "before all changes", 1);
    assert!(
        net.has(0, &old).await && !net.has(FOUNDERS, &old).await,
        "it came by the snapshot, not by the blocks"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_out_of_a_backup_takes_part_again_once_it_cannot_contradict_itself() {
    const RESTORED: usize = 3;
    let mut net = Consortium::new("backup");
    let data = net.data(RESTORED);
    std::fs::remove_dir_all(&data).unwrap();
    let backup = net.folder.join("backups").join(format!("{:020}.backup", 600));
    // A damaged one is refused and leaves nothing to start from.
    let mut damaged = std::fs::read(&backup).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = net.folder.join("damaged");
    std::fs::write(&bad, damaged).unwrap();
    assert!(restore(&bad, &data).unwrap_err().to_string().contains("damaged"));
    assert!(!data.exists());
    assert!(restore(&backup, &data).unwrap() > 600);
    assert!(restore(&backup, &data).is_err(), "there is something already");
    for i in (0..=FOUNDERS).filter(|i| *i != RESTORED) {
        net.start(i);
    }
    net.reach(0, 702).await;
    net.start(RESTORED);
    let height = net.height(0).await;
    net.reach(RESTORED, height + 5).await;
    // It signs again: without it and with another one down there is no quorum.
    net.stop(2).await;
    let proof = TxProof::try_from(net.commit(RESTORED, vote(RESTORED, "restored", 1)).await).unwrap();
    assert!(proof.certificate.signatures.iter().any(|s| usize::from(s.validator) == RESTORED));
    assert!(net.has(RESTORED, &vote(0, "before all changes", 1)).await, "with the blocks of the backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_have_deleted_old_blocks_prove_what_they_promise_and_let_others_join() {
    let mut net = Consortium::new("prune");
    std::fs::remove_dir_all(net.data(FOUNDERS)).unwrap();
    let (old, block) = (vote(0, "before all changes", 1), 5);
    // What its sender was given at the time.
    let receipt = net.chain(0).view().unwrap().find(&consilium_domain::tx::tx_id(&old)).unwrap().unwrap();
    assert_eq!(receipt.header.height.0, block);

    // Without a snapshot to join by, nothing goes.
    let chain = net.chain(0);
    let nowhere = Snapshots::new(&net.folder.join("nowhere"));
    assert!(!Keep::new(Some(50), nowhere).step(&chain, 700).unwrap());
    assert!(!Keep::new(None, Snapshots::new(&net.data(0))).step(&chain, 700).unwrap());
    assert_eq!(chain.kept_from().unwrap(), Some(1));
    drop(chain);
    for i in 0..FOUNDERS {
        let chain = std::sync::Arc::new(net.chain(i));
        // 650 might go, but whoever loads the snapshot of 600 asks for the blocks from there on.
        let keep = Keep::new(Some(50), Snapshots::new(&net.data(i)));
        if i == 0 {
            // The thread that follows decisions does it.
            let (body, certificate) = {
                let view = chain.view().unwrap();
                (view.block_bytes(700).unwrap().unwrap(), view.certificate_bytes(700).unwrap().unwrap())
            };
            let block = Block::from_canonical(&body).unwrap();
            let certificate = CommitCertificate::from_canonical(&certificate).unwrap();
            let aftermath = Aftermath::start(std::sync::Arc::clone(&chain), keep).unwrap();
            aftermath.of(Decided { block, leaves: Vec::new(), certificate, waiting: Vec::new() });
            let gone = || chain.view().unwrap().block_bytes(599).unwrap().is_none();
            for _ in 0..600 {
                if gone() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            assert!(gone(), "the thread has deleted nothing");
        } else {
            while keep.step(&chain, 700).unwrap() {}
        }
        let view = chain.view().unwrap();
        let there: Vec<u64> = (1..=700).filter(|h| view.block_bytes(*h).unwrap().is_some()).collect();
        // The motions' blocks stay.
        assert_eq!(there, [10, 200].into_iter().chain(600..=700).collect::<Vec<_>>());
        for height in 1..=700 {
            assert_eq!(view.certificate_bytes(height).unwrap().is_some(), there.contains(&height));
        }
        // Not looked through again after a restart.
        assert_eq!(chain.kept_from().unwrap(), Some(600));
        chain.persist().unwrap();
        // The thread lets go of the chain once its door has closed.
        let mut chain = Some(chain);
        while let Err(held) = std::sync::Arc::try_unwrap(chain.take().unwrap()) {
            chain = Some(held);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    for i in 0..FOUNDERS {
        net.start(i);
    }
    net.reach(0, 702).await;
    // The receipt needs nobody.
    let offline = consilium_ledger::receipt::verify_header(
        &net.genesis,
        &receipt.header,
        &receipt.certificate,
        &receipt.validator_changes,
    );
    assert!(offline.is_ok());
    // A new one is not to be had here, and whoever asks is told so; nor does the transaction count twice.
    let found = net.find(0, &old).await;
    let failure = found.failure.unwrap();
    assert!(found.committed.is_none() && failure.code == "deleted");
    assert!(failure.text.contains("block 5") && failure.text.contains("ask a member"), "{}", failure.text);
    let again = net.submit(0, old.clone()).await;
    assert_eq!((again.status(), again.failure.unwrap().code.as_str()), (Status::Refused, "deleted"));
    // The log's hashes are whole, its oldest entries are not here.
    assert_eq!(net.tile(0, false, 3).await.len(), 3 * 32);
    assert!(net.tile(0, true, 3).await.is_empty());

    net.start(FOUNDERS);
    let height = net.height(0).await;
    net.reach(FOUNDERS, height + 5).await;
    let proof = net.commit(FOUNDERS, vote(FOUNDERS, "after all changes", 1)).await;
    let proof = TxProof::try_from(proof).unwrap();
    let members = consilium_ledger::receipt::verify_header(
        &net.genesis,
        &proof.header,
        &proof.certificate,
        &proof.validator_changes,
    );
    assert!(members.unwrap().iter().any(|m| m.organisation == org(FOUNDERS)), "the chain of sets is whole");
}
