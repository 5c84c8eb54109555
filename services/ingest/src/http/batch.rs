//! batch: entries that do not depend on each other, each with its own outcome (hl7.org/fhir/R4/http.html#brules).
//!
//! What is valid is stored together, many entries in one ledger transaction, as long as that changes no entry's outcome.

use super::bundle::{entry_of, local, request_of, response, status_text, write_of};
use super::write::{Busy, Group, Write, Written, check, execute, plan, references_map};
use super::{Ctx, Reply, read, search};
use crate::error::ApiError;
use consilium_fhir::Tape;
use consilium_fhir::tape::Cursor;
use futures::StreamExt;
use std::time::Duration;

/// Entries that are validated, planned or read at a time.
const WORKERS: usize = 32;
/// Entries of one ledger transaction, and the bytes of their resources.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 4 << 20;

/// An entry on its way.
enum Entry {
    Answered(String),
    Write(Box<Write>),
}

/// Carries out a batch; the answer has an entry for each entry, in their order.
pub async fn post(ctx: &Ctx, tape: &Tape<'_>) -> Result<Reply, ApiError> {
    let entries = tape.root().get("entry").into_iter().flat_map(Cursor::children).enumerate();
    let work = entries.map(|(i, entry)| async move {
        read_entry(ctx, tape, entry, format!("Bundle.entry[{i}]"))
            .await
            .unwrap_or_else(|error| Entry::Answered(refusal(&error)))
    });
    let mut entries: Vec<Entry> = futures::stream::iter(work).buffered(WORKERS).collect().await;
    let writes: Vec<&Write> = entries.iter().filter_map(Entry::write).collect();
    let mut written = execute_each(ctx, tape, &writes).await.into_iter();
    for entry in entries.iter_mut().filter(|e| e.write().is_some()) {
        let outcome = written.next().ok_or_else(|| ApiError::internal("a write has no result"))?;
        *entry = Entry::Answered(match outcome {
            Ok(done) => entry_of(ctx, &done),
            Err(error) => refusal(&error),
        });
    }
    let answers: Vec<String> = entries.into_iter().filter_map(Entry::answer).collect();
    Ok(response(ctx, "batch-response", &answers))
}

impl Entry {
    fn write(&self) -> Option<&Write> {
        match self {
            Self::Write(write) => Some(write),
            Self::Answered(_) => None,
        }
    }
    fn answer(self) -> Option<String> {
        match self {
            Self::Answered(text) => Some(text),
            Self::Write(_) => None,
        }
    }
}

fn refusal(error: &ApiError) -> String {
    format!(
        "{{\"response\":{{\"status\":\"{}\",\"outcome\":{}}}}}",
        status_text(error.status),
        String::from_utf8_lossy(&error.body())
    )
}

/// Answers a read; finds a write valid or refuses it.
async fn read_entry(
    ctx: &Ctx,
    tape: &Tape<'_>,
    entry: Cursor<'_, '_>,
    place: String,
) -> Result<Entry, ApiError> {
    let request = request_of(entry, &place)?;
    if request.method == "GET" {
        let reply = get(ctx, &request.url).await?;
        return Ok(Entry::Answered(format!(
            "{{\"resource\":{},\"response\":{{\"status\":\"200 OK\"{}}}}}",
            String::from_utf8_lossy(&reply.body),
            reply.version.map(|v| format!(",\"etag\":\"W/\\\"{v}\\\"\"")).unwrap_or_default()
        )));
    }
    let write = write_of(ctx, entry, request, place)?;
    check(ctx, tape.cursor(write.node).token().as_bytes()).await?;
    Ok(Entry::Write(Box::new(write)))
}

