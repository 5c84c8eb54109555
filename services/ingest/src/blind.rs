//! Keyed hashes in place of what would identify a person on disk: record handles, patient compartments, search
//! values, key classes. HMAC-SHA-256 under the organisation's index key (a blind index); equal inputs give equal
//! hashes, which is what search needs and all that the disk shows.

use consilium_domain::Encoder;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The organisation's index key.
pub struct Blind(Hmac<Sha256>);

/// Bytes of a search value's hash: enough to be unique, half the index.
const SHORT: usize = 16;

impl Blind {
    /// Takes the 32-byte key. HMAC accepts any length, so `None` never happens in practice.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    fn hash(&self, purpose: &str, parts: &[&str]) -> Vec<u8> {
        let mut input = Encoder::default();
        input.str(purpose);
        for part in parts {
            input.str(part);
        }
        let mut mac = self.0.clone();
        mac.update(&input.into_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// Handle of a record.
    pub fn record(&self, resource_type: &str, id: &str) -> Vec<u8> {
        self.hash("record", &[resource_type, id])
    }

    /// Handle of a patient's compartment.
    pub fn patient(&self, id: &str) -> Vec<u8> {
        self.hash("patient", &[id])
    }

    /// A searchable value, already in the form in which it is compared.
    pub fn value(&self, resource_type: &str, parameter: &str, value: &str) -> Vec<u8> {
        let mut hash = self.hash("value", &[resource_type, parameter, value]);
        hash.truncate(SHORT);
        hash
    }

    /// Key class of a patient's records of one sensitivity; `None` = records of no patient.
    pub fn class(&self, patient: Option<&str>, sensitivity: &str) -> Vec<u8> {
        match patient {
            Some(id) => self.hash("class", &["patient", id, sensitivity]),
            None => self.hash("class", &["none", sensitivity]),
        }
    }

    /// Claim of a conditional create.
    pub fn claim(&self, resource_type: &str, condition: &str) -> Vec<u8> {
        self.hash("claim", &[resource_type, condition])
    }

    /// A single-use value (assertion id, nonce) within its name space.
    pub fn once(&self, space: &str, owner: &str, value: &str) -> Vec<u8> {
        self.hash("once", &[space, owner, value])
    }

    /// Tag under a page link, so that nobody but us makes one.
    pub fn page_tag(&self, link: &str) -> Vec<u8> {
        let mut hash = self.hash("page", &[link]);
        hash.truncate(SHORT);
        hash
    }

    /// A key for sealing what waits in this service's own store.
    pub fn spool_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.iter_mut().zip(self.hash("spool key", &[])).for_each(|(to, from)| *to = from);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_and_purposes_do_not_meet() {
        let b = Blind::new(&[7; 32]).unwrap();
        assert_eq!(b.record("Patient", "1"), b.record("Patient", "1"));
        assert_ne!(b.record("Patient", "1"), b.record("Patien", "t1"));
        assert_ne!(b.value("Patient", "identifier", "a|b"), b.value("Patient", "identifier", "|ab"));
        assert_ne!(b.patient("1"), b.claim("1", ""));
        assert_ne!(b.class(None, "N"), b.class(Some("none"), "N"));
        assert_ne!(Blind::new(&[8; 32]).unwrap().patient("1"), b.patient("1"));
    }
}
