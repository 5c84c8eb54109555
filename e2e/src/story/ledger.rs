//! The ledger as an operator and an officer see it: its verbs, its log as files, its members by motion.

use super::exchange::{ask, clinician, consent};
use super::keys::{observed, officers};
use super::{World, save};
use crate::clock::Stopwatch;
use crate::cluster::Said;
use crate::http::FHIR_JSON;
use crate::records::located;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for a change of the members.
const PATIENCE: Duration = Duration::from_secs(30);

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `consilium ledger …` asked of hospital A.
fn ledger(world: &World, arguments: &[&str]) -> Result<Said> {
    let dir = text(world.cluster.dir());
    world.cluster.consilium(&[&["ledger"], arguments, &["--dir", &dir]].concat())
}

fn ledger_json(world: &World, arguments: &[&str]) -> Result<Value> {
    let dir = text(world.cluster.dir());
    let said = world.cluster.consilium(&[&["--json", "ledger"], arguments, &["--dir", &dir]].concat())?;
    serde_json::from_str(&said.good()?).context("no JSON")
}

fn verify(world: &World, file: &Path, log: Option<&Path>) -> Result<Said> {
    let (file, genesis) = (text(file), text(&world.cluster.genesis()));
    let log = log.map(text);
    let mut arguments = vec!["verify", file.as_str(), "--genesis", genesis.as_str()];
    if let Some(log) = &log {
        arguments.extend(["--log", log.as_str()]);
    }
    world.cluster.consilium(&arguments)
}

fn says(said: Said, what: &str) -> Result<String> {
    let out = said.good()?;
    ensure!(out.contains(what), "`{what}` is not in: {out}");
    Ok(out)
}

/// Status, blocks, transactions, members, evidence, proofs and the log, each shown and checked.
pub fn verbs(world: &mut World) -> Result<String> {
    let status = says(ledger(world, &["status"])?, "up to date")?;
    says(ledger(world, &["blocks", "--limit", "3"])?, "proposer")?;
    says(ledger(world, &["members"])?, "hospital-d")?;
    says(ledger(world, &["evidence"])?, "none")?;
    let (log, receipt) = (world.file("log"), world.file("receipt.json"));
    let out = text(&log);
    let exported =
        ledger(world, &["export", "--entries", "--out", &out, "--for", &text(&receipt)])?.good()?;
    let proven = says(verify(world, &receipt, Some(&log))?, "have cosigned")?;
    says(verify(world, &log.join("checkpoint.json"), None)?, "cosigned by")?;
    let refused = forged(world, &receipt, &log)?;
    // A transaction by its id, and keys of the state.
    let id = newest_transaction(world)?;
    says(ledger(world, &["tx", &id])?, "number")?;
    let file = world.file("ledger-proof.json");
    let out = text(&file);
    ledger(world, &["proof", "--tx", &id, "--out", &out])?.good()?;
    says(verify(world, &file, None)?, &id)?;
    ledger(world, &["proof", "--state", "consent/nobody", "--out", &out])?.good()?;
    says(verify(world, &file, None)?, "was not on the ledger")?;
    ledger(world, &["proof", "--state", "members", "--out", &out])?.good()?;
    says(verify(world, &file, None)?, "PROVEN: `members` was")?;
    let unknown = ledger(world, &["tx", "00"])?;
    ensure!(unknown.code == 2 && unknown.err.contains("64 hexadecimal digits"), "{}", unknown.err);
    let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let place = proven.lines().last().unwrap_or_default().trim();
    Ok(format!("{}\n{}\n{place}\n{refused}", line(&status), exported.trim()))
}

fn newest_transaction(world: &World) -> Result<String> {
    let height =
        ledger_json(world, &["status"])?.get("height").and_then(Value::as_u64).context("no height")?;
    for height in (1..=height).rev() {
        let block = ledger_json(world, &["block", &height.to_string()])?;
        if let Some(id) = block.pointer("/contents/0/id").and_then(Value::as_str) {
            return Ok(id.to_owned());
        }
    }
    bail!("no block has a transaction")
}

