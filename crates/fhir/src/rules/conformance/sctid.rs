//! SNOMED CT identifiers
//! (<https://confluence.ihtsdotools.org/display/DOCRELFMT/6+SNOMED+CT+Identifiers>).

/// The system of SNOMED CT in FHIR.
pub(super) const SYSTEM: &str = "http://snomed.info/sct";

/// 6 to 18 digits without leading zero, the partition of a concept, and a Verhoeff check digit.
pub(super) fn is_concept(text: &str) -> bool {
    let digits = text.as_bytes();
    let partition = digits.len().checked_sub(3).and_then(|at| digits.get(at..at + 2));
    (6..=18).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.first() != Some(&b'0')
        && matches!(partition, Some(b"00" | b"10"))
        && verhoeff(digits)
}

/// Products in the dihedral group of order 10: `d(a, b)`.
fn product(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Verhoeff's check over all digits, the last of which is the check digit: the product is 0.
fn verhoeff(digits: &[u8]) -> bool {
    const FIRST: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut sum = 0;
    for (at, digit) in digits.iter().rev().enumerate() {
        let mut value = digit - b'0';
        for _ in 0..at % 8 {
            value = FIRST.get(usize::from(value)).copied().unwrap_or_default();
        }
        sum = product(sum, value);
    }
    sum == 0
}

#[cfg(test)]
mod tests {
    use super::is_concept;

    #[test]
    fn identifiers_of_concepts_have_their_check_digit() {
        for good in ["22298006", "840535000", "138875005", "900000000000207008", "264358009"] {
            assert!(is_concept(good), "{good}");
        }
        // too short, wrong check digit, a description, letters, leading zero
        for bad in ["1", "22298007", "276885007x", "something", "022298006", "751689013", ""] {
            assert!(!is_concept(bad), "{bad}");
        }
    }
}
