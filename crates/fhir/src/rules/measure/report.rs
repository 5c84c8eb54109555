//! A MeasureReport against its Measure.

use std::sync::Arc;

use super::{Concept, Group, Measure};
use crate::fhirpath::Decimal;
use crate::report::{IssueCode, Severity};
use crate::rules::conformance;
use crate::schema::{items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

/// Steps of comparing concepts with each other, whatever the document's size.
const WORK: usize = 10_000_000;

/// One report.
struct Pass<'w, 'v, 't, 'a> {
    walk: &'w mut Walk<'v, 't, 'a>,
    measure: Arc<Measure>,
    /// `individual`, `subject-list`, `summary`, `data-collection`.
    ty: String,
    /// A report that is not complete may still lack its score.
    complete: bool,
    work: usize,
}

/// Checks a MeasureReport whose Measure is contained, in the same bundle or in a package.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(named) = node.get("measure") else { return };
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let Some(canonical) = named.as_str() else { return };
    let inside = match canonical.strip_prefix('#') {
        Some(id) => contained(walk, id),
        None => walk.in_bundle("Measure", &canonical),
    };
    let measure = match inside {
        Some(measure) => Some(walk.measure_at(measure)),
        None => walk.registry.measure(&canonical),
    };
    let Some(measure) = measure else {
        match conformance::kind_of(walk.schema, &canonical) {
            Some(kind) if kind != "Measure" => {
                let text = format!("this url is that of a {kind}; give that of a Measure");
                walk.error(named, IssueCode::Structure, "fhir.canonical.type", text);
            }
            _ => {
                let text = "this measure is neither in the document nor in the packages, so the report is \
                    not checked against it; load it";
                let id = "fhir.measure-report.unresolved";
                walk.note(named, Severity::Warning, IssueCode::NotFound, id, text);
                walk.unevaluated.profiles += 1;
            }
        }
        return;
    };
    let complete = node.get("status").is_some_and(|s| s.str_is("complete"));
    let work = WORK + 100 * walk.tape.len();
    let mut pass = Pass { walk, measure, ty: text_of(node, "type"), complete, work };
    pass.groups(node);
}

fn contained<'t, 'a>(walk: &Walk<'_, 't, 'a>, id: &str) -> Option<Cursor<'t, 'a>> {
    let node = walk.tape.cursor(walk.containers.last()?.find(id)?);
    node.get("resourceType").is_some_and(|t| t.str_is("Measure")).then_some(node)
}

impl<'t, 'a> Pass<'_, '_, 't, 'a> {
    fn error(&mut self, node: Cursor<'t, 'a>, id: &'static str, text: &'static str) {
        self.walk.error(node, IssueCode::BusinessRule, id, text);
    }

