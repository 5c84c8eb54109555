//! The keys service as its operators meet it: a role withdrawn, the runbooks as they are written, a stolen disk.

use super::World;
use super::exchange::{ask, clinician, consent};
use crate::clock::Stopwatch;
use crate::cluster::Hospital;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// From the moment in which the officer's command has ended.
const BOUND: Duration = Duration::from_secs(2);
const CLINICIAN: &str = "Practitioner/b1";

/// Runs `consilium keys` at a hospital, signed by so many of its officers.
pub(super) fn officers(world: &World, hospital: &Hospital, verb: &[&str], signers: usize) -> Result<String> {
    let mut all: Vec<String> = vec!["--json".to_owned(), "keys".to_owned()];
    all.extend(verb.iter().map(|part| (*part).to_owned()));
    all.extend(["--at".to_owned(), hospital.door()]);
    for name in ["officer-1", "officer-2"].iter().take(signers) {
        let file = world.cluster.secret(&hospital.name, &format!("{name}.key"));
        all.extend(["--sign".to_owned(), format!("{name}={}", file.display())]);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    world.cluster.consilium(&all)?.good().with_context(|| format!("consilium keys {}", verb.join(" ")))
}

/// A clinician of hospital B reads at hospital A; her role is withdrawn at home and given back.
pub fn withdrawal(world: &mut World) -> Result<String> {
    let patient = world.planted.first().cloned().context("no planted patient")?;
    let id = patient.trim_start_matches("Patient/").to_owned();
    let token = clinician(world)?;
    let b = world.b()?;
    let granted = consent(world, &["grant", "--patient", &id, "--to", "hospital-b"])?;
    let granted = granted.get("id").and_then(Value::as_str).context("the consent has no id")?.to_owned();
    world.cluster.wait(Duration::from_secs(10), "the role opens a record", || {
        Ok(ask(world, &token, &patient, Some("TREAT"))?.status == 200)
    })?;
    officers(world, &b, &["withdraw", "--subject", CLINICIAN, "--role", "clinician"], 1)?;
    let watch = Stopwatch::start();
    // The same token, and the same record whose class key her hospital opened a moment ago.
    let old = ask(world, &token, &patient, Some("TREAT"))?;
    let denied = watch.elapsed();
    old.clone().expect(403, "an old record after the withdrawal")?;
    // And one that did not exist when she lost the role.
    let new = observed(world, &patient)?;
    ask(world, &token, &new, Some("TREAT"))?.expect(403, "a new record after the withdrawal")?;
    if denied > BOUND {
        bail!("denied only {:.2} s after the withdrawal", denied.as_secs_f64());
    }
    officers(world, &b, &["restore", "--subject", CLINICIAN, "--role", "clinician"], 1)?;
    let again = ask(world, &token, &new, Some("TREAT"))?;
    again.expect(200, "the new record after the role was given back")?;
    consent(world, &["revoke", &granted])?;
    world.cluster.wait(Duration::from_secs(10), "the consent ends", || {
        Ok(ask(world, &token, &patient, Some("TREAT"))?.status != 200)
    })?;
    let ms = denied.as_secs_f64() * 1000.0;
    world.report.time(
        "role withdrawn: the next request denied after",
        format!("{ms:.0} ms"),
        json!({ "denied_ms": ms }),
    );
    Ok(format!(
        "with the role: 200; withdrawn by one officer: the old record 403 in the first request (answered after {ms:.0} ms), a record made since 403; given back: 200"
    ))
}

/// Stores a new record about a patient at hospital A.
pub(super) fn observed(world: &World, patient: &str) -> Result<String> {
    let observation = json!({
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]},
        "subject": {"reference": patient},
        "effectiveDateTime": "2026-11-20T10:00:00Z",
        "valueQuantity": {"value": 97, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
    });
    let made = world.http.post(
        &format!("{}/Observation", world.a()?.fhir()),
        Some(&world.ehr),
        crate::http::FHIR_JSON,
        observation.to_string().as_bytes(),
    )?;
    let made = made.expect(201, "a new record")?;
    let new = made.json()?.get("id").and_then(Value::as_str).map(|id| format!("Observation/{id}"));
    new.context("the new record has no id")
}

