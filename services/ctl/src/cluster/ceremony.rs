//! The founding of a consortium: each service's keys, the authorities, genesis, the bus's accounts.
//!
//! For a laptop. In production every organisation makes its own keys at home and only public keys meet.

use super::configs;
use super::layout::{Book, Layout, Organisation, SERVICES, write_secret};
use anyhow::{Context, Result, bail};
use consilium_abe::authority;
use consilium_abe::sealing::{AUTHORITY_FILE, SealingKey};
use consilium_contracts::Participant;
use consilium_contracts::nats::{Account, server_config};
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::{ChannelId, Digest, OrgId, PublicKey};
use consilium_ledger::SigningKey;
use p384::pkcs8::{EncodePrivateKey, LineEnding};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::Path;

const CHANNEL: &str = "care";

/// 32 random bytes of the operating system.
fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
    Ok(bytes)
}

/// hospital-a, hospital-b, …
fn names(n: usize) -> Result<Vec<OrgId>> {
    if n > 26 {
        bail!("at most 25 local hospitals");
    }
    ('a'..='z').take(n).map(|c| Ok(OrgId::new(format!("hospital-{c}"))?)).collect()
}

/// Makes everything that does not exist yet; genesis is written last.
pub fn found(layout: &Layout, n: usize, port: u16, tools: &Path) -> Result<()> {
    let channel = ChannelId::new(CHANNEL)?;
    let schema = crate::schema::load(tools, &[], &[])?;
    let schema_digest = Digest(schema.digest());
    std::fs::write(layout.schema_cache(), schema.to_bytes())?;
    let organisations = names(n)?;
    let (mut members, mut accounts) = (Vec::new(), Vec::new());
    for org in &organisations {
        members.push(member(layout, &channel, org)?);
        let mut passwords = Vec::new();
        for participant in Participant::ALL {
            let password = hex::encode(random()?);
            write_secret(&layout.secret(org.as_str(), &format!("{participant}.nats")), password.as_bytes())?;
            passwords.push((participant, password));
        }
        accounts.push(Account { organisation: org.clone(), passwords });
    }
    // Ports: ten per organisation, the server's own in front of them.
    let nats_port = port.checked_sub(1).context("--port must be above 0")?;
    let text = server_config(&channel, &accounts, &format!("127.0.0.1:{nats_port}"), None)?;
    write_secret(&layout.nats().join("nats.conf"), text.as_bytes())?;
    let book = Book {
        channel: CHANNEL.to_owned(),
        nats_port,
        organisations: (0u16..)
            .zip(&organisations)
            .map(|(i, o)| Organisation { name: o.to_string(), port: port + 10 * i })
            .collect(),
    };
    let packages = crate::schema::folder(tools)
        .canonicalize()
        .context("the FHIR packages are missing: run `make setup`")?;
    let now = crate::clock::now();
    for org in &book.organisations {
        for service in SERVICES {
            std::fs::create_dir_all(layout.data(&org.name, service))?;
            std::fs::write(
                layout.config(&org.name, service),
                configs::text(layout, &book, org, service, &packages, now)?,
            )?;
        }
    }
    std::fs::write(layout.book_file(), serde_json::to_vec_pretty(&book)?)?;
    let genesis =
        Genesis { channel, time: now, members, schemas: vec![schema_digest], params: Params::default() };
    std::fs::write(layout.genesis(), serde_json::to_vec_pretty(&genesis)?)?;
    Ok(())
}

/// One organisation's keys: secrets into its own folder, public keys into the genesis.
fn member(layout: &Layout, channel: &ChannelId, org: &OrgId) -> Result<Member> {
    let secret = |name: &str| layout.secret(org.as_str(), name);
    let seed = |name: &str| -> Result<_> {
        let seed = random()?;
        write_secret(&secret(&format!("{name}.key")), hex::encode(seed).as_bytes())?;
        Ok(seed)
    };
    let public = |name: &str| -> Result<PublicKey> { Ok(SigningKey::from_seed(seed(name)?).public()) };
    let consensus = seed("consensus")?;
    for name in ["index", "storage", "unseal"] {
        write_secret(&secret(&format!("{name}.key")), hex::encode(random()?).as_bytes())?;
    }
    write_secret(
        &secret("officer.password"),
        hex::encode(random()?).get(..20).unwrap_or_default().as_bytes(),
    )?;
    write_secret(&secret("issuer.pem"), issuer_key()?.as_bytes())?;
    let mut rng = ChaCha20Rng::from_seed(random()?);
    let (attributes, authority) = authority::setup(&mut rng, channel.as_str(), org.as_str())?;
    let unseal = std::fs::read_to_string(secret("unseal.key"))?;
    let sealed = SealingKey::from_key_file(&unseal)?.seal(AUTHORITY_FILE, &authority.to_bytes(), &mut rng)?;
    write_secret(&layout.data(org.as_str(), "keys").join(AUTHORITY_FILE), &sealed)?;
    Ok(Member {
        organisation: org.clone(),
        consensus: SigningKey::from_seed(consensus).public(),
        validate: public("validate")?,
        ingest: public("ingest")?,
        audit: public("audit")?,
        governance: public("governance")?,
        cosign: SigningKey::cosigner(consensus).public(),
        authority: attributes.to_bytes(),
    })
}

/// A P-384 key for the development issuer, as PKCS#8 PEM.
fn issuer_key() -> Result<String> {
    // All but a negligible share of 48-byte strings are valid scalars; the loop is for that share.
    for _ in 0..16 {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
        if let Ok(key) = p384::SecretKey::from_slice(&bytes) {
            let pem = key
                .to_pkcs8_pem(LineEnding::LF)
                .map_err(|_| anyhow::anyhow!("the issuer's key could not be encoded"))?;
            return Ok(pem.to_string());
        }
    }
    bail!("the operating system's randomness is broken")
}
