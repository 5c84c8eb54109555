//! `validate-scale`: bundles of a thousand to a hundred thousand entries.

use std::hint::black_box;

use consilium_fhir::{Limits, Options, Validator};
use consilium_testkit::bench::{Report, Series, Unit};

use crate::{Failure, Patients, ROUNDS};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// One transaction of `size` entries out of the patients' own, over and over. Each copy has uuids of its own, so that
/// references lead to its own entries.
fn bundle(entries: &[Vec<String>], size: usize) -> String {
    let mut out = String::from(r#"{"resourceType":"Bundle","type":"transaction","entry":["#);
    let mut count = 0;
    let mut copy = 0u32;
    while count < size {
        for patient in entries {
            for entry in patient {
                if count == size {
                    break;
                }
                if count > 0 {
                    out.push(',');
                }
                renamed(entry, copy, &mut out);
                count += 1;
            }
            copy += 1;
        }
    }
    out.push_str("]}");
    out
}

/// The entry with the first hexadecimal digits of its uuids replaced by the number of the copy.
fn renamed(entry: &str, copy: u32, out: &mut String) {
    const MARK: &str = "urn:uuid:";
    let mut parts = entry.split(MARK);
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(MARK);
        out.push_str(&format!("{copy:04x}"));
        out.push_str(part.get(4..).unwrap_or_default());
    }
}

pub fn scale(validator: &Validator, patients: &Patients) -> Result<(), Failure> {
    let report = Report::new("validate-scale", Unit::Microseconds);
    let mut entries = Vec::new();
    for bundle in &patients.bundles {
        let bundle: serde_json::Value = serde_json::from_slice(bundle)?;
        let list = bundle.get("entry").and_then(|e| e.as_array()).ok_or("a bundle without entries")?;
        entries.push(list.iter().map(|entry| entry.to_string()).collect());
    }
    // With rules for single entries, so that finding the number of an entry is measured too.
    let entry_profiles = vec![
        ("Patient:0".to_owned(), "http://hl7.org/fhir/StructureDefinition/Patient".to_owned()),
        ("Observation".to_owned(), "http://hl7.org/fhir/StructureDefinition/Observation".to_owned()),
    ];
    let options = Options { entry_profiles, ..Options::default() };
    let limits = Limits { bytes: 1 << 30, ..Limits::default() };
    let mut series: Vec<Series> =
        SIZES.iter().map(|n| Series::new(format!("per entry, of {n} entries"))).collect();
    let mut told = Vec::new();
    for (size, series) in SIZES.iter().zip(&mut series) {
        let text = bundle(&entries, *size);
        let report = validator.validate_bytes(text.as_bytes(), &limits, &options);
        told.push(format!("{size} entries: {} bytes, {} errors", text.len(), report.errors()));
        for _ in 0..ROUNDS {
            series.time(*size as u64, || {
                black_box(validator.validate_bytes(black_box(text.as_bytes()), &limits, &options))
            })?;
        }
    }
    let Some((largest, smaller)) = series.split_last() else { return Ok(()) };
    report
        .condition(
            "measured",
            "CPU time of one thread for one bundle, divided by its entries; R4 definitions",
        )
        .condition(
            "data",
            "entries of the whole-patient Synthea bundles without white space, copied with new uuids",
        )
        .condition("found", told.join("; "))
        .finish(largest, smaller)?;
    Ok(())
}