/// The ```sh blocks of a page, in order.
fn blocks(page: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    let mut out = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("\n```sh\n") {
        let (block, after) = after.split_once("\n```").context("a block without an end")?;
        out.push(block.to_owned());
        rest = after;
    }
    if out.is_empty() {
        bail!("{} has no commands", page.display());
    }
    Ok(out)
}

/// Runs the runbooks' commands as they stand, at hospital D, and lives with what they did.
pub fn runbooks(world: &mut World) -> Result<String> {
    let d = world.cluster.hospital(3)?.clone();
    let work = world.file("keys");
    std::fs::create_dir_all(&work)?;
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks");
    let path = std::env::join_paths(
        std::iter::once(world.cluster.programs().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut ran = 0;
    let order = ["keys-setup.md", "keys-officers.md", "keys-guardians.md"];
    for entry in std::fs::read_dir(&pages)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("keys-") && !order.contains(&name.as_str()) {
            bail!("no test runs docs/runbooks/{name}");
        }
    }
    for page in order {
        for block in blocks(&pages.join(page))? {
            let output = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &block])
                .env("PATH", &path)
                .env("DOOR", d.door())
                .env("OFFICER_1", world.cluster.secret(&d.name, "officer-1.key"))
                .env("OFFICER_2", world.cluster.secret(&d.name, "officer-2.key"))
                .env("GENESIS", world.cluster.genesis())
                .env("WORK", &work)
                .output()
                .context("run bash")?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!("{page}: the block\n{block}\nended with {}: {said}", output.status);
            }
            ran += 1;
        }
    }
    // The page says: put the table into the configuration and destroy the old key file.
    let config = world.cluster.dir().join(&d.name).join("keys.toml");
    let mut text = std::fs::read_to_string(&config)?;
    text.push_str(&std::fs::read_to_string(work.join("seal.toml"))?);
    std::fs::write(&config, text)?;
    std::fs::remove_file(world.cluster.secret(&d.name, "unseal.key"))?;
    world.cluster.stop_one(&d.name, "keys")?;
    world.cluster.start_only(&d.name)?;
    recovered(world, &d, &work)?;
    Ok(format!(
        "{ran} blocks of three pages; hospital D's keys restarted under the new seal without its first key file;\n\
         guardians: 3 of 5 recovered the authority after a refresh, 2 did not, nor 2 with an old share; 3 issued attribute keys without the service, 2 did not; the recovered vault starts as hospital D's"
    ))
}

/// A vault that guardians recovered works for the hospital: the service checks the key against the genesis.
fn recovered(world: &World, d: &Hospital, work: &Path) -> Result<()> {
    let changes = [
        ("data_dir", work.join("recovered").display().to_string()),
        ("unseal_key_file", work.join("recovered.key").display().to_string()),
    ];
    let config = another_config(world, d, work, "recovered.toml", &changes)?;
    let said = started(world, &config)?;
    if said != Started::Ready {
        bail!("the recovered vault does not start: {said:?}");
    }
    Ok(())
}

/// A hospital's keys.toml with other values, other ports and with defaults for the rest.
fn another_config(
    world: &World,
    hospital: &Hospital,
    work: &Path,
    name: &str,
    changes: &[(&str, String)],
) -> Result<PathBuf> {
    let text = std::fs::read_to_string(world.cluster.dir().join(&hospital.name).join("keys.toml"))?;
    let mut table: toml::Table = toml::from_str(&text)?;
    table.remove("seal");
    table.remove("admin");
    // A recovered vault makes a new key of its own, which the members do not have yet.
    table.remove("post_quantum");
    let keys = table.get_mut("keys").and_then(toml::Value::as_table_mut).context("no `[keys]`")?;
    for (key, value) in changes {
        keys.insert((*key).to_owned(), toml::Value::String(value.clone()));
    }
    let health = table.get_mut("health").and_then(toml::Value::as_table_mut).context("no `[health]`")?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    health.insert("listen".to_owned(), toml::Value::String(format!("127.0.0.1:{port}")));
    // Nobody there: this vault is to be opened, not to answer beside the real one.
    let bus = table.get_mut("bus").and_then(toml::Value::as_table_mut).context("no `[bus]`")?;
    bus.insert("url".to_owned(), toml::Value::String("nats://127.0.0.1:1".to_owned()));
    let path = work.join(name);
    std::fs::write(&path, toml::to_string(&table)?)?;
    Ok(path)
}

