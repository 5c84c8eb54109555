//! A bounded memory of F(attribute), the costliest public part of a row.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::attribute::{Attribute, Term};
use crate::curve::G2;
use crate::hash;

/// Most attributes remembered for one authority; about half a megabyte.
const LIMIT: usize = 1024;

/// F of the attributes of one authority in one channel. Attributes are public, so what is found
/// here and how fast tells nothing secret.
#[derive(Default)]
pub(crate) struct Points(Mutex<BTreeMap<Attribute, G2>>);

impl Points {
    /// F(attribute), hashed once.
    pub(crate) fn of(&self, channel: &str, term: &Term) -> G2 {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(point) = lock().get(&term.attribute) {
            return point.clone();
        }
        let point = hash::attribute_point(channel, term);
        let mut points = lock();
        if points.len() >= LIMIT {
            points.pop_first();
        }
        points.insert(term.attribute.clone(), point.clone());
        point
    }
}
