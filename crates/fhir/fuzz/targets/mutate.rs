//! Mutations that keep a document JSON: bytes changed at random seldom come past the parser.

use serde_json::{Map, Value, json};

/// Keys that turn up anywhere; those of the document itself come on top.
const KEYS: &str = "resourceType id meta extension modifierExtension contained text url _birthDate _status \
    valueString valueQuantity valueCodeableConcept valueReference valueDateTime valueAttachment \
    reference identifier system code coding display value unit entry resource fullUrl request \
    response item linkId answer enableWhen questionnaire measure group population profile element \
    differential snapshot path type slicing discriminator constraint expression binding valueSet \
    compose include filter concept property div status period start end component parameter part \
    data contentType subject section link relation";

/// Values that rules look for.
const TEXTS: &[&str] = &[
    "",
    " ",
    "x",
    "#x",
    "#",
    "urn:uuid:c0ffee00-0000-4000-8000-000000000001",
    "urn:oid:1.2.3",
    "Patient/1",
    "Patient/1/_history/2",
    "Patient?identifier=a|b",
    "http://a.example/fhir/Patient/1",
    "http://a.example/Q|1",
    "http://a.example/Q",
    "2024",
    "2024-02",
    "2024-02-30",
    "2024-02-29T23:59:60Z",
    "2024-01-01T00:00:00.123456789+14:00",
    "24:00:00",
    "10:00:00",
    "Bundle",
    "Patient",
    "Observation",
    "Questionnaire",
    "QuestionnaireResponse",
    "Measure",
    "MeasureReport",
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "ConceptMap",
    "SearchParameter",
    "Parameters",
    "OperationOutcome",
    "Composition",
    "MessageHeader",
    "Library",
    "Binary",
    "Provenance",
    "transaction",
    "document",
    "message",
    "searchset",
    "batch-response",
    "final",
    "active",
    "completed",
    "in-progress",
    "group",
    "choice",
    "open-choice",
    "string",
    "quantity",
    "http://loinc.org",
    "85354-9",
    "http://unitsofmeasure.org",
    "mm[Hg]",
    "http://snomed.info/sct",
    "22298006",
    "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
    "UNK",
    "male",
    "urn:ietf:bcp:13",
    "text/plain",
    "de-CH",
    "http://hl7.org/fhir/StructureDefinition/bp",
    "http://hl7.org/fhir/StructureDefinition/vitalsigns",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-blood-pressure",
    "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "http://hl7.org/fhir/StructureDefinition/regex",
    "http://hl7.org/fhir/StructureDefinition/Patient",
    "http://hl7.org/fhir/ValueSet/administrative-gender",
    "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p id=\"a\"><a href=\"#a\">b</a><table><tr><td>c</td></tr></table></p></div>",
    "<div xmlns=\"http://www.w3.org/1999/xhtml\">&amp;&#x;&lt;script",
    "(a+)+$",
    "^(a|b|ab)*c$",
    "[\\u0000-\\uFFFF]{1000}",
    "Patient.name.where(given.exists() and family = 'x').given.first() | Patient.contact.name.given",
    "descendants().where(resolve() is Patient).count() > 1",
    "iif(a, b, repeat(item).linkId)",
    "%resource.id = $this.id",
    "<< 22298006 |Myocardial infarction| : 116676008 = << 79654002",
    "AAEC",
    "====",
    "\u{0}",
    "\u{fffd}",
    "a\u{301}\u{1f600}",
];

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "1.00",
    "1e400",
    "1e-400",
    "9223372036854775807",
    "2147483648",
    "0.1",
    "-0.0e0",
    "123456789012345678901234567890.123456789012345678901234567890",
    "1E+2",
];

/// A small generator: libFuzzer gives the seed, so a run can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    fn of<'p>(&mut self, pool: &[&'p str]) -> &'p str {
        pool[self.roll(pool.len())]
    }
}

