//! What an export puts in the place of a value.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::rules::reference::implied_type;

/// Dates are shifted by at most this many days in either direction.
const MOST_DAYS: u64 = 50;
/// 45 CFR 164.514(b)(2)(i)(C): ages over 89 are identifiers, and dates that tell them.
const OLDEST: i64 = 89;

/// Pseudo-random bytes for `parts`, the same for the same key.
pub(super) fn keyed(key: &[u8], purpose: &str, parts: &[&str]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in std::iter::once(purpose).chain(parts.iter().copied()) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

/// A number from 0 to 1, evenly spread.
fn share(bytes: [u8; 32]) -> f64 {
    let high = bytes.first_chunk::<4>().map_or(0, |c| u32::from_be_bytes(*c));
    f64::from(high) / f64::from(u32::MAX)
}

/// 64 hexadecimal digits: fits an id (<https://hl7.org/fhir/R4/datatypes.html#id>).
pub(super) fn pseudonym(key: &[u8], text: &str) -> String {
    hex::encode(keyed(key, "pseudonym", &[text]))
}

/// The same target under its pseudonym, without the server: `Patient/1` becomes `Patient/ab…`. What
/// holds more than type and id (a search, a version) becomes one pseudonym as a whole.
pub(super) fn pseudonymous_reference(key: &[u8], url: &str) -> String {
    if let Some(id) = url.strip_prefix('#') {
        return if id.is_empty() { url.to_owned() } else { format!("#{}", pseudonym(key, id)) };
    }
    for scheme in ["urn:uuid:", "urn:oid:"] {
        if url.starts_with(scheme) {
            // A uuid again, so that the reference keeps its form.
            let h = pseudonym(key, url);
            let part = |from: usize, to: usize| h.get(from..to).unwrap_or_default();
            return format!(
                "urn:uuid:{}-{}-{}-{}-{}",
                part(0, 8),
                part(8, 12),
                part(12, 16),
                part(16, 20),
                part(20, 32)
            );
        }
    }
    match implied_type(url) {
        Some(name) => {
            let id = url.split("/_history/").next().unwrap_or(url).rsplit('/').next().unwrap_or_default();
            format!("{name}/{}", pseudonym(key, id))
        }
        None => format!("urn:pseudonym:{}", pseudonym(key, url)),
    }
}

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

impl Day {
    /// The day at the start of a date or date-time; `None` if it has no month and day.
    pub(super) fn read(text: &str) -> Option<Day> {
        let mut parts = text.get(..10)?.split('-').map(|p| p.parse::<i64>().ok());
        Some(Day { year: parts.next()??, month: parts.next()??, day: parts.next()?? })
    }

    /// Days since 1970-01-01 in the Gregorian calendar.
    fn number(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    fn of_number(number: i64) -> Day {
        let shifted = number + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Day { year: year + era * 400 + i64::from(month <= 2), month, day }
    }
}

/// Whether a date lies so far back that it tells an age over 89.
fn tells_old_age(text: &str, today: Day) -> bool {
    let Some(year) = text.get(..4).and_then(|y| y.parse::<i64>().ok()) else { return true };
    let past = match Day::read(text) {
        Some(day) => (today.month, today.day) >= (day.month, day.day),
        None => true,
    };
    today.year - year - i64::from(!past) > OLDEST
}

/// The year of a date (164.514(b)(2)(i)(C)); `None` if even that says too much, or if the type has
/// no form for a year (an instant).
pub(super) fn year(text: &str, instant: bool, today: Day) -> Option<String> {
    if instant || tells_old_age(text, today) {
        return None;
    }
    text.get(..4).map(str::to_owned)
}

/// A date some days earlier or later, the same number for all dates of a scope; the time of day is
/// midnight. Without a day there is nothing to shift, and the year remains.
///
/// Intervals survive, and so days do: this is no Safe Harbor (164.514(b)(2)(i)(C) asks for the year).
pub(super) fn shift(key: &[u8], scope: &str, text: &str, instant: bool, today: Day) -> Option<String> {
    let Some(day) = Day::read(text) else { return year(text, instant, today) };
    if tells_old_age(text, today) {
        return None;
    }
    let noise = keyed(key, "shift", &[scope]);
    let spread = noise.first_chunk::<8>().map_or(0, |c| u64::from_be_bytes(*c)) % (2 * MOST_DAYS);
    // Never by nothing: -50 to -1 and 1 to 50.
    let days = i64::try_from(spread % MOST_DAYS + 1).ok()?;
    let days = if spread < MOST_DAYS { -days } else { days };
    let Day { year, month, day } = Day::of_number(day.number() + days);
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some((_, time)) = text.split_once('T') else { return Some(date) };
    let zone = time.find(['Z', '+', '-']).and_then(|at| time.get(at..)).unwrap_or("Z");
    Some(format!("{date}T00:00:00{zone}"))
}

/// The first three digits of a postal code, or zeros where few people live (164.514(b)(2)(i)(B)).
pub(super) fn zip3(text: &str, restricted: &[String]) -> String {
    let head: String = text.chars().take(3).collect();
    let few = head.chars().count() < 3 || restricted.contains(&head);
    let hide = |c: char| if c.is_alphanumeric() { '0' } else { c };
    text.chars().enumerate().map(|(at, c)| if at < 3 && !few { c } else { hide(c) }).collect()
}

/// An age of at most 89; `None` if it is older or unreadable.
pub(super) fn young_age(token: &str) -> Option<String> {
    token.parse::<f64>().ok().filter(|age| *age <= 89.0).map(|_| token.to_owned())
}

/// A number moved by noise of at most half the span in either direction, the same for the same key,
/// place and value.
pub(super) fn perturb(
    key: &[u8],
    place: &str,
    token: &str,
    span: f64,
    proportional: bool,
    digits: usize,
) -> Option<String> {
    let value = token.parse::<f64>().ok().filter(|v| v.is_finite())?;
    let width = if proportional { span * value.abs() } else { span };
    let moved = value + (share(keyed(key, "perturb", &[place, token])) - 0.5) * width;
    Some(format!("{moved:.*}", digits.min(15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Day = Day { year: 2024, month: 3, day: 1 };

    #[test]
    fn days_count_through_the_calendar() {
        for number in [-141_428, -1, 0, 59, 11_016, 19_782, 200_000] {
            assert_eq!(Day::of_number(number).number(), number);
        }
        assert_eq!(
            Day { year: 2000, month: 2, day: 29 }.number() + 1,
            Day { year: 2000, month: 3, day: 1 }.number()
        );
        assert_eq!(Day { year: 1970, month: 1, day: 1 }.number(), 0);
    }

    #[test]
    fn intervals_survive_a_shift_and_old_ages_do_not() {
        let shifted = |text: &str| shift(b"k", "p1", text, false, TODAY);
        let (a, b) = (shifted("2020-02-20").unwrap(), shifted("2020-03-02T10:11:12+02:00").unwrap());
        assert_ne!(a, "2020-02-20");
        assert_eq!(Day::read(&b).unwrap().number() - Day::read(&a).unwrap().number(), 11);
        assert!(b.ends_with("T00:00:00+02:00"));
        assert_eq!(shifted("1934-02-01"), None);
        assert_eq!(shifted("2020-03"), Some("2020".to_owned()));
        assert_eq!(year("1935-01-01", false, TODAY), Some("1935".to_owned()));
        assert_eq!(year("1934", false, TODAY), None);
        assert_eq!(year("2020-01-01T00:00:00Z", true, TODAY), None);
    }

    #[test]
    fn postal_codes_keep_three_digits_where_many_live() {
        let few = ["036".to_owned()];
        assert_eq!(zip3("12345-6789", &few), "12300-0000");
        assert_eq!(zip3("03601", &few), "00000");
        assert_eq!(zip3("W1", &few), "00");
    }

    #[test]
    fn references_keep_their_form_and_nothing_else() {
        let new = |url: &str| pseudonymous_reference(b"k", url);
        assert_eq!(new("https://clinic.org/fhir/Patient/jane/_history/2"), new("Patient/jane"));
        assert!(new("Patient/jane").starts_with("Patient/"));
        assert_eq!(new("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a").len(), 45);
        for url in ["Patient/jane", "#jane", "Patient?name=jane", "https://jane.org/x"] {
            assert!(!new(url).contains("jane"), "{url}");
        }
    }
}
