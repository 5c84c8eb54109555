//! A consortium of validators as real processes: nats-server and one consensus node per organisation, each with its
//! own disk and, where asked for, its own network namespace. Dropping it ends all of its processes.

use anyhow::{Context, Result, bail, ensure};
use consilium_contracts::nats::{Account, server_config, user};
use consilium_contracts::v1::{FindRequest, FindResponse, SubmitRequest, SubmitResponse};
use consilium_contracts::v1::{HeadRequest, HeadResponse, StateRequest, StateResponse};
use consilium_contracts::{Message, Participant, Subjects};
use consilium_domain::genesis::{Genesis, Params};
use consilium_domain::interop::{InteropProof, Statement};
use consilium_domain::tx::{Batch, TxBody, UnsignedTx};
use consilium_domain::{Canonical, ChannelId, Clock, Digest, Height, OrgId};
use consilium_ledger::SigningKey;
use consilium_ledger::committee::quorum;
use consilium_runtime::bus::Parts;
use consilium_runtime::config::BusConfig;
use consilium_runtime::{Bus, BusError, Entropy, Health, Meter, Shutdown, SystemClock};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub const PASSWORD: &str = "0123456789abcdef";
pub const CHANNEL: &str = "bench";

/// Key roles, in the order of a member's keys.
const CONSENSUS: u8 = 1;
const VALIDATE: u8 = 2;
pub const INGEST: u8 = 3;

/// The processes.
pub struct Net {
    pub dir: PathBuf,
    pub genesis: Genesis,
    binary: PathBuf,
    nats_binary: PathBuf,
    nats: Option<Child>,
    /// Port of the message server of each organisation; the same one unless others run them.
    ports: Vec<u16>,
    /// Where each node serves its metrics.
    health: Vec<u16>,
    nodes: Vec<Option<Child>>,
    /// Name prefix of the network namespaces, if the nodes have some.
    spaces: Option<String>,
    pub clock: Arc<dyn Clock>,
}

/// Names as long as a transaction's frame allows (32), so that its size is the largest that a batch has.
pub fn org(i: usize) -> Result<OrgId> {
    Ok(OrgId::new(format!("university-hospital-of-region-{i:02}"))?)
}

fn seed(org: usize, role: u8) -> [u8; 32] {
    let mut seed = [role; 32];
    if let Some(first) = seed.first_mut() {
        *first = u8::try_from(org + 1).unwrap_or(u8::MAX);
    }
    seed
}

pub fn key(org: usize, role: u8) -> SigningKey {
    SigningKey::from_seed(seed(org, role))
}

/// The one schema that batches are attested by.
pub fn schema() -> Digest {
    Digest::sha256(&[b"schema"])
}

/// Where nats-server is, if it is installed.
pub fn nats_server() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tools = std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    let own = tools.join("bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::iter::once(own).chain(std::env::split_paths(&path).map(|p| p.join("nats-server")));
    all.find(|p| p.exists())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    ensure!(done.status.success(), "{program} {}: {complaint}", arguments.join(" "));
    Ok(())
}

impl Net {
    /// Makes keys, genesis and configuration of `n` organisations in an empty folder, and starts nats-server.
    /// `spaces`: each node gets a network namespace of its own (needs root).
    pub fn found(dir: &Path, n: usize, params: Params, binary: &Path, spaces: bool) -> Result<Self> {
        let mut net = Self::lay_out(dir, n, params, binary, spaces, vec![free_port()?; n])?;
        net.start_nats()?;
        Ok(net)
    }

    /// As [`Net::found`] without network namespaces, on message servers that the caller runs.
    pub fn on(dir: &Path, params: Params, binary: &Path, ports: Vec<u16>) -> Result<Self> {
        Self::lay_out(dir, ports.len(), params, binary, false, ports)
    }

