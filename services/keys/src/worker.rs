//! The requests of ingest, answered on a pool of blocking threads.

use crate::audit::{Recorder, Scene};
use crate::authority::Authority;
use crate::class::{Class, ClassName, Wrapping};
use crate::config::Config;
use crate::envelope::Envelopes;
use crate::epoch;
use crate::erase;
use crate::error::KeysError;
use crate::open::Opener;
use crate::people::People;
use crate::post_quantum::PostQuantum;
use crate::standing::Standing;
use crate::vault::Vault;
use consilium_abe::rand_core::CryptoRngCore;
use consilium_contracts::Message;
use consilium_contracts::v1::{
    ClassRequest, ClassResponse, ErasedRequest, ErasedResponse, OpenRequest, OpenResponse, PolicyRequest,
};
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::{ChannelId, Clock, OrgId, Timestamp};
use consilium_runtime::{Counter, Entropy, Followed, Histogram, Kit};
use serde_json::Value;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests under way at a time; more wait on the bus.
const CONCURRENCY: usize = 64;
/// Locks over which the classes are spread.
const STRIPES: usize = 64;

/// Everything that answers requests; thread-safe.
pub struct Worker {
    channel: ChannelId,
    organisation: OrgId,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    vault: Arc<Vault>,
    authority: Authority,
    people: People,
    post_quantum: PostQuantum,
    envelopes: Envelopes,
    opener: Opener,
    /// How long keys of the week before are issued.
    overlap: Duration,
    /// One writer per class: two that make the same class at once would otherwise lose a key.
    stripes: Vec<Mutex<()>>,
    /// As many pairings at once as there are processors.
    processors: Arc<Semaphore>,
    seconds: Histogram,
    outcomes: Counter,
    remembered: Counter,
    rewrapped: Counter,
}

impl Worker {
    /// Loads the authority and the people from an open vault. Blocks: call it on a blocking thread.
    pub fn start(
        config: &Config,
        kit: &Kit,
        vault: Vault,
        (genesis, members): (&Genesis, Followed<Vec<Member>>),
    ) -> anyhow::Result<Self> {
        let organisation = kit.subjects.organisation().clone();
        let channel = kit.subjects.channel().clone();
        let vault = Arc::new(vault);
        let rng = &mut kit.entropy.rng();
        erase::finish(&vault, (&channel, &organisation), rng)?;
        let authority =
            Authority::load(&vault, (genesis, members), &channel, &organisation, &config.mapping, rng)?;
        let people = People::load(&vault, &organisation, config.holders.registered_only)?;
        let folder = config.post_quantum.keys_dir.as_deref();
        let post_quantum = PostQuantum::load(&vault, folder, genesis, &organisation, rng)?;
        if !post_quantum.is_on() {
            tracing::warn!("`[post_quantum] keys_dir` is not set: class keys have no post-quantum lock");
        }
        let opener = Opener::new(channel.clone(), vault.derive("implicit rejection"), &config.limits);
        let processors = std::thread::available_parallelism().map_or(2, NonZero::get);
        Ok(Self {
            channel,
            organisation,
            clock: Arc::clone(&kit.clock),
            entropy: kit.entropy.clone(),
            vault,
            authority,
            people,
            post_quantum,
            envelopes: Envelopes::default(),
            opener,
            overlap: config.epochs.overlap(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            processors: Arc::new(Semaphore::new(processors)),
            seconds: kit.meter.histogram("operation_seconds", "key operations", &["operation"])?,
            outcomes: kit.meter.counter("operations_total", "key operations", &["operation", "outcome"])?,
            remembered: kit.meter.counter("opens_remembered_total", "opens answered from memory", &[])?,
            rewrapped: kit.meter.counter(
                "class_headers_rewrapped_total",
                "headers brought up to date",
                &[],
            )?,
        })
    }

    pub(crate) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    pub(crate) fn channel(&self) -> &ChannelId {
        &self.channel
    }

    pub(crate) fn organisation(&self) -> &OrgId {
        &self.organisation
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    pub(crate) fn authority(&self) -> &Authority {
        // Where it fails, the operation that needs it says so; this is for what does without.
        if let Err(error) = self.authority.follow(&self.vault, &mut self.entropy.rng()) {
            tracing::error!(%error, "the members' keys could not be taken up");
        }
        &self.authority
    }

    /// The members' keys as they are at this moment.
    fn standing(&self) -> Result<Arc<Standing>, KeysError> {
        self.authority.follow(&self.vault, &mut self.entropy.rng())?;
        Ok(self.authority.now())
    }

    /// Makes the authority's next key; its public half.
    pub fn prepare_authority(&self) -> Result<Vec<u8>, KeysError> {
        Ok(self.authority.prepare(&self.vault, &mut self.entropy.rng())?)
    }

    fn wrapping<'a>(&'a self, standing: &'a Standing, week: &'a str) -> Wrapping<'a> {
        Wrapping {
            standing,
            envelopes: &self.envelopes,
            post_quantum: &self.post_quantum,
            attribute_epoch: week,
        }
    }

