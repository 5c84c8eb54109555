//! The ledger log as static files (c2sp.org/tlog-tiles): a checkpoint that changes, tiles and entry bundles that never do.

use super::Ledger;
use crate::tiles::TileName;
use actix_web::HttpResponse;
use actix_web::http::header;
use consilium_contracts::v1::TileRequest;

/// RFC 9111 §5.2.2, RFC 8246: whoever has a tile has it for good.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// The newest checkpoint, asked for again when it is a second old.
const A_MOMENT: &str = "public, max-age=1, must-revalidate";

/// The checkpoint as a signed note, or with `proof` as a file for `consilium verify`.
pub async fn checkpoint(ledger: &Ledger, proof: bool) -> anyhow::Result<Option<HttpResponse>> {
    let Some((json, newest)) = ledger.checkpoint().await? else { return Ok(None) };
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, A_MOMENT));
    Ok(Some(if proof {
        answer.content_type("application/json").body(json)
    } else {
        answer.content_type("text/plain; charset=utf-8").body(newest.note)
    }))
}

/// A tile or entry bundle by its path below `tile/`.
pub async fn tile(ledger: &Ledger, path: &str) -> anyhow::Result<Option<HttpResponse>> {
    let (name, entries) = match path.strip_prefix("entries/") {
        // An entry bundle is named as the tile of its hashes.
        Some(rest) => (TileName::parse(&format!("0/{rest}")), true),
        None => (TileName::parse(path), false),
    };
    let Some(name) = name else { return Ok(None) };
    let width = u32::try_from(name.width)?;
    let request = TileRequest { level: name.level, index: name.index, width, entries };
    let bytes = ledger.tile(&request).await?;
    Ok((!bytes.is_empty()).then(|| {
        let mut answer = HttpResponse::Ok();
        answer.insert_header((header::CACHE_CONTROL, FOR_EVER));
        answer.content_type("application/octet-stream").body(bytes)
    }))
}
