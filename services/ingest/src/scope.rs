//! SMART scopes v2 (hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html): `system/*.cruds`,
//! `user/Patient.rs`, `patient/*.rs`; version 1's `.read`, `.write` and `.*` mean `rs`, `cud` and `cruds`.

/// On whose behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Patient,
    User,
    System,
}

/// What is done to a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    Create,
    Read,
    Update,
    Delete,
    Search,
}

impl Interaction {
    fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }
}

/// One scope that grants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub context: Context,
    /// `None` = all types.
    pub resource_type: Option<String>,
    /// Subset of `cruds`, in that order.
    pub letters: String,
}

impl Scope {
    /// Reads one scope; `None` for anything that grants nothing here (`openid`, `launch/patient`, a scope with a search
    /// constraint, which must not be widened by ignoring it, a misspelt one).
    pub fn parse(text: &str) -> Option<Self> {
        let (context, rest) = text.split_once('/')?;
        let context = match context {
            "patient" => Context::Patient,
            "user" => Context::User,
            "system" => Context::System,
            _ => return None,
        };
        let (resource_type, letters) = rest.split_once('.')?;
        let resource_type = match resource_type {
            "*" => None,
            t if !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphabetic()) => Some(t.to_owned()),
            _ => return None,
        };
        let letters = match letters {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            other => other,
        };
        // "cruds" in this order, each at most once, at least one.
        let mut rest = "cruds".chars();
        let ordered = !letters.is_empty() && letters.chars().all(|l| rest.any(|c| c == l));
        ordered.then(|| Self { context, resource_type, letters: letters.to_owned() })
    }

    /// Whether it covers an interaction on a type.
    pub fn covers(&self, interaction: Interaction, resource_type: &str) -> bool {
        self.resource_type.as_deref().is_none_or(|t| t == resource_type)
            && self.letters.contains(interaction.letter())
    }
}

/// The scopes of a space-separated list that grant something.
pub fn parse_all(text: &str) -> Vec<Scope> {
    text.split(' ').filter_map(Scope::parse).collect()
}

/// Whether every scope of `asked` is within `allowed`.
pub fn within(asked: &str, allowed: &str) -> bool {
    let allowed = parse_all(allowed);
    asked.split(' ').filter(|s| !s.is_empty()).all(|text| {
        Scope::parse(text).is_some_and(|s| {
            s.letters.chars().all(|l| {
                allowed.iter().any(|a| {
                    a.context == s.context
                        && (a.resource_type.is_none() || a.resource_type == s.resource_type)
                        && a.letters.contains(l)
                })
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_grant_exactly_what_they_say() {
        let s = Scope::parse("user/Patient.rs").unwrap();
        assert!(s.covers(Interaction::Read, "Patient") && s.covers(Interaction::Search, "Patient"));
        assert!(!s.covers(Interaction::Create, "Patient") && !s.covers(Interaction::Read, "Observation"));
        assert!(Scope::parse("system/*.cruds").unwrap().covers(Interaction::Update, "Claim"));
        assert_eq!(Scope::parse("patient/*.read").unwrap().letters, "rs");
        for nothing in [
            "openid",
            "launch/patient",
            "user/Patient",
            "user/Patient.",
            "user/Patient.sr",
            "user/Patient.rr",
            "USER/Patient.rs",
            "user/Pat*.rs",
            "user/Observation.rs?category=x",
            "user/Patient.R",
            "",
        ] {
            assert_eq!(Scope::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn narrower_is_within_wider_is_not() {
        assert!(within("system/Patient.rs", "system/*.cruds"));
        assert!(!within("system/*.rs", "system/Patient.cruds"));
        assert!(!within("user/Patient.rs", "system/*.cruds"));
        assert!(!within("system/Patient.cr", "system/Patient.rs"));
        assert!(!within("nonsense", "system/*.cruds"));
    }
}
