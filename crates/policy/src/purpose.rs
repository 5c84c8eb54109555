//! HL7 v3 PurposeOfUse (code system `http://terminology.hl7.org/CodeSystem/v3-ActReason`) and its hierarchy.

/// System of the codes.
pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// Code and parent; a root names itself.
const CODES: &[(&str, &str)] = &[
    ("TREAT", "TREAT"),
    ("CLINTRL", "TREAT"),
    ("COC", "TREAT"),
    ("ETREAT", "TREAT"),
    ("BTG", "ETREAT"),
    ("ERTREAT", "ETREAT"),
    ("POPHLTH", "TREAT"),
    ("HMARKT", "HMARKT"),
    ("HOPERAT", "HOPERAT"),
    ("CAREMGT", "HOPERAT"),
    ("DONAT", "HOPERAT"),
    ("FRAUD", "HOPERAT"),
    ("GOV", "HOPERAT"),
    ("HACCRED", "HOPERAT"),
    ("HCOMPL", "HOPERAT"),
    ("HDECD", "HOPERAT"),
    ("HDIRECT", "HOPERAT"),
    ("HDM", "HOPERAT"),
    ("HLEGAL", "HOPERAT"),
    ("HOUTCOMS", "HOPERAT"),
    ("HPRGRP", "HOPERAT"),
    ("HQUALIMP", "HOPERAT"),
    ("HSYSADMIN", "HOPERAT"),
    ("LABELING", "HOPERAT"),
    ("METAMGT", "HOPERAT"),
    ("MEMADMIN", "HOPERAT"),
    ("MILCDM", "HOPERAT"),
    ("PATADMIN", "HOPERAT"),
    ("PATSFTY", "HOPERAT"),
    ("PERFMSR", "HOPERAT"),
    ("RECORDMGT", "HOPERAT"),
    ("SYSDEV", "HOPERAT"),
    ("HTEST", "HOPERAT"),
    ("TRAIN", "HOPERAT"),
    ("HPAYMT", "HPAYMT"),
    ("CLMATTCH", "HPAYMT"),
    ("COVAUTH", "HPAYMT"),
    ("COVERAGE", "HPAYMT"),
    ("ELIGDTRM", "COVERAGE"),
    ("ELIGVER", "COVERAGE"),
    ("ENROLLM", "COVERAGE"),
    ("REMITADV", "HPAYMT"),
    ("HRESCH", "HRESCH"),
    ("BIORCH", "HRESCH"),
    ("CLINTRCH", "HRESCH"),
    ("CLINTRCHNPC", "CLINTRCH"),
    ("CLINTRCHPC", "CLINTRCH"),
    ("PRECLINTRCH", "CLINTRCH"),
    ("DSRCH", "HRESCH"),
    ("POARCH", "HRESCH"),
    ("TRANSRCH", "HRESCH"),
    ("PATRQT", "PATRQT"),
    ("FAMRQT", "PATRQT"),
    ("PWATRNY", "PATRQT"),
    ("SUPNWK", "PATRQT"),
    ("PUBHLTH", "PUBHLTH"),
    ("DISASTER", "PUBHLTH"),
    ("THREAT", "PUBHLTH"),
];

fn parent(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(c, _)| *c == code).map(|(_, p)| *p)
}

/// Whether this is a PurposeOfUse code.
pub fn is_known(code: &str) -> bool {
    parent(code).is_some()
}

/// Whether `code` is `ancestor` or below it.
pub fn is_a(code: &str, ancestor: &str) -> bool {
    let mut at = code;
    while let Some(up) = parent(at) {
        if at == ancestor {
            return true;
        }
        if up == at {
            return false;
        }
        at = up;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_followed_upwards_only() {
        assert!(is_a("BTG", "TREAT") && is_a("TREAT", "TREAT") && is_a("CLINTRCHPC", "HRESCH"));
        assert!(!is_a("TREAT", "BTG") && !is_a("HRESCH", "TREAT") && !is_a("nonsense", "nonsense"));
        assert!(CODES.iter().all(|(_, p)| is_known(p)));
    }
}
