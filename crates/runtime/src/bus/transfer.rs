//! Sending and fetching payloads of any size.

use super::blob::Id;
use super::error::BusError;
use super::message::{BLOB, Headers, Raw};
use super::{Bus, INLINE_LIMIT, Transport, nats};
use consilium_contracts::Message;
use consilium_contracts::v1::{BlobChunk, BlobOffer, BlobRequest};
use consilium_domain::OrgId;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Unit in which memory for fetched payloads is counted.
pub(super) const UNIT: usize = 64 * 1024;
/// 256 MiB of them.
pub(super) const UNITS: usize = 4096;
/// Bytes asked for at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks asked for at once.
const WINDOW: usize = 4;
/// Attempts per chunk, each of [`CHUNK_TIMEOUT`].
const ATTEMPTS: usize = 3;
const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a whole payload may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// An offered blob; withdrawn when dropped.
pub(super) struct Offer {
    bus: Bus,
    id: Id,
    keep: bool,
}

impl Offer {
    /// Leaves the blob until its time is over.
    pub(super) fn leave(mut self) {
        self.keep = true;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if !self.keep {
            self.bus.0.offered.withdraw(&self.id);
        }
    }
}

impl Bus {
    /// The message that carries `payload`, and the offer that stands behind it when it is a large one.
    pub(super) fn outgoing(&self, subject: &str, payload: Vec<u8>) -> Result<(Raw, Option<Offer>), BusError> {
        let mut headers = self.headers();
        if payload.len() <= INLINE_LIMIT {
            return Ok((Raw { subject: subject.to_owned(), reply: None, headers, payload }, None));
        }
        let (size, limit) = (payload.len(), self.0.parts.blob_limit);
        if size > limit {
            return Err(BusError::TooLarge { size: size as u64, limit: limit as u64 });
        }
        let id = self.0.parts.entropy.bytes();
        let offer = BlobOffer {
            subject: self.0.own.clone(),
            id: Vec::from(id),
            size: size as u64,
            sha256: Sha256::digest(&payload).to_vec(),
        };
        self.0.offered.keep(id, payload, self.0.parts.clock.monotonic())?;
        headers.insert(BLOB, "1");
        let payload = offer.encode_to_vec();
        let message = Raw { subject: subject.to_owned(), reply: None, headers, payload };
        Ok((message, Some(Offer { bus: self.clone(), id, keep: false })))
    }

    /// The payload itself, fetched if `payload` only offers it. `sender`: the organisation it must come
    /// from, where that is known. The permit stands for the memory of a fetched payload.
    pub(super) async fn whole(
        &self,
        headers: Headers,
        payload: Vec<u8>,
        sender: Option<&OrgId>,
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), BusError> {
        if headers.get(BLOB).is_none() {
            return Ok((payload, None));
        }
        let offer =
            BlobOffer::decode(payload.as_slice()).map_err(|error| BusError::Decode(error.to_string()))?;
        self.check(&offer, sender)?;
        let size = usize::try_from(offer.size).unwrap_or(usize::MAX);
        let units = u32::try_from(size / UNIT + 1).unwrap_or(u32::MAX);
        let work = async {
            let permit = Arc::clone(&self.0.fetching)
                .acquire_many_owned(units)
                .await
                .map_err(|_| BusError::Blob("the bus is closed"))?;
            Ok((self.fetch(&offer, size).await?, Some(permit)))
        };
        tokio::time::timeout(FETCH_TIMEOUT, work)
            .await
            .unwrap_or(Err(BusError::Blob("it took longer than a minute")))
    }

    /// An offer is somebody else's word: it may only name a blob subject of the channel (never another
    /// verb, at which we would then send requests in its maker's interest) and a size that we take.
    fn check(&self, offer: &BlobOffer, sender: Option<&OrgId>) -> Result<(), BusError> {
        let subjects = &self.0.parts.subjects;
        if !subjects.is_blob(&offer.subject) {
            return Err(BusError::Blob("the offer names no blob subject of the channel"));
        }
        if sender.is_some() && subjects.owner_of(&offer.subject).as_ref() != sender {
            return Err(BusError::Blob("the offer names another organisation's blob"));
        }
        let limit = self.0.parts.blob_limit.min(UNITS.saturating_mul(UNIT) - UNIT) as u64;
        if offer.size > limit {
            return Err(BusError::TooLarge { size: offer.size, limit });
        }
        if offer.id.len() != 16 || offer.sha256.len() != 32 {
            return Err(BusError::Blob("the offer's id or digest has the wrong length"));
        }
        Ok(())
    }

    async fn fetch(&self, offer: &BlobOffer, size: usize) -> Result<Vec<u8>, BusError> {
        let mut chunks = futures::stream::iter((0..size).step_by(CHUNK))
            .map(|offset| self.chunk(offer, offset, CHUNK.min(size - offset)))
            .buffered(WINDOW);
        let (mut out, mut hash) = (Vec::new(), Sha256::new());
        while let Some(chunk) = chunks.try_next().await? {
            hash.update(&chunk);
            out.extend_from_slice(&chunk);
        }
        if hash.finalize().as_slice() != offer.sha256.as_slice() {
            return Err(BusError::Blob("its digest is not the offered one"));
        }
        Ok(out)
    }

    async fn chunk(&self, offer: &BlobOffer, offset: usize, length: usize) -> Result<Vec<u8>, BusError> {
        let request = BlobRequest {
            id: offer.id.clone(),
            offset: offset as u64,
            length: u32::try_from(length).unwrap_or(0),
        };
        let mut last = BusError::Blob("no attempt was made");
        for _ in 0..ATTEMPTS {
            // Without a name: every copy is answered, the first answer counts, and a hub that holds answers back
            // cannot keep another's from coming.
            let message = Raw {
                payload: request.encode_to_vec(),
                ..Raw::headers_only(offer.subject.clone(), Headers::default())
            };
            let answer = match &self.0.transport {
                Transport::Nats(client) => nats::request(client, message, CHUNK_TIMEOUT).await,
                Transport::Memory(hub) => hub.request(message, CHUNK_TIMEOUT).await,
            };
            match answer {
                Ok(answer) => {
                    let chunk = BlobChunk::decode(answer.payload.as_slice())
                        .map_err(|error| BusError::Decode(error.to_string()))?;
                    if chunk.data.len() == length {
                        return Ok(chunk.data);
                    }
                    return Err(BusError::Blob("its sender does not have it (any more)"));
                }
                // Its sender is gone, and the blob with it.
                Err(BusError::NoResponder(_)) => return Err(BusError::Blob("its sender is gone")),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
