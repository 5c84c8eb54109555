//! The grammar of SNOMED CT's Expression Constraint Language
//! (<https://confluence.ihtsdotools.org/display/DOCECL>), brief syntax, without its filters' inside:
//! whether a text is an expression, not what it selects.

/// Nesting deeper than this is refused.
const MAX_DEPTH: usize = 50;

/// Whether `text` is an expression constraint.
pub(super) fn is_expression(text: &str) -> bool {
    let mut reader = Reader { rest: text, depth: 0 };
    reader.expression() && reader.done()
}

struct Reader<'e> {
    rest: &'e str,
    depth: usize,
}

impl<'e> Reader<'e> {
    /// Blanks and comments.
    fn blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("/*") else { return };
            self.rest = comment.split_once("*/").map_or("", |(_, after)| after);
        }
    }

    fn done(&mut self) -> bool {
        self.blank();
        self.rest.is_empty()
    }

    fn take(&mut self, token: &str) -> bool {
        self.blank();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn sees(&mut self, token: &str) -> bool {
        self.blank();
        self.rest.starts_with(token)
    }

    /// A word of letters, in any case.
    fn word(&mut self, word: &str) -> bool {
        self.blank();
        let Some(head) = self.rest.get(..word.len()) else { return false };
        let after = self.rest.get(word.len()..).unwrap_or_default();
        if head.eq_ignore_ascii_case(word) && !after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            self.rest = after;
            return true;
        }
        false
    }

    fn while_of(&mut self, wanted: impl Fn(char) -> bool) -> &'e str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at(end);
        self.rest = tail;
        head
    }

    /// sub *( (AND | OR | MINUS | ,) sub ) [ : refinement ] *( . attribute )
    fn expression(&mut self) -> bool {
        self.depth += 1;
        let read = self.depth <= MAX_DEPTH && self.compound();
        self.depth -= 1;
        read
    }

    fn compound(&mut self) -> bool {
        if !self.operand() {
            return false;
        }
        while self.word("AND") || self.word("OR") || self.word("MINUS") || self.take(",") {
            if !self.operand() {
                return false;
            }
        }
        true
    }

    /// A sub-expression with its refinement or its dotted attributes.
    fn operand(&mut self) -> bool {
        if !self.sub() {
            return false;
        }
        if self.take(":") {
            return self.refinement();
        }
        while self.sees(".") && !self.sees("..") {
            self.take(".");
            if !self.sub() {
                return false;
            }
        }
        true
    }

    /// [operator] [^] (concept | * | ( expression )) [ {{ filter }} ]
    fn sub(&mut self) -> bool {
        // The longer ones first.
        for operator in ["!!>", "!!<", "<<!", ">>!", "<<", ">>", "<!", ">!", "<", ">"] {
            if self.take(operator) {
                break;
            }
        }
        if self.take("^") && self.sees("[") {
            self.take("[");
            let Some((_, rest)) = self.rest.split_once(']') else { return false };
            self.rest = rest;
        }
        let focus = if self.take("(") {
            self.expression() && self.take(")")
        } else {
            self.take("*") || self.concept()
        };
        focus && self.filters()
    }

    fn filters(&mut self) -> bool {
        while self.take("{{") {
            let Some((_, rest)) = self.rest.split_once("}}") else { return false };
            self.rest = rest;
        }
        true
    }

    /// Digits and, between bars, a term; or a key of another scheme: `LOINC#54486-6`.
    fn concept(&mut self) -> bool {
        self.blank();
        let id = self.while_of(|c| c.is_ascii_digit());
        if id.is_empty() {
            let scheme = self.while_of(|c| c.is_ascii_alphabetic() || c == '-');
            if scheme.is_empty() || !self.rest.starts_with('#') {
                return false;
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
            if self.while_of(|c| c.is_ascii_alphanumeric() || c == '-').is_empty() {
                return false;
            }
        } else if !(6..=18).contains(&id.len()) {
            return false;
        }
        if self.take("|") {
            let Some((_, rest)) = self.rest.split_once('|') else { return false };
            self.rest = rest;
        }
        true
    }

    /// Attributes and groups of them, joined by `,`, AND, OR.
    fn refinement(&mut self) -> bool {
        self.depth += 1;
        let read = self.depth <= MAX_DEPTH && self.attributes();
        self.depth -= 1;
        read
    }

    fn attributes(&mut self) -> bool {
        loop {
            if !(self.cardinality() && self.attribute_or_group()) {
                return false;
            }
            if !(self.take(",") || self.word("AND") || self.word("OR")) {
                return true;
            }
        }
    }

    fn attribute_or_group(&mut self) -> bool {
        if self.sees("{") && !self.sees("{{") {
            self.take("{");
            return self.refinement() && self.take("}");
        }
        if self.sees("(") {
            // Either attributes in brackets or an attribute's name that is an expression.
            let before = self.rest;
            self.take("(");
            if self.refinement() && self.take(")") {
                return true;
            }
            self.rest = before;
        }
        self.attribute()
    }

    /// `[0..*]`
    fn cardinality(&mut self) -> bool {
        if !self.take("[") {
            return true;
        }
        let Some((inside, rest)) = self.rest.split_once(']') else { return false };
        self.rest = rest;
        inside.split_once("..").is_some_and(|(least, most)| {
            let number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            number(least.trim()) && (most.trim() == "*" || number(most.trim()))
        })
    }

    /// [R] name (= | !=) value, or a comparison with a number or text.
    fn attribute(&mut self) -> bool {
        if self.rest.trim_start().starts_with('R') {
            self.take("R");
        }
        if !self.sub() {
            return false;
        }
        let compares = ["!=", "<=", ">=", "=", "<", ">"].iter().any(|op| self.take(op));
        if !compares {
            return false;
        }
        if self.take("#") {
            return !self.while_of(|c| c.is_ascii_digit() || "+-.".contains(c)).is_empty();
        }
        if self.take("\"") {
            let Some((_, rest)) = self.rest.split_once('"') else { return false };
            self.rest = rest;
            return true;
        }
        if self.word("true") || self.word("false") {
            return true;
        }
        self.sub()
    }
}

#[cfg(test)]
mod tests {
    use super::is_expression;

    #[test]
    fn expressions_are_told_from_what_is_none() {
        for good in [
            "404684003 |Clinical finding|",
            "<< 73211009 OR < 64572001 MINUS ^ 700043003",
            "< 19829001 : 116676008 = << 79654002, [1..3] 363698007 = *",
            "< 404684003: { 363698007 = << 39057004, 116676008 = << 415582006 }",
            "(< 19829001 AND < 301867009) . 363698007",
            "< 27658006: 411116001 = < 385268001, R 1142135004 >= #250",
            "< 64572001 {{ term = \"heart\" }}",
            "*",
        ] {
            assert!(is_expression(good), "{good}");
        }
        for bad in ["", "234234 << 234234", "<<", "73211009 AND", "(73211009", "73211009:", "< 12 x", "a"] {
            assert!(!is_expression(bad), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_ends() {
        assert!(!is_expression(&"(".repeat(100_000)));
        assert!(!is_expression(&format!("73211009:{}", "(".repeat(100_000))));
        assert!(!is_expression(&format!("73211009:{}", "((".repeat(40))));
    }
}
