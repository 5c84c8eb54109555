//! Hospital B's clinician and a patient of hospital A.

use super::World;
use crate::clock::Stopwatch;
use crate::http::Answer;
use crate::records::same_content;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The bound on revocation, from the moment in which it was acknowledged.
const BOUND: Duration = Duration::from_secs(2);
const UNKNOWN: &str = "5ffa1ea9-0000-4000-8000-00000000dead";

/// A token of hospital B's clinician.
pub fn clinician(world: &World) -> Result<String> {
    world.cluster.token(
        "hospital-b",
        "user/*.rs",
        &["--sub", "dr-b", "--role", "clinician", "--user", "Practitioner/b1"],
    )
}

/// Asks hospital A through hospital B.
pub fn ask(world: &World, token: &str, what: &str, purpose: Option<&str>) -> Result<Answer> {
    let url = format!("{}/{what}", world.b()?.exchange("hospital-a"));
    let header = purpose.map(|p| ("x-purpose-of-use", p));
    world.http.get(&url, Some(token), header.as_slice())
}

/// `consilium consent` at hospital A.
pub fn consent(world: &World, arguments: &[&str]) -> Result<Value> {
    let base = world.a()?.fhir();
    let mut all = vec!["--json", "consent"];
    all.extend_from_slice(arguments);
    all.extend(["--at", &base, "--token", &world.ehr]);
    let out = world.cluster.consilium(&all)?.good().context("consilium consent")?;
    serde_json::from_str(&out).context("consilium consent: no JSON")
}

/// What an answer tells, but for what differs from one request to the next.
fn told(answer: &Answer) -> (u16, Vec<u8>) {
    (answer.status, answer.body.clone())
}

pub fn story(world: &mut World) -> Result<String> {
    let patient = world.planted.first().cloned().context("no planted patient")?;
    let id = patient.trim_start_matches("Patient/").to_owned();
    let token = clinician(world)?;
    let before = ask(world, &token, &patient, Some("TREAT"))?;
    let nobody = ask(world, &token, &format!("Patient/{UNKNOWN}"), Some("TREAT"))?;
    if before.status != 404 && before.status != 403 || told(&before) != told(&nobody) {
        bail!(
            "without consent: {} {}\nfor nobody: {} {}",
            before.status,
            before.head(),
            nobody.status,
            nobody.head()
        );
    }
    let granted = consent(world, &["grant", "--patient", &id, "--to", "hospital-b"])?;
    let granted = granted.get("id").and_then(Value::as_str).context("the consent has no id")?.to_owned();
    let mut read = None;
    let waited = world.cluster.wait(Duration::from_secs(10), "the consent counts", || {
        let answer = ask(world, &token, &patient, Some("TREAT"))?;
        let good = answer.status == 200;
        if !good && answer.status != before.status {
            bail!("after the consent: {} {}", answer.status, answer.head());
        }
        read = Some(answer);
        Ok(good)
    })?;
    let read = read.context("no answer")?;
    let at_home = world
        .http
        .get(&format!("{}/{patient}", world.a()?.fhir()), Some(&world.ehr), &[])?
        .expect(200, "at home")?;
    same_content(&at_home.body, &read.body, |_| Ok(None)).context("hospital B reads another content")?;
    let found = searches(world, &token, &id)?;
    strangers(world, &patient, before.status)?;
    let revoked = revocation(world, &token, &patient, &granted, before.status)?;
    let again = ask(world, &token, &patient, Some("TREAT"))?;
    if told(&again) != told(&nobody) {
        bail!("after revocation: {} {}", again.status, again.head());
    }
    Ok(format!(
        "before: {} as for nobody; {:.0} ms after the consent's acknowledgement: 200, equal content; {found}\n{revoked}",
        before.status,
        waited.as_secs_f64() * 1000.0
    ))
}

