//! What the exchange says is sealed to the other organisation's ingest service: a hub that carries a question learns
//! neither the patient's identifier in it nor who asks.

use crate::app::App;
use crate::error::ApiError;
use consilium_abe::transit::seal_to;
use consilium_domain::canon::Encoder;
use consilium_domain::message::Sealed;
use consilium_domain::{ChannelId, Digest, OrgId};

/// Binds a payload to its message: nobody can move it into another.
fn context(channel: &ChannelId, sender: &OrgId, recipient: &OrgId, subject: &str, nonce: &Digest) -> Vec<u8> {
    let mut out = Encoder::default();
    out.value(channel).value(sender).value(recipient).str(subject).value(nonce);
    out.into_bytes()
}

impl App {
    /// Seals the payload of a message to `recipient`.
    pub fn seal_payload(
        &self,
        recipient: &OrgId,
        subject: &str,
        nonce: &Digest,
        content: &[u8],
    ) -> Result<Vec<u8>, ApiError> {
        let members = self.members.get();
        let member = members.iter().find(|m| m.organisation == *recipient);
        let member = member.ok_or_else(|| ApiError::internal("the recipient is no member"))?;
        let context = context(&self.channel, &self.organisation, recipient, subject, nonce);
        seal_to(&member.ingest.0, &context, content, &mut self.entropy.rng()).map_err(ApiError::internal)
    }

    /// Opens the payload of a message to us whose signature has been verified.
    pub fn open_payload(&self, sealed: &Sealed) -> Result<Vec<u8>, ApiError> {
        let context =
            context(&self.channel, &sealed.sender, &sealed.recipient, &sealed.subject, &sealed.nonce);
        self.transit
            .open(&context, &sealed.payload)
            .map(|content| content.to_vec())
            .map_err(|_| ApiError::bad_request("the payload is not sealed to this organisation's ingest key"))
    }
}
