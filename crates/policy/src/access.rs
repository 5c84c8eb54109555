//! From consents to the attribute policy of a class key: which organisations' clinicians may open it.

use crate::consent::{Actor, Consent, Effect, Provision};
use consilium_domain::{OrgId, Timestamp};
use std::collections::BTreeSet;

/// Attribute that every organisation's authority issues to its clinical staff.
pub const CLINICIAN: &str = "clinician";

/// Organisations to which an active consent grants something at `now`. The decision of a single read may still be
/// narrower (type, label, purpose); a class key must not be wider than the organisations named.
pub fn grantees(consents: &[Consent], now: Timestamp) -> BTreeSet<OrgId> {
    let mut out = BTreeSet::new();
    for c in consents.iter().filter(|c| c.active && c.root.period.contains(now)) {
        if c.base == Effect::Permit {
            collect(&c.root, &mut out);
        }
        walk(&c.root, now, &mut out);
    }
    out
}

fn walk(parent: &Provision, now: Timestamp, out: &mut BTreeSet<OrgId>) {
    for p in parent.exceptions.iter().filter(|p| p.period.contains(now)) {
        if p.effect == Some(Effect::Permit) {
            collect(p, out);
        }
        walk(p, now, out);
    }
}

fn collect(p: &Provision, out: &mut BTreeSet<OrgId>) {
    for a in &p.actors {
        if let Actor::Organisation(o) = a {
            out.insert(o.clone());
        }
    }
}

/// The policy text: the custodian's clinicians or those of any grantee.
pub fn class_policy(custodian: &OrgId, grantees: &BTreeSet<OrgId>) -> String {
    let mut policy = format!("{CLINICIAN}@{custodian}");
    for g in grantees.iter().filter(|g| *g != custodian) {
        policy.push_str(&format!(" OR {CLINICIAN}@{g}"));
    }
    policy
}
