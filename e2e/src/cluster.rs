//! Four hospitals as real processes in a folder of their own, started and stopped by the `consilium` command.
//!
//! Whatever happens, dropping a [`Cluster`] stops its processes.

use crate::clock::Stopwatch;
use crate::collector::Collector;
use crate::http::Http;
use crate::recorder::Recorder;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The five services of a hospital.
pub const SERVICES: [&str; 5] = ["validate", "consensus", "keys", "audit", "ingest"];
/// The client of the development issuer that authenticates with an assertion.
pub const CLIENT: &str = "demo-check";

/// A hospital.
#[derive(Debug, Clone)]
pub struct Hospital {
    pub name: String,
    port: u16,
}

impl Hospital {
    /// FHIR base address.
    pub fn fhir(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }
    /// What stands before `/fhir`, `/auth` and `/exchange`.
    pub fn root(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// Port of the FHIR endpoint, for raw connections.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// FHIR base of another hospital's records as seen from here.
    pub fn exchange(&self, other: &str) -> String {
        format!("http://127.0.0.1:{}/exchange/{other}/fhir", self.port)
    }
    /// Prometheus metrics of a service.
    pub fn metrics(&self, service: &str) -> String {
        let place =
            SERVICES.iter().position(|s| *s == service).and_then(|p| u16::try_from(p).ok()).unwrap_or(0);
        format!("http://127.0.0.1:{}/metrics", self.port + 2 + place)
    }
    /// Where `consilium keys` asks.
    pub fn door(&self) -> String {
        format!("http://127.0.0.1:{}", self.port + 7)
    }
    /// The dashboard.
    pub fn dashboard(&self) -> String {
        format!("http://127.0.0.1:{}", self.port + 1)
    }
}

/// What a command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output, if the command ended well.
    pub fn good(self) -> Result<String> {
        if self.code == 0 {
            return Ok(self.out);
        }
        bail!("exit {}: {}{}", self.code, self.out, self.err)
    }
}

/// The consortium.
pub struct Cluster {
    binary: PathBuf,
    tools: PathBuf,
    dir: PathBuf,
    port: u16,
    hospitals: Vec<Hospital>,
    recorder: Option<Recorder>,
    collector: Option<Collector>,
    stopped: bool,
}

impl Cluster {
    /// Makes keys, genesis and configuration in `dir`; starts nothing yet. `tools` holds nats-server and FHIR packages.
    pub fn found(dir: &Path, tools: &Path) -> Result<Self> {
        let binary =
            std::env::current_exe()?.parent().context("this program has no folder")?.join("consilium");
        let port = free_block(41)?;
        let mut cluster = Self {
            binary,
            tools: tools.to_owned(),
            dir: dir.to_owned(),
            port,
            hospitals: Vec::new(),
            recorder: None,
            collector: None,
            stopped: false,
        };
        cluster.up(&["--prepare"])?;
        let book: Value = serde_json::from_slice(&std::fs::read(dir.join("consortium.json"))?)?;
        for organisation in book.get("organisations").and_then(Value::as_array).into_iter().flatten() {
            let name =
                organisation.get("name").and_then(Value::as_str).context("an organisation without name")?;
            let port =
                organisation.get("port").and_then(Value::as_u64).context("an organisation without port")?;
            cluster.hospitals.push(Hospital { name: name.to_owned(), port: u16::try_from(port)? });
        }
        Ok(cluster)
    }

    fn up(&self, more: &[&str]) -> Result<String> {
        let dir = self.dir.display().to_string();
        let tools = self.tools.display().to_string();
        let port = self.port.to_string();
        let mut arguments = vec!["up", "--orgs", "4", "--dir", &dir, "--port", &port, "--tools", &tools];
        arguments.extend_from_slice(more);
        self.consilium(&arguments)?.good().context("consilium up")
    }

    /// Port of the message server, or of the tap before it.
    pub fn bus(&self) -> u16 {
        self.port - 1
    }

