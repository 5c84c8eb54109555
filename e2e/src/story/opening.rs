//! The hospitals open: start-up, public pages, closed doors.

use super::World;
use crate::clock::Stopwatch;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub fn start(world: &mut World) -> Result<String> {
    let watch = Stopwatch::start();
    world.cluster.start()?;
    let seconds = watch.elapsed().as_secs_f64();
    world.report.time(
        "first start of the four hospitals",
        format!("{seconds:.1} s"),
        json!({ "s": seconds }),
    );
    world.ehr = world.cluster.token("hospital-a", "system/*.cruds", &["--sub", "ehr-a"])?;
    Ok(format!("20 services and nats-server ready after {seconds:.1} s"))
}

pub fn doors(world: &mut World) -> Result<String> {
    let base = world.a()?.fhir();
    let statement =
        world.http.get(&format!("{base}/metadata"), None, &[])?.expect(200, "metadata")?.json()?;
    if statement.get("fhirVersion").and_then(Value::as_str) != Some("4.0.1") {
        bail!("the CapabilityStatement is not of FHIR 4.0.1");
    }
    let types = world.types()?.len();
    let smart = world
        .http
        .get(&format!("{base}/.well-known/smart-configuration"), None, &[])?
        .expect(200, "SMART")?
        .json()?;
    let endpoint = smart.get("token_endpoint").and_then(Value::as_str).context("no token endpoint")?;
    for (path, what) in
        [("Patient", "a search"), ("Patient/x", "a read"), ("Patient/x/_history", "a history")]
    {
        let answer = world.http.get(&format!("{base}/{path}"), None, &[])?.expect(401, what)?;
        answer.issues()?;
    }
    let answer = world
        .http
        .post(&base, None, crate::http::FHIR_JSON, b"{}")?
        .expect(401, "a transaction without token")?;
    answer.issues()?;
    Ok(format!("{types} resource types; tokens at {endpoint}; four requests without token: 401"))
}