/// Every file of the log counts: changed in one bit, or missing, it proves nothing.
fn forged(world: &World, receipt: &Path, log: &Path) -> Result<String> {
    let mut tried = 0;
    let forgery = world.file("log-forged");
    for name in ["checkpoint.json", "tile/0"] {
        let found = files(&log.join(name))?;
        ensure!(!found.is_empty(), "no {name} was exported");
        for file in found {
            let _ = std::fs::remove_dir_all(&forgery);
            copy(log, &forgery)?;
            let target = forgery.join(file.strip_prefix(log)?);
            let content = std::fs::read(&file)?;
            for at in [content.len() / 3, content.len() / 2] {
                let mut changed = content.clone();
                if let Some(octet) = changed.get_mut(at) {
                    *octet ^= 1;
                }
                save(&target, &changed)?;
                let said = verify(world, receipt, Some(&forgery))?;
                ensure!(said.code == 1, "{} forged: {}{}", file.display(), said.out, said.err);
                tried += 1;
            }
            std::fs::remove_file(&target)?;
            ensure!(verify(world, receipt, Some(&forgery))?.code == 1, "{} missing", file.display());
            tried += 1;
        }
    }
    Ok(format!("refused: {tried} logs with a forged or missing file"))
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut out = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
        out.extend(files(&entry?.path())?);
    }
    Ok(out)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        std::fs::create_dir_all(target.parent().context("no folder")?)?;
        std::fs::copy(&file, &target)?;
    }
    Ok(())
}