    /// Puts the tap before nats-server, which gets another port. Before the first start.
    pub fn tap(&mut self, kept: &Path) -> Result<()> {
        let file = self.dir.join("nats/nats.conf");
        let text = std::fs::read_to_string(&file)?;
        // Ten ports per hospital, the tap before them, the server behind.
        let (tap, server) = (self.port - 1, self.port + 40);
        let moved = text.replacen(&format!("127.0.0.1:{tap}\""), &format!("127.0.0.1:{server}\""), 1);
        if moved == text {
            bail!("nats.conf does not listen on port {tap}");
        }
        std::fs::write(&file, moved)?;
        self.recorder = Some(Recorder::start(tap, server, kept)?);
        Ok(())
    }

    /// Has every service export its traces to a collector here, which keeps them in `kept`. Before the first start.
    pub fn trace(&mut self, kept: &Path) -> Result<()> {
        let collector = Collector::start(kept)?;
        for (hospital, service) in self.hospitals.iter().flat_map(|h| SERVICES.map(|s| (&h.name, s))) {
            let file = self.dir.join(hospital).join(format!("{service}.toml"));
            let mut text = std::fs::read_to_string(&file)?;
            text.push_str(&format!("\n[telemetry]\notlp_endpoint = \"{}\"\n", collector.endpoint()));
            std::fs::write(&file, text)?;
        }
        self.collector = Some(collector);
        Ok(())
    }

