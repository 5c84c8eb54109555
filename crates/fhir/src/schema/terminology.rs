//! Value sets to sorted code lists (<https://hl7.org/fhir/R4/valueset.html#compositions>).

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};

use super::compile::{Build, items, text_of};
use super::model::{Code, Membership, NONE, Run, ValueSet};
use crate::tape::Cursor;

/// Currency codes of ISO 4217 in use, with funds and metals; no package lists them.
const ISO_4217: &str = "\
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN \
BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD \
FKP GBP GEL GGP GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS IMP INR IQD IRR ISK JEP JMD JOD \
JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR \
MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF \
SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SPL SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TVD \
TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VEF VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XDR \
XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG ZWL";

const ISO_4217_SYSTEM: &str = "urn:iso:std:iso:4217";

#[derive(Default)]
struct Include {
    system: String,
    concepts: Option<Vec<String>>,
    filters: Vec<(String, String, String)>,
    value_sets: Vec<String>,
}

#[derive(Default)]
struct SetSource {
    include: Vec<Include>,
    exclude: Vec<Include>,
    expansion: Option<BTreeSet<(String, String)>>,
}

struct Concept {
    code: String,
    /// Index of the concept above in the hierarchy of nesting.
    above: Option<usize>,
    properties: Vec<(String, String)>,
}

struct SystemSource {
    complete: bool,
    concepts: Vec<Concept>,
}

/// Value sets and code systems of all packages.
#[derive(Default)]
pub(super) struct Terms {
    sets: BTreeMap<String, SetSource>,
    systems: BTreeMap<String, SystemSource>,
    rows: BTreeMap<String, u16>,
}

/// What is known of the members of a set.
#[derive(Clone, Default)]
struct Members {
    listed: BTreeSet<(String, String)>,
    /// Systems of which other codes may be members too; empty: any system.
    unknown: BTreeSet<String>,
    /// The set is all that a grammar accepts.
    grammar: Option<Membership>,
}

impl Members {
    fn listed(listed: impl IntoIterator<Item = (String, String)>) -> Members {
        Members { listed: listed.into_iter().collect(), ..Members::default() }
    }

    fn unknown(system: &str) -> Members {
        Members { unknown: BTreeSet::from([system.to_owned()]), ..Members::default() }
    }

    fn grammar(system: &str, grammar: Membership) -> Members {
        Members { grammar: Some(grammar), ..Members::unknown(system) }
    }

    fn is_known(&self) -> bool {
        self.unknown.is_empty()
    }

    fn may_hold(&self, system: &str) -> bool {
        self.unknown.contains("") || self.unknown.contains(system)
    }

    fn intersect(self, other: Members) -> Members {
        let surely = self.listed.intersection(&other.listed).cloned();
        let mut both = Members::listed(surely);
        // What one lists and the other may hold is open, and so is what both may hold.
        for (one, two) in [(&self, &other), (&other, &self)] {
            let open = one.listed.iter().map(|(_, s)| s).chain(&one.unknown);
            both.unknown.extend(open.filter(|s| two.may_hold(s)).cloned());
        }
        both
    }

    fn without(mut self, other: Members) -> Members {
        self.listed.retain(|code| !other.listed.contains(code));
        // A code that the other may hold is open.
        let open: BTreeSet<_> =
            self.listed.iter().filter(|(_, s)| other.may_hold(s)).map(|(_, s)| s.clone()).collect();
        self.listed.retain(|(_, s)| !open.contains(s));
        self.unknown.extend(open);
        self
    }
}

impl Terms {
    pub(super) fn add_value_set(&mut self, set: Cursor<'_, '_>) {
        let mut source = SetSource::default();
        if let Some(compose) = set.get("compose") {
            source.include = items(compose, "include").map(include).collect();
            source.exclude = items(compose, "exclude").map(include).collect();
        }
        if let Some(expansion) = set.get("expansion") {
            let mut codes = BTreeSet::new();
            expanded(expansion, &mut codes);
            source.expansion = Some(codes);
        }
        self.sets.entry(text_of(set, "url")).or_insert(source);
    }

    pub(super) fn add_code_system(&mut self, system: Cursor<'_, '_>) {
        let mut concepts = Vec::new();
        nested(system, None, &mut concepts);
        let complete = text_of(system, "content") == "complete";
        let url = text_of(system, "url");
        self.systems.entry(url).or_insert(SystemSource { complete, concepts });
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.sets.keys().filter(|url| !url.is_empty()).cloned().collect()
    }

