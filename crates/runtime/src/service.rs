//! What a service is, and what it is given.

use crate::bus::{Bus, MemoryHub};
use crate::config::Common;
use crate::entropy::Entropy;
use crate::health::Health;
use crate::meter::Meter;
use crate::shutdown::Shutdown;
use consilium_contracts::{Participant, Subjects};
use consilium_domain::Clock;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

/// A process of an organisation's release.
pub trait Service {
    /// `ingest`, `validate`, `consensus`, `keys` or `audit`: the token in subjects, metrics and user names.
    const NAME: &'static str;
    /// The service's own keys of its configuration file (the common tables are in [`Kit::common`]); should be
    /// `deny_unknown_fields`. Its `Debug` is logged at start-up: secrets are file paths.
    type Config: DeserializeOwned + Debug + Send;

    /// Runs until [`Kit::shutdown`] is triggered. Called before the bus is connected: subscribe and go on.
    /// An error ends the process with status 1.
    fn run(config: Self::Config, kit: Kit) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What the process kit gives to a service. Clones share everything.
#[derive(Clone)]
pub struct Kit {
    pub common: Common,
    /// Subjects of the own organisation; `subjects.at(&org)` for another's.
    pub subjects: Subjects,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub bus: Bus,
    pub meter: Meter,
    pub health: Health,
    pub shutdown: Shutdown,
}

impl Kit {
    /// A kit on an in-memory bus, for tests and simulations inside one process. Fails only if a metric
    /// cannot be registered. Call it inside a tokio runtime.
    pub fn in_memory(
        hub: &MemoryHub,
        participant: Participant,
        common: Common,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
    ) -> anyhow::Result<Self> {
        let subjects = Subjects::new(common.organisation.channel.clone(), common.organisation.name.clone());
        let meter = Meter::new(participant.as_str());
        let health = Health::new(Arc::clone(&clock));
        let shutdown = Shutdown::new();
        let bus = Bus::in_memory(
            hub,
            crate::bus::Parts {
                subjects: subjects.clone(),
                participant,
                clock: Arc::clone(&clock),
                entropy: entropy.clone(),
                meter: meter.clone(),
                check: health.check("bus"),
                shutdown: shutdown.clone(),
                blob_limit: common.bus.blob_limit,
            },
        )?;
        Ok(Self { common, subjects, clock, entropy, bus, meter, health, shutdown })
    }
}
