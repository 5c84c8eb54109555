//! The keys service: an organisation's attribute authority, its class keys, and the opening of other
//! custodians' class keys for the organisation's own people.
//!
//! Everything on its disk is sealed under a master key, which [`seal`] wraps by a method of the operator's
//! choice. Secrets leave the service in two messages only, `keys.class` and `keys.open`, which never cross the
//! organisation's NATS account, and by officers' motions.

mod admin;
mod audit;
pub mod authority;
mod bounded;
pub mod class;
mod config;
pub mod envelope;
pub mod epoch;
pub mod erase;
mod error;
mod harden;
mod limit;
pub mod motion;
pub mod office;
mod open;
pub mod people;
pub mod post_quantum;
pub mod seal;
pub mod standing;
pub mod vault;
mod worker;

pub use config::Config;
pub use error::KeysError;
pub use worker::Worker;

use admin::{Attempt, Desk};
use anyhow::{Context, bail};
use consilium_domain::genesis::{Genesis, Member};
use consilium_runtime::members::{self, Own};
use consilium_runtime::{Check, Kit, Service};
use office::Office;
use seal::{Files, KeyFile, Seal, SealError, Unlocked};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vault::{Folder, Vault};

/// Longest pause between attempts to reach what unseals.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The service, for `consilium_runtime::main`.
pub struct Keys;

impl Service for Keys {
    const NAME: &'static str = "keys";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        harden::process()?;
        let locked = harden::lock_memory();
        let gauge = kit.meter.gauge("memory_locked", "1 if no page gets to the swap device", &[])?;
        gauge.set(&[], f64::from(u8::from(locked.is_ok())));
        if let Err(reason) = locked {
            tracing::warn!(%reason, "keys in memory may get to the swap device");
        }
        let check = kit.health.check("vault");
        let genesis = std::fs::read(&config.keys.genesis_file).with_context(|| {
            format!("cannot read `keys.genesis_file` {}", config.keys.genesis_file.display())
        })?;
        let genesis: Genesis =
            serde_json::from_slice(&genesis).context("`keys.genesis_file` is no genesis file")?;
        let direct = config.keys.unseal_key_file.as_deref().map(KeyFile::new);
        let seal: Box<dyn Seal> = match (&config.seal, &config.keys.unseal_key_file) {
            (Some(seal), _) => seal.build().context("`[seal]`")?,
            (None, Some(file)) => Box::new(KeyFile::new(file)),
            (None, None) => bail!("either `[seal]` or `keys.unseal_key_file` is needed"),
        };
        let (channel, organisation) = (kit.subjects.channel().clone(), kit.subjects.organisation().clone());
        let folder = Folder::take(&config.keys.data_dir)?;
        let files = Files::new(folder.path(), format!("{channel}/{organisation}"));
        let (sender, attempts) = mpsc::channel(1);
        let desk = Desk::new((channel, organisation), Arc::clone(&kit.clock), seal.method(), sender);
        let desk = Arc::new(desk);
        let door = match &config.admin {
            None => None,
            Some(admin) => Some(admin::server(admin.listen, Arc::clone(&desk))?),
        };
        let handle = door.as_ref().map(actix_web::dev::Server::handle);
        if let Some(door) = door {
            tokio::spawn(door);
        }
        let Some((seal, files, unlocked)) =
            unlock(seal, files, direct, attempts, &kit, &check).await.context("the vault stays sealed")?
        else {
            return Ok(());
        };
        let office = {
            let kit = kit.clone();
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                let _inside = runtime.enter();
                open(&config, &kit, folder, (seal, files, unlocked), &genesis)
            })
        };
        let (office, recorder, event) = office.await??;
        recorder.record(event).await?;
        worker::serve(Arc::clone(&office.worker), recorder, &kit).await?;
        desk.open(office);
        check.ready();
        kit.shutdown.wait().await;
        if let Some(handle) = handle {
            handle.stop(true).await;
        }
        Ok(())
    }
}

type Opened = (Box<dyn Seal>, Files, Unlocked);

/// Brings the vault's files to the master key in force, and everything up that needs them. Blocks.
fn open(
    config: &Config,
    kit: &Kit,
    folder: Folder,
    (seal, files, unlocked): Opened,
    genesis: &Genesis,
) -> anyhow::Result<(Arc<Office>, audit::Recorder, serde_json::Value)> {
    let rng = &mut kit.entropy.rng();
    let moving = unlocked.previous.is_some();
    let vault: Vault = folder.open(unlocked.master.sealing_key()?, unlocked.previous);
    if moving {
        let moved = vault.move_all(rng)?;
        files.finish()?;
        tracing::info!(files = moved, "the vault was sealed anew under its next master key");
    }
    let officers = motion::officers(&vault, &config.officers, rng)?;
    let held = authority::Held::load(&vault)?;
    let is = |member: &Member| held.is_of(member, kit.subjects.channel(), &mut kit.entropy.rng());
    let own = Own { key: "authority", is: &is };
    let members = tokio::runtime::Handle::current().block_on(members::follow_from(genesis, kit, &own))?;
    let worker = Arc::new(Worker::start(config, kit, vault, (genesis, members))?);
    let recorder = audit::Recorder::start(worker.vault(), kit)?;
    let event = worker.scene().unsealed(seal.method(), &officers);
    let office = Office::new(worker, recorder.clone(), officers, files, (seal, unlocked.master));
    Ok((Arc::new(office), recorder, event))
}

/// Unwraps the master key: at once, when what unseals answers, or when a person gives the passphrase. Nothing
/// when the process is to stop before.
async fn unlock(
    seal: Box<dyn Seal>,
    files: Files,
    direct: Option<KeyFile>,
    mut attempts: mpsc::Receiver<Attempt>,
    kit: &Kit,
    check: &Check,
) -> anyhow::Result<Option<Opened>> {
    let mut state = (seal, files, direct);
    let (mut pause, mut reply) = (Duration::from_millis(500), None);
    loop {
        let entropy = kit.entropy.clone();
        let (back, outcome) = tokio::task::spawn_blocking(move || {
            let (seal, files, direct) = &state;
            let outcome = files.unlock(seal.as_ref(), direct.as_ref(), &mut entropy.rng());
            (state, outcome)
        })
        .await?;
        state = back;
        let asked: Option<tokio::sync::oneshot::Sender<Result<(), String>>> = reply.take();
        match outcome {
            Ok(unlocked) => {
                if let Some(asked) = asked {
                    // Whoever asked may have gone.
                    let _ = asked.send(Ok(()));
                }
                return Ok(Some((state.0, state.1, unlocked)));
            }
            Err(error @ SealError::Unreachable(_)) => {
                tracing::warn!(%error, "the vault stays sealed for now");
                check.not_ready(&format!("sealed: {error}"));
                tokio::select! {
                    () = kit.shutdown.wait() => return Ok(None),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            // A wrong passphrase is a person's mistake, not the process's end.
            Err(error) if asked.is_some() || matches!(error, SealError::NeedsPerson) => {
                if let Some(asked) = asked {
                    let _ = asked.send(Err(error.to_string()));
                }
                check.not_ready("sealed: a person gives the passphrase (`consilium keys unseal`)");
                tokio::select! {
                    () = kit.shutdown.wait() => return Ok(None),
                    attempt = attempts.recv() => {
                        let Some((passphrase, asked)) = attempt else { return Ok(None) };
                        match state.0.give(passphrase) {
                            Ok(()) => reply = Some(asked),
                            Err(error) => { let _ = asked.send(Err(error.to_string())); }
                        }
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
