//! The functions by name: which exist and how many arguments they take.

/// Declares the functions once: variant, name, least and most arguments.
macro_rules! functions {
    ($($variant:ident $name:literal $least:literal ..= $most:literal,)*) => {
        /// A function of FHIRPath N1, of FHIR R4 (fhirpath.html#functions) or of FHIRPath 3.0 (STU).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant,)* }

        /// Names in the order of declaration, with the number of arguments.
        const TABLE: &[(&str, Function, usize, usize)] = &[$(($name, Function::$variant, $least, $most),)*];
    };
}

functions! {
    // Existence
    Empty "empty" 0..=0,
    Exists "exists" 0..=1,
    All "all" 1..=1,
    AllTrue "allTrue" 0..=0,
    AnyTrue "anyTrue" 0..=0,
    AllFalse "allFalse" 0..=0,
    AnyFalse "anyFalse" 0..=0,
    SubsetOf "subsetOf" 1..=1,
    SupersetOf "supersetOf" 1..=1,
    Count "count" 0..=0,
    Distinct "distinct" 0..=0,
    IsDistinct "isDistinct" 0..=0,
    // Filtering and projection
    Where "where" 1..=1,
    Select "select" 1..=1,
    Repeat "repeat" 1..=1,
    RepeatAll "repeatAll" 1..=1,
    Coalesce "coalesce" 1..=64,
    // Subsetting
    Single "single" 0..=0,
    First "first" 0..=0,
    Last "last" 0..=0,
    Tail "tail" 0..=0,
    Skip "skip" 1..=1,
    Take "take" 1..=1,
    Intersect "intersect" 1..=1,
    Exclude "exclude" 1..=1,
    // Combining
    Union "union" 1..=1,
    Combine "combine" 1..=2,
    // Conversion
    Iif "iif" 2..=3,
    ToBoolean "toBoolean" 0..=0,
    ConvertsToBoolean "convertsToBoolean" 0..=0,
    ToInteger "toInteger" 0..=0,
    ConvertsToInteger "convertsToInteger" 0..=0,
    ToLong "toLong" 0..=0,
    ConvertsToLong "convertsToLong" 0..=0,
    ToDate "toDate" 0..=0,
    ConvertsToDate "convertsToDate" 0..=0,
    ToDateTime "toDateTime" 0..=0,
    ConvertsToDateTime "convertsToDateTime" 0..=0,
    ToTime "toTime" 0..=0,
    ConvertsToTime "convertsToTime" 0..=0,
    ToDecimal "toDecimal" 0..=0,
    ConvertsToDecimal "convertsToDecimal" 0..=0,
    ToQuantity "toQuantity" 0..=1,
    ConvertsToQuantity "convertsToQuantity" 0..=1,
    ToString "toString" 0..=0,
    ConvertsToString "convertsToString" 0..=0,
    // Strings
    IndexOf "indexOf" 1..=1,
    LastIndexOf "lastIndexOf" 1..=1,
    Substring "substring" 1..=2,
    StartsWith "startsWith" 1..=1,
    EndsWith "endsWith" 1..=1,
    Contains "contains" 1..=1,
    Upper "upper" 0..=0,
    Lower "lower" 0..=0,
    Replace "replace" 2..=2,
    Matches "matches" 1..=2,
    MatchesFull "matchesFull" 1..=2,
    ReplaceMatches "replaceMatches" 2..=3,
    Length "length" 0..=0,
    ToChars "toChars" 0..=0,
    Encode "encode" 1..=1,
    Decode "decode" 1..=1,
    Escape "escape" 1..=1,
    Unescape "unescape" 1..=1,
    Trim "trim" 0..=0,
    Split "split" 1..=1,
    Join "join" 0..=1,
    // Math
    Abs "abs" 0..=0,
    Ceiling "ceiling" 0..=0,
    Exp "exp" 0..=0,
    Floor "floor" 0..=0,
    Ln "ln" 0..=0,
    Log "log" 1..=1,
    Power "power" 1..=1,
    Round "round" 0..=1,
    Sqrt "sqrt" 0..=0,
    Truncate "truncate" 0..=0,
    // Tree navigation
    Children "children" 0..=0,
    Descendants "descendants" 0..=0,
    // Utility
    Trace "trace" 1..=2,
    Now "now" 0..=0,
    TimeOfDay "timeOfDay" 0..=0,
    Today "today" 0..=0,
    DefineVariable "defineVariable" 1..=2,
    LowBoundary "lowBoundary" 0..=1,
    HighBoundary "highBoundary" 0..=1,
    Precision "precision" 0..=0,
    Comparable "comparable" 1..=1,
    YearOf "yearOf" 0..=0,
    MonthOf "monthOf" 0..=0,
    DayOf "dayOf" 0..=0,
    HourOf "hourOf" 0..=0,
    MinuteOf "minuteOf" 0..=0,
    SecondOf "secondOf" 0..=0,
    MillisecondOf "millisecondOf" 0..=0,
    TimezoneOffsetOf "timezoneOffsetOf" 0..=0,
    DateOf "dateOf" 0..=0,
    TimeOf "timeOf" 0..=0,
    Duration "duration" 2..=2,
    Difference "difference" 2..=2,
    // Boolean logic and types
    Not "not" 0..=0,
    Type "type" 0..=0,
    // Aggregates
    Aggregate "aggregate" 1..=2,
    Sum "sum" 0..=0,
    Min "min" 0..=0,
    Max "max" 0..=0,
    Avg "avg" 0..=0,
    // FHIR R4
    Extension "extension" 1..=1,
    HasExtension "hasExtension" 1..=1,
    HasValue "hasValue" 0..=0,
    GetValue "getValue" 0..=0,
    Resolve "resolve" 0..=0,
    ConformsTo "conformsTo" 1..=1,
    MemberOf "memberOf" 1..=1,
    Subsumes "subsumes" 1..=1,
    SubsumedBy "subsumedBy" 1..=1,
    ElementDefinition "elementDefinition" 0..=0,
    Slice "slice" 2..=2,
    CheckModifiers "checkModifiers" 0..=64,
    HtmlChecks "htmlChecks" 0..=0,
    GetResourceKey "getResourceKey" 0..=0,
    GetReferenceKey "getReferenceKey" 0..=1,
}

