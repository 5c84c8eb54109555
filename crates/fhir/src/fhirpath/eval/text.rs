//! String functions. Positions count Unicode scalar values.

use std::borrow::Cow;

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, codec, int};
use crate::fhirpath::functions::Function as F;

fn some<'e>(item: Option<impl Into<Item<'e>>>) -> Collection<'e> {
    item.map_or_else(Collection::new, Collection::one)
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn text_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        if call.function == F::Join {
            return self.join(input, call, env);
        }
        let Some(text) = self.string(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        self.charge(text.len() / 64, call.at)?;
        match call.function {
            F::Upper => return Ok(Collection::one(text.to_uppercase())),
            F::Lower => return Ok(Collection::one(text.to_lowercase())),
            F::Length => return Ok(Collection::one(int(text.chars().count()))),
            F::ToChars => {
                self.charge(text.len(), call.at)?;
                return Ok(text.chars().map(|c| Item::from(c.to_string())).collect());
            }
            F::Trim => {
                let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
                return Ok(Collection::one(trimmed.to_owned()));
            }
            F::Substring => return self.substring(&text, call, env),
            _ => {}
        }
        let Some(argument) = self.string_arg(call, 0, env)? else { return Ok(Collection::new()) };
        let position = |at: Option<usize>| match at {
            Some(at) => int(text.get(..at).unwrap_or_default().chars().count()),
            None => -1,
        };
        Ok(match call.function {
            F::IndexOf => Collection::one(position(text.find(&*argument))),
            F::LastIndexOf => Collection::one(position(text.rfind(&*argument))),
            F::StartsWith => Collection::one(text.starts_with(&*argument)),
            F::EndsWith => Collection::one(text.ends_with(&*argument)),
            F::Contains => Collection::one(text.contains(&*argument)),
            F::Replace => {
                let Some(substitution) = self.string_arg(call, 1, env)? else { return Ok(Collection::new()) };
                let times = match argument.is_empty() {
                    true => text.chars().count() + 1,
                    false => text.matches(&*argument).count(),
                };
                self.check_text(text.len() + times.saturating_mul(substitution.len()), call.at)?;
                Collection::one(text.replace(&*argument, &substitution))
            }
            F::Split => {
                self.charge(text.len(), call.at)?;
                match argument.is_empty() {
                    true => text.chars().map(|c| Item::from(c.to_string())).collect(),
                    false => text.split(&*argument).map(|part| Item::from(part.to_owned())).collect(),
                }
            }
            _ => {
                self.check_text(text.len().saturating_mul(6), call.at)?;
                some(match call.function {
                    F::Encode => codec::encode(&text, &argument),
                    F::Decode => codec::decode(&text, &argument),
                    F::Escape => codec::escape(&text, &argument),
                    _ => codec::unescape(&text, &argument),
                })
            }
        })
    }

    /// Empty if the start lies outside the text.
    fn substring(&self, text: &Cow<'e, str>, call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(start) = self.integer_arg(call, 0, env)? else { return Ok(Collection::new()) };
        let length = match call.args.len() {
            1 => None,
            _ => self.integer_arg(call, 1, env)?,
        };
        let Ok(start) = usize::try_from(start) else { return Ok(Collection::new()) };
        let offset = |n: usize| text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(n);
        let Some(from) = offset(start).filter(|from| *from < text.len()) else {
            return Ok(Collection::new());
        };
        let to = match length {
            Some(length) => {
                let length = usize::try_from(length).unwrap_or(0);
                offset(start.saturating_add(length)).unwrap_or(text.len())
            }
            None => text.len(),
        };
        Ok(match text {
            Cow::Borrowed(text) => Collection::one(text.get(from..to).unwrap_or_default()),
            Cow::Owned(text) => Collection::one(text.get(from..to).unwrap_or_default().to_owned()),
        })
    }

    fn join(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let separator = self.string_arg(call, 0, env)?.unwrap_or_default();
        if input.is_empty() {
            return Ok(Collection::new());
        }
        let mut out = String::new();
        for (i, item) in input.iter().enumerate() {
            let Some(part) = self.string(std::slice::from_ref(item), call.input(), call.at)? else {
                continue;
            };
            self.check_text(out.len() + part.len() + separator.len(), call.at)?;
            if i > 0 {
                out.push_str(&separator);
            }
            out.push_str(&part);
        }
        Ok(Collection::one(out))
    }
}
