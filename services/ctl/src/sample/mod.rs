//! Coherent synthetic patients: one R4 transaction bundle each, in the shapes of US Core, the same for the same seed.
//!
//! Names, places and values are invented; distributions are plausible, not epidemiology. Dates count back from a
//! fixed day so that two machines agree on every byte.

mod clinical;
mod words;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use words::{CITIES, FAMILY, FEMALE, MALE, STREETS};

/// System of the medical record numbers made here.
pub const MRN_SYSTEM: &str = "urn:consilium:sample:mrn";
/// System of the practitioner numbers made here (National Provider Identifier).
pub const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";
/// The day on which every history ends: days since 1970-01-01 of 2026-06-30.
const LAST_DAY: i64 = 20_634;
const US_CORE: &str = "http://hl7.org/fhir/us/core/StructureDefinition";

/// Draws from a seeded generator.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// One stream per (seed, patient): patients do not depend on how many are made.
    fn new(seed: u64, patient: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(patient);
        Self(rng)
    }
    /// 0 ≤ result < n; the bias of the remainder does not matter here.
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high.saturating_sub(low).saturating_add(1)).unwrap_or(1);
        low.saturating_add(i64::try_from(self.below(span)).unwrap_or(0))
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let i = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        items.get(i).copied().unwrap_or_default()
    }
    /// A version 4 UUID (RFC 9562).
    fn uuid(&mut self) -> String {
        let (a, b) = (self.0.next_u64(), self.0.next_u64());
        let a = (a & !0xf000) | 0x4000;
        let b = (b & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }
}

/// FHIR date of a day count since 1970-01-01.
fn date(day: i64) -> String {
    let day = u64::try_from(day.max(0)).unwrap_or(0);
    consilium_domain::Timestamp(day * 86_400_000).to_date()
}

fn moment(day: i64, minute: i64) -> String {
    format!("{}T{:02}:{:02}:00Z", date(day), minute / 60 % 24, minute % 60)
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}], "text": display})
}

/// A transaction bundle under construction.
struct Draft {
    dice: Dice,
    entries: Vec<Value>,
    patient: String,
    practitioner: String,
    organisation: String,
}

impl Draft {
    /// Adds a resource with a fresh `urn:uuid` and returns the reference to it.
    fn add(&mut self, resource: Value) -> String {
        let url = format!("urn:uuid:{}", self.dice.uuid());
        self.put(&url, resource, None);
        url
    }
    fn put(&mut self, url: &str, resource: Value, if_none_exist: Option<String>) {
        let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut request = json!({"method": "POST", "url": kind});
        if let (Some(query), Some(map)) = (if_none_exist, request.as_object_mut()) {
            map.insert("ifNoneExist".into(), query.into());
        }
        self.entries.push(json!({"fullUrl": url, "resource": resource, "request": request}));
    }
}

/// The bundle of patient number `index`.
pub fn bundle(seed: u64, index: u64) -> Value {
    let mut dice = Dice::new(seed, index);
    let urls: [String; 3] = std::array::from_fn(|_| format!("urn:uuid:{}", dice.uuid()));
    let [patient, practitioner, organisation] = urls;
    let mut draft = Draft { dice, entries: Vec::new(), patient, practitioner, organisation };
    let birth = people(&mut draft, seed, index);
    clinical::history(&mut draft, birth);
    json!({"resourceType": "Bundle", "type": "transaction", "entry": draft.entries})
}

