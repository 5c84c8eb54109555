//! search-type (hl7.org/fhir/R4/search.html): filters, paging by opaque signed links, nothing that the caller may not
//! see counted or linked.

use super::metadata::filters;
use super::read::{Opened, patient_references, unless_gone};
use super::{Ctx, Reply, check_type, encode, pairs};
use crate::app::App;
use crate::audit_event::Event;
use crate::content::{local_reference, token_query};
use crate::error::{ApiError, issue, outcome};
use crate::scope::Interaction;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use consilium_policy::period::span;
use consilium_store::sql::search::Search;

/// A parsed query.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub search: Search,
    pub count: Option<u32>,
    /// Only the number of matches is wanted.
    pub only_total: bool,
    /// Position after which the page begins.
    pub after: u64,
    /// The filters as applied, for `self` and the next link.
    pub applied: Vec<(String, String)>,
    /// Parameters that were not understood and do not filter.
    pub ignored: Vec<String>,
}

/// Longest life of a page link, in milliseconds.
const LINK_LIFE: u64 = 3_600_000;
/// Most alternatives in one parameter.
const MAX_ALTERNATIVES: usize = 500;

/// Splits at commas that are not escaped, and unescapes (hl7.org/fhir/R4/search.html#escaping).
fn alternatives(value: &str) -> Vec<String> {
    let (mut out, mut current, mut escaped) = (Vec::new(), String::new(), false);
    for c in value.chars() {
        match c {
            _ if escaped => {
                current.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            ',' => out.push(std::mem::take(&mut current)),
            _ => current.push(c),
        }
    }
    out.push(current);
    out.retain(|v| !v.is_empty());
    out
}

/// Reads a query against the filters that the type knows.
pub fn parse_query(app: &App, resource_type: &str, given: &[(String, String)]) -> Result<Query, ApiError> {
    let known = filters(app, resource_type);
    let mut query = Query::default();
    query.search.resource_type = resource_type.to_owned();
    query.search.pending = app.pending();
    for (name, value) in given {
        let (base, modifier) = name.split_once(':').map_or((name.as_str(), None), |(b, m)| (b, Some(m)));
        match base {
            "_count" => {
                let count = value.parse().map_err(|_| ApiError::bad_request("`_count` is a number"))?;
                query.count = Some(count);
                query.only_total |= count == 0;
            }
            "_summary" if value == "count" => query.only_total = true,
            "_total" | "_format" | "_pretty" | "_totalMethod" => {}
            // Filters of R4 that are not implemented would widen the answer if they were ignored.
            "_filter" | "_text" | "_content" | "_list" | "_has" | "_query" | "_tag" | "_profile"
            | "_security" | "_source" | "_type" => return Err(unknown(&known, base)),
            _ if base.starts_with('_') && !known.iter().any(|(k, _)| *k == base) => {
                query.ignored.push(base.to_owned())
            }
            _ => {
                if !known.iter().any(|(k, _)| *k == base) {
                    return Err(unknown(&known, base));
                }
                filter(app, resource_type, base, modifier, value, &mut query.search)?;
                query.applied.push((name.clone(), value.clone()));
            }
        }
    }
    Ok(query)
}

fn unknown(known: &[(&str, &str)], name: &str) -> ApiError {
    let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect();
    ApiError::unsupported(format!("`{name}` is no filter of this type here: use {}", names.join(", ")))
}

fn filter(
    app: &App,
    resource_type: &str,
    name: &str,
    modifier: Option<&str>,
    value: &str,
    search: &mut Search,
) -> Result<(), ApiError> {
    let no_modifier = || match modifier {
        None => Ok(()),
        Some(_) => Err(ApiError::unsupported(format!("`{name}` takes no modifier here"))),
    };
    let values = alternatives(value);
    if values.is_empty() {
        return Err(ApiError::bad_request(format!("`{name}` has no value")));
    }
    if values.len() > MAX_ALTERNATIVES {
        return Err(ApiError::bad_request(format!("`{name}` has more than {MAX_ALTERNATIVES} alternatives")));
    }
    match name {
        "_id" => {
            no_modifier()?;
            let handles: Vec<Vec<u8>> = values.iter().map(|id| app.blind.record(resource_type, id)).collect();
            search.handles = Some(match search.handles.take() {
                None => handles,
                Some(before) => before.into_iter().filter(|h| handles.contains(h)).collect(),
            });
        }
        "_lastUpdated" => {
            no_modifier()?;
            let [one] = values.as_slice() else {
                return Err(ApiError::unsupported("`_lastUpdated` takes one value: repeat it for a range"));
            };
            last_updated(app, one, search)?;
        }
        "identifier" => {
            no_modifier()?;
            search
                .index
                .push(values.iter().map(|v| app.blind.value(resource_type, name, &token_query(v))).collect());
        }
        _ => {
            // `subject:Patient=x` says the type beside the id.
            let typed = match modifier {
                None => None,
                Some(t)
                    if !t.is_empty()
                        && t.bytes().all(|b| b.is_ascii_alphabetic())
                        && t != "missing"
                        && t != "identifier" =>
                {
                    Some(t)
                }
                Some(_) => {
                    return Err(ApiError::unsupported(format!(
                        "`{name}` takes a resource type as modifier, no other"
                    )));
                }
            };
            let form = |v: &String| {
                let local = local_reference(v, &app.base_url);
                match typed {
                    Some(t) if !local.contains('/') => format!("{t}/{local}"),
                    _ => local.to_owned(),
                }
            };
            search
                .index
                .push(values.iter().map(|v| app.blind.value(resource_type, name, &form(v))).collect());
        }
    }
    Ok(())
}

/// `_lastUpdated` with its prefixes (hl7.org/fhir/R4/search.html#prefix); partial dates cover what they leave open.
fn last_updated(app: &App, value: &str, search: &mut Search) -> Result<(), ApiError> {
    let (prefix, date) = match value.get(..2) {
        Some(p @ ("eq" | "ge" | "gt" | "le" | "lt")) => (p, value.get(2..).unwrap_or_default()),
        _ => ("eq", value),
    };
    let span = span(date, app.zone_minutes).ok_or_else(|| {
        ApiError::bad_request(
            "`_lastUpdated` is a date or time, with `eq`, `ge`, `gt`, `le` or `lt` before it",
        )
    })?;
    let from = match prefix {
        "eq" | "ge" => Some(span.from.0),
        "gt" => Some(span.to.0.saturating_add(1)),
        _ => None,
    };
    let to = match prefix {
        "eq" | "le" => Some(span.to.0),
        "lt" => Some(span.from.0.saturating_sub(1)),
        _ => None,
    };
    search.updated_from = search.updated_from.max(from);
    search.updated_to = match (search.updated_to, to) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Ok(())
}

/// A page link's content: bound to the caller, the type and the filters; it expires.
fn page_token(ctx: &Ctx, resource_type: &str, query: &str, after: u64, expires: u64) -> String {
    let body = format!("{after}.{expires}");
    let tag = ctx.app.blind.page_tag(&format!("{}\n{resource_type}\n{query}\n{body}", ctx.principal.subject));
    URL_SAFE_NO_PAD.encode(format!("{body}.{}", hex::encode(tag)))
}

/// Position of a page link that we made for this caller and query.
fn open_page(ctx: &Ctx, resource_type: &str, query: &str, token: &str) -> Result<u64, ApiError> {
    let refused = || {
        ApiError::bad_request(
            "the page link is not one of ours for this token and query, or has expired: start the search again",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let text = String::from_utf8(bytes).map_err(|_| refused())?;
    let mut parts = text.split('.');
    let (Some(after), Some(expires)) = (parts.next(), parts.next()) else { return Err(refused()) };
    let (after, expires): (u64, u64) =
        (after.parse().map_err(|_| refused())?, expires.parse().map_err(|_| refused())?);
    if page_token(ctx, resource_type, query, after, expires) != token || expires < ctx.app.now().0 {
        return Err(refused());
    }
    Ok(after)
}

/// Runs a search and gives a `searchset` bundle.
pub async fn search(ctx: &Ctx, resource_type: &str, query_text: &str) -> Result<Reply, ApiError> {
    let access = ctx.principal.may(Interaction::Search, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    let app = &ctx.app;
    let (pages, given): (Vec<_>, Vec<_>) = pairs(query_text)?.into_iter().partition(|(n, _)| n == "_page");
    let mut query = parse_query(app, resource_type, &given)?;
    query.search.compartment = access.patient.as_deref().map(|id| app.blind.patient(id));
    let count = query.count.unwrap_or(app.limits.page).clamp(1, app.limits.page_max);
    let mut shown: Vec<String> =
        query.applied.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
    if let Some(count) = query.count {
        shown.push(format!("_count={count}"));
    }
    let applied = shown.join("&");
    if let Some((_, token)) = pages.first() {
        query.after = open_page(ctx, resource_type, &applied, token)?;
    }
    let total = app.records.count(&query.search).await?;
    let mut matches: Vec<Opened> = Vec::new();
    let mut next = None;
    if !query.only_total {
        let mut rows = app.records.search(&query.search, query.after, count + 1).await?;
        if rows.len() > count as usize {
            rows.truncate(count as usize);
            next = rows.last().map(|r| r.seq);
        }
        for row in rows {
            matches.extend(unless_gone(ctx.opened(&access, row).await)?);
        }
    }
    let ids: Vec<String> = matches.iter().map(|m| id_in(app, &m.content)).collect::<Result<_, _>>()?;
    let patients: Vec<Option<String>> = matches.iter().map(|m| m.patient.clone()).collect();
    let event = ctx.access_event(
        Event::Search,
        ids.iter().map(|id| format!("{resource_type}/{id}")).collect(),
        patient_references(&patients),
        Some(format!("{resource_type}?{applied}")),
    );
    app.audit(vec![event]).await?;

    let base = &app.base_url;
    let with = |extra: Option<String>| {
        let parts: Vec<String> =
            Some(applied.clone()).filter(|a| !a.is_empty()).into_iter().chain(extra).collect();
        if parts.is_empty() {
            format!("{base}/{resource_type}")
        } else {
            format!("{base}/{resource_type}?{}", parts.join("&"))
        }
    };
    let mut links = vec![link("self", &with(pages.first().map(|(_, t)| format!("_page={t}"))))];
    if let Some(after) = next {
        let token = page_token(ctx, resource_type, &applied, after, app.now().0 + LINK_LIFE);
        links.push(link("next", &with(Some(format!("_page={token}")))));
    }
    let mut entries: Vec<String> = matches
        .iter()
        .zip(&ids)
        .map(|(m, id)| {
            format!(
                "{{\"fullUrl\":\"{base}/{resource_type}/{id}\",\"resource\":{},\"search\":{{\"mode\":\"match\"}}}}",
                String::from_utf8_lossy(&m.content)
            )
        })
        .collect();
    if !query.ignored.is_empty() {
        let issues: Vec<_> = query
            .ignored
            .iter()
            .map(|name| {
                issue(
                    "warning",
                    "not-supported",
                    &format!("`{}` is not supported and was ignored", printable(name)),
                    None,
                )
            })
            .collect();
        entries.push(format!(
            "{{\"fullUrl\":\"urn:uuid:{}\",\"resource\":{},\"search\":{{\"mode\":\"outcome\"}}}}",
            app.new_id(),
            String::from_utf8_lossy(&outcome(&issues))
        ));
    }
    let entry =
        if entries.is_empty() { String::new() } else { format!(",\"entry\":[{}]", entries.join(",")) };
    let body = format!(
        "{{\"resourceType\":\"Bundle\",\"id\":\"{}\",\"type\":\"searchset\",\"total\":{total},\"link\":[{}]{entry}}}",
        app.new_id(),
        links.join(",")
    );
    Ok(Reply::ok(body.into_bytes()))
}

fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect()
}

fn link(relation: &str, url: &str) -> String {
    format!("{{\"relation\":\"{relation}\",\"url\":{}}}", serde_json::Value::from(url))
}

/// The id of a stored resource.
pub fn id_in(app: &App, content: &[u8]) -> Result<String, ApiError> {
    let tape = super::parse(app, content)?;
    crate::resource::id_of(tape.root()).ok_or_else(|| ApiError::internal("a stored resource has no id"))
}

/// Matches of a condition (`identifier=s|v`) as one to three rows, for conditional creates and references.
pub async fn matches_of(
    app: &App,
    resource_type: &str,
    condition: &str,
    pending: bool,
) -> Result<(Query, Vec<consilium_store::sql::records::StoredRecord>), ApiError> {
    let given = pairs(condition)?;
    let mut query = parse_query(app, resource_type, &given)?;
    if query.applied.is_empty() || !query.ignored.is_empty() {
        return Err(ApiError::bad_request("a condition needs at least one filter and nothing else"));
    }
    query.search.pending = pending;
    let rows = app.records.search(&query.search, 0, 2).await?;
    Ok((query, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_unless_escaped() {
        assert_eq!(alternatives("a,b"), ["a", "b"]);
        assert_eq!(alternatives(r"s\|x|a\,b,c"), ["s|x|a,b", "c"]);
        assert!(alternatives(",").is_empty());
    }
}
