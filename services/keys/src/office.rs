//! The actions that officers sign, and carrying them out.

use crate::audit::{Deed, Recorder};
use crate::class::{Class, ClassName};
use crate::erase::{self, Erasure, Scope};
use crate::error::KeysError;
use crate::motion::{self, Motion, Motions, Officer};
use crate::seal::{Files, Master, Seal, SealConfig};
use crate::worker::Worker;
use consilium_abe::transit;
use consilium_domain::tx::ErasureGround;
use consilium_domain::{PublicKey, Signature, officers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use zeroize::Zeroizing;

/// What a motion asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Takes a role (none: every role) from a person, at once.
    Withdraw {
        subject: String,
        #[serde(default)]
        role: Option<String>,
    },
    /// Takes a withdrawal back.
    Restore {
        subject: String,
        #[serde(default)]
        role: Option<String>,
    },
    /// Registers the key with which a person signed a challenge.
    Register { subject: String, public_key: PublicKey, nonce: String, signature: Signature },
    /// Wraps the master key by another method. The configuration has to name it before the next start.
    Reseal { seal: SealConfig },
    /// Makes a new master key and seals every file anew under it.
    RotateMaster {},
    /// Makes the authority's next key and gives its public half. It is in force when the members' motion has named it.
    RotateAuthority {},
    /// Gives the authority's secret key, sealed to an Ed25519 key.
    Export { recipient: PublicKey },
    /// Destroys the keys of classes. The ground goes to the ledger.
    Destroy { scope: Scope, ground: ErasureGround, classes: Vec<String> },
    /// Shares the authority's secret key: any `threshold` of the guardians bring it back.
    GuardiansSplit { threshold: u8, guardians: Vec<Officer> },
    /// Replaces the list of officers.
    Officers { officers: Vec<Officer> },
}