/// Changes one to three places of a JSON document; `None` where it is none.
pub fn mutate(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(text).ok()?;
    let mut dice = Dice(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..=dice.roll(3) {
        let total = count(&document);
        let donor = nth(&mut document, &mut dice.roll(total))?.clone();
        let donor = if donor.to_string().len() > 600 { json!({"id": "d"}) } else { donor };
        let keys: Vec<String> = match &document {
            Value::Object(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let place = nth(&mut document, &mut dice.roll(total))?;
        change(place, donor, &keys, &mut dice);
    }
    serde_json::to_vec(&document).ok()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0usize,
    }
}

fn nth<'v>(value: &'v mut Value, at: &mut usize) -> Option<&'v mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|v| nth(v, at)),
        Value::Object(map) => map.iter_mut().find_map(|(_, v)| nth(v, at)),
        _ => None,
    }
}

fn fresh(dice: &mut Dice) -> Value {
    match dice.roll(9) {
        0 => Value::Null,
        1 => Value::Bool(dice.roll(2) == 0),
        2 | 3 => serde_json::from_str(dice.of(NUMBERS)).unwrap_or(Value::Null),
        4 => {
            json!([dice.of(TEXTS), null, {"extension": [{"url": dice.of(TEXTS), "valueCode": dice.of(TEXTS)}]}])
        }
        5 => {
            json!({"resourceType": dice.of(TEXTS), "id": dice.of(TEXTS), "url": dice.of(TEXTS), "status": "active"})
        }
        6 => json!({"reference": dice.of(TEXTS)}),
        _ => Value::String(dice.of(TEXTS).to_owned()),
    }
}

fn key(keys: &[String], dice: &mut Dice) -> String {
    if !keys.is_empty() && dice.roll(3) == 0 {
        keys[dice.roll(keys.len())].clone()
    } else {
        dice.of(&KEYS.split(' ').collect::<Vec<_>>()).to_owned()
    }
}

fn change(place: &mut Value, donor: Value, keys: &[String], dice: &mut Dice) {
    match place {
        Value::Object(map) => match dice.roll(6) {
            0 => remove(map, dice),
            1 => drop(map.insert(key(keys, dice), donor)),
            2 => {
                if let Some(name) = any_key(map, dice) {
                    let value = map.remove(&name).unwrap_or_default();
                    let name = if dice.roll(2) == 0 { format!("_{name}") } else { key(keys, dice) };
                    map.insert(name, value);
                }
            }
            3 => *place = Value::Array(vec![place.take()]),
            4 => *place = donor,
            _ => drop(map.insert(key(keys, dice), fresh(dice))),
        },
        Value::Array(items) => match dice.roll(6) {
            0 if !items.is_empty() => drop(items.remove(dice.roll(items.len()))),
            1 if !items.is_empty() => {
                let again = items[dice.roll(items.len())].clone();
                let times = 1 + dice.roll(8);
                items.extend(std::iter::repeat_n(again, times));
            }
            2 if items.len() > 1 => {
                let (a, b) = (dice.roll(items.len()), dice.roll(items.len()));
                items.swap(a, b);
            }
            3 => items.push(donor),
            4 if !items.is_empty() => *place = items.swap_remove(0),
            _ => items.push(fresh(dice)),
        },
        Value::String(text) => match dice.roll(6) {
            0 => text.push_str(dice.of(TEXTS)),
            1 => {
                let keep = dice.roll(text.chars().count() + 1);
                *text = text.chars().take(keep).collect();
            }
            2 => *place = donor,
            3 => *text = text.chars().rev().collect(),
            _ => *place = fresh(dice),
        },
        _ => *place = if dice.roll(3) == 0 { donor } else { fresh(dice) },
    }
}

fn any_key(map: &Map<String, Value>, dice: &mut Dice) -> Option<String> {
    map.keys().nth(dice.roll(map.len())).cloned()
}

fn remove(map: &mut Map<String, Value>, dice: &mut Dice) {
    if let Some(name) = any_key(map, dice) {
        map.remove(&name);
    }
}