#[derive(Debug, PartialEq, Eq)]
enum Started {
    /// The vault opened.
    Ready,
    /// The process ended, with what it said.
    Ended(i32, String),
}

/// Starts a keys service on a configuration of its own and stops it again.
fn started(world: &World, config: &Path) -> Result<Started> {
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(config)?)?;
    let listen = table.get("health").and_then(|h| h.get("listen")).and_then(toml::Value::as_str);
    let url = format!("http://{}/readyz", listen.context("no health address")?);
    let log = config.with_extension("log");
    let file = std::fs::File::create(&log)?;
    let mut child = Command::new(world.cluster.programs().join("consilium-keys"))
        .arg("--config")
        .arg(config)
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("run consilium-keys")?;
    let mut seen = None;
    let waited = world.cluster.wait(Duration::from_secs(20), "a second keys service", || {
        if let Some(status) = child.try_wait()? {
            seen = Some(Started::Ended(status.code().unwrap_or(-1), std::fs::read_to_string(&log)?));
        } else if let Ok(answer) = world.http.get(&url, None, &[])
            && String::from_utf8_lossy(&answer.body).contains("vault: ready")
        {
            seen = Some(Started::Ready);
        }
        Ok(seen.is_some())
    });
    if seen != Some(Started::Ready) && waited.is_ok() {
        return seen.context("nothing was seen");
    }
    child.kill()?;
    child.wait()?;
    waited?;
    seen.context("nothing was seen")
}

/// All of hospital A's disk but its secrets: nothing about its patients stands in the databases, and the vault opens
/// with no key of the thief's. The real one is the control.
pub fn dump(world: &mut World) -> Result<String> {
    let a = world.a()?;
    let work = world.file("dump");
    let (disk, vault) = (work.join("disk"), work.join("disk/keys"));
    let files = copy(&world.cluster.dir().join(&a.name).join("data"), &disk)?;
    let finder = world.secrets.finder()?;
    let mut seen = (0, 0);
    if let Some(hit) = finder.find_below(&disk, &mut seen)?.first() {
        bail!("{} in {}: {}", hit.what, hit.file.display(), hit.around);
    }
    let patient = world.planted.first().context("no planted patient")?;
    let read = world.http.get(&format!("{}/{patient}", a.fhir()), Some(&world.ehr), &[])?;
    if finder.find(&disk, &read.expect(200, "a planted patient")?.body).is_empty() {
        bail!("the search is blind: it does not find a patient whom the hospital shows");
    }
    let key = work.join("unseal.key");
    let said = world.cluster.consilium(&["keys", "keygen", "--out", &key.display().to_string()])?;
    said.good()?;
    let change = |key: &Path| {
        [("data_dir", vault.display().to_string()), ("unseal_key_file", key.display().to_string())]
    };
    let config = another_config(world, &a, &work, "thief.toml", &change(&key))?;
    match started(world, &config)? {
        Started::Ended(1, said) if said.contains("does not open") => {}
        other => bail!("the dump with another unseal key: {other:?}"),
    }
    let real = world.cluster.secret(&a.name, "unseal.key");
    let config = another_config(world, &a, &work, "owner.toml", &change(&real))?;
    if started(world, &config)? != Started::Ready {
        bail!("the control failed: with its own unseal key the copy does not open either");
    }
    Ok(format!(
        "a copy of hospital A's disk ({files} files, {} MB, databases and vault): of {} planted values it shows none; with another unseal key its keys service ends, nothing opens; with its own key the same copy opens",
        seen.1 >> 20,
        world.secrets.len(),
    ))
}

/// Copies a folder; how many files there were.
pub(super) fn copy(from: &Path, to: &Path) -> Result<u64> {
    std::fs::create_dir_all(to)?;
    let mut files = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files += copy(&entry.path(), &target)?;
        } else if std::fs::copy(entry.path(), &target).is_ok() {
            // A file that was delivered meanwhile is not there any more.
            files += 1;
        }
    }
    Ok(files)
}