    /// The second lock and its keys.
    pub fn post_quantum(&self) -> &PostQuantum {
        &self.post_quantum
    }

    /// Withdrawals and registered holders.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// Destroys a class of this organisation: its keys, and what memory holds of them.
    pub(crate) fn destroy(
        &self,
        name: &ClassName,
        at: Timestamp,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), KeysError> {
        let _writer = self.lock(name);
        erase::destroy(&self.vault, name, at, rng)?;
        self.opener.forget(name);
        Ok(())
    }

    fn own(&self, class_id: &[u8]) -> Result<ClassName, KeysError> {
        ClassName::new(&self.channel, &self.organisation, class_id)
    }

    fn lock(&self, name: &ClassName) -> Option<MutexGuard<'_, ()>> {
        let stripe =
            name.id.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        self.stripes.get(stripe % STRIPES).map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `keys.class`: an epoch of an own class, with a header of this week's attributes; a class that does not
    /// exist is made when a policy is given.
    pub fn class(&self, request: &ClassRequest) -> Result<ClassResponse, KeysError> {
        let name = self.own(&request.class_id)?;
        let _writer = self.lock(&name);
        let rng = &mut self.entropy.rng();
        let week = epoch::week(self.clock.now());
        let standing = self.standing()?;
        let wrapping = self.wrapping(&standing, &week);
        let class = match Class::load(&self.vault, &name)? {
            Some(mut class) => {
                if class.renew(&name, request.epoch, &wrapping, rng)? {
                    class.store(&self.vault, &name, rng)?;
                    self.rewrapped.inc(&[]);
                }
                class
            }
            None if erase::erased(&self.vault, &name)? => return Err(KeysError::Erased),
            None if request.policy.is_empty() || request.epoch > 1 => return Err(KeysError::UnknownClass),
            None => Class::create(&self.vault, &name, &request.policy, &wrapping, rng)?,
        };
        answer(&class, request.epoch)
    }

    /// `keys.policy`: a new policy for an own class, with a new epoch or for the current one.
    pub fn policy(&self, request: &PolicyRequest) -> Result<ClassResponse, KeysError> {
        let name = self.own(&request.class_id)?;
        let _writer = self.lock(&name);
        let rng = &mut self.entropy.rng();
        let week = epoch::week(self.clock.now());
        let standing = self.standing()?;
        let wrapping = self.wrapping(&standing, &week);
        let mut class = match Class::load(&self.vault, &name)? {
            Some(class) => class,
            None if erase::erased(&self.vault, &name)? => return Err(KeysError::Erased),
            None => return Err(KeysError::UnknownClass),
        };
        class.change(&self.vault, &name, &request.policy, request.rotate, &wrapping, rng)?;
        answer(&class, 0)
    }

    /// `keys.open`: a custodian's class key for one of our own people.
    pub fn open(&self, request: &OpenRequest) -> Result<OpenResponse, KeysError> {
        self.standing()?;
        let (now, rng) = (self.clock.monotonic(), &mut self.entropy.rng());
        let epochs = epoch::accepted(self.clock.now(), self.overlap);
        let who = (&self.authority, &self.people, &self.post_quantum);
        let opened = self.opener.open(request, who, &epochs, now, rng)?;
        if opened.remembered {
            self.remembered.inc(&[]);
        }
        Ok(OpenResponse { kek: opened.key.to_vec(), failure: None })
    }

    /// `keys.erased`: the first erasure after one.
    pub fn erased(&self, request: &ErasedRequest) -> Result<ErasedResponse, KeysError> {
        let sequence = request.after.saturating_add(1);
        let Some(kept) = erase::kept(&self.vault, sequence)? else { return Ok(ErasedResponse::default()) };
        Ok(ErasedResponse {
            sequence,
            class_ids: kept.ids,
            ground: erase::octet(kept.ground),
            record: kept.record.0.to_vec(),
            failure: None,
        })
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene { organisation: &self.organisation, at: self.clock.now(), entropy: &self.entropy }
    }
}

