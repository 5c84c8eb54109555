//! What every handler of the service shares.

use crate::auth::Verifier;
use crate::blind::Blind;
use crate::config::{Acknowledge, Limits};
use crate::error::ApiError;
use crate::issuer::Issuer;
use crate::peers::Peers;
use crate::sealing::{Binding, ClassKeys};
use consilium_abe::envelope::{RecordKey, open_record, unwrap_dek};
use consilium_abe::transit::TransitKey;
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::tx::UnsignedTx;
use consilium_domain::{ChannelId, Clock, Digest, OrgId, Timestamp};
use consilium_fhir::Schema;
use consilium_fhir::tape;
use consilium_ledger::SigningKey;
use consilium_runtime::{Counter, Entropy, Followed, Gather, Histogram};
use consilium_store::sql::consents::Consents;
use consilium_store::sql::outbox::Outbox;
use consilium_store::sql::records::{Records, StoredRecord};
use consilium_store::sql::seen::Seen;
use consilium_store::sql::spool::Spool;
use std::sync::Arc;
use tokio::sync::Notify;

/// The service's parts.
pub struct App {
    pub organisation: OrgId,
    pub channel: ChannelId,
    pub genesis: Genesis,
    /// As the ledger has them now; those of the genesis are the first.
    pub members: Followed<Vec<Member>>,
    pub genesis_digest: Digest,
    pub key: Arc<SigningKey>,
    /// Where batches that come in at nearly the same time meet to be signed together.
    pub signer: Gather<UnsignedTx, Vec<u8>>,
    /// Opens what other organisations seal to that key.
    pub transit: TransitKey,
    pub blind: Blind,
    pub schema: Arc<Schema>,
    pub records: Records,
    pub outbox: Outbox,
    pub consents: Consents,
    pub seen: Seen,
    pub spool: Spool,
    pub peers: Peers,
    pub classes: ClassKeys,
    pub verifier: Verifier,
    pub issuer: Option<Issuer>,
    pub token_endpoint: Option<String>,
    pub authorize_endpoint: Option<String>,
    /// Without a trailing slash.
    pub base_url: String,
    pub acknowledge: Acknowledge,
    pub limits: Limits,
    pub zone_minutes: i64,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    /// Wakes the worker: something waits in the outbox or the spool.
    pub wake: Notify,
    pub metrics: Metrics,
}

/// What is counted.
pub struct Metrics {
    pub requests: Histogram,
    pub records: Counter,
    pub decisions: Counter,
    pub repeated: Counter,
}

impl App {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether unproven records can be read at home.
    pub fn pending(&self) -> bool {
        self.acknowledge == Acknowledge::Stored
    }

    /// Limits for parsing what arrives.
    pub fn tape_limits(&self) -> tape::Limits {
        tape::Limits { bytes: self.limits.body_bytes, depth: self.limits.depth, nodes: self.limits.nodes }
    }

    /// A random id in the form of a version 4 UUID (RFC 9562 §5.4).
    pub fn new_id(&self) -> String {
        let mut b: [u8; 16] = self.entropy.bytes();
        if let Some(x) = b.get_mut(6) {
            *x = (*x & 0x0f) | 0x40;
        }
        if let Some(x) = b.get_mut(8) {
            *x = (*x & 0x3f) | 0x80;
        }
        let h = hex::encode(b);
        let part = |from: usize, to: usize| h.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }

    /// What a stored record is bound to.
    pub fn binding<'a>(&'a self, row: &'a StoredRecord) -> Binding<'a> {
        Binding {
            channel: &self.channel,
            custodian: &self.organisation,
            resource_type: &row.resource_type,
            version: row.version,
            class_id: &row.class_id,
            epoch: row.epoch,
            commitment: &row.commitment,
        }
    }

    /// Decrypts a record of our own; gives its key too.
    pub async fn open(&self, row: &StoredRecord) -> Result<(Vec<u8>, RecordKey), ApiError> {
        let class = self.classes.at(&row.class_id, row.epoch).await?;
        let context = self.binding(row).context();
        let key = unwrap_dek(&class.key, &context, &row.wrapped_key).map_err(ApiError::internal)?;
        let content = open_record(&key, &context, &row.ciphertext).map_err(ApiError::internal)?;
        Ok((content.to_vec(), key))
    }
}
