//! A patient's history: encounters with vital signs, laboratory reports, conditions and what follows from them.

use super::{Draft, LAST_DAY, US_CORE, concept, date, moment};
use serde_json::{Value, json};

const SNOMED: &str = "http://snomed.info/sct";
const LOINC: &str = "http://loinc.org";
const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
const UCUM: &str = "http://unitsofmeasure.org";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// SNOMED CT code and name; RxNorm code and name of its usual drug; youngest age; percent of patients.
type Illness = (&'static str, &'static str, &'static str, &'static str, i64, u64);

const ILLNESSES: &[Illness] = &[
    ("59621000", "Essential hypertension", "314076", "lisinopril 10 MG Oral Tablet", 30, 35),
    ("44054006", "Diabetes mellitus type 2", "860975", "metformin hydrochloride 500 MG Oral Tablet", 35, 18),
    ("195967001", "Asthma", "745679", "albuterol 0.09 MG/ACTUAT Inhalant", 4, 12),
    ("55822004", "Hyperlipidemia", "259255", "atorvastatin 20 MG Oral Tablet", 35, 25),
    ("444814009", "Viral sinusitis", "313782", "acetaminophen 325 MG Oral Tablet", 2, 40),
];

const VACCINES: &[(&str, &str)] = &[
    ("140", "Influenza, seasonal, injectable, preservative free"),
    ("113", "Td (adult), 5 Lf tetanus toxoid, preservative free, adsorbed"),
    ("133", "Pneumococcal conjugate PCV 13"),
];

/// A value in tenths of a unit as a JSON number.
fn tenths(value: i64) -> Value {
    json!(value as f64 / 10.0)
}

fn quantity(value_tenths: i64, unit: &str, code: &str) -> Value {
    json!({"value": tenths(value_tenths), "unit": unit, "system": UCUM, "code": code})
}

/// Writes the whole history.
pub fn history(d: &mut Draft, birth: i64) {
    let age_days = LAST_DAY - birth;
    let height = if age_days < 6_570 { 500 + age_days * 12 / 65 } else { d.dice.between(1500, 1980) };
    let visits = d.dice.between(2, 5);
    for visit in 0..visits {
        let day = (LAST_DAY - (visits - visit) * 180 - d.dice.between(0, 90)).max(birth + 1);
        let minute = d.dice.between(480, 1020);
        let encounter = encounter(d, day, minute);
        vitals(d, &encounter, day, minute, height);
        if d.dice.chance(60) {
            laboratory(d, &encounter, day, minute);
        }
        for illness in ILLNESSES {
            if visit == 0 && age_days / 365 >= illness.4 && d.dice.chance(illness.5) {
                condition(d, &encounter, day, illness);
            }
        }
        if d.dice.chance(50) {
            immunization(d, &encounter, day, minute);
        }
        if d.dice.chance(25) {
            procedure(d, &encounter, day, minute);
        }
    }
    if d.dice.chance(30) {
        allergy(d, birth);
    }
}

fn encounter(d: &mut Draft, day: i64, minute: i64) -> String {
    let (patient, practitioner, organisation) =
        (d.patient.clone(), d.practitioner.clone(), d.organisation.clone());
    d.add(json!({
        "resourceType": "Encounter",
        "meta": {"profile": [format!("{US_CORE}/us-core-encounter")]},
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "ambulatory"},
        "type": [concept(SNOMED, "185349003", "Encounter for check up")],
        "subject": {"reference": patient},
        "participant": [{"individual": {"reference": practitioner}}],
        "period": {"start": moment(day, minute), "end": moment(day, minute + 30)},
        "serviceProvider": {"reference": organisation}
    }))
}

fn observation(
    d: &mut Draft,
    encounter: &str,
    category: (&str, &str),
    code: Value,
    when: &str,
    rest: Value,
) -> String {
    let mut o = json!({
        "resourceType": "Observation",
        "status": "final",
        "category": [concept(CATEGORY, category.0, category.1)],
        "code": code,
        "subject": {"reference": d.patient},
        "encounter": {"reference": encounter},
        "effectiveDateTime": when,
        "issued": when.replace('Z', ".000Z")
    });
    if let (Some(o), Value::Object(rest)) = (o.as_object_mut(), rest) {
        o.extend(rest);
    }
    d.add(o)
}

fn vitals(d: &mut Draft, encounter: &str, day: i64, minute: i64, height: i64) {
    let when = moment(day, minute + 5);
    let vital = ("vital-signs", "Vital Signs");
    // Body mass index between 17 and 36 gives the weight; the chart must add up.
    let bmi = d.dice.between(170, 360);
    let weight = bmi * height / 100 * height / 10_000;
    for (code, name, value, unit, ucum) in [
        ("8302-2", "Body Height", height, "cm", "cm"),
        ("29463-7", "Body Weight", weight, "kg", "kg"),
        ("39156-5", "Body Mass Index", weight * 100_000 / (height * height / 10).max(1), "kg/m2", "kg/m2"),
        ("8867-4", "Heart rate", d.dice.between(55, 100) * 10, "/min", "/min"),
        ("8310-5", "Body temperature", d.dice.between(362, 378), "Cel", "Cel"),
    ] {
        let rest = json!({"valueQuantity": quantity(value, unit, ucum)});
        observation(d, encounter, vital, concept(LOINC, code, name), &when, rest);
    }
    let (systolic, diastolic) = (d.dice.between(100, 165), d.dice.between(60, 98));
    let component = |code: &str, name: &str, value: i64| json!({"code": concept(LOINC, code, name), "valueQuantity": quantity(value * 10, "mm[Hg]", "mm[Hg]")});
    let rest = json!({"component": [
        component("8480-6", "Systolic Blood Pressure", systolic),
        component("8462-4", "Diastolic Blood Pressure", diastolic)
    ]});
    observation(d, encounter, vital, concept(LOINC, "85354-9", "Blood pressure panel"), &when, rest);
}

