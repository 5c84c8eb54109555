//! A nats-server of one's own, and services on it.

use consilium_contracts::nats::{Account, server_config, user};
use consilium_contracts::{Participant, Subjects};
use consilium_domain::{ChannelId, Clock, OrgId};
use consilium_runtime::bus::Parts;
use consilium_runtime::config::BusConfig;
use consilium_runtime::{Bus, Entropy, Health, Meter, Shutdown, SystemClock};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const PASSWORD: &str = "0123456789abcdef";

/// A running nats-server; ends with its owner.
pub struct Server {
    binary: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    pub url: String,
}

fn binary() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    let found = if own.exists() {
        Some(own)
    } else {
        std::env::split_paths(&std::env::var_os("PATH")?).map(|p| p.join("nats-server")).find(|p| p.exists())
    };
    if found.is_none() {
        let required = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|v| v == "1");
        assert!(!required, "nats-server is required and absent: run scripts/setup.sh");
        eprintln!("SKIPPED: no nats-server; run scripts/setup.sh to install it");
    }
    found
}

impl Server {
    /// Starts a server with an account for each organisation; `None` where there is no nats-server.
    pub fn start(organisations: &[&str]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let binary = binary()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "nats-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let accounts: Vec<Account> = organisations
            .iter()
            .map(|name| Account {
                organisation: OrgId::new(*name).unwrap(),
                passwords: Participant::ALL.map(|p| (p, PASSWORD.to_owned())).to_vec(),
            })
            .collect();
        // A port that is free now stays ours across restarts with near certainty.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let config = server_config(&ChannelId::new("north").unwrap(), &accounts, &listen, None).unwrap();
        std::fs::write(folder.join("nats.conf"), config).unwrap();
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        let mut server = Self { binary, folder, child: None, url: format!("nats://{listen}") };
        server.restart();
        Some(server)
    }

    pub fn restart(&mut self) {
        let log = std::fs::File::create(self.folder.join("nats.log")).unwrap();
        let child = Command::new(&self.binary)
            .arg("-c")
            .arg(self.folder.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let address = self.url.trim_start_matches("nats://");
        for _ in 0..200 {
            if std::net::TcpStream::connect(address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.folder.join("nats.log")).unwrap_or_default();
        panic!("nats-server did not start:\n{log}");
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A client without our bus, and the errors that the server sends it.
    pub async fn raw(
        &self,
        organisation: &str,
        participant: Participant,
    ) -> (async_nats::Client, mpsc::UnboundedReceiver<String>) {
        let (sender, errors) = mpsc::unbounded_channel();
        let user = user(&OrgId::new(organisation).unwrap(), participant);
        let client = async_nats::ConnectOptions::with_user_and_password(user, PASSWORD.to_owned())
            .custom_inbox_prefix(Subjects::inbox_prefix(participant))
            .event_callback(move |event| {
                if let async_nats::Event::ServerError(error) = event {
                    let _ = sender.send(error.to_string());
                }
                std::future::ready(())
            })
            .connect(&self.url)
            .await
            .unwrap();
        (client, errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One service's bus and what belongs to it.
pub struct Node {
    pub bus: Bus,
    pub subjects: Subjects,
    pub health: Health,
    pub shutdown: Shutdown,
}

/// A service that is connected.
pub async fn node(server: &Server, organisation: &str, participant: Participant) -> Node {
    let node = unready_node(server, organisation, participant).await;
    tokio::time::timeout(Duration::from_secs(10), node.bus.ready()).await.unwrap();
    node
}

/// A service that may not be connected yet.
pub async fn unready_node(server: &Server, organisation: &str, participant: Participant) -> Node {
    let organisation = OrgId::new(organisation).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let health = Health::new(Arc::clone(&clock));
    let shutdown = Shutdown::new();
    let subjects = Subjects::new(ChannelId::new("north").unwrap(), organisation.clone());
    let config = BusConfig {
        url: server.url.clone(),
        user: user(&organisation, participant),
        password_file: server.folder.join("password"),
        ca_file: None,
        blob_limit: 64 * 1024 * 1024,
    };
    let parts = Parts {
        subjects: subjects.clone(),
        participant,
        clock,
        entropy: Entropy::system(),
        meter: Meter::new(participant.as_str()),
        check: health.check("bus"),
        shutdown: shutdown.clone(),
        blob_limit: config.blob_limit,
    };
    let bus = Bus::connect(&config, parts).await.unwrap();
    Node { bus, subjects, health, shutdown }
}

/// Waits until `condition` holds; fails after 20 s.
pub async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    for _ in 0..400 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the condition did not come to hold within 20 s");
}