/// The outcome of each write, as if it had been sent alone.
async fn execute_each(ctx: &Ctx, tape: &Tape<'_>, writes: &[&Write]) -> Vec<Result<Written, ApiError>> {
    let patience = Duration::from_millis(ctx.app.limits.commit_ms + ctx.app.limits.attest_ms);
    let mut outcomes: Vec<Option<Result<Written, ApiError>>> = writes.iter().map(|_| None).collect();
    let mut deadline = ctx.app.clock.monotonic() + patience;
    loop {
        let mut bytes = 0;
        let open: Vec<(usize, &Write)> = outcomes
            .iter()
            .zip(writes)
            .enumerate()
            .filter_map(|(i, (outcome, write))| outcome.is_none().then_some((i, *write)))
            .take(GROUP)
            .take_while(|(_, write)| {
                let before = bytes;
                bytes += tape.cursor(write.node).token().len();
                before < GROUP_BYTES
            })
            .collect();
        if open.is_empty() {
            return outcomes.into_iter().flatten().collect();
        }
        let done = attempt_each(ctx, tape, &open).await;
        if !done.is_empty() {
            deadline = ctx.app.clock.monotonic() + patience;
        } else if ctx.app.clock.monotonic() > deadline {
            let busy = || ApiError::conflict("other requests keep changing the same resource: try again");
            outcomes.iter_mut().filter(|o| o.is_none()).for_each(|o| *o = Some(Err(busy())));
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (i, outcome) in done {
            if let Some(place) = outcomes.get_mut(i) {
                *place = Some(outcome);
            }
        }
    }
}

type Done = Vec<(usize, Result<Written, ApiError>)>;

/// One try. A write that is missing from the result has to wait for another request, or for one before it in this batch.
async fn attempt_each(ctx: &Ctx, tape: &Tape<'_>, open: &[(usize, &Write)]) -> Done {
    let planning = open.iter().map(|(_, write)| async move {
        let step = match plan(ctx, tape, write).await? {
            Ok(step) => step,
            Err(Busy) => return Ok(None),
        };
        // Its own references only: entries of a batch do not know each other.
        let map =
            references_map(ctx, tape, std::slice::from_ref(*write), std::slice::from_ref(&step)).await?;
        Ok(Some((step, map)))
    });
    let plans: Vec<Result<Option<_>, ApiError>> =
        futures::stream::iter(planning).buffered(WORKERS).collect().await;
    let (mut group, mut together, mut done) = (Group::new(ctx), Vec::new(), Done::new());
    for ((i, write), planned) in open.iter().zip(plans) {
        let (step, map) = match planned {
            Ok(Some(planned)) => planned,
            Ok(None) => continue,
            Err(error) => {
                done.push((*i, Err(error)));
                continue;
            }
        };
        if group.clashes(write, &step) {
            continue;
        }
        match group.add(tape, write, step, &map) {
            Ok(written) if written.content.is_empty() => done.push((*i, Ok(written))),
            Ok(written) => together.push((*i, *write, written)),
            Err(error) => done.push((*i, Err(error))),
        }
    }
    match group.store(ctx).await {
        Ok(Ok(())) => done.extend(together.into_iter().map(|(i, _, written)| (i, Ok(written)))),
        Ok(Err(Busy)) => {}
        // One of them is refused, e.g. a consent that cannot be enforced: that is its own outcome and nobody else's.
        Err(error) if error.status.is_client_error() && together.len() > 1 => {
            let alone =
                together.iter().map(|(i, write, _)| async move { (*i, execute_one(ctx, tape, write).await) });
            done.extend(futures::stream::iter(alone).buffered(WORKERS).collect::<Done>().await);
        }
        Err(error) => done.extend(together.into_iter().map(|(i, ..)| (i, Err(error.clone())))),
    }
    done
}

async fn execute_one(ctx: &Ctx, tape: &Tape<'_>, write: &Write) -> Result<Written, ApiError> {
    let written = execute(ctx, tape, vec![write.clone()]).await?;
    written.into_iter().next().ok_or_else(|| ApiError::internal("a write has no result"))
}

async fn get(ctx: &Ctx, url: &str) -> Result<Reply, ApiError> {
    let (path, query) = {
        let url = local(ctx, url);
        url.split_once('?').unwrap_or((url, ""))
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [resource_type] => search::search(ctx, resource_type, query).await,
        [resource_type, id] => read::read(ctx, resource_type, id).await,
        [resource_type, id, "_history"] => read::history(ctx, resource_type, id, query).await,
        [resource_type, id, "_history", version] => read::vread(ctx, resource_type, id, version).await,
        _ => Err(ApiError::bad_request("`request.url` is no read and no search")),
    }
}
