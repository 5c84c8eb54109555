//! What a stranger with a genesis file can check, and what they refuse.

use super::{World, save};
use crate::http::{Answer, FHIR_JSON};
use crate::records::located;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// One-bit flips tried on each file.
const FLIPS: usize = 48;

pub fn receipt(world: &mut World) -> Result<String> {
    let base = world.a()?.fhir();
    let patient = json!({
        "resourceType": "Patient", "active": true, "gender": "other", "birthDate": "1971-04-05",
        "name": [{ "family": "Proofreader", "given": ["Pauline"] }], "multipleBirthInteger": 2
    });
    let created = world
        .http
        .post(&format!("{base}/Patient"), Some(&world.ehr), FHIR_JSON, patient.to_string().as_bytes())?
        .expect(201, "a Patient")?;
    let (_, id, version) = located(created.location.as_deref().context("no location")?)?;
    let resource =
        world.http.get(&format!("{base}/Patient/{id}"), Some(&world.ehr), &[])?.expect(200, "the Patient")?;
    let content = world.file("proven.json");
    save(&content, &resource.body)?;
    let receipt = |query: &str| -> Result<Answer> {
        let url = format!("{base}/Patient/{id}/_history/{version}/$receipt{query}");
        world.http.get(&url, Some(&world.ehr), &[])?.expect(200, "the receipt")
    };
    let full = receipt("")?.body;
    let file = world.file("receipt.json");
    save(&file, &full)?;
    let first = verify(world, &file, None)?.good().context("the receipt")?;
    verify(world, &file, Some(&content))?.good().context("the receipt with its resource")?;
    let bare = world.file("receipt-bare.json");
    save(&bare, &receipt("?openings=none")?.body)?;
    verify(world, &bare, None)?.good().context("the receipt without openings")?;
    refuses_other_content(world, &file, &resource.body)?;
    let flips = flips(world, &full, Some(&content))?;
    let foreign = foreign_genesis(world, &file)?;
    Ok(format!("{}\nrefused: {flips} single-bit flips, another content, {foreign}", first.trim()))
}

fn verify(world: &World, file: &Path, resource: Option<&Path>) -> Result<crate::cluster::Said> {
    let genesis = world.cluster.genesis().display().to_string();
    let file = file.display().to_string();
    let resource = resource.map(|r| r.display().to_string());
    let mut arguments = vec!["verify", file.as_str(), "--genesis", genesis.as_str()];
    if let Some(resource) = &resource {
        arguments.extend(["--resource", resource.as_str()]);
    }
    world.cluster.consilium(&arguments)
}

/// Exit 1 is a refusal; anything else, a crash above all, is a failure of ours.
fn refused(said: &crate::cluster::Said, what: &str) -> Result<()> {
    if said.code != 1 {
        bail!("{what}: `consilium verify` ended with {}: {}{}", said.code, said.out, said.err);
    }
    Ok(())
}

fn refuses_other_content(world: &World, receipt: &Path, content: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(content).into_owned();
    for (from, to) in
        [("Proofreader", "Proofraeder"), ("1971-04-05", "1971-04-06"), (",\"multipleBirthInteger\":2", "")]
    {
        let other = text.replacen(from, to, 1);
        if other == text {
            bail!("the content has no `{from}`");
        }
        let file = world.file("other.json");
        save(&file, other.as_bytes())?;
        refused(&verify(world, receipt, Some(&file))?, "another content")?;
    }
    Ok(())
}

/// Flips the lowest bit of characters all over the file; each such file must be refused.
fn flips(world: &World, proof: &[u8], resource: Option<&Path>) -> Result<usize> {
    let file = world.file("flipped.json");
    let step = (proof.len() / FLIPS).max(1);
    let mut tried = 0;
    for at in (step / 2..proof.len()).step_by(step) {
        let mut bytes = proof.to_vec();
        let Some(byte) = bytes.get_mut(at) else { break };
        *byte ^= 1;
        save(&file, &bytes)?;
        let around = String::from_utf8_lossy(
            proof.get(at.saturating_sub(40)..(at + 20).min(proof.len())).unwrap_or_default(),
        )
        .into_owned();
        refused(&verify(world, &file, resource)?, &format!("a flipped bit at {at} (…{around}…)"))?;
        tried += 1;
    }
    Ok(tried)
}

/// A proof is worth nothing with another consortium's genesis.
fn foreign_genesis(world: &World, receipt: &Path) -> Result<String> {
    let mut genesis: Value = serde_json::from_slice(&std::fs::read(world.cluster.genesis())?)?;
    *genesis.get_mut("channel").context("genesis has no channel")? = json!("other");
    let file = world.file("other-genesis.json");
    save(&file, genesis.to_string().as_bytes())?;
    let said = world.cluster.consilium(&[
        "verify",
        &receipt.display().to_string(),
        "--genesis",
        &file.display().to_string(),
    ])?;
    refused(&said, "another genesis")?;
    Ok("another genesis".to_owned())
}

pub fn audit(world: &mut World) -> Result<String> {
    let a = world.a()?;
    let password = std::fs::read_to_string(world.cluster.secret("hospital-a", "officer.password"))?;
    let basic = format!("Basic {}", STANDARD.encode(format!("officer:{}", password.trim())));
    let headers = [("authorization", basic.as_str())];
    world
        .http
        .get(&format!("{}/", a.dashboard()), None, &[])?
        .expect(401, "the dashboard without password")?;
    world.http.get(&format!("{}/", a.dashboard()), None, &headers)?.expect(200, "the dashboard")?;
    let url = format!("{}/event/3/proof.json", a.dashboard());
    let mut proof = Vec::new();
    let waited = world.cluster.wait(Duration::from_secs(20), "the audit log is anchored", || {
        let answer = world.http.get(&url, None, &headers)?;
        proof = answer.body;
        Ok(answer.status == 200)
    })?;
    let file = world.file("audit-proof.json");
    save(&file, &proof)?;
    let said = verify(world, &file, None)?.good().context("the audit proof")?;
    let flips = flips(world, &proof, None)?;
    Ok(format!(
        "{} (anchored after {:.1} s)\nrefused: {flips} single-bit flips",
        said.trim(),
        waited.as_secs_f64()
    ))
}
