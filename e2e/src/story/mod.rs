//! The story, chapter by chapter. Each step gives one sentence on what was seen, or an error.

mod bad_input;
mod corrupt;
mod dump;
mod exchange;
mod keys;
mod ledger;
mod load;
mod opening;
mod outage;
mod proofs;
mod refusal;
mod times;
mod tracing;

use crate::clock::Stopwatch;
use crate::cluster::{Cluster, Hospital};
use crate::disclosure::Secrets;
use crate::http::Http;
use crate::records::Acknowledged;
use crate::report::Report;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How much of the real data is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// Catalogues and six of the smaller patients.
    Quick,
    /// Every bundle.
    All,
}

/// What the story is told with.
pub struct World {
    pub cluster: Cluster,
    pub http: Http,
    pub report: Report,
    breadth: Breadth,
    /// The folder of the real test data, where it is present.
    data: Option<PathBuf>,
    /// Where this program keeps its own files; never searched for disclosures.
    work: PathBuf,
    secrets: Secrets,
    /// A token of hospital A's EHR: everything at hospital A.
    ehr: String,
    /// Everything that hospital A acknowledged and must still have at the end.
    acknowledged: Vec<Acknowledged>,
    /// `Patient/…` of the planted patients.
    planted: Vec<String>,
}

impl World {
    /// A world around a consortium that is founded and not yet started.
    pub fn new(cluster: Cluster, work: PathBuf, data: Option<PathBuf>, breadth: Breadth) -> Self {
        Self {
            http: cluster.http(),
            cluster,
            report: Report::default(),
            breadth,
            data,
            work,
            secrets: Secrets::default(),
            ehr: String::new(),
            acknowledged: Vec::new(),
            planted: Vec::new(),
        }
    }

    fn step(&mut self, title: &str, act: impl FnOnce(&mut Self) -> Result<String>) -> Result<()> {
        let watch = Stopwatch::start();
        let outcome = act(self);
        self.report.step(title, watch, &outcome);
        outcome.map(|_| ())
    }

    fn a(&self) -> Result<Hospital> {
        self.cluster.hospital(0).cloned()
    }

    fn b(&self) -> Result<Hospital> {
        self.cluster.hospital(1).cloned()
    }

    fn c(&self) -> Result<Hospital> {
        self.cluster.hospital(2).cloned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The types that hospital A keeps, from its CapabilityStatement.
    fn types(&self) -> Result<Vec<String>> {
        let statement = self
            .http
            .get(&format!("{}/metadata", self.a()?.fhir()), None, &[])?
            .expect(200, "metadata")?
            .json()?;
        let resources = statement
            .pointer("/rest/0/resource")
            .and_then(Value::as_array)
            .context("no resources in metadata")?;
        Ok(resources.iter().filter_map(|r| r.get("type")?.as_str().map(str::to_owned)).collect())
    }

    /// How many records of each type hospital A has; types without any are left out.
    fn counts(&self) -> Result<BTreeMap<String, u64>> {
        let mut out = BTreeMap::new();
        for kind in self.types()? {
            let url = format!("{}/{kind}?_summary=count", self.a()?.fhir());
            let total = self.http.get(&url, Some(&self.ehr), &[])?.expect(200, &kind)?.json()?;
            let total = total.get("total").and_then(Value::as_u64).context("a search without total")?;
            if total > 0 {
                out.insert(kind, total);
            }
        }
        Ok(out)
    }
}

/// Tells the whole story; stops at the first thing that is not so.
pub fn tell(world: &mut World) -> Result<()> {
    world.step("a  four hospitals start", opening::start)?;
    world.step("a  metadata and SMART configuration are open, all else asks for a token", opening::doors)?;
    world.step("b  sample patients load at hospital A", load::samples)?;
    world.step("b  two patients with unmistakable values load", load::planted)?;
    world.step("b  every record reads back equal", load::read_back)?;
    world.step("b  sixty more patients load by `consilium load`", load::in_parallel)?;
    world.step("b  real Synthea bundles load and read back equal", load::synthea)?;
    world.step("c  a wrong bundle is refused, every error named, nothing stored", refusal::wrong_bundle)?;
    world.step("d  bad input is refused, nothing stored, everybody alive", bad_input::all)?;
    world.step("f  a receipt verifies offline, and no flipped bit does", proofs::receipt)?;
    world.step("f  an audit event's proof verifies offline", proofs::audit)?;
    world.step("e  hospital B: denied, permitted by consent, denied after revocation", exchange::story)?;
    world.step("e  the exchange asks for a purpose of use that is for care", exchange::purposes)?;
    world.step("k  a role withdrawn opens no old record and no new one", keys::withdrawal)?;
    world.step("k  the runbooks of the keys service, as they are written", keys::runbooks)?;
    world.step("k  a stolen disk shows nothing and opens nothing without its unseal key", keys::dump)?;
    world.step("k  one corrupt authority does not open what needs two", corrupt::authority)?;
    world.step("h  hospital C is killed in the middle of a load and loses nothing", outage::story)?;
    world.step("i  times", times::measure)?;
    world.step("j  one trace leads through all services that took part", tracing::story)?;
    world.step("l  the ledger's verbs, its log as files, no forged one", ledger::verbs)?;
    world.step("l  a thousand samples under one transaction, each provable", ledger::samples)?;
    world.step("l  members leave, join and get new keys while everybody runs", ledger::members)?;
    world.step("g  nothing that identifies a patient in data, logs and bus", dump::search)?;
    Ok(())
}

/// Writes a file of this program's own.
fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