impl Action {
    /// The verb, as audit events name it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Withdraw { .. } => "withdraw",
            Self::Restore { .. } => "restore",
            Self::Register { .. } => "register",
            Self::Reseal { .. } => "reseal",
            Self::RotateMaster {} => "rotate-master",
            Self::RotateAuthority {} => "rotate-authority",
            Self::Export { .. } => "export",
            Self::Destroy { .. } => "destroy",
            Self::GuardiansSplit { .. } => "guardians-split",
            Self::Officers { .. } => "officers",
        }
    }

    /// How many officers it takes. One for what takes rights or what another proof backs; two for everything
    /// that could disclose or lose keys.
    pub fn needed(&self) -> usize {
        match self {
            Self::Withdraw { .. } | Self::Restore { .. } | Self::Register { .. } => 1,
            _ => 2,
        }
    }

    /// What it is about, for the audit trail: never a patient.
    fn target(&self) -> String {
        match self {
            Self::Withdraw { subject, role } | Self::Restore { subject, role } => {
                format!("{subject} {}", role.as_deref().unwrap_or("*"))
            }
            Self::Register { subject, .. } => subject.clone(),
            Self::Reseal { seal } => seal.method().to_owned(),
            Self::RotateMaster {} => "master key".to_owned(),
            Self::RotateAuthority {} => "authority key".to_owned(),
            Self::Export { recipient } => format!("authority key to {recipient}"),
            Self::Destroy { scope, classes, .. } => {
                format!("{} of {} classes", scope.as_str(), classes.len())
            }
            Self::GuardiansSplit { guardians: people, .. } | Self::Officers { officers: people } => {
                people.iter().map(|person| person.name.as_str()).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// The seal in use and what it holds.
struct Keeper {
    seal: Box<dyn Seal>,
    master: Master,
}

/// Motions and everything that they act on.
pub struct Office {
    pub(crate) worker: Arc<Worker>,
    recorder: Recorder,
    pub(crate) motions: Motions,
    officers: RwLock<Vec<Officer>>,
    files: Files,
    /// One at a time: resealing while files move would wrap the wrong key.
    keeper: Mutex<Keeper>,
    erasing: Mutex<()>,
}

impl Office {
    pub(crate) fn new(
        worker: Arc<Worker>,
        recorder: Recorder,
        officers: Vec<Officer>,
        files: Files,
        (seal, master): (Box<dyn Seal>, Master),
    ) -> Self {
        let motions = Motions::new(worker.channel().clone(), worker.organisation().clone());
        let keeper = Mutex::new(Keeper { seal, master });
        Self {
            worker,
            recorder,
            motions,
            officers: RwLock::new(officers),
            files,
            keeper,
            erasing: Mutex::default(),
        }
    }

    pub fn officers(&self) -> Vec<Officer> {
        self.officers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Name of the sealing method in use.
    pub fn method(&self) -> &'static str {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).seal.method()
    }

    /// Opens a motion for an action. Nothing happens until officers sign.
    pub fn propose(&self, action: &Action) -> Result<Motion, KeysError> {
        let officers = self.officers().len();
        if officers < action.needed() {
            return Err(KeysError::Refused(format!(
                "`{}` takes {} officers, the vault knows {officers}: name them in `[[officer]]` before the first start",
                action.verb(),
                action.needed()
            )));
        }
        let text = serde_json::to_string(action)
            .map_err(|_| KeysError::Invalid { field: "action", rule: "cannot be written as JSON" })?;
        let worker = &self.worker;
        self.motions.propose(text, action.needed(), worker.clock().now(), &mut worker.entropy().rng())
    }

    /// An officer's signature; with the last one needed the action is carried out. Each attempt leaves an audit
    /// event, on this disk before anything happens.
    pub async fn approve(
        self: &Arc<Self>,
        id: &str,
        officer: &str,
        signature: &Signature,
    ) -> Result<(Motion, Option<Value>), KeysError> {
        let known = self.officers().into_iter().find(|known| known.name == officer);
        let now = self.worker.clock().now();
        let approved = match &known {
            None => Err(KeysError::Refused("there is no such officer".to_owned())),
            Some(known) => self.motions.approve(id, known, signature, now),
        };
        let motion = match approved {
            Ok(motion) => motion,
            Err(error) => {
                let deed = Deed { verb: "approve", by: officer, target: id, detail: None };
                self.recorder.record(self.worker.scene().administered(&deed, Some(&error))).await?;
                return Err(error);
            }
        };
        let action: Action = serde_json::from_str(&motion.action)
            .map_err(|_| KeysError::Invalid { field: "action", rule: "is unknown" })?;
        let by = motion.approved_by.join(" ");
        let target = action.target();
        let intent =
            Deed { verb: "approve", by: officer, target: id, detail: Some(("action", action.verb())) };
        self.recorder.record(self.worker.scene().administered(&intent, None)).await?;
        if motion.approved_by.len() < motion.needed {
            return Ok((motion, None));
        }
        let (office, officers, verb) = (Arc::clone(self), motion.approved_by.clone(), action.verb());
        let done = tokio::task::spawn_blocking(move || office.carry_out(action, &officers)).await;
        let done = done.unwrap_or(Err(KeysError::Interrupted));
        let digest = done.as_ref().ok().and_then(|value| value.get("digest")?.as_str().map(str::to_owned));
        let detail = digest.as_deref().map(|digest| ("erasure", digest));
        let deed = Deed { verb, by: &by, target: &target, detail };
        self.recorder.record(self.worker.scene().administered(&deed, done.as_ref().err())).await?;
        tracing::info!(verb, officers = by, done = done.is_ok(), "a motion was carried out");
        done.map(|value| (motion, Some(value)))
    }

    /// Blocks.
    fn carry_out(&self, action: Action, officers: &[String]) -> Result<Value, KeysError> {
        let worker = &self.worker;
        let vault = worker.vault();
        let rng = &mut worker.entropy().rng();
        match action {
            Action::Withdraw { subject, role } => {
                worker.people().withdraw(&vault, &subject, role.as_deref().unwrap_or_default(), rng)?;
                Ok(json!({"withdrawn": subject, "role": role}))
            }
            Action::Restore { subject, role } => {
                let was =
                    worker.people().restore(&vault, &subject, role.as_deref().unwrap_or_default(), rng)?;
                Ok(json!({"restored": subject, "role": role, "was_withdrawn": was}))
            }
            Action::Register { subject, public_key, nonce, signature } => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(&nonce, &mut bytes).map_err(|_| KeysError::Invalid {
                    field: "nonce",
                    rule: "must be 64 hexadecimal digits",
                })?;
                let proof = (&public_key, &bytes, &signature);
                let now = worker.clock().monotonic();
                let gid = worker.people().register(&vault, &subject, proof, now, rng)?;
                Ok(json!({"subject": subject, "gid": gid.as_str()}))
            }
            Action::Reseal { seal } => {
                let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
                let next = seal.build()?;
                self.files.reseal(next.as_ref(), &keeper.master, rng)?;
                keeper.seal = next;
                Ok(json!({"sealed_by": seal.method()}))
            }
            Action::RotateMaster {} => {
                let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
                let master = self.files.begin(keeper.seal.as_ref(), rng)?;
                vault.change_key(master.sealing_key()?);
                let moved = vault.move_all(rng)?;
                self.files.finish()?;
                keeper.master = master;
                Ok(json!({"files_sealed_anew": moved}))
            }
            Action::RotateAuthority {} => Ok(json!({"authority": hex::encode(worker.prepare_authority()?)})),
            Action::Export { recipient } => {
                let context = officers::export_context(worker.channel(), worker.organisation());
                let secret = worker.authority().secret_bytes();
                let sealed = transit::seal_to(&recipient.0, &context, &secret, rng)?;
                Ok(json!({"sealed": hex::encode(sealed)}))
            }
            Action::Destroy { scope, ground, classes } => self.destroy((scope, ground), &classes, officers),
            Action::GuardiansSplit { threshold, guardians } => self.split(threshold, &guardians),
            Action::Officers { officers } => {
                if officers.len() < 2 {
                    return Err(KeysError::Invalid { field: "officers", rule: "must be two at least" });
                }
                motion::keep_officers(&vault, &officers, rng)?;
                let names: Vec<String> = officers.iter().map(|officer| officer.name.clone()).collect();
                *self.officers.write().unwrap_or_else(PoisonError::into_inner) = officers;
                Ok(json!({"officers": names}))
            }
        }
    }

    /// Shares the authority's key. The whole key never leaves this process: each share is sealed to its guardian.
    fn split(&self, threshold: u8, guardians: &[Officer]) -> Result<Value, KeysError> {
        // One person with two shares would be two of the threshold.
        motion::check_officers(guardians)?;
        let worker = &self.worker;
        let rng = &mut worker.entropy().rng();
        let number = u8::try_from(guardians.len()).unwrap_or(u8::MAX);
        let (group, shares) = worker.authority().share((threshold, number), rng)?;
        let mut out = Vec::with_capacity(shares.len());
        for (share, guardian) in shares.iter().zip(guardians) {
            let context = officers::share_context(
                worker.channel().as_str(),
                worker.organisation().as_str(),
                group.generation(),
                share.guardian(),
            );
            let sealed = transit::seal_to(&guardian.public_key.0, &context, &share.to_bytes(), rng)?;
            out.push(json!({
                "guardian": share.guardian(),
                "name": guardian.name,
                "sealed": hex::encode(sealed),
            }));
        }
        Ok(json!({"group": hex::encode(group.to_bytes()), "shares": out}))
    }

    fn destroy(
        &self,
        (scope, ground): (Scope, ErasureGround),
        classes: &[String],
        officers: &[String],
    ) -> Result<Value, KeysError> {
        let invalid = |rule| KeysError::Invalid { field: "classes", rule };
        if classes.is_empty() || classes.len() > erase::MOST {
            return Err(invalid("must be 1 to 10000 ids"));
        }
        let worker = &self.worker;
        let (vault, rng) = (worker.vault(), &mut worker.entropy().rng());
        let mut names = Vec::with_capacity(classes.len());
        for class in classes {
            let id = hex::decode(class).map_err(|_| invalid("must be in hexadecimal"))?;
            names.push(ClassName::new(worker.channel(), worker.organisation(), &id)?);
        }
        names.sort_by(|a, b| a.id.cmp(&b.id));
        names.dedup();
        // One at a time: they are numbered.
        let _alone = self.erasing.lock().unwrap_or_else(PoisonError::into_inner);
        // All of them are looked at before the first is destroyed: a mistyped id destroys nothing.
        let mut left = Vec::with_capacity(names.len());
        let mut epochs = 0_u64;
        for name in names {
            match Class::load(&vault, &name)? {
                Some(class) => {
                    epochs = epochs.saturating_add(u64::try_from(class.epochs.len()).unwrap_or(u64::MAX));
                    left.push(name);
                }
                None if erase::erased(&vault, &name)? => {}
                None => return Err(KeysError::UnknownClass),
            }
        }
        if left.is_empty() {
            return Ok(json!({"already_destroyed": classes.len()}));
        }
        let ids: Vec<Vec<u8>> = left.iter().map(|name| name.id.clone()).collect();
        let mut salt = Zeroizing::new([0; 32]);
        consilium_abe::rand_core::RngCore::fill_bytes(rng, &mut *salt);
        let at = worker.clock().now();
        let erasure = Erasure {
            channel: worker.channel().clone(),
            organisation: worker.organisation().clone(),
            scope,
            ground,
            classes: u64::try_from(left.len()).unwrap_or(u64::MAX),
            epochs,
            commitment: erase::commitment(&salt, &ids),
            at,
            officers: officers.to_vec(),
        };
        erase::keep(&vault, &erasure, &salt, &ids, rng)?;
        for name in &left {
            worker.destroy(name, at, rng)?;
        }
        Ok(erasure.to_json())
    }
}
