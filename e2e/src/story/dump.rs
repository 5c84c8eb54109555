//! Everything that the hospitals wrote and said to each other is searched for what identifies the patients.

use super::World;
use crate::disclosure::Secrets;
use anyhow::{Result, bail};

pub fn search(world: &mut World) -> Result<String> {
    // Stopped, so that every buffer is on the disk.
    world.cluster.stop()?;
    let recorder = world.cluster.recorder()?;
    let (tallies, inside) = recorder.tallies()?;
    let finder = world.secrets.finder()?;
    let (mut seen, mut hits) = ((0, 0), Vec::new());
    for hospital in world.cluster.hospitals() {
        hits.extend(finder.find_below(&world.cluster.dir().join(&hospital.name), &mut seen)?);
    }
    hits.extend(finder.find_below(&world.cluster.dir().join("nats"), &mut seen)?);
    hits.extend(finder.find(&world.cluster.genesis(), &std::fs::read(world.cluster.genesis())?));
    let across = std::fs::read(recorder.across())?;
    // A search that could find nothing proves nothing: what may be seen must be found by the same means.
    let mut open = Secrets::default();
    open.add("what may be seen", "hospital-a");
    let open = open.finder()?;
    for file in [
        recorder.across().to_owned(),
        world.cluster.genesis(),
        world.cluster.dir().join("hospital-a/ingest.log"),
    ] {
        if open.find(&file, &std::fs::read(&file)?).is_empty() {
            bail!("the search is blind: it does not even find `hospital-a` in {}", file.display());
        }
    }
    hits.extend(finder.find(recorder.across(), &across));
    let (spans, traces) = world.cluster.collector()?.written()?;
    let exported = std::fs::read(traces)?;
    if spans == 0 || open.find(traces, &exported).is_empty() {
        bail!("the search is blind: {spans} spans were exported, and none says `hospital-a`");
    }
    hits.extend(finder.find(traces, &exported));
    hits.extend(finder.find(recorder.subjects(), &std::fs::read(recorder.subjects())?));
    if !hits.is_empty() {
        let shown: Vec<String> = hits
            .iter()
            .take(25)
            .map(|h| format!("{} in {}: {}", h.what, h.file.display(), h.around))
            .collect();
        bail!("{} disclosures:\n{}", hits.len(), shown.join("\n"));
    }
    let kinds: Vec<String> = world.secrets.kinds().iter().map(|(k, n)| format!("{k} {n}")).collect();
    let bus: Vec<String> =
        tallies.iter().map(|(k, t)| format!("{k} {} messages, {} KB", t.messages, t.bytes / 1024)).collect();
    Ok(format!(
        "{} values (kinds: {}), each plain, hexadecimal and base64 at every alignment, in\n\
         {} files, {} MB: ledger, stores, write-ahead logs, keys, audit logs, process logs, configuration of all hospitals and of nats-server\n\
         bus, all that left an organisation (payloads, headers, subjects): {}\n\
         traces, all that was exported to a collector: {} spans, {} KB\n\
         bus, not covered: payloads of {} messages ({} MB) among one organisation's own services, which carry records in the clear (ingest to its validate and audit); their subjects are covered\n\
         the same search does find `hospital-a` where it may stand",
        world.secrets.len(),
        kinds.join(", "),
        seen.0,
        seen.1 >> 20,
        bus.join("; "),
        spans,
        exported.len() / 1024,
        inside.messages,
        inside.bytes >> 20,
    ))
}
