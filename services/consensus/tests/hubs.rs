//! Four organisations, each with the message server that the chart configures for it, two of them hubs of the others:
//! the chain goes on when a hub is gone, and when it holds messages back, which shows; requests are answered once.
//! TLS is taken out: there are no certificates.

#[cfg(test)]
#[path = "net/mod.rs"]
#[expect(dead_code, reason = "other tests and benchmarks need what this one does not")]
mod net;

#[cfg(test)]
mod run {
    use crate::net::{CHANNEL, Client, Net, PASSWORD, batch, free_port, nats_server, org};
    use anyhow::{Context, Result, bail, ensure};
    use consilium_contracts::Participant;
    use consilium_contracts::v1::submit_response::Status;
    use consilium_domain::genesis::Params;
    use consilium_runtime::{Answer, Incoming};
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const NODES: usize = 4;
    /// The first two organisations run the hubs.
    const HUBS: [usize; 2] = [0, 1];
    const PATIENCE: Duration = Duration::from_secs(30);

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    pub fn helm() -> Option<PathBuf> {
        let tools = std::env::var_os("CONSILIUM_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
        Some(tools.join("bin/helm")).filter(|path| path.exists())
    }

    /// The members' message servers.
    struct Servers {
        dir: PathBuf,
        clients: Vec<u16>,
        leaves: Vec<u16>,
        running: Vec<Option<Child>>,
    }

    impl Drop for Servers {
        fn drop(&mut self) {
            for i in 0..NODES {
                let _ = self.stop(i);
            }
        }
    }

    /// What the chart configures for a member.
    fn rendered(i: usize) -> Result<String> {
        let mut command = Command::new(helm().context("no helm")?);
        command.args(["template", "north"]).arg(root().join("charts/consilium"));
        command.args(["--show-only", "templates/nats/configmap.yaml"]);
        command.args(["--set", &format!("organisation={},channel={CHANNEL}", org(i)?)]);
        if HUBS.contains(&i) {
            let names = (0..NODES).map(|i| Ok(org(i)?.to_string())).collect::<Result<Vec<_>>>()?.join(",");
            command.args(["--set", &format!("nats.hub.enabled=true,nats.hub.members={{{names}}}")]);
        }
        for (at, hub) in remotes(i).into_iter().enumerate() {
            let (remote, hub) = (format!("nats.leaf.remotes[{at}]"), org(hub)?);
            let set = format!("{remote}.hub={hub},{remote}.url=tls://hub:7422,{remote}.existingSecret=s");
            command.args(["--set", &set]);
        }
        let done = command.output().context("run helm")?;
        ensure!(done.status.success(), "helm: {}", String::from_utf8_lossy(&done.stderr));
        let yaml = String::from_utf8(done.stdout)?;
        let (_, block) = yaml.split_once("nats.conf: |\n").context("no configuration")?;
        Ok(block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n"))
    }

    fn remotes(i: usize) -> Vec<usize> {
        HUBS.into_iter().filter(|hub| *hub != i).collect()
    }

    impl Servers {
        fn new(dir: &Path) -> Result<Self> {
            let _ = std::fs::remove_dir_all(dir);
            std::fs::create_dir_all(dir)?;
            let ports = || (0..NODES).map(|_| free_port()).collect::<Result<Vec<_>>>();
            let (clients, leaves, running) = (ports()?, ports()?, (0..NODES).map(|_| None).collect());
            Ok(Self { dir: dir.to_owned(), clients, leaves, running })
        }

        /// Starts a member's server with its configuration as `change` leaves it.
        fn start(&mut self, i: usize, change: impl Fn(String) -> String) -> Result<()> {
            let name = org(i)?;
            let conf: Vec<String> = change(rendered(i)?)
                .replace("0.0.0.0:4222", &format!("127.0.0.1:{}", self.clients[i]))
                .replace("0.0.0.0:7422", &format!("127.0.0.1:{}", self.leaves[i]))
                .replace("http: \"0.0.0.0:8222\"", "")
                .replace("/run/nats/nats.pid", &self.dir.join(format!("pid-{i}")).to_string_lossy())
                .lines()
                .filter(|line| !line.trim_start().starts_with("tls {"))
                .map(str::to_owned)
                .collect();
            let path = self.dir.join(format!("nats-{i}.conf"));
            std::fs::write(&path, conf.join("\n"))?;
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(self.dir.join(format!("nats-{i}.log")))?;
            let mut command = Command::new(nats_server().context("no nats-server")?);
            command.arg("-c").arg(path).stdout(Stdio::null()).stderr(log);
            command.env("POD_NAME", format!("\"nats-{i}\""));
            for participant in Participant::ALL {
                let name = format!("{}_PASSWORD", participant.as_str().to_uppercase());
                command.env(name, format!("\"{PASSWORD}\""));
            }
            for j in 0..NODES {
                command.env(format!("HUB_{j}_PASSWORD"), format!("\"{PASSWORD}\""));
            }
            for (at, hub) in remotes(i).into_iter().enumerate() {
                let url = format!("\"nats-leaf://{name}:{PASSWORD}@127.0.0.1:{}\"", self.leaves[hub]);
                command.env(format!("LEAF_{at}_URL"), url);
            }
            self.running[i] = Some(command.spawn().context("start nats-server")?);
            Ok(())
        }

        /// `kill -9`.
        fn stop(&mut self, i: usize) -> Result<()> {
            if let Some(mut child) = self.running[i].take() {
                child.kill()?;
                child.wait()?;
            }
            Ok(())
        }
    }

    fn as_rendered(conf: String) -> String {
        conf
    }

    /// A hub that hands over nothing of what the third member publishes.
    fn without_gossip(conf: String) -> String {
        let silenced = format!("account: \"{}\", subject: \"consilium.{CHANNEL}", org(2).unwrap());
        let kept = |line: &&str| !(line.contains(&silenced) && line.contains("consensus.gossip"));
        conf.lines().filter(kept).collect::<Vec<_>>().join("\n")
    }

    /// The whole consortium.
    struct World {
        servers: Servers,
        net: Net,
        clients: Vec<Client>,
    }

    fn series(from: usize, via: usize) -> Result<String> {
        Ok(format!(
            "consilium_consensus_gossip_delivered_total{{from=\"{}\",via=\"{}\"}}",
            org(from)?,
            org(via)?
        ))
    }

    impl World {
        async fn found() -> Result<Self> {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hubs-{}", std::process::id()));
            let mut servers = Servers::new(&dir.join("nats"))?;
            for i in 0..NODES {
                servers.start(i, as_rendered)?;
            }
            let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
            let params = Params { heartbeat_ms: 100, ..Params::default() };
            let mut net = Net::on(&dir.join("net"), params, &binary, servers.clients.clone())?;
            for i in 0..NODES {
                net.start(i)?;
            }
            let mut clients = Vec::new();
            for i in 0..NODES {
                clients.push(net.client(i).await?);
            }
            Ok(Self { servers, net, clients })
        }

        async fn height(&self, i: usize) -> Result<u64> {
            Ok(self.clients[i].head().await?.height)
        }

        /// Waits until these nodes have `more` blocks than the first of them has now; how long that took.
        async fn go_on(&self, nodes: &[usize], more: u64) -> Result<Duration> {
            let start = Instant::now();
            let from = self.clients[nodes[0]].reach(1, PATIENCE).await?;
            for i in nodes {
                let log = || format!("node {i}: {}", self.net.log(*i));
                self.clients[*i].reach(from + more, PATIENCE).await.with_context(log)?;
            }
            Ok(start.elapsed())
        }

        /// What a node counts as `from`'s over `via`.
        fn delivered(&self, at: usize, from: usize, via: usize) -> Result<f64> {
            self.net.counted(at, &series(from, via)?)
        }

        /// What a node counts once nothing is under way to it any more.
        async fn settled(&self, at: usize, from: usize, via: usize) -> Result<f64> {
            let mut last = self.delivered(at, from, via)?;
            loop {
                sleep(Duration::from_millis(150)).await;
                let now = self.delivered(at, from, via)?;
                if now == last {
                    return Ok(now);
                }
                last = now;
            }
        }

        /// Waits until a node has counted `more` of `from`'s over `via` than now.
        async fn hears(&self, at: usize, from: usize, via: usize, more: f64) -> Result<()> {
            let (before, until) = (self.delivered(at, from, via)?, Instant::now() + PATIENCE);
            while self.delivered(at, from, via)? < before + more {
                ensure!(Instant::now() < until, "node {at} hears too little of {from} over hub {via}");
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }

        /// A transaction of this member comes into a block.
        async fn commits(&self, i: usize, number: u64) -> Result<()> {
            let tx = batch(&self.net.genesis, i, number, 1)?;
            let answer = self.clients[i].submit(tx, Duration::from_secs(10)).await?;
            ensure!(answer.status() == Status::Committed, "{answer:?}");
            Ok(())
        }

        /// Two replicas in a queue group, a memory of nonces between them: each request is worked on once, answered
        /// once, and its copy causes no answer that could come first.
        async fn requests_are_answered_once(&self, to: usize, from: usize) -> Result<String> {
            let nonces = Arc::new(Mutex::new((BTreeSet::new(), 0_u32)));
            let mut replicas = Vec::new();
            for _ in 0..2 {
                let (bus, subjects) = self.net.bus(to, Participant::Ingest).await?;
                let nonces = Arc::clone(&nonces);
                let work = move |incoming: Incoming| {
                    let nonces = Arc::clone(&nonces);
                    async move {
                        let (mut known, payload) = (nonces.lock().unwrap(), incoming.payload.clone());
                        if known.0.insert(payload[..8].to_vec()) {
                            Answer::Payload(payload)
                        } else {
                            known.1 += 1;
                            Answer::Silence
                        }
                    }
                };
                bus.serve(&subjects.ingest_exchange(), Some("ingest"), 8, work).await?;
                replicas.push(bus);
            }
            let (bus, subjects) = self.net.bus(from, Participant::Ingest).await?;
            let subject = subjects.at(&org(to)?).ingest_exchange();
            // Interest takes a moment to spread over both hubs.
            let mut number = 0_u64;
            let mut ask = async |size: usize| {
                number += 1;
                let payload = [&number.to_be_bytes()[..], &vec![7; size]].concat();
                match bus.request(&subject, payload.clone(), Duration::from_secs(3)).await {
                    Ok(answer) => {
                        ensure!(answer == payload, "another request's answer");
                        Ok(true)
                    }
                    Err(error) if error.is_transient() => Ok(false),
                    Err(error) => bail!("{error}"),
                }
            };
            let until = Instant::now() + PATIENCE;
            while !ask(1).await? {
                ensure!(Instant::now() < until, "no answer");
            }
            let before = nonces.lock().unwrap().0.len();
            for _ in 0..40 {
                ensure!(ask(1).await?, "a request was not answered");
            }
            for _ in 0..3 {
                ensure!(ask(1_500_000).await?, "a large request was not answered");
            }
            // Copies that were slower than the answer still arrive.
            sleep(Duration::from_millis(200)).await;
            let (worked, silent) = {
                let known = nonces.lock().unwrap();
                (known.0.len() - before, known.1)
            };
            ensure!(worked == 43, "43 requests were worked on {worked} times");
            ensure!(silent > 0, "no copy ever reached the other replica: the hubs do not both deliver");
            drop(replicas);
            Ok(format!(
                "43 requests worked on once each, {silent} copies at the other replica left unanswered"
            ))
        }
    }

    pub async fn all() -> Result<String> {
        let mut world = World::found().await?;
        let all: Vec<usize> = (0..NODES).collect();
        let start = world.go_on(&all, 3).await?;
        let mut said = format!("three blocks after {} ms; ", start.as_millis());
        // With both hubs everybody's messages come over both.
        for from in 0..3 {
            for via in HUBS {
                world.hears(3, from, via, 10.0).await?;
            }
        }
        said += &world.requests_are_answered_once(2, 3).await?;

        // One hub holds one member's gossip back, and is connected all the same.
        world.servers.stop(0)?;
        world.servers.start(0, without_gossip)?;
        world.hears(3, 1, 0, 10.0).await?;
        let before = (world.delivered(3, 2, 0)?, world.delivered(3, 2, 1)?, world.delivered(3, 1, 0)?);
        world.hears(3, 2, 1, 20.0).await?;
        world.hears(3, 1, 0, 10.0).await?;
        world.commits(2, 1).await?;
        let (held, other) = (world.delivered(3, 2, 0)? - before.0, world.delivered(3, 2, 1)? - before.1);
        ensure!(held == 0.0, "{held} messages of a silenced member came over the hub that silences it");
        said += &format!("; of a silenced member 0 messages over one hub, {other} over the other");

        // That hub is gone, and with it the server of its own member: three of four go on.
        world.servers.stop(0)?;
        let stall = world.go_on(&[1, 2, 3], 3).await?;
        world.commits(3, 2).await?;
        world.servers.start(0, as_rendered)?;
        let back = world.go_on(&all, 3).await?;
        world.hears(3, 2, 0, 5.0).await?;
        let (gone, here) = (stall.as_millis(), back.as_millis());
        said += &format!("; three blocks {gone} ms after a hub died, by all {here} ms after it was started");

        // One hub gives itself out as the other, which holds a member back: the own server knows whom it is connected
        // to, and takes the other's label from nobody else.
        world.servers.stop(0)?;
        world.servers.stop(1)?;
        let (own, other) = (org(0)?, org(1)?);
        let before = world.settled(3, 2, 1).await?;
        world
            .servers
            .start(0, |conf| conf.replace(&format!(".via.{own}\" }}"), &format!(".via.{other}\" }}")))?;
        world.servers.start(1, without_gossip)?;
        world.hears(3, 1, 1, 20.0).await?;
        // Where the liar is itself at home its label is taken: so the member's messages did reach it.
        world.hears(0, 2, 1, 10.0).await?;
        let false_ones = world.delivered(3, 2, 1)? - before;
        ensure!(false_ones == 0.0, "{false_ones} messages of a hub were counted as another's");
        for i in HUBS {
            world.servers.stop(i)?;
            world.servers.start(i, as_rendered)?;
        }
        world.go_on(&all, 3).await?;
        ensure!(world.height(3).await? > 10, "hardly any blocks");
        let _ = std::fs::remove_dir_all(world.servers.dir.join(".."));
        Ok(said)
    }

    /// A node that is frozen while others talk is disconnected by the message server. It knows that it has missed
    /// something, looks who is ahead, and catches up.
    pub async fn slow() -> Result<String> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("slow-{}", std::process::id()));
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
        let mut net = Net::found(&dir, NODES, Params::default(), &binary, false)?;
        // Less patience than by default, for a shorter flood.
        net.kill_nats()?;
        let conf = std::fs::read_to_string(dir.join("nats.conf"))?;
        std::fs::write(dir.join("nats.conf"), format!("max_pending: 4194304\n{conf}"))?;
        net.start_nats()?;
        let mut clients = Vec::new();
        for i in 0..NODES {
            net.start(i)?;
            clients.push(net.client(i).await?);
        }
        for client in &clients {
            client.reach(2, PATIENCE).await?;
        }
        let (bus, subjects) = net.bus(0, Participant::Consensus).await?;
        let gaps = "consilium_consensus_gaps_total{why=\"connection\"}";
        let before = net.counted(3, gaps)?;
        net.signal(3, "STOP")?;
        let flooded = async {
            let noise = vec![0; 500 * 1024];
            for _ in 0..60 {
                bus.publish(&subjects.consensus_gossip(), noise.clone()).await?;
                sleep(Duration::from_millis(5)).await;
            }
            let height = clients[0].head().await?.height;
            clients[0].reach(height + 3, PATIENCE).await
        }
        .await;
        net.signal(3, "CONT")?;
        let (height, start) = (flooded?, Instant::now());
        clients[3].reach(height, PATIENCE).await.with_context(|| net.log(3))?;
        let took = start.elapsed();
        let counted = net.counted(3, gaps)? - before;
        ensure!(counted >= 1.0, "the node does not know that it missed something");
        let _ = std::fs::remove_dir_all(&dir);
        Ok(format!("caught up {} ms after a flood that it slept through", took.as_millis()))
    }
}

/// Whether the tools are there; says so if not, or fails where nothing may be skipped.
#[cfg(test)]
fn ready() -> bool {
    if net::nats_server().is_some() && run::helm().is_some() {
        return true;
    }
    let strict = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() == Ok("1");
    assert!(!strict, "nats-server and helm are required: run scripts/setup.sh test");
    eprintln!("SKIPPED: no nats-server or helm; run scripts/setup.sh test to install them");
    false
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn two_hubs() {
    if ready() {
        println!("{}", run::all().await.unwrap());
    }
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn slow_consumer() {
    if ready() {
        println!("{}", run::slow().await.unwrap());
    }
}