    fn lay_out(
        dir: &Path,
        n: usize,
        params: Params,
        binary: &Path,
        spaces: bool,
        ports: Vec<u16>,
    ) -> Result<Self> {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir)?;
        let nats_binary = nats_server().context("no nats-server: run scripts/setup.sh")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let genesis = genesis(n, params, clock.now())?;
        std::fs::write(dir.join("genesis.json"), serde_json::to_vec(&genesis)?)?;
        std::fs::write(dir.join("password"), PASSWORD)?;
        let accounts: Vec<Account> = genesis
            .members
            .iter()
            .map(|m| Account {
                organisation: m.organisation.clone(),
                passwords: Participant::ALL.map(|p| (p, PASSWORD.to_owned())).to_vec(),
            })
            .collect();
        let port = ports.first().context("no organisation")?;
        let host = if spaces { "0.0.0.0" } else { "127.0.0.1" };
        let text = server_config(&genesis.channel, &accounts, &format!("{host}:{port}"), None)?;
        std::fs::write(dir.join("nats.conf"), text)?;
        let net = Self {
            dir: dir.to_owned(),
            genesis,
            binary: binary.to_owned(),
            nats_binary,
            nats: None,
            ports,
            health: (0..n).map(|_| free_port()).collect::<Result<_>>()?,
            nodes: (0..n).map(|_| None).collect(),
            spaces: spaces.then(|| format!("cl{}", std::process::id() % 10_000)),
            clock,
        };
        for i in 0..n {
            net.prepare(i)?;
        }
        Ok(net)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn folder(&self, i: usize) -> PathBuf {
        self.dir.join(format!("node-{i}"))
    }

    pub fn data(&self, i: usize) -> PathBuf {
        self.folder(i).join("data")
    }

    pub fn log(&self, i: usize) -> String {
        std::fs::read_to_string(self.folder(i).join("log")).unwrap_or_default()
    }

    fn port(&self, i: usize) -> Result<u16> {
        self.ports.get(i).copied().context("no such organisation")
    }