/// One of the operations: what it does, what it leaves in the audit log, and how it refuses.
struct Operation<Q, A> {
    name: &'static str,
    work: fn(&Worker, &Q) -> Result<A, KeysError>,
    event: fn(&Scene<'_>, &Q, Option<&KeysError>) -> Option<Value>,
    refuse: fn(&KeysError) -> A,
}

impl<Q: Send + 'static, A: Send + 'static> Operation<Q, A> {
    /// Runs on a blocking thread, measured. The event is durable before the answer leaves; without it, the
    /// answer is a refusal.
    async fn run(&'static self, worker: Arc<Worker>, recorder: Recorder, request: Q) -> A {
        let name = self.name;
        let start = worker.clock.monotonic();
        let (mut outcome, event) = self.work(&worker, request).await;
        if let Some(event) = event
            && let Err(error) = recorder.record(event).await
        {
            outcome = Err(error);
        }
        worker.seconds.observe(&[name], worker.clock.monotonic().saturating_sub(start));
        match outcome {
            Ok(answer) => {
                worker.outcomes.inc(&[name, "done"]);
                answer
            }
            Err(error) => {
                worker.outcomes.inc(&[name, error.code()]);
                match error.code() {
                    "unavailable" => tracing::error!(operation = name, %error, "a key operation failed"),
                    code => tracing::info!(operation = name, code, "a key operation was refused"),
                }
                (self.refuse)(&error)
            }
        }
    }

    async fn work(&'static self, worker: &Arc<Worker>, request: Q) -> (Result<A, KeysError>, Option<Value>) {
        let Ok(permit) = Arc::clone(&worker.processors).acquire_owned().await else {
            return (Err(KeysError::Interrupted), None);
        };
        let worker = Arc::clone(worker);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = (self.work)(&worker, &request);
            let event = (self.event)(&worker.scene(), &request, outcome.as_ref().err());
            drop(permit);
            (outcome, event)
        });
        task.await.unwrap_or((Err(KeysError::Interrupted), None))
    }
}

fn no_class(error: &KeysError) -> ClassResponse {
    ClassResponse { failure: Some(error.failure()), ..ClassResponse::default() }
}

/// Own records only: ingest leaves the event of the record itself.
static CLASS: Operation<ClassRequest, ClassResponse> =
    Operation { name: "class", work: Worker::class, event: |_, _, _| None, refuse: no_class };

static POLICY: Operation<PolicyRequest, ClassResponse> = Operation {
    name: "policy",
    work: Worker::policy,
    event: |scene, request, error| Some(scene.changed(request, error)),
    refuse: no_class,
};

static OPEN: Operation<OpenRequest, OpenResponse> = Operation {
    name: "open",
    work: Worker::open,
    event: |scene, request, error| Some(scene.opened(request, error)),
    refuse: |error| OpenResponse { kek: Vec::new(), failure: Some(error.failure()) },
};

/// Asked every second: what it is about has left its events already.
static ERASED: Operation<ErasedRequest, ErasedResponse> = Operation {
    name: "erased",
    work: Worker::erased,
    event: |_, _, _| None,
    refuse: |error| ErasedResponse { failure: Some(error.failure()), ..ErasedResponse::default() },
};

fn answer(class: &Class, epoch: u64) -> Result<ClassResponse, KeysError> {
    let epoch = class.epoch(epoch)?;
    Ok(ClassResponse {
        epoch: epoch.number,
        kek: epoch.key.to_vec(),
        header: epoch.header.clone(),
        policy: epoch.policy.clone(),
        failure: None,
    })
}

/// Answers at the three subjects of the organisation until shutdown.
pub(crate) async fn serve(worker: Arc<Worker>, recorder: Recorder, kit: &Kit) -> anyhow::Result<()> {
    let subjects = &kit.subjects;
    answer_at(&subjects.keys_class(), &CLASS, &worker, &recorder, kit).await?;
    answer_at(&subjects.keys_policy(), &POLICY, &worker, &recorder, kit).await?;
    answer_at(&subjects.keys_open(), &OPEN, &worker, &recorder, kit).await?;
    answer_at(&subjects.keys_erased(), &ERASED, &worker, &recorder, kit).await?;
    Ok(())
}

async fn answer_at<Q, A>(
    subject: &str,
    operation: &'static Operation<Q, A>,
    worker: &Arc<Worker>,
    recorder: &Recorder,
    kit: &Kit,
) -> anyhow::Result<()>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let (worker, recorder) = (Arc::clone(worker), recorder.clone());
    let handler = move |request: Q| operation.run(Arc::clone(&worker), recorder.clone(), request);
    kit.bus.serve_messages(subject, Some("keys"), CONCURRENCY, handler).await?;
    Ok(())
}
