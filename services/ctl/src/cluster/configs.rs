//! The configuration files of a local consortium's services.

use super::layout::{Book, Layout, Organisation, write_secret};
use anyhow::{Context, Result, bail};
use consilium_abe::post_quantum::DecapsulationKey;
use consilium_abe::sealing::SealingKey;
use consilium_domain::Timestamp;
use consilium_ledger::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

/// The consortium is new: for an hour, an empty folder is no lost one.
fn first_start_until(now: Timestamp) -> String {
    let until = now.plus(Duration::from_secs(3600)).to_instant();
    let seconds = until.split_once('.').map_or(until.as_str(), |(seconds, _)| seconds);
    format!("\"{seconds}Z\"")
}

/// Makes the two officers of a local hospital; in production their private keys are with two people.
fn officers(layout: &Layout, org: &str) -> Result<String> {
    let mut out = String::new();
    for name in ["officer-1", "officer-2"] {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the operating system gave no randomness")?;
        write_secret(&layout.secret(org, &format!("{name}.key")), hex::encode(seed).as_bytes())?;
        let key = SigningKey::from_seed(seed).public();
        write!(out, "[[officer]]\nname = \"{name}\"\npublic_key = \"{key}\"\n\n")?;
    }
    Ok(out)
}

/// Makes a hospital's post-quantum key: the secret half in its vault, the public half in the folder of all.
fn post_quantum(layout: &Layout, org: &str, data: &Path) -> Result<PathBuf> {
    const FILE: &str = "post-quantum.sealed";
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the operating system gave no randomness")?;
    let mut rng = ChaCha20Rng::from_seed(seed);
    let key = DecapsulationKey::generate(&mut rng);
    let unseal = std::fs::read_to_string(layout.secret(org, "unseal.key"))?;
    let sealed = SealingKey::from_key_file(&unseal)?.seal(FILE, &key.to_bytes(), &mut rng)?;
    write_secret(&data.join(FILE), &sealed)?;
    let folder = layout.post_quantum();
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{org}.pub")), hex::encode(key.encapsulation_key().to_bytes()))?;
    Ok(folder)
}

/// The file of one service.
pub fn text(
    layout: &Layout,
    book: &Book,
    org: &Organisation,
    service: &str,
    packages: &Path,
    now: Timestamp,
) -> Result<String> {
    let name = org.name.as_str();
    let secret = |file: &str| quoted(&layout.secret(name, file));
    let genesis = quoted(&layout.genesis());
    let core = quoted(&packages.join(crate::schema::CORE));
    let data = layout.data(name, service);
    let database = quoted(Path::new(&format!("sqlite://{}?mode=rwc", data.join("store.db").display())));
    let mut out = String::new();
    let own = match service {
        "validate" => format!(
            "[validate]\npackages = [{core}]\ngenesis_file = {genesis}\nsigning_key_file = {}\nschema_cache = {}\n",
            secret("validate.key"),
            quoted(&layout.schema_cache())
        ),
        "consensus" => format!(
            "first_start_until = {}\ngenesis_file = {genesis}\nkey_file = {}\ndata_dir = {}\n",
            first_start_until(now),
            secret("consensus.key"),
            quoted(&data)
        ),
        "keys" => format!(
            "[keys]\ndata_dir = {}\ngenesis_file = {genesis}\nunseal_key_file = {}\n\n[[mapping]]\nrole = \"clinician\"\nattribute = \"clinician\"\n\n[admin]\nlisten = \"127.0.0.1:{}\"\n\n[post_quantum]\nkeys_dir = {}\n\n{}",
            quoted(&data),
            secret("unseal.key"),
            org.door_port(),
            quoted(&post_quantum(layout, name, &data)?),
            officers(layout, name)?
        ),
        "audit" => format!(
            "database_url = {database}\ngenesis_file = {genesis}\nkey_file = {}\nstorage_key_file = {}\n\n[dashboard]\nlisten = \"127.0.0.1:{}\"\nofficer = \"officer\"\npassword_file = {}\n",
            secret("audit.key"),
            secret("storage.key"),
            org.port + 1,
            secret("officer.password")
        ),
        "ingest" => format!(
            "[http]\nlisten = \"127.0.0.1:{}\"\nbase_url = \"{}\"\n\n[database]\nurl = {database}\nindex_key_file = {}\n\n[ledger]\ngenesis_file = {genesis}\nsigning_key_file = {}\n\n[fhir]\npackages = [{core}]\nschema_cache = {}\n\n[auth]\nissuer = \"{}\"\naudience = \"{}\"\n\n[development_issuer]\nkey_file = {}\n",
            org.port,
            org.fhir_url(),
            secret("index.key"),
            secret("ingest.key"),
            quoted(&layout.schema_cache()),
            org.issuer_url(),
            org.fhir_url(),
            secret("issuer.pem")
        ),
        _ => bail!("there is no service `{service}`"),
    };
    // Tables come after top-level keys: the common ones last.
    write!(
        out,
        "{own}\n[organisation]\nname = \"{name}\"\nchannel = \"{}\"\nprofile = \"demo\"\n\n[bus]\nurl = \"nats://127.0.0.1:{}\"\nuser = \"{name}.{service}\"\npassword_file = {}\n\n[health]\nlisten = \"127.0.0.1:{}\"\n",
        book.channel,
        book.nats_port,
        secret(&format!("{service}.nats")),
        org.health_port(service)
    )?;
    Ok(out)
}