    /// What a node has counted under this name and these labels, as they stand in the text; 0 if it has not.
    pub fn counted(&self, i: usize, series: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", *self.health.get(i).context("no such node")?))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "node {i} shows no metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    fn address(&self, i: usize, end: u8) -> String {
        format!("10.231.{i}.{end}")
    }

    fn prepare(&self, i: usize) -> Result<()> {
        let (folder, org) = (self.folder(i), org(i)?);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("key"), hex::encode(seed(i, CONSENSUS)))?;
        let host = if self.spaces.is_some() { self.address(i, 1) } else { "127.0.0.1".to_owned() };
        let text = format!(
            "first_start_until = \"2999-01-01T00:00:00Z\"\ndata_dir = {:?}\ngenesis_file = {:?}\nkey_file = {:?}\n\
             [organisation]\nname = \"{org}\"\nchannel = \"{CHANNEL}\"\n\
             [bus]\nurl = \"nats://{host}:{}\"\nuser = \"{}\"\npassword_file = {:?}\n\
             [health]\nlisten = \"127.0.0.1:{}\"\n",
            self.data(i),
            self.dir.join("genesis.json"),
            folder.join("key"),
            self.port(i)?,
            user(&org, Participant::Consensus),
            self.dir.join("password"),
            self.health.get(i).context("no such node")?,
        );
        std::fs::write(folder.join("consensus.toml"), text)?;
        if let Some(name) = &self.spaces {
            let (space, out, inside) = (format!("{name}n{i}"), format!("{name}h{i}"), format!("{name}i{i}"));
            run("ip", &["netns", "add", &space])?;
            run("ip", &["link", "add", &out, "type", "veth", "peer", "name", &inside])?;
            run("ip", &["link", "set", &inside, "netns", &space])?;
            run("ip", &["addr", "add", &format!("{}/30", self.address(i, 1)), "dev", &out])?;
            run("ip", &["link", "set", &out, "up"])?;
            let within = |more: &[&str]| run("ip", &[&["-n", space.as_str()], more].concat());
            within(&["addr", "add", &format!("{}/30", self.address(i, 2)), "dev", &inside])?;
            within(&["link", "set", &inside, "up"])?;
            within(&["link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    pub fn start_nats(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("nats.log"))?;
        let mut command = Command::new(&self.nats_binary);
        command.arg("-c").arg(self.dir.join("nats.conf")).stdout(Stdio::null()).stderr(log);
        self.nats = Some(command.spawn().context("start nats-server")?);
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", self.port(0)?)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("nats-server does not listen");
    }

    pub fn kill_nats(&mut self) -> Result<()> {
        kill(&mut self.nats)
    }

    /// Starts a node unless it runs.
    pub fn start(&mut self, i: usize) -> Result<()> {
        let folder = self.folder(i);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = match &self.spaces {
            None => Command::new(&self.binary),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &format!("{name}n{i}")]).arg(&self.binary);
                command
            }
        };
        command.arg("--config").arg(folder.join("consensus.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let slot = self.nodes.get_mut(i).context("no such node")?;
        if slot.is_none() {
            *slot = Some(command.spawn().context("start a node")?);
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        kill(self.nodes.get_mut(i).context("no such node")?)
    }

    pub fn runs(&self, i: usize) -> bool {
        self.nodes.get(i).is_some_and(Option::is_some)
    }

    /// Whether a node that should run has ended by itself.
    pub fn crashed(&mut self, i: usize) -> Result<bool> {
        let Some(Some(child)) = self.nodes.get_mut(i) else { return Ok(false) };
        Ok(child.try_wait()?.is_some())
    }

    /// Stops or continues a process (`STOP`, `CONT`).
    pub fn signal(&self, i: usize, name: &str) -> Result<()> {
        let Some(Some(child)) = self.nodes.get(i) else { return Ok(()) };
        run("kill", &[&format!("-{name}"), &child.id().to_string()])
    }

    /// Takes the cable between a node and the rest of the world out, or puts it in again. Nobody is told: connections
    /// stay open and fall silent.
    pub fn cut(&self, i: usize, cut: bool) -> Result<()> {
        let name = self.spaces.as_ref().context("the nodes have no network namespaces")?;
        run("ip", &["link", "set", &format!("{name}h{i}"), if cut { "down" } else { "up" }])
    }

    /// Process id of a node.
    pub fn pid(&self, i: usize) -> Option<u32> {
        self.nodes.get(i)?.as_ref().map(Child::id)
    }

    /// Seconds of CPU time of all nodes, and of nats-server.
    pub fn cpu(&self) -> Result<(f64, f64)> {
        let mut nodes = 0.0;
        for child in self.nodes.iter().flatten() {
            nodes += cpu_of(child.id())?;
        }
        Ok((nodes, self.nats.as_ref().map_or(Ok(0.0), |c| cpu_of(c.id()))?))
    }

    /// A client of one organisation, as its ingest service is one.
    pub async fn client(&self, i: usize) -> Result<Client> {
        let (bus, subjects) = self.bus(i, Participant::Ingest).await?;
        Ok(Client { bus, subjects })
    }

    /// The bus of one service of an organisation.
    pub async fn bus(&self, i: usize, participant: Participant) -> Result<(Bus, Subjects)> {
        let organisation = org(i)?;
        let health = Health::new(Arc::clone(&self.clock));
        let subjects = Subjects::new(self.genesis.channel.clone(), organisation.clone());
        let config = BusConfig {
            url: format!("nats://127.0.0.1:{}", self.port(i)?),
            user: user(&organisation, participant),
            password_file: self.dir.join("password"),
            ca_file: None,
            blob_limit: 64 * 1024 * 1024,
        };
        let parts = Parts {
            subjects: subjects.clone(),
            participant,
            clock: Arc::clone(&self.clock),
            entropy: Entropy::system(),
            meter: Meter::new(participant.as_str()),
            check: health.check("bus"),
            shutdown: Shutdown::new(),
            blob_limit: config.blob_limit,
        };
        let bus = Bus::connect(&config, parts).await?;
        tokio::time::timeout(Duration::from_secs(20), bus.ready()).await.context("the bus is not ready")?;
        Ok((bus, subjects))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Seconds of CPU time that a process has used.
pub fn cpu_of(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // utime and stime, in hundredths (proc(5), fields 14 and 15).
    let at = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((at(11) + at(12)) / 100.0)
}

fn kill(slot: &mut Option<Child>) -> Result<()> {
    if let Some(mut child) = slot.take() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

impl Drop for Net {
    fn drop(&mut self) {
        for slot in self.nodes.iter_mut().chain(std::iter::once(&mut self.nats)) {
            let _ = kill(slot);
        }
        if let Some(name) = &self.spaces {
            for i in 0..self.nodes.len() {
                // The veth pair goes with its inner end.
                let _ = run("ip", &["netns", "del", &format!("{name}n{i}")]);
                let _ = run("ip", &["link", "del", &format!("{name}h{i}")]);
            }
        }
    }
}

pub fn genesis(n: usize, params: Params, time: consilium_domain::Timestamp) -> Result<Genesis> {
    let mut members = Vec::new();
    for i in 0..n {
        let public = |role| key(i, role).public();
        members.push(serde_json::from_value(serde_json::json!({
            "organisation": org(i)?, "consensus": public(CONSENSUS), "validate": public(VALIDATE),
            "ingest": public(INGEST), "audit": public(4), "governance": public(5), "cosign": public(6), "authority": "",
        }))?);
    }
    Ok(Genesis { channel: ChannelId::new(CHANNEL)?, time, members, schemas: vec![schema()], params })
}

/// A batch of `records` records with the attestations that its interop proof needs, which is all that a custodian
/// gathers: its own and those of the next members.
pub fn batch(genesis: &Genesis, sender: usize, number: u64, records: u32) -> Result<Vec<u8>> {
    batch_at(genesis, sender, number, records, 0)
}

/// The same, attested when the newest block was that of `height`.
pub fn batch_at(genesis: &Genesis, sender: usize, number: u64, records: u32, height: u64) -> Result<Vec<u8>> {
    batches(genesis, sender, number..number + 1, records, height)?.pop().context("no batch")
}

/// Several of them, signed together by sender and attesters.
pub fn batches(
    genesis: &Genesis,
    sender: usize,
    numbers: std::ops::Range<u64>,
    records: u32,
    height: u64,
) -> Result<Vec<Vec<u8>>> {
    let statement = |number: u64| {
        Ok(Statement {
            custodian: org(sender)?,
            batch_root: Digest::sha256(&[b"batch", &sender.to_be_bytes(), &number.to_be_bytes()]),
            records,
            schema: schema(),
            epoch: height / genesis.params.epoch_blocks,
            expires: Height(height + genesis.params.attestation_blocks),
        })
    };
    let statements = numbers.map(statement).collect::<Result<Vec<_>>>()?;
    let n = genesis.members.len();
    let mut attesters: Vec<usize> = (0..quorum(n)).map(|k| (sender + k) % n).collect();
    attesters.sort_unstable();
    let attest = |i: usize| Ok(key(i, VALIDATE).attest_all(&genesis.channel, &org(i)?, &statements));
    let mut attested = attesters.into_iter().map(attest).collect::<Result<Vec<_>>>()?;
    let mut unsigned = Vec::new();
    for statement in statements.iter().rev() {
        let attestations = attested.iter_mut().filter_map(Vec::pop).collect();
        let batch = Batch { statement: statement.clone(), proof: InteropProof { attestations } };
        unsigned.push(UnsignedTx { sender: org(sender)?, body: TxBody::Batch(batch) });
    }
    unsigned.reverse();
    let signed = key(sender, INGEST).sign_txs(&genesis.channel, unsigned);
    Ok(signed.iter().map(Canonical::to_canonical).collect())
}

/// What an organisation's other services ask of its node.
#[derive(Clone)]
pub struct Client {
    bus: Bus,
    subjects: Subjects,
}

impl Client {
    async fn ask<Q: Message, A: Message + Default>(
        &self,
        subject: &str,
        request: &Q,
        patience: Duration,
    ) -> Result<A, BusError> {
        self.bus.request_message(subject, request, patience).await
    }

    pub async fn submit(&self, tx: Vec<u8>, patience: Duration) -> Result<SubmitResponse, BusError> {
        let wait_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let request = SubmitRequest { tx, wait_ms };
        self.ask(&self.subjects.consensus_submit(), &request, patience + Duration::from_secs(1)).await
    }

    pub async fn head(&self) -> Result<HeadResponse, BusError> {
        self.ask(&self.subjects.consensus_head(), &HeadRequest {}, Duration::from_secs(2)).await
    }

    pub async fn find(&self, id: &Digest) -> Result<FindResponse, BusError> {
        let request = FindRequest { tx_id: id.0.to_vec() };
        self.ask(&self.subjects.consensus_find(), &request, Duration::from_secs(2)).await
    }

    pub async fn state(&self, key: Vec<u8>) -> Result<StateResponse, BusError> {
        self.ask(
            &self.subjects.consensus_state(),
            &StateRequest { key, current: true, prove: false },
            Duration::from_secs(4),
        )
        .await
    }

    /// Waits until the node answers with at least this height.
    pub async fn reach(&self, height: u64, patience: Duration) -> Result<u64> {
        let wait = async {
            loop {
                match self.head().await {
                    Ok(head) if head.height >= height => return head.height,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let name = self.subjects.organisation();
        tokio::time::timeout(patience, wait).await.with_context(|| format!("{name} does not reach {height}"))
    }
}