    /// `seen` ends imports that go round in a circle.
    fn members(&self, url: &str, seen: &mut Vec<String>) -> Members {
        let Some(source) = self.sets.get(url) else { return Members::unknown("") };
        if seen.iter().any(|s| s == url) {
            return Members::unknown("");
        }
        seen.push(url.to_owned());
        let found = self.composed(source, seen);
        seen.pop();
        match &source.expansion {
            Some(expansion) if !found.is_known() => Members::listed(expansion.iter().cloned()),
            _ => found,
        }
    }

    fn composed(&self, source: &SetSource, seen: &mut Vec<String>) -> Members {
        if source.include.is_empty() {
            return Members::unknown("");
        }
        let mut all = Members::default();
        for part in &source.include {
            let found = self.included(part, seen);
            // A grammar can be decided only if it is the whole of the set.
            if source.include.len() == 1 && source.exclude.is_empty() {
                return found;
            }
            all.listed.extend(found.listed);
            all.unknown.extend(found.unknown);
        }
        for part in &source.exclude {
            all = all.without(self.included(part, seen));
        }
        all
    }

    /// Members of one include: the codes of the system, intersected with every imported set.
    fn included(&self, part: &Include, seen: &mut Vec<String>) -> Members {
        let mut found = if part.system.is_empty() { None } else { Some(self.system_codes(part)) };
        for url in &part.value_sets {
            let imported = self.members(unversioned(url), seen);
            found = Some(match found {
                None => imported,
                Some(found) => found.intersect(imported),
            });
        }
        found.unwrap_or_else(|| Members::unknown(""))
    }

    fn system_codes(&self, part: &Include) -> Members {
        let pair = |code: &str| (code.to_owned(), part.system.clone());
        if let Some(concepts) = &part.concepts {
            return Members::listed(concepts.iter().map(|c| pair(c)));
        }
        if part.filters.is_empty() {
            match part.system.as_str() {
                "urn:ietf:bcp:13" => return Members::grammar(&part.system, Membership::MediaType),
                "http://unitsofmeasure.org" => return Members::grammar(&part.system, Membership::Ucum),
                "urn:ietf:bcp:47" => return Members::grammar(&part.system, Membership::Language),
                ISO_4217_SYSTEM => {
                    return Members::listed(ISO_4217.split(' ').map(pair));
                }
                _ => {}
            }
        }
        let Some(system) = self.systems.get(&part.system).filter(|s| s.complete) else {
            return Members::unknown(&part.system);
        };
        let mut codes = BTreeSet::new();
        for (at, concept) in system.concepts.iter().enumerate() {
            let mut keep = true;
            for (property, op, value) in &part.filters {
                match system.passes(at, property, op, value) {
                    Some(passes) => keep &= passes,
                    None => return Members::unknown(&part.system),
                }
            }
            if keep {
                codes.insert(pair(&concept.code));
            }
        }
        Members::listed(codes)
    }
}

impl SystemSource {
    /// `None` for an operator that is not decided here (`generalizes`).
    fn passes(&self, at: usize, property: &str, op: &str, value: &str) -> Option<bool> {
        let concept = self.concepts.get(at)?;
        if property == "concept" || property == "code" {
            return match op {
                "is-a" => Some(concept.code == value || self.below(at, value)),
                "descendent-of" => Some(self.below(at, value)),
                "is-not-a" => Some(concept.code != value && !self.below(at, value)),
                "=" => Some(concept.code == value),
                "in" => Some(value.split(',').any(|v| v.trim() == concept.code)),
                "not-in" => Some(!value.split(',').any(|v| v.trim() == concept.code)),
                "regex" => Some(whole(value)?.is_match(&concept.code)),
                _ => None,
            };
        }
        let mut values = concept.properties.iter().filter(|(p, _)| p == property).map(|(_, v)| v);
        match op {
            "=" => Some(values.any(|v| v == value)),
            "in" => Some(values.any(|v| value.split(',').any(|w| w.trim() == v))),
            "not-in" => Some(!values.any(|v| value.split(',').any(|w| w.trim() == v))),
            "regex" => {
                let pattern = whole(value)?;
                Some(values.any(|v| pattern.is_match(v)))
            }
            "exists" => Some(values.next().is_some() == (value == "true")),
            _ => None,
        }
    }