impl Function {
    /// The function of this name and the number of arguments it takes.
    pub(super) fn find(name: &str) -> Option<(Function, usize, usize)> {
        TABLE.iter().find(|row| row.0 == name).map(|row| (row.1, row.2, row.3))
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    /// A function name one edit away, to suggest.
    pub(super) fn near(name: &str) -> Option<&'static str> {
        TABLE.iter().map(|row| row.0).find(|known| near(known, name))
    }

    /// Whether the input must be text.
    pub(super) fn takes_text(self) -> bool {
        use Function as F;
        matches!(
            self,
            F::IndexOf
                | F::LastIndexOf
                | F::Substring
                | F::StartsWith
                | F::EndsWith
                | F::Contains
                | F::Upper
                | F::Lower
                | F::Replace
                | F::Matches
                | F::MatchesFull
                | F::ReplaceMatches
                | F::Length
                | F::ToChars
                | F::Encode
                | F::Decode
                | F::Escape
                | F::Unescape
                | F::Trim
                | F::Split
        )
    }

    /// The System type of the single value that the function yields, where it is always the same.
    pub(super) fn result(self) -> Option<&'static str> {
        use Function as F;
        Some(match self {
            F::Empty
            | F::AllTrue
            | F::AnyTrue
            | F::AllFalse
            | F::AnyFalse
            | F::SubsetOf
            | F::SupersetOf
            | F::IsDistinct
            | F::ToBoolean
            | F::ConvertsToBoolean
            | F::ConvertsToInteger
            | F::ConvertsToLong
            | F::ConvertsToDate
            | F::ConvertsToDateTime
            | F::ConvertsToTime
            | F::ConvertsToDecimal
            | F::ConvertsToQuantity
            | F::ConvertsToString
            | F::StartsWith
            | F::EndsWith
            | F::Contains
            | F::Matches
            | F::MatchesFull
            | F::Comparable
            | F::Not
            | F::HasExtension
            | F::HasValue
            | F::ConformsTo
            | F::HtmlChecks => "Boolean",
            F::Count | F::ToInteger | F::IndexOf | F::LastIndexOf | F::Length | F::Precision => "Integer",
            F::ToDecimal | F::Exp | F::Ln | F::Log | F::Sqrt => "Decimal",
            F::ToString
            | F::Substring
            | F::Upper
            | F::Lower
            | F::Replace
            | F::ReplaceMatches
            | F::Encode
            | F::Decode
            | F::Escape
            | F::Unescape
            | F::Trim
            | F::Join => "String",
            F::ToQuantity => "Quantity",
            F::ToDate | F::Today | F::DateOf => "Date",
            F::ToDateTime | F::Now => "DateTime",
            F::ToTime | F::TimeOfDay | F::TimeOf => "Time",
            _ => return None,
        })
    }

    /// Whether the result depends on the order of the input (FHIRPath N1 `children()`: "the
    /// ordering of the children is undefined").
    pub(super) fn needs_order(self) -> bool {
        matches!(self, Function::First | Function::Last | Function::Tail | Function::Skip | Function::Take)
    }
}

/// Equal but for case, or one character changed, added or missing.
fn near(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    let prefix = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let (ra, rb) =
        (a.as_bytes().get(prefix..).unwrap_or_default(), b.as_bytes().get(prefix..).unwrap_or_default());
    let suffix = ra.iter().rev().zip(rb.iter().rev()).take_while(|(x, y)| x == y).count();
    a.len().abs_diff(b.len()) <= 1 && ra.len().max(rb.len()) - suffix <= 1
}