/// Organisation, practitioner and patient; returns the day of birth.
fn people(d: &mut Draft, seed: u64, index: u64) -> i64 {
    // A dozen clinics and forty practitioners serve all patients of a seed: most bundles find theirs already there.
    let clinic = d.dice.below(12);
    let (city, state, zip) = d.dice.pick(CITIES);
    let organisation_url = d.organisation.clone();
    let clinic_name = format!("{} Street Clinic", d.dice.pick(STREETS));
    d.put(
        &organisation_url,
        json!({
            "resourceType": "Organization",
            "meta": {"profile": [format!("{US_CORE}/us-core-organization")]},
            "identifier": [{"system": "urn:consilium:sample:clinic", "value": format!("{seed}-{clinic}")}],
            "active": true,
            "type": [concept("http://terminology.hl7.org/CodeSystem/organization-type", "prov", "Healthcare Provider")],
            "name": clinic_name,
            "telecom": [{"system": "phone", "value": format!("555-01{:02}", clinic)}],
            "address": [{"line": ["1 Clinic Square"], "city": city, "state": state, "postalCode": zip, "country": "US"}]
        }),
        Some(format!("identifier=urn:consilium:sample:clinic|{seed}-{clinic}")),
    );
    let doctor = d.dice.below(40);
    let npi = npi((seed % 1_000_000) * 100 + doctor);
    let practitioner_url = d.practitioner.clone();
    let (doctor_family, doctor_given) = (d.dice.pick(FAMILY), d.dice.pick(FEMALE));
    d.put(
        &practitioner_url,
        json!({
            "resourceType": "Practitioner",
            "meta": {"profile": [format!("{US_CORE}/us-core-practitioner")]},
            "identifier": [{"system": NPI_SYSTEM, "value": npi}],
            "active": true,
            "name": [{"family": doctor_family, "given": [doctor_given], "prefix": ["Dr."]}]
        }),
        Some(format!("identifier={NPI_SYSTEM}|{npi}")),
    );
    let female = d.dice.chance(51);
    let given = d.dice.pick(if female { FEMALE } else { MALE });
    let family = d.dice.pick(FAMILY);
    let birth = LAST_DAY - d.dice.between(365, 34_000);
    let (city, state, zip) = d.dice.pick(CITIES);
    let house = d.dice.between(1, 999);
    let street = d.dice.pick(STREETS);
    let phone = format!("555-{:03}-{:04}", d.dice.between(200, 999), d.dice.between(0, 9999));
    let mrn = format!("S{seed}-{index:06}");
    let race =
        d.dice.pick(&[("2106-3", "White"), ("2054-5", "Black or African American"), ("2028-9", "Asian")]);
    let married =
        d.dice.pick(&[("M", "Married"), ("S", "Never Married"), ("D", "Divorced"), ("W", "Widowed")]);
    let (patient_url, organisation) = (d.patient.clone(), d.organisation.clone());
    d.put(
        &patient_url,
        json!({
            "resourceType": "Patient",
            "meta": {"profile": [format!("{US_CORE}/us-core-patient")]},
            "extension": [{
                "url": format!("{US_CORE}/us-core-race"),
                "extension": [
                    {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": race.0, "display": race.1}},
                    {"url": "text", "valueString": race.1}
                ]
            }, {"url": format!("{US_CORE}/us-core-birthsex"), "valueCode": if female { "F" } else { "M" }}],
            "identifier": [{
                "use": "usual",
                "type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical record number"),
                "system": MRN_SYSTEM,
                "value": mrn
            }],
            "active": true,
            "name": [{"use": "official", "family": family, "given": [given]}],
            "telecom": [{"system": "phone", "value": phone, "use": "home"}],
            "gender": if female { "female" } else { "male" },
            "birthDate": date(birth),
            "address": [{
                "use": "home",
                "line": [format!("{house} {street} Street")],
                "city": city, "state": state, "postalCode": zip, "country": "US"
            }],
            "maritalStatus": concept("http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", married.0, married.1),
            "communication": [{"language": concept("urn:ietf:bcp:47", "en-US", "English (United States)")}],
            "managingOrganization": {"reference": organisation}
        }),
        Some(format!("identifier={MRN_SYSTEM}|{mrn}")),
    );
    birth
}

/// A National Provider Identifier: nine digits and the Luhn check digit over `80840` and these (45 CFR 162.406).
fn npi(number: u64) -> String {
    let nine = format!("9{:08}", number % 100_000_000);
    // Doubled digits, from the right: 24 is what the constant prefix 80840 adds.
    let sum: u32 = nine
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b.saturating_sub(b'0'));
            if i % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    format!("{nine}{}", (10 - (sum + 24) % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_patient_and_another_seed_another() {
        assert_eq!(bundle(7, 3), bundle(7, 3));
        assert_ne!(bundle(7, 3), bundle(8, 3));
        assert_ne!(bundle(7, 3), bundle(7, 4));
    }

    #[test]
    fn provider_numbers_have_the_check_digit_of_the_standard() {
        // The example of the CMS check digit document: 123456789 takes 3.
        let checked = |nine: &str| {
            let all = format!("80840{nine}");
            (0..10u32).find(|check| {
                let digits = format!("{all}{check}");
                let luhn: u32 = digits
                    .bytes()
                    .rev()
                    .enumerate()
                    .map(|(i, b)| u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 })
                    .map(|d| d / 10 + d % 10)
                    .sum();
                luhn.is_multiple_of(10)
            })
        };
        assert_eq!(checked("123456789"), Some(3));
        for n in [0, 7, 139, 99_999_999] {
            let npi = npi(n);
            assert_eq!(npi.len(), 10);
            assert_eq!(checked(&npi[..9]).unwrap().to_string(), npi[9..], "{npi}");
        }
    }

    #[test]
    fn every_reference_in_a_bundle_leads_to_an_entry_of_it() {
        for i in 0..20 {
            let b = bundle(1, i);
            let entries = b["entry"].as_array().unwrap();
            let urls: Vec<&str> = entries.iter().map(|e| e["fullUrl"].as_str().unwrap()).collect();
            let text = b.to_string();
            for (at, _) in text.match_indices("\"reference\":\"") {
                let rest = &text[at + 13..];
                let target = &rest[..rest.find('"').unwrap()];
                assert!(urls.contains(&target), "{target}");
            }
            assert!(entries.len() >= 12, "patient {i} has only {} resources", entries.len());
        }
    }
}