fn searches(world: &World, token: &str, id: &str) -> Result<String> {
    let query = format!("Observation?subject=Patient/{id}");
    let there =
        ask(world, token, &query, Some("TREAT"))?.expect(200, "a search through the exchange")?.json()?;
    let home = world
        .http
        .get(&format!("{}/{query}&_count=200", world.a()?.fhir()), Some(&world.ehr), &[])?
        .json()?;
    let total = |b: &Value| b.get("total").and_then(Value::as_u64);
    if total(&there) != total(&home) || total(&home).unwrap_or(0) == 0 {
        bail!("a search finds {:?} through the exchange and {:?} at home", total(&there), total(&home));
    }
    let other = world.planted.get(1).context("no second patient")?;
    let none = ask(world, token, &format!("Observation?subject={other}"), Some("TREAT"))?;
    if none.status == 200 && total(&none.json()?) != Some(0) {
        bail!("a search shows records of a patient who did not consent");
    }
    Ok(format!("search: {} Observations, none of another patient", total(&home).unwrap_or(0)))
}

/// The consent is for hospital B's clinicians: nobody else gets in by it.
fn strangers(world: &World, patient: &str, denied: u16) -> Result<()> {
    let token = world.cluster.token(
        "hospital-d",
        "user/*.rs",
        &["--sub", "dr-d", "--role", "clinician", "--user", "Practitioner/d1"],
    )?;
    let d = world.cluster.hospital(3)?;
    let answer = world.http.get(
        &format!("{}/{patient}", d.exchange("hospital-a")),
        Some(&token),
        &[("x-purpose-of-use", "TREAT")],
    )?;
    answer.expect(denied, "hospital D by hospital B's consent")?;
    let clerk =
        world.cluster.token("hospital-b", "user/*.rs", &["--sub", "clerk-b", "--user", "Practitioner/b2"])?;
    let answer = ask(world, &clerk, patient, Some("TREAT"))?;
    if answer.status != 403 && answer.status != 404 {
        bail!("somebody without the role of a clinician got {}: {}", answer.status, answer.head());
    }
    Ok(())
}

/// Revokes while the clinician keeps asking.
fn revocation(
    world: &mut World,
    token: &str,
    patient: &str,
    consent_id: &str,
    denied: u16,
) -> Result<String> {
    let watch = Stopwatch::start();
    let stop = AtomicBool::new(false);
    let shared = &*world;
    let (acknowledged, answers) = std::thread::scope(|scope| -> Result<_> {
        let asker = scope.spawn(|| -> Result<Vec<(Duration, u16)>> {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let asked = watch.elapsed();
                answers.push((asked, ask(shared, token, patient, Some("TREAT"))?.status));
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(answers)
        });
        let done = consent(shared, &["revoke", consent_id]);
        let acknowledged = watch.elapsed();
        std::thread::sleep(BOUND + Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let answers = asker.join().map_err(|_| anyhow::anyhow!("the clinician panicked"))??;
        done.map(|_| (acknowledged, answers))
    })?;
    if !answers.iter().any(|(_, s)| *s == 200) {
        bail!("she was never let in while the consent held: {answers:?}");
    }
    let last = answers.iter().filter(|(_, s)| *s != denied).map(|(at, _)| *at).max().unwrap_or_default();
    let first_denied = answers.iter().find(|(at, s)| *at > last && *s == denied).map(|(at, _)| *at);
    let first_denied = first_denied.with_context(|| format!("she is still let in: {answers:?}"))?;
    let after = first_denied.saturating_sub(acknowledged);
    if after > BOUND {
        bail!("denied only {:.2} s after the revocation was acknowledged", after.as_secs_f64());
    }
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    world.report.time(
        "revocation: from sending to the first denial",
        format!(
            "{:.0} ms (acknowledged after {:.0} ms; asked every 100 ms)",
            ms(first_denied),
            ms(acknowledged)
        ),
        json!({ "denied_ms": ms(first_denied), "acknowledged_ms": ms(acknowledged) }),
    );
    Ok(format!(
        "revocation sent at 0, acknowledged at {:.0} ms, first denial asked at {:.0} ms; bound 2 s after the acknowledgement",
        ms(acknowledged),
        ms(first_denied)
    ))
}

pub fn purposes(world: &mut World) -> Result<String> {
    let patient = world.planted.first().cloned().context("no planted patient")?;
    let token = clinician(world)?;
    for (purpose, status) in [(None, 400), (Some("CURIOSITY"), 422), (Some("HRESCH"), 403)] {
        let answer =
            ask(world, &token, &patient, purpose)?.expect(status, purpose.unwrap_or("no purpose"))?;
        answer.issues()?;
    }
    Ok("no purpose 400, unknown 422, research (HRESCH) 403".to_owned())
}