    /// Registers a client at hospital A's development issuer, with the key of hospital D's issuer as its own: a client
    /// of the registration page has a key pair that the server knows the public half of. Before the first start.
    pub fn register_client(&self) -> Result<()> {
        use jsonwebtoken::jwk::{Jwk, JwkSet};
        let key = self.client_key()?;
        let mut jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES384).context("make a JWK")?;
        jwk.common.key_id = Some(CLIENT.to_owned());
        let jwks = self.dir.join("client.jwks.json");
        std::fs::write(&jwks, serde_json::to_vec(&JwkSet { keys: vec![jwk] })?)?;
        let file = self.dir.join("hospital-a/ingest.toml");
        let mut text = std::fs::read_to_string(&file)?;
        text.push_str(&format!(
            "\n[[development_issuer.clients]]\nid = \"{CLIENT}\"\njwks_file = {}\nscope = \"system/*.rs\"\n",
            json!(jwks.display().to_string())
        ));
        std::fs::write(&file, text)?;
        Ok(())
    }

    /// The registered client's private key.
    pub fn client_key(&self) -> Result<jsonwebtoken::EncodingKey> {
        let pem = std::fs::read(self.secret("hospital-d", "issuer.pem"))?;
        jsonwebtoken::EncodingKey::from_ec_pem(&pem).context("read the client's key")
    }

    /// The private key of an organisation's development issuer, for tokens that it would never make.
    pub fn issuer_key(&self, hospital: &str) -> Result<jsonwebtoken::EncodingKey> {
        let pem = std::fs::read(self.secret(hospital, "issuer.pem"))?;
        jsonwebtoken::EncodingKey::from_ec_pem(&pem).context("read the issuer's key")
    }

    /// A file of an organisation's secrets.
    pub fn secret(&self, hospital: &str, name: &str) -> PathBuf {
        self.dir.join(hospital).join("secrets").join(name)
    }

    /// Starts all hospitals and waits until they are ready.
    pub fn start(&self) -> Result<()> {
        self.up(&[]).map(|_| ())
    }

    /// Starts one hospital again.
    pub fn start_only(&self, hospital: &str) -> Result<()> {
        self.up(&["--only", hospital]).map(|_| ())
    }

    /// Asks one process of a hospital to stop and waits until it has.
    pub fn stop_one(&self, hospital: &str, service: &str) -> Result<()> {
        let file = self.dir.join(hospital).join(format!("{service}.pid"));
        let pid = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Command::new("kill").arg(pid.trim()).status()?;
        // A process that has ended may still be listed until somebody asks for its status.
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        self.wait(Duration::from_secs(25), "the process stops", || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            Ok(stat.rsplit_once(')').is_none_or(|(_, after)| after.trim_start().starts_with('Z')))
        })?;
        Ok(())
    }

    /// Folder of the programs.
    pub fn programs(&self) -> &Path {
        self.binary.parent().unwrap_or(Path::new("."))
    }

    /// Stops all processes for good; data stays.
    pub fn stop(&mut self) -> Result<String> {
        self.stopped = true;
        self.stop_for_restart()
    }

    /// Stops all processes.
    pub fn stop_for_restart(&self) -> Result<String> {
        self.consilium(&["down", "--dir", &self.dir.display().to_string()])?.good()
    }

    /// `kill -9` of all five processes of a hospital at once.
    pub fn kill(&self, hospital: &str) -> Result<()> {
        let mut command = Command::new("kill");
        command.arg("-9");
        for service in SERVICES {
            let file = self.dir.join(hospital).join(format!("{service}.pid"));
            let pid = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            command.arg(pid.trim());
        }
        if !command.status()?.success() {
            bail!("not all processes of {hospital} were there to be killed");
        }
        Ok(())
    }

    /// Runs the `consilium` command.
    pub fn consilium(&self, arguments: &[&str]) -> Result<Said> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .output()
            .with_context(|| format!("run {}: build it first", self.binary.display()))?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// An access token of a hospital's development issuer.
    pub fn token(&self, hospital: &str, scope: &str, more: &[&str]) -> Result<String> {
        let dir = self.dir.display().to_string();
        let mut arguments = vec!["token", "--dir", &dir, "--org", hospital, "--scope", scope];
        arguments.extend_from_slice(more);
        Ok(self.consilium(&arguments)?.good().context("consilium token")?.trim().to_owned())
    }

    /// Height of a hospital's ledger; nothing while it cannot say.
    pub fn height(&self, hospital: &str) -> Result<Option<u64>> {
        let said = self.consilium(&[
            "--json",
            "status",
            "--dir",
            &self.dir.display().to_string(),
            "--only",
            hospital,
        ])?;
        let status: Value = serde_json::from_str(&said.out).context("consilium status")?;
        Ok(status.pointer("/organisations/0/height").and_then(Value::as_u64))
    }

    /// A hospital by its place: 0 is hospital-a.
    pub fn hospital(&self, at: usize) -> Result<&Hospital> {
        self.hospitals.get(at).context("there is no such hospital")
    }

    /// All hospitals.
    pub fn hospitals(&self) -> &[Hospital] {
        &self.hospitals
    }

    /// Folder of everything that the processes write.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The genesis file.
    pub fn genesis(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }

    /// The tap on the bus.
    pub fn recorder(&self) -> Result<&Recorder> {
        self.recorder.as_ref().context("there is no tap on the bus")
    }

    /// The collector of traces.
    pub fn collector(&self) -> Result<&Collector> {
        self.collector.as_ref().context("no traces are collected")
    }

    /// The ends of all logs, those with warnings or errors first told.
    pub fn tails(&self) -> String {
        let mut out = String::new();
        let mut files: Vec<PathBuf> = vec![self.dir.join("nats/nats-server.log")];
        for hospital in &self.hospitals {
            files.extend(SERVICES.iter().map(|s| self.dir.join(&hospital.name).join(format!("{s}.log"))));
        }
        for file in files {
            let text = std::fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let loud: Vec<&str> = lines
                .iter()
                .copied()
                .filter(|l| l.contains("WARN") || l.contains("ERROR") || l.contains("panicked"))
                .collect();
            let shown = if loud.is_empty() { &lines } else { &loud };
            out.push_str(&format!("--- {}\n", file.display()));
            for line in shown.iter().skip(shown.len().saturating_sub(6)) {
                out.extend(line.chars().take(400));
                out.push('\n');
            }
        }
        out
    }

    /// Waits until something holds, asking every 100 ms.
    pub fn wait(
        &self,
        limit: Duration,
        what: &str,
        mut holds: impl FnMut() -> Result<bool>,
    ) -> Result<Duration> {
        let watch = Stopwatch::start();
        loop {
            if holds()? {
                return Ok(watch.elapsed());
            }
            if watch.elapsed() > limit {
                bail!("waited {} s in vain: {what}", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A client.
    pub fn http(&self) -> Http {
        Http::default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.stop();
        }
    }
}

/// The first of `n` ports in a row that are free now, with one more in front of them.
fn free_block(n: u16) -> Result<u16> {
    // Below the range from which the system takes ports for outgoing connections.
    let start = 20_000 + (std::process::id() % 200) as u16 * 60;
    (0..200u16)
        .map(|i| 20_001 + (start - 20_000 + i * 60) % 12_000)
        .find(|first| (first - 1..first + n).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
        .context("no free ports")
}
