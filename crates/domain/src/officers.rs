//! What officers and guardians of a keys service sign and seal: the same bytes in the service and in the command that
//! they run on their own machines.

use crate::canon::Encoder;
use crate::{ChannelId, OrgId};

/// What an officer signs for a motion: channel, organisation, the motion's id, when it expires (milliseconds since
/// 1970) and the action's JSON as the service gave it.
#[must_use]
pub fn motion_bytes(
    channel: &ChannelId,
    organisation: &OrgId,
    id: &str,
    expires_ms: u64,
    action: &str,
) -> Vec<u8> {
    let mut out = Encoder::default();
    out.str("consilium/v1/keys motion").value(channel).value(organisation);
    out.str(id).u64(expires_ms).str(action);
    out.into_bytes()
}

/// What a guardian's share of an authority key is sealed for.
#[must_use]
pub fn share_context(channel: &str, authority: &str, generation: u64, guardian: u8) -> Vec<u8> {
    format!("consilium/v1/guardian share/{channel}/{authority}/{generation}/{guardian}").into_bytes()
}

/// What an exported authority key is sealed for.
#[must_use]
pub fn export_context(channel: &ChannelId, organisation: &OrgId) -> Vec<u8> {
    format!("consilium/v1/authority export/{channel}/{organisation}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_motion_is_signed() {
        let (north, south) = (ChannelId::new("north").unwrap(), ChannelId::new("south").unwrap());
        let (a, b) = (OrgId::new("a").unwrap(), OrgId::new("b").unwrap());
        let all = [
            motion_bytes(&north, &a, "1", 2, "x"),
            motion_bytes(&south, &a, "1", 2, "x"),
            motion_bytes(&north, &b, "1", 2, "x"),
            motion_bytes(&north, &a, "2", 2, "x"),
            motion_bytes(&north, &a, "1", 3, "x"),
            motion_bytes(&north, &a, "1", 2, "y"),
            share_context("north", "a", 1, 2),
            share_context("north", "a", 2, 1),
            share_context("north", "b", 1, 2),
            export_context(&north, &a),
            export_context(&south, &a),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
