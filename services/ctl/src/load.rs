//! `consilium load`: bundles, NDJSON files and folders, in order, resumable, one line per file.

use crate::client::{Client, FHIR_JSON};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(clap::Args)]
pub struct LoadArgs {
    /// Bundles (.json), bundles or resources one per line (.ndjson), or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// FHIR base address.
    #[arg(long, default_value = "http://127.0.0.1:18100/fhir")]
    to: String,
    /// Bearer token, or a file that holds it as `@FILE`; default: $CONSILIUM_TOKEN.
    #[arg(long)]
    token: Option<String>,
    /// Requests in flight.
    #[arg(long, default_value_t = 2)]
    parallel: usize,
    /// File that remembers what was loaded; a second run leaves it out.
    #[arg(long)]
    resume: Option<PathBuf>,
}

/// One request to send.
struct Item {
    /// File, and line for NDJSON.
    name: String,
    body: Vec<u8>,
    /// A Bundle goes to the base, a resource to its type.
    path: String,
}

pub fn run(args: &LoadArgs, out: &mut Output) -> Result<Exit> {
    let files = collect(&args.files)?;
    let done: BTreeSet<String> = match &args.resume {
        Some(p) if p.exists() => std::fs::read_to_string(p)?.lines().map(str::to_owned).collect(),
        _ => BTreeSet::new(),
    };
    let journal = match &args.resume {
        Some(p) => Some(Mutex::new(
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(p)
                .with_context(|| format!("open {}", p.display()))?,
        )),
        None => None,
    };
    let client = Client::new(crate::token::given(args.token.as_deref())?);
    let base = args.to.trim_end_matches('/');
    let bar = progress(files.len() as u64, out);
    let totals = Mutex::new(Totals::default());
    for (phase, paths) in phases(&files).into_iter().enumerate() {
        let next = AtomicUsize::new(0);
        // What others refer to goes alone and first; the rest may overlap.
        let workers = if phase == 0 { 1 } else { args.parallel.max(1) };
        std::thread::scope(|scope| -> Result<()> {
            let mut handles = Vec::new();
            for _ in 0..workers {
                handles.push(scope.spawn(|| -> Result<()> {
                    while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for item in items(path)? {
                            if done.contains(&item.name) {
                                continue;
                            }
                            let line = send(&client, base, &item)?;
                            let ok = line.get("ok") == Some(&Value::Bool(true));
                            if let (true, Some(j)) = (ok, &journal) {
                                let mut j = j.lock().map_err(|_| anyhow::anyhow!("a worker failed"))?;
                                writeln!(j, "{}", item.name)?;
                                j.flush()?;
                            }
                            let mut t = totals.lock().map_err(|_| anyhow::anyhow!("a worker failed"))?;
                            t.add(&line);
                            bar.suspend(|| t.show(&line, out.is_json()));
                        }
                        bar.inc(1);
                    }
                    Ok(())
                }));
            }
            for h in handles {
                h.join().map_err(|_| anyhow::anyhow!("a worker failed"))??;
            }
            Ok(())
        })?;
    }
    bar.finish_and_clear();
    let t = totals.into_inner().map_err(|_| anyhow::anyhow!("a worker failed"))?;
    out.result(
        &format!(
            "{} requests accepted, {} refused; {} resources created, {} found already there",
            t.accepted, t.refused, t.created, t.existing
        ),
        &json!({"accepted": t.accepted, "refused": t.refused, "created": t.created, "existing": t.existing}),
    );
    Ok(if t.refused == 0 { Exit::Good } else { Exit::Refused })
}

#[derive(Default)]
struct Totals {
    accepted: u64,
    refused: u64,
    created: u64,
    existing: u64,
}

impl Totals {
    fn add(&mut self, line: &Value) {
        let n = |k: &str| line.get(k).and_then(Value::as_u64).unwrap_or(0);
        self.created += n("created");
        self.existing += n("existing");
        if line.get("ok") == Some(&Value::Bool(true)) { self.accepted += 1 } else { self.refused += 1 }
    }
    fn show(&self, line: &Value, json: bool) {
        let text = |k: &str| line.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
        if json {
            crate::output::line(line);
        } else if line.get("ok") != Some(&Value::Bool(true)) {
            eprintln!("refused {}: {}", text("file"), text("error"));
        }
    }
}

fn progress(files: u64, out: &Output) -> indicatif::ProgressBar {
    use std::io::IsTerminal;
    if out.is_json() || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(files);
    if let Ok(style) =
        indicatif::ProgressStyle::with_template("{bar:32} {pos}/{len} files, {elapsed}, {eta} to go")
    {
        bar.set_style(style);
    }
    bar
}

fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for p in paths {
        if p.is_dir() {
            let mut inside: Vec<PathBuf> =
                std::fs::read_dir(p)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
            inside.retain(|f| f.extension().is_some_and(|e| e == "json" || e == "ndjson"));
            inside.sort();
            files.extend(inside);
        } else if p.is_file() {
            files.push(p.clone());
        } else {
            bail!("{} does not exist", p.display());
        }
    }
    Ok(files)
}

/// The order of loading. First the files to which others refer (Synthea writes hospitals and practitioners into
/// `…Information…`); then those with conditional references; last those that create without a condition: these may
/// bring an organisation once more, and then a conditional reference to it would match several.
fn phases(files: &[PathBuf]) -> [Vec<&Path>; 3] {
    let mut phases = [Vec::new(), Vec::new(), Vec::new()];
    let [first, second, last] = &mut phases;
    for file in files {
        if file.file_name().is_some_and(|n| n.to_string_lossy().contains("Information")) {
            first.push(file.as_path());
        } else if std::fs::read(file).is_ok_and(|b| has_conditional_reference(&b)) {
            second.push(file.as_path());
        } else {
            last.push(file.as_path());
        }
    }
    phases
}

/// Whether a `"reference": "Type?…"` occurs.
fn has_conditional_reference(body: &[u8]) -> bool {
    const KEY: &[u8] = b"\"reference\"";
    body.windows(KEY.len()).enumerate().filter(|(_, w)| *w == KEY).any(|(at, _)| {
        let rest = body.get(at + KEY.len()..).unwrap_or_default().trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start).and_then(|v| v.strip_prefix(b"\""));
        let name = value.map_or(0, |v| v.iter().take_while(|b| b.is_ascii_alphabetic()).count());
        name > 0 && value.and_then(|v| v.get(name)) == Some(&b'?')
    })
}

fn items(path: &Path) -> Result<Vec<Item>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.display().to_string();
    if path.extension().is_some_and(|e| e == "ndjson") {
        return Ok(bytes
            .split(|b| *b == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .map(|(i, line)| Item {
                name: format!("{name}:{}", i + 1),
                path: target(line),
                body: line.to_vec(),
            })
            .collect());
    }
    Ok(vec![Item { name, path: target(&bytes), body: bytes }])
}

/// Where a body goes. What cannot be read goes to the base: the server says what is wrong with it.
fn target(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "resourceType")]
        resource_type: String,
    }
    match serde_json::from_slice::<Head>(body) {
        Ok(h) if h.resource_type != "Bundle" && h.resource_type.bytes().all(|b| b.is_ascii_alphabetic()) => {
            format!("/{}", h.resource_type)
        }
        _ => String::new(),
    }
}

/// Sends one body. Only an answer that says "not taken, come again" is tried again: after a broken connection
/// nobody knows whether the server took the body, so the caller decides.
fn send(client: &Client, base: &str, item: &Item) -> Result<Value> {
    let url = format!("{base}{}", item.path);
    let mut tries = 0;
    let answer = loop {
        match client.post(&url, FHIR_JSON, &item.body) {
            Ok(a) if tries == 3 || (a.status != 503 && a.status != 429) => break a,
            Ok(_) => tries += 1,
            Err(e) => return Ok(json!({"file": item.name, "ok": false, "error": format!("{e:#}")})),
        }
        std::thread::sleep(std::time::Duration::from_millis(500 << tries));
    };
    if !answer.is_success() {
        return Ok(
            json!({"file": item.name, "ok": false, "status": answer.status, "error": answer.complaint()}),
        );
    }
    let (mut created, mut existing) = (u64::from(!item.path.is_empty()), 0);
    if item.path.is_empty() {
        let bundle = answer.json()?;
        for e in bundle.get("entry").and_then(Value::as_array).into_iter().flatten() {
            match e.pointer("/response/status").and_then(Value::as_str).unwrap_or_default() {
                s if s.starts_with("201") => created += 1,
                s if s.starts_with("200") => existing += 1,
                s => {
                    return Ok(
                        json!({"file": item.name, "ok": false, "error": format!("an entry was answered with {s}")}),
                    );
                }
            }
        }
    }
    Ok(
        json!({"file": item.name, "ok": true, "status": answer.status, "created": created, "existing": existing}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditional_references_are_told_from_others() {
        for yes in [r#"{"reference": "Practitioner?identifier=a|b"}"#, "{\"reference\"\n:\t\"Location?x\"}"] {
            assert!(has_conditional_reference(yes.as_bytes()), "{yes}");
        }
        for no in [
            r#"{"reference": "Practitioner/1?x"}"#,
            r#"{"reference": "urn:uuid:1"}"#,
            r#"{"reference""#,
            "{}",
        ] {
            assert!(!has_conditional_reference(no.as_bytes()), "{no}");
        }
    }
}
