//! Questionnaires and what is answered to them
//! (<https://hl7.org/fhir/R4/questionnaire.html>, <https://hl7.org/fhir/R4/questionnaireresponse.html>).

mod answer;
mod condition;
mod design;
mod form;
mod limits;
mod response;
mod value;

pub(crate) use design::check as questionnaire;
pub(crate) use form::Form;
pub(crate) use response::check as response;