    /// Below `ancestor`, by nesting or by `subsumedBy` and `parent` properties.
    fn below(&self, at: usize, ancestor: &str) -> bool {
        let mut open = vec![at];
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            let Some(concept) = self.concepts.get(at) else { continue };
            if !seen.insert(at) {
                continue;
            }
            let by_property = concept
                .properties
                .iter()
                .filter(|(p, _)| p == "subsumedBy" || p == "parent")
                .filter_map(|(_, v)| self.concepts.iter().position(|c| c.code == *v));
            for above in concept.above.into_iter().chain(by_property) {
                if self.concepts.get(above).is_some_and(|c| c.code == ancestor) {
                    return true;
                }
                open.push(above);
            }
        }
        false
    }
}

/// A filter's pattern holds for the whole value.
fn whole(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build().ok()
}

fn include(part: Cursor<'_, '_>) -> Include {
    Include {
        system: text_of(part, "system"),
        concepts: part.get("concept").map(|list| list.children().map(|c| text_of(c, "code")).collect()),
        filters: items(part, "filter")
            .map(|f| (text_of(f, "property"), text_of(f, "op"), text_of(f, "value")))
            .collect(),
        value_sets: items(part, "valueSet").filter_map(|u| u.as_str()).map(|u| u.into_owned()).collect(),
    }
}

fn expanded(node: Cursor<'_, '_>, codes: &mut BTreeSet<(String, String)>) {
    for entry in items(node, "contains") {
        if entry.get("abstract").and_then(Cursor::as_bool) != Some(true) {
            codes.insert((text_of(entry, "code"), text_of(entry, "system")));
        }
        expanded(entry, codes);
    }
}

fn nested(node: Cursor<'_, '_>, above: Option<usize>, concepts: &mut Vec<Concept>) {
    for entry in items(node, "concept") {
        let at = concepts.len();
        let properties = items(entry, "property")
            .map(|p| {
                let value = p
                    .children()
                    .find(|c| c.raw_key().is_some_and(|k| k.starts_with("value")))
                    .map_or_else(String::new, |v| {
                        v.as_str().map_or_else(|| v.token().to_owned(), |s| s.into_owned())
                    });
                (text_of(p, "code"), value)
            })
            .collect();
        concepts.push(Concept { code: text_of(entry, "code"), above, properties });
        nested(entry, Some(at), concepts);
    }
}

fn unversioned(url: &str) -> &str {
    url.split('|').next().unwrap_or(url)
}

/// The value set that the codes of a binding may not leave
/// (<https://hl7.org/fhir/R4/extension-elementdefinition-maxvalueset.html>).
pub(super) fn maximum(binding: Cursor<'_, '_>) -> Option<String> {
    const URL: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet";
    let extension = items(binding, "extension").find(|x| x.get("url").is_some_and(|u| u.str_is(URL)))?;
    let set = extension.get("valueCanonical").or_else(|| extension.get("valueUri"))?;
    set.as_str().map(|url| url.into_owned())
}

/// Row of a bound value set, compiled on first use.
pub(super) fn compile(build: &mut Build, url: &str) -> u16 {
    let url = unversioned(url);
    if let Some(row) = build.terms.rows.get(url) {
        return *row;
    }
    let Members { listed: codes, unknown, grammar } = build.terms.members(url, &mut Vec::new());
    let membership = match grammar {
        Some(grammar) => grammar,
        None if unknown.is_empty() => Membership::Listed,
        None if unknown.contains("") && codes.is_empty() => Membership::Unknown,
        None => Membership::Partial,
    };
    let unknown = build.names(unknown.into_iter().collect());
    let at = build.schema.codes.len();
    for (code, system) in &codes {
        let row = Code { code: build.text(code), system: build.text(system) };
        build.schema.codes.push(row);
    }
    let run = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let set = ValueSet {
        url: build.text(url),
        membership,
        codes: Run { at: run(at), len: run(codes.len()) },
        unknown,
    };
    let row = u16::try_from(build.schema.value_sets.len()).unwrap_or(NONE);
    build.schema.value_sets.push(set);
    build.terms.rows.insert(url.to_owned(), row);
    row
}