fn laboratory(d: &mut Draft, encounter: &str, day: i64, minute: i64) {
    let when = moment(day, minute + 20);
    let lab = ("laboratory", "Laboratory");
    let mut results = Vec::new();
    for (code, name, low, high, unit) in [
        ("2339-0", "Glucose", 700, 1600, "mg/dL"),
        ("38483-4", "Creatinine", 6, 14, "mg/dL"),
        ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", 48, 85, "%"),
        ("2093-3", "Total Cholesterol", 1400, 2600, "mg/dL"),
    ] {
        let value = d.dice.between(low, high);
        let rest = json!({"valueQuantity": quantity(value, unit, unit)});
        let url = observation(d, encounter, lab, concept(LOINC, code, name), &when, rest);
        results.push(json!({"reference": url}));
    }
    let (patient, organisation) = (d.patient.clone(), d.organisation.clone());
    d.add(json!({
        "resourceType": "DiagnosticReport",
        "meta": {"profile": [format!("{US_CORE}/us-core-diagnosticreport-lab")]},
        "status": "final",
        "category": [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB", "Laboratory")],
        "code": concept(LOINC, "51990-0", "Basic Metabolic Panel"),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "effectiveDateTime": when,
        "issued": when.replace('Z', ".000Z"),
        "performer": [{"reference": organisation}],
        "result": results
    }));
}

fn condition(d: &mut Draft, encounter: &str, day: i64, illness: &Illness) {
    let (patient, practitioner) = (d.patient.clone(), d.practitioner.clone());
    let clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let verification = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
    let condition = d.add(json!({
        "resourceType": "Condition",
        "meta": {"profile": [format!("{US_CORE}/us-core-condition")]},
        "clinicalStatus": {"coding": [{"system": clinical, "code": "active"}]},
        "verificationStatus": {"coding": [{"system": verification, "code": "confirmed"}]},
        "category": [concept("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
        "code": concept(SNOMED, illness.0, illness.1),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "onsetDateTime": date(day),
        "recordedDate": date(day)
    }));
    d.add(json!({
        "resourceType": "MedicationRequest",
        "meta": {"profile": [format!("{US_CORE}/us-core-medicationrequest")]},
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(RXNORM, illness.2, illness.3),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "authoredOn": date(day),
        "requester": {"reference": practitioner},
        "reasonReference": [{"reference": condition}],
        "dosageInstruction": [{
            "sequence": 1,
            "text": "Take once daily.",
            "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": 1}}]
        }]
    }));
}

fn immunization(d: &mut Draft, encounter: &str, day: i64, minute: i64) {
    let (code, name) = d.dice.pick(VACCINES);
    let patient = d.patient.clone();
    d.add(json!({
        "resourceType": "Immunization",
        "meta": {"profile": [format!("{US_CORE}/us-core-immunization")]},
        "status": "completed",
        "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", code, name),
        "patient": {"reference": patient},
        "encounter": {"reference": encounter},
        "occurrenceDateTime": moment(day, minute + 25),
        "primarySource": true
    }));
}

fn procedure(d: &mut Draft, encounter: &str, day: i64, minute: i64) {
    let (code, name) = d.dice.pick(&[
        ("430193006", "Medication Reconciliation"),
        ("76601001", "Intramuscular injection"),
        ("23426006", "Measurement of respiratory function"),
    ]);
    let patient = d.patient.clone();
    d.add(json!({
        "resourceType": "Procedure",
        "meta": {"profile": [format!("{US_CORE}/us-core-procedure")]},
        "status": "completed",
        "code": concept(SNOMED, code, name),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "performedPeriod": {"start": moment(day, minute + 10), "end": moment(day, minute + 20)}
    }));
}

fn allergy(d: &mut Draft, birth: i64) {
    let (code, name) =
        d.dice.pick(&[("762952008", "Peanut"), ("387207008", "Ibuprofen"), ("256259004", "Pollen")]);
    let patient = d.patient.clone();
    let clinical = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
    let verification = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
    d.add(json!({
        "resourceType": "AllergyIntolerance",
        "meta": {"profile": [format!("{US_CORE}/us-core-allergyintolerance")]},
        "clinicalStatus": {"coding": [{"system": clinical, "code": "active"}]},
        "verificationStatus": {"coding": [{"system": verification, "code": "confirmed"}]},
        "type": "allergy",
        "criticality": "low",
        "code": concept(SNOMED, code, name),
        "patient": {"reference": patient},
        "recordedDate": date(birth + 700)
    }));
}