/// A thousand values of a device under one transaction, one of them proven.
pub fn samples(world: &mut World) -> Result<String> {
    let observation = json!({
        "resourceType": "Observation", "status": "final",
        "code": { "text": "heart rate of a wearable device" },
        "valueQuantity": { "value": 60, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min" }
    });
    let series = world.file("series.json");
    save(&series, &posted(world, "Observation", &observation)?)?;
    let values: String =
        (0..1000).map(|i| format!("{},{}\n", 1_700_000_000_000_u64 + i * 1000, 60 + i % 17)).collect();
    let (list, kept, proof) =
        (world.file("values.csv"), world.file("samples.json"), world.file("sample.json"));
    save(&list, values.as_bytes())?;
    let key = text(&world.cluster.secret("hospital-a", "ingest.key"));
    let genesis = text(&world.cluster.genesis());
    let anchor = [
        "anchor",
        &text(&list),
        "--series",
        &text(&series),
        "--organisation",
        "hospital-a",
        "--key",
        &key,
        "--genesis",
        &genesis,
        "--out",
        &text(&kept),
    ];
    let anchored = says(ledger(world, &anchor)?, "committed: 1000 values")?;
    ledger(world, &["sample", &text(&kept), "--index", "421", "--out", &text(&proof)])?.good()?;
    let proven = says(verify(world, &proof, None)?, "PROVEN: sample 421")?;
    Ok(format!("{}\n{}", anchored.trim(), proven.trim()))
}

/// Creates a resource at hospital A; its receipt.
fn posted(world: &World, kind: &str, resource: &Value) -> Result<Vec<u8>> {
    let base = world.a()?.fhir();
    let created = world
        .http
        .post(&format!("{base}/{kind}"), Some(&world.ehr), FHIR_JSON, resource.to_string().as_bytes())?
        .expect(201, kind)?;
    let (_, id, version) = located(created.location.as_deref().context("no location")?)?;
    let url = format!("{base}/{kind}/{id}/_history/{version}/$receipt");
    Ok(world.http.get(&url, Some(&world.ehr), &[])?.expect(200, "the receipt")?.body)
}

/// Who attested a record that is created now.
fn attesters(world: &World) -> Result<Vec<String>> {
    let file = world.file("receipt-members.json");
    save(&file, &posted(world, "Patient", &json!({ "resourceType": "Patient", "active": true }))?)?;
    let (file, genesis) = (text(&file), text(&world.cluster.genesis()));
    let said = world.cluster.consilium(&["--json", "verify", &file, "--genesis", &genesis])?.good()?;
    let said: Value = serde_json::from_str(&said)?;
    let names = said.get("attesters").and_then(Value::as_array).context("no attesters")?;
    Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Writes a motion, has it signed by these hospitals' officers, and brings it to the ledger.
fn carry(world: &World, action: &[&str], signers: &[&str]) -> Result<()> {
    let file = text(&world.file("motion.json"));
    ledger(world, &[&["propose"], action, &["--out", &file]].concat())?.good()?;
    let key = |hospital: &str| text(&world.cluster.secret(hospital, "governance.key"));
    for (count, hospital) in signers.iter().enumerate() {
        if count + 1 == signers.len() {
            // Not enough yet: refused, and nothing of it is there.
            let said = ledger(
                world,
                &["submit", &file, "--organisation", "hospital-a", "--key", &key("hospital-a")],
            )?;
            ensure!(
                said.code == 2 && said.err.contains("refused"),
                "too few approvals: {}{}",
                said.out,
                said.err
            );
        }
        let sign = ["ledger", "sign", &file, "--organisation", hospital, "--key", &key(hospital)];
        world.cluster.consilium(&sign)?.good()?;
    }
    let submit = ["submit", &file, "--organisation", "hospital-a", "--key", &key("hospital-a")];
    says(ledger(world, &submit)?, "committed").map(|_| ())
}

/// Waits until the members are these, by their validate keys.
fn members_become(world: &World, expected: &[(&str, &str)]) -> Result<()> {
    let watch = Stopwatch::start();
    loop {
        let found = ledger_json(world, &["members"])?;
        let found: Vec<(&str, &str)> = found
            .get("members")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|m| Some((m.get("organisation")?.as_str()?, m.get("validate")?.as_str()?)))
            .collect();
        if found == expected {
            return Ok(());
        }
        ensure!(watch.elapsed() < PATIENCE, "the members are {found:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A member leaves, one gets new keys, one joins: the next batch is attested accordingly, and nobody restarts but the
/// service whose key it is.
pub fn members(world: &mut World) -> Result<String> {
    let genesis: Value = serde_json::from_slice(&std::fs::read(world.cluster.genesis())?)?;
    let entries = genesis.get("members").and_then(Value::as_array).context("no members")?.clone();
    let key = |at: usize| {
        entries.get(at).and_then(|m| m.get("validate")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (a, b, c, d) = (key(0), key(1), key(2), key(3));
    let three = ["hospital-a", "hospital-b", "hospital-c"];
    carry(world, &["remove", "hospital-d"], &three)?;
    members_become(world, &[(three[0], &a), (three[1], &b), (three[2], &c)])?;
    let without = attesters(world)?;
    ensure!(without == three, "hospital-d has left, attested by {without:?}");

    // Hospital B's validate service gets a new key; only that service restarts. Its authority gets one too, and nobody
    // restarts for that.
    let shared = Shared::begin(world)?;
    let authority = shared.prepare(world)?;
    let fresh = world.file("validate.key");
    let public = world.cluster.consilium(&["keys", "keygen", "--out", &text(&fresh)])?.good()?;
    let mut entry = entries.get(1).context("no hospital-b")?.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("validate".to_owned(), json!(public.trim()));
        fields.insert("authority".to_owned(), json!(authority));
    }
    let file = world.file("member-b.json");
    save(&file, entry.to_string().as_bytes())?;
    carry(world, &["rotate", &text(&file)], &three)?;
    members_become(world, &[(three[0], &a), (three[1], public.trim()), (three[2], &c)])?;
    world.cluster.stop_one("hospital-b", "validate")?;
    save(&world.cluster.secret("hospital-b", "validate.key"), &std::fs::read(&fresh)?)?;
    world.cluster.start_only("hospital-b")?;
    let rotated = attesters(world)?;
    ensure!(rotated == three, "hospital-b has a new key, attested by {rotated:?}");
    let opened = shared.opens(world, &authority)?;

    // Hospital D is admitted again, and with hospital B's validate service away it has to attest.
    let file = world.file("member-d.json");
    save(&file, entries.get(3).context("no hospital-d")?.to_string().as_bytes())?;
    carry(world, &["admit", &text(&file)], &three)?;
    members_become(world, &[(three[0], &a), (three[1], public.trim()), (three[2], &c), ("hospital-d", &d)])?;
    world.cluster.stop_one("hospital-b", "validate")?;
    let again = attesters(world);
    world.cluster.start_only("hospital-b")?;
    let again = again?;
    ensure!(again == ["hospital-a", "hospital-c", "hospital-d"], "hospital-d is back, attested by {again:?}");
    let history = says(ledger(world, &["members"])?, "hospital-d joins")?;
    ensure!(history.contains("hospital-d leaves") && history.contains("new keys"), "{history}");
    Ok(format!(
        "attested by {} after hospital-d left, by {} with hospital-b's new key, by {} after hospital-d came back\n{opened}",
        without.join(", "),
        rotated.join(", "),
        again.join(", ")
    ))
}

/// A patient of hospital A whose records hospital B's clinician may read.
struct Shared {
    patient: String,
    consent: String,
    token: String,
}

impl Shared {
    fn begin(world: &World) -> Result<Self> {
        let patient = world.planted.first().cloned().context("no planted patient")?;
        let token = clinician(world)?;
        let id = patient.trim_start_matches("Patient/").to_owned();
        let granted = consent(world, &["grant", "--patient", &id, "--to", "hospital-b"])?;
        let consent = granted.get("id").and_then(Value::as_str).context("the consent has no id")?.to_owned();
        let shared = Self { patient, consent, token };
        shared.wait(world, "a record before the rotation opens", &shared.patient)?;
        Ok(shared)
    }

    fn wait(&self, world: &World, what: &str, record: &str) -> Result<()> {
        world.cluster.wait(Duration::from_secs(10), what, || {
            Ok(ask(world, &self.token, record, Some("TREAT"))?.status == 200)
        })?;
        Ok(())
    }

    /// Two officers of hospital B have its authority's next key made.
    fn prepare(&self, world: &World) -> Result<String> {
        let said = officers(world, &world.b()?, &["rotate-authority"], 2)?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(said.get("authority").and_then(Value::as_str).context("no authority key")?.to_owned())
    }

    /// The ledger names the key: the vault has it in use, and records of before and after open.
    fn opens(&self, world: &World, authority: &str) -> Result<String> {
        let door = world.b()?.door();
        let status = || -> Result<Value> {
            let said = world.cluster.consilium(&["--json", "keys", "status", "--at", &door])?.good()?;
            Ok(serde_json::from_str(&said)?)
        };
        world.cluster.wait(PATIENCE, "hospital B's authority has its new key", || {
            let status = status()?;
            let named = status.get("authority_key").and_then(Value::as_str) == Some(authority);
            Ok(named && status.get("authority_key_held").and_then(Value::as_bool) == Some(true))
        })?;
        let new = observed(world, &self.patient)?;
        self.wait(world, "a record that was sealed for the new key opens", &new)?;
        self.wait(world, "a record of before the rotation opens", &self.patient)?;
        consent(world, &["revoke", &self.consent])?;
        world.cluster.wait(Duration::from_secs(10), "the consent ends", || {
            Ok(ask(world, &self.token, &new, Some("TREAT"))?.status != 200)
        })?;
        Ok("hospital-b's authority has a new key without a restart: a record sealed since opens, and an old one".to_owned())
    }
}
