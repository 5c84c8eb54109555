//! Getting audit events to the audit service: durable before the bytes they are about leave.

use crate::app::App;
use crate::error::ApiError;
use crate::sealing::{open_small, seal_small};
use consilium_abe::envelope::ClassKey;

const CONTEXT: &[u8] = b"consilium/v1/audit-spool";
/// Events delivered from the spool at a time.
const BATCH: u32 = 200;

impl App {
    /// Hands events to the audit service, or keeps them durably for it when it does not answer. An error means that
    /// neither worked: the caller must not answer with data.
    pub async fn audit(&self, events: Vec<Vec<u8>>) -> Result<(), ApiError> {
        if events.is_empty() {
            return Ok(());
        }
        let Err(cause) = self.peers.append(&events).await else { return Ok(()) };
        tracing::warn!(cause, "the audit service does not answer: keeping its events here");
        let sealed = self.seal_events(&events)?;
        self.spool.push(&sealed).await?;
        Ok(())
    }

    /// Events sealed for the spool.
    pub fn seal_events(&self, events: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ApiError> {
        let key = ClassKey::from_bytes(&self.blind.spool_key());
        let mut rng = self.entropy.rng();
        events.iter().map(|e| seal_small(&key, CONTEXT, e, &mut rng).map_err(ApiError::internal)).collect()
    }

    /// Delivers what waits in the spool, oldest first; `true` when it is empty.
    pub async fn drain_spool(&self) -> bool {
        let key = ClassKey::from_bytes(&self.blind.spool_key());
        loop {
            let waiting = match self.spool.oldest(BATCH).await {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::warn!(%error, "the spool of audit events cannot be read");
                    return false;
                }
            };
            if waiting.is_empty() {
                return true;
            }
            let (mut seqs, mut events) = (Vec::new(), Vec::new());
            for (seq, sealed) in waiting {
                match open_small(&key, CONTEXT, &sealed) {
                    Ok(event) => {
                        seqs.push(seq);
                        events.push(event);
                    }
                    Err(error) => {
                        tracing::error!(seq, %error, "an audit event in the spool does not open: is the index key the right one?");
                        return false;
                    }
                }
            }
            if let Err(cause) = self.peers.append(&events).await {
                tracing::debug!(cause, "the audit service does not take the spooled events yet");
                return false;
            }
            if let Err(error) = self.spool.remove(&seqs).await {
                // They will be delivered again; the audit service knows them by id.
                tracing::warn!(%error, "delivered audit events could not be removed from the spool");
                return false;
            }
        }
    }
}