    /// Position of the concept among those of the measure.
    fn position<'m>(
        &mut self,
        given: &Concept,
        mut known: impl Iterator<Item = &'m Concept>,
    ) -> Option<usize> {
        let mut steps = 0;
        let found = known.position(|k| {
            steps += 1 + given.codings.len() * k.codings.len();
            k.matches(given)
        });
        self.work = self.work.saturating_sub(steps);
        found
    }

    /// False when comparing has taken too long, which is reported.
    fn may(&mut self, node: Cursor<'t, 'a>) -> bool {
        if self.work == 0 {
            let text = "checking this report against its measure takes too long; split it";
            self.walk.error(node, IssueCode::TooCostly, "fhir.measure-report.too-costly", text);
        }
        self.work > 0
    }

    fn groups(&mut self, node: Cursor<'t, 'a>) {
        let measure = self.measure.clone();
        let given: Vec<_> = items(node, "group").collect();
        if let ([group], [known]) = (given.as_slice(), measure.groups.as_slice()) {
            // The only group needs no code; but two codes agree.
            let code = Concept::of(group.get("code"));
            if group.get("code").is_some() && !known.code.is_empty() && !code.matches(&known.code) {
                let text = "the code of this group is not that of the measure's group; correct it";
                self.error(*group, "fhir.measure-report.group", text);
            }
            self.group(*group, known);
            return;
        }
        let mut reported = vec![false; measure.groups.len()];
        for group in given {
            let code = Concept::of(group.get("code"));
            let at = self.position(&code, measure.groups.iter().map(|g| &g.code));
            if !self.may(group) {
                return;
            }
            let Some((at, known)) = at.and_then(|at| Some((at, measure.groups.get(at)?))) else {
                let text = "a group has a code that is that of a group of the measure; add or correct it";
                self.error(group, "fhir.measure-report.group", text);
                continue;
            };
            if reported.get(at) == Some(&true) {
                let text = "another group has the same code; keep one";
                self.error(group, "fhir.measure-report.group", text);
                continue;
            }
            if let Some(seen) = reported.get_mut(at) {
                *seen = true;
            }
            self.group(group, known);
        }
        if reported.contains(&false) && self.ty != "data-collection" {
            let text = "a group of the measure is missing in this report; add it";
            self.error(node, "fhir.measure-report.group.missing", text);
        }
    }

    fn group(&mut self, node: Cursor<'t, 'a>, group: &Group) {
        self.populations(node, group);
        self.score(node);
        self.stratifiers(node, group);
    }

    fn populations(&mut self, node: Cursor<'t, 'a>, group: &Group) {
        let mut reported = vec![false; group.populations.len()];
        for population in items(node, "population") {
            let code = Concept::of(population.get("code"));
            let at = self.position(&code, group.populations.iter());
            if !self.may(population) {
                return;
            }
            let Some(seen) = at.and_then(|at| reported.get_mut(at)) else {
                let text = "a population has a code that the measure has in this group; add or correct it";
                self.error(population, "fhir.measure-report.population", text);
                continue;
            };
            if std::mem::replace(seen, true) {
                let text = "another population of this group has the same code; keep one";
                self.error(population, "fhir.measure-report.population", text);
            }
            if self.ty != "subject-list" {
                self.no_subjects(population);
            }
        }
        let missing = group.populations.iter().zip(&reported).any(|(population, seen)| {
            // Observations are no population to be counted.
            !seen && !population.is_empty() && !population.has_code("measure-observation")
        });
        if missing && self.ty != "data-collection" {
            let text = "a population of the measure is missing in this group; add it";
            self.error(node, "fhir.measure-report.population.missing", text);
        }
    }

    /// <https://hl7.org/fhir/R4/measurereport-definitions.html#MeasureReport.group.population.subjectResults>
    fn no_subjects(&mut self, population: Cursor<'t, 'a>) {
        if population.get("subjectResults").is_some() {
            let text = "only reports of the type `subject-list` list subjects; remove them";
            self.error(population, "fhir.measure-report.subjects", text);
        }
        if population.get("count").is_none() {
            let text = "a report that lists no subjects counts them; add `count`";
            let id = "fhir.measure-report.count";
            self.walk.note(population, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
    }

    /// <https://hl7.org/fhir/R4/measurereport-definitions.html#MeasureReport.group.measureScore>
    fn score(&mut self, node: Cursor<'t, 'a>) {
        const ID: &str = "fhir.measure-report.score";
        let score = node.get("measureScore");
        let measure = self.measure.clone();
        let scoring = measure.scoring.as_str();
        if self.ty == "data-collection" || scoring == "cohort" {
            if let Some(score) = score {
                self.error(score, ID, "a report of this type or scoring has no score; remove it");
            }
            return;
        }
        if !matches!(scoring, "proportion" | "ratio" | "continuous-variable") {
            return;
        }
        let Some(score) = score else {
            if self.complete {
                self.error(node, ID, "the scoring of the measure asks for a score; add `measureScore`");
            }
            return;
        };
        // A score that is no number is given by an extension, as profiles of reports define.
        let value = score.get("value");
        if value.is_none() && score.get("extension").is_none() {
            self.error(score, ID, "a score has a value; add it");
        }
        if scoring == "proportion" {
            for key in ["unit", "system", "code"] {
                if let Some(unit) = score.get(key) {
                    self.error(unit, ID, "a proportion has no unit; remove it");
                }
            }
            if let Some(value) = value
                && let Some(number) = value.number().and_then(Decimal::parse)
                && (number.is_negative() || number > Decimal::ONE)
            {
                self.error(value, ID, "a proportion is a number from 0 to 1; correct it");
            }
            return;
        }
        if let Some((system, code)) = &measure.unit
            && (text_of(score, "system") != *system || text_of(score, "code") != *code)
        {
            self.error(score, ID, "the score has not the unit that the measure demands; correct it");
        }
    }

    fn stratifiers(&mut self, node: Cursor<'t, 'a>, group: &Group) {
        let given: Vec<_> = items(node, "stratifier").collect();
        let mut reported = vec![false; group.stratifiers.len()];
        let single = given.len() == 1 && group.stratifiers.len() == 1;
        for stratifier in given {
            let codes: Vec<_> = items(stratifier, "code").map(|c| Concept::of(Some(c))).collect();
            if single && codes.iter().all(Concept::is_empty) {
                reported.fill(true);
                continue;
            }
            let mut at = None;
            for code in &codes {
                at = at.or_else(|| self.position(code, group.stratifiers.iter()));
            }
            if !self.may(stratifier) {
                return;
            }
            let Some(seen) = at.and_then(|at| reported.get_mut(at)) else {
                let text = "a stratifier has a code that the measure has in this group; add or correct it";
                self.error(stratifier, "fhir.measure-report.stratifier", text);
                continue;
            };
            if std::mem::replace(seen, true) {
                let text = "another stratifier of this group has the same code; keep one";
                self.error(stratifier, "fhir.measure-report.stratifier", text);
            }
        }
        // Strata are reported as far as there are any; a stratifier that is left out is no fault.
    }
}
