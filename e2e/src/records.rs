//! What was posted against what is read back: the same leaves with the same tokens, digit for digit.

use anyhow::{Context, Result, bail};
use consilium_fhir::leaves::leaves;
use consilium_fhir::{Limits, Tape};
use serde_json::Value;
use std::collections::BTreeMap;

/// A resource that a hospital acknowledged.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub resource_type: String,
    pub id: String,
    pub version: u64,
    /// As it was posted; nothing if a conditional create found it already there.
    pub posted: Option<String>,
    /// As it was first read back: every later read must give the very same bytes.
    pub read: Vec<u8>,
    /// Where it was posted: file and entry.
    pub place: String,
    /// The conditional create's condition.
    pub condition: Option<String>,
}

impl Acknowledged {
    /// `Type/id`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }
}

/// A bundle's answer, entry by entry.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub records: Vec<Acknowledged>,
    /// Bundle-local name → `Type/id`.
    pub names: BTreeMap<String, String>,
}

/// Type, id and version of a location `…/Type/id/_history/version`.
pub fn located(location: &str) -> Result<(String, String, u64)> {
    let parts: Vec<&str> = location.rsplit('/').collect();
    let [version, "_history", id, kind, ..] = parts.as_slice() else {
        bail!("a location of another form: {location}")
    };
    Ok(((*kind).to_owned(), (*id).to_owned(), version.parse()?))
}

/// Matches the entries of a bundle with those of its response.
pub fn pair(file: &str, bundle: &[u8], response: &Value) -> Result<Loaded> {
    let tape = Tape::parse(bundle, &Limits::default()).context("a bundle of ours is not JSON")?;
    let answers = response.get("entry").and_then(Value::as_array).context("the response has no entries")?;
    let entries: Vec<_> = tape.root().get("entry").into_iter().flat_map(|e| e.children()).collect();
    if entries.len() != answers.len() {
        bail!("{file}: {} entries, {} answers", entries.len(), answers.len());
    }
    let mut loaded = Loaded::default();
    for (i, (entry, answer)) in entries.iter().zip(answers).enumerate() {
        let place = format!("{file} entry {i}");
        let status = answer.pointer("/response/status").and_then(Value::as_str).unwrap_or_default();
        let created = status.starts_with("201");
        if !created && !status.starts_with("200") {
            bail!("{place}: answered with {answer}");
        }
        let location = answer.pointer("/response/location").and_then(Value::as_str);
        let (resource_type, id, version) =
            located(location.with_context(|| format!("{place}: no location"))?)?;
        let text = |c: Option<consilium_fhir::tape::Cursor<'_, '_>>| {
            c.and_then(|c| c.as_str().map(|s| s.into_owned()))
        };
        let resource = entry.get("resource").with_context(|| format!("{place}: no resource"))?;
        let local = format!("{resource_type}/{id}");
        if let Some(url) = text(entry.get("fullUrl")) {
            loaded.names.insert(url, local.clone());
        }
        loaded.records.push(Acknowledged {
            resource_type,
            id,
            version,
            posted: created.then(|| resource.token().to_owned()),
            read: Vec::new(),
            place,
            condition: text(entry.get("request").and_then(|r| r.get("ifNoneExist"))),
        });
    }
    Ok(loaded)
}

/// Keys under which a reference may stand that the server resolves.
const REFERRING: [&str; 5] = ["reference", "valueUri", "valueUrl", "valueUuid", "valueOid"];

/// The leaves but for those that the server assigns: path and exact token.
fn content(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let tape = Tape::parse(bytes, &Limits::default()).context("not JSON")?;
    let root = tape.root();
    let kind = root.get("resourceType").and_then(|t| t.as_str()).context("no resourceType")?.into_owned();
    let assigned = ["id", "meta.versionId", "meta.lastUpdated"].map(|p| format!("{kind}.{p}"));
    Ok(leaves(root)
        .into_iter()
        .filter(|l| !assigned.contains(&l.path))
        .map(|l| (l.path, l.token.to_owned()))
        .collect())
}

/// Fails with the first leaf that differs. `resolve` says what a bundle-local or conditional reference stands for.
pub fn same_content(
    posted: &[u8],
    read: &[u8],
    mut resolve: impl FnMut(&str) -> Result<Option<String>>,
) -> Result<()> {
    let (posted, read) = (content(posted)?, content(read)?);
    if posted.len() != read.len() {
        bail!("{} leaves were posted, {} are read back", posted.len(), read.len());
    }
    for ((path, token), (path_back, token_back)) in posted.iter().zip(&read) {
        if path != path_back {
            bail!("`{path}` was posted, `{path_back}` stands in its place");
        }
        if token == token_back {
            continue;
        }
        let key = path.rsplit('.').next().unwrap_or_default();
        let reference: String = serde_json::from_str(token).unwrap_or_default();
        let back: String = serde_json::from_str(token_back).unwrap_or_default();
        if !REFERRING.contains(&key) || resolve(&reference)?.as_deref() != Some(back.as_str()) {
            bail!("`{path}` reads back with another value");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(posted: &str, read: &str) -> Result<()> {
        same_content(posted.as_bytes(), read.as_bytes(), |r| {
            Ok((r == "urn:uuid:1").then(|| "Patient/p".to_owned()))
        })
    }

    #[test]
    fn every_digit_counts_and_what_the_server_assigns_does_not() {
        let posted = r#"{"resourceType":"X","v":1.50,"s":{"reference":"urn:uuid:1"}}"#;
        let read = r#"{"resourceType":"X","id":"7","meta":{"versionId":"1","lastUpdated":"t"},"v":1.50,"s":{"reference":"Patient/p"}}"#;
        same(posted, read).unwrap();
        assert!(same(posted, &read.replace("1.50", "1.5")).is_err());
        assert!(same(posted, &read.replace("Patient/p", "Patient/q")).is_err());
        assert!(same(posted, &read.replace("\"v\":1.50,", "")).is_err());
        assert!(same(posted, &read.replace("\"v\"", "\"w\"")).is_err());
    }
}
