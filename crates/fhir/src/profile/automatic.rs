//! Profiles that apply without being claimed: those an ImplementationGuide declares for all resources
//! of a type (<https://hl7.org/fhir/R4/implementationguide-definitions.html#ImplementationGuide.global>),
//! and the vital signs profiles
//! (<https://hl7.org/fhir/R4/observation-vitalsigns.html#vitals-table>).

use super::Profiles;
use crate::schema::{Schema, TypeId};
use crate::tape::Cursor;
use crate::validate::VitalSigns;

/// Found once per schema.
#[derive(Debug, Default)]
pub(crate) struct Automatic {
    /// Types and profiles, sorted.
    global: Vec<(TypeId, usize)>,
    observation: Option<TypeId>,
    /// Rows of [`PROFILES`]; `None` if no package defines it.
    vital: Vec<Option<usize>>,
}

const BASE: &str = "http://hl7.org/fhir/StructureDefinition/";
const LOINC: &str = "http://loinc.org";
const SNOMED_CT: &str = "http://snomed.info/sct";

/// A vital signs profile with the LOINC code that it fixes, and codes of LOINC and SNOMED CT that
/// mean the same or something narrower.
struct Vital {
    name: &'static str,
    fixed: &'static str,
    loinc: &'static [&'static str],
    snomed: &'static [&'static str],
}

/// Codes in byte order. The related codes are those by which the HL7 validator recognises a vital
/// sign.
const PROFILES: &[Vital] = &[
    Vital { name: "vitalspanel", fixed: "85353-1", loinc: &[], snomed: &["46680005"] },
    Vital {
        name: "resprate",
        fixed: "9279-1",
        loinc: &["19840-8", "33438-3", "76170-0", "76172-6"],
        snomed: &["271306003", "271625008", "86290005"],
    },
    Vital {
        name: "heartrate",
        fixed: "8867-4",
        loinc: &[
            "11328-2", "40443-4", "55425-3", "60978-4", "68999-2", "69000-8", "73795-7", "73799-9",
            "76476-1", "76477-9", "8886-4", "8889-8", "8890-6", "8891-4", "8892-2", "8893-0",
        ],
        snomed: &["249043002", "251670001", "399017001", "429525003", "429614003", "444981005"],
    },
    Vital {
        name: "oxygensat",
        fixed: "2708-6",
        loinc: &[
            "19224-5", "20564-1", "2709-4", "2710-2", "2713-6", "51733-4", "59408-5", "59417-6", "89276-0",
            "97549-0",
        ],
        snomed: &["431314004", "442476006"],
    },
    Vital {
        name: "bodytemp",
        fixed: "8310-5",
        loinc: &[
            "60834-9", "60835-6", "60836-4", "60838-0", "60955-2", "61009-7", "75539-7", "75987-8",
            "76010-8", "76011-6", "76278-1", "8309-7", "8328-7", "8329-5", "8330-3", "8331-1", "8332-9",
            "8333-7", "8334-5", "91371-5", "98657-0", "98663-8",
        ],
        snomed: &[
            "1222808002",
            "276885007",
            "300076005",
            "307047009",
            "364246006",
            "386725007",
            "415882003",
            "415929009",
            "415945006",
            "415974002",
            "431598003",
            "698831002",
            "698832009",
            "708499008",
        ],
    },
    Vital {
        name: "bodyheight",
        fixed: "8302-2",
        loinc: &["3137-7", "3138-5", "8306-3", "8308-9"],
        snomed: &[
            "1153637007",
            "1162392001",
            "1162417005",
            "1162418000",
            "1162419008",
            "1230278008",
            "50373000",
        ],
    },
    Vital {
        name: "headcircum",
        fixed: "9843-4",
        loinc: &["8287-5"],
        snomed: &["1269262007", "169876006", "363811000", "363812007"],
    },
    Vital {
        name: "bodyweight",
        fixed: "29463-7",
        loinc: &["3141-9", "3142-7", "75292-3", "79348-9", "8350-1", "8351-9"],
        snomed: &["1162415002", "1162416001", "424927000", "425024002", "735395000", "784399000"],
    },
    Vital { name: "bmi", fixed: "39156-5", loinc: &["89270-3"], snomed: &["60621009"] },
    Vital {
        name: "bp",
        fixed: "85354-9",
        loinc: &["35094-2", "55284-4", "76534-7", "8459-0", "8480-6"],
        snomed: &[
            "163033001",
            "163035008",
            "251076008",
            "271649006",
            "271650006",
            "386534000",
            "386536003",
            "399304008",
            "407554009",
            "407556006",
            "716579001",
        ],
    },
];

impl Automatic {
    pub(super) fn new(schema: &Schema, profiles: &Profiles) -> Automatic {
        let mut global: Vec<(TypeId, usize)> = schema
            .globals()
            .filter_map(|(ty, url)| Some((schema.type_named(ty)?, profiles.find(url)?)))
            .collect();
        global.sort_unstable();
        global.dedup();
        let vital = PROFILES.iter().map(|v| profiles.find(&format!("{BASE}{}", v.name))).collect();
        Automatic { global, observation: schema.type_named("Observation"), vital }
    }

    /// Profiles of all resources of a type.
    pub(super) fn of_type(&self, ty: TypeId) -> impl Iterator<Item = usize> {
        self.global.iter().filter(move |(t, _)| *t == ty).map(|(_, profile)| *profile)
    }

    /// The vital signs profile of an Observation that is one.
    pub(super) fn vital_sign(&self, node: Cursor<'_, '_>, ty: TypeId, policy: VitalSigns) -> Option<usize> {
        if policy == VitalSigns::Claimed || Some(ty) != self.observation {
            return None;
        }
        let codings = node.get("code")?.get("coding")?;
        let at = codings.children().find_map(|coding| {
            let (system, code) = (coding.get("system")?, coding.get("code")?.as_str()?);
            let related = policy == VitalSigns::Related;
            let listed = |codes: &[&str]| related && codes.binary_search(&&*code).is_ok();
            if system.str_is(LOINC) {
                PROFILES.iter().position(|v| v.fixed == code || listed(v.loinc))
            } else if related && system.str_is(SNOMED_CT) {
                PROFILES.iter().position(|v| listed(v.snomed))
            } else {
                None
            }
        })?;
        self.vital.get(at).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::PROFILES;

    #[test]
    fn codes_are_sorted_for_the_search() {
        for vital in PROFILES {
            assert!(vital.loinc.is_sorted(), "{}", vital.name);
            assert!(vital.snomed.is_sorted(), "{}", vital.name);
        }
    }
}
