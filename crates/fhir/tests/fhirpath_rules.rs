//! Rules of FHIRPath, each by an example of the specification or of our own. `=>` separates an
//! expression from its result: `{}` for empty, `!` for an error, items separated by `;`.

#[cfg(test)]
mod rules {
    use consilium_fhir::fhirpath::{CompileOptions, Context, Item, Temporal, Value, compile};
    use consilium_fhir::{Limits, Tape};

    const RECORD: &str = r##"{
        "resourceType": "Bundle", "type": "collection",
        "entry": [
            {"fullUrl": "http://x.org/fhir/Patient/p", "resource": {
                "resourceType": "Patient", "id": "p", "active": true, "birthDate": "1974-12-25",
                "_birthDate": {"extension": [{"url": "http://x.org/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
                "name": [{"given": ["Ann", "B"], "_given": [null, {"id": "g"}]}, {"_family": {"id": "f"}}],
                "multipleBirthInteger": 2, "contained": [{"resourceType": "Organization", "id": "o"}],
                "managingOrganization": {"reference": "#o"}}},
            {"fullUrl": "http://x.org/fhir/Observation/o", "resource": {
                "resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/p"},
                "performer": [{"reference": "Practitioner/9"}, {"type": "Organization", "display": "X"}],
                "valueQuantity": {"value": 1.50, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"}}}
        ]
    }"##;

    pub(super) fn run(expression: &str) -> Result<Vec<String>, String> {
        let tape = Tape::parse(RECORD.as_bytes(), &Limits::default()).expect("valid JSON");
        let program = compile(expression, &CompileOptions::default()).map_err(|e| e.to_string())?;
        let now = Temporal::parse_date_time("2026-02-25T14:31:39.096+11:00").expect("a date-time");
        let context = Context::new(&tape, None).with_now(now);
        let result = program.evaluate(&context).map_err(|e| e.to_string())?;
        let show = |item: &Item<'_>| match item {
            Item::Value(Value::String(text)) => format!("'{text}'"),
            Item::Value(value) => value.to_text().unwrap_or_default().into_owned(),
            Item::Element(_) => item.to_json(&context),
        };
        Ok(result.iter().map(show).collect())
    }

    pub(super) fn check(table: &str) {
        let mut wrong = Vec::new();
        for line in table.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (expression, expected) = line.split_once(" => ").expect("`=>`");
            let got = match run(expression.trim()) {
                Ok(items) if items.is_empty() => "{}".to_owned(),
                Ok(items) => items.join(" ; "),
                Err(_) => "!".to_owned(),
            };
            if got != expected.trim() {
                wrong.push(format!(
                    "`{expression}`: expected {expected}, got {got} {:?}",
                    run(expression).err()
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn text() {
        check(
            r"
            'abcdefg'.indexOf('bc') => 1
            'abcdefg'.indexOf('x') => -1
            'abc abc'.lastIndexOf('a') => 4
            '0123'.lastIndexOf('') => 4
            'a🔥b'.indexOf('b') => 2
            'a\uD83D\uDD25b'.length() => 3
            'abcdefg'.substring(3) => 'defg'
            'abcdefg'.substring(1, 2) => 'bc'
            'abcdefg'.substring(6, 2) => 'g'
            'abcdefg'.substring(7, 1) => {}
            'abcdefg'.substring(-1, 1) => {}
            'abcdefg'.substring(3, 0) => ''
            'abcdefg'.substring(3, -1) => ''
            'abcdefg'.substring(-1, -1) => {}
            'abcdefg'.substring(3, {}) => 'defg'
            'abc'.replace('', 'x') => 'xaxbxcx'
            'abcdefg'.replace('cde', '') => 'abfg'
            'N8000123123'.matches('^N[0-9]{8}$') => false
            'N8000123123'.matches('N[0-9]{8}') => true
            'N8000123123'.matchesFull('N[0-9]{10}') => true
            'first line\nsecond line'.matches('^second', 'm') => true
            'first line\nsecond line'.matches('^second', '') => false
            'first line\nsecond line'.matches('^SECOND', 'im') => true
            'x'.matches('(') => !
            '11/30/1972'.replaceMatches('\\b(?<month>\\d{1,2})/(?<day>\\d{1,2})/(?<year>\\d{2,4})\\b', '${day}-${month}-${year}') => '30-11-1972'
            'ab'.replaceMatches('(a)(b)', '$2$1') => 'ba'
            'abc'.toChars() => 'a' ; 'b' ; 'c'
            'test'.encode('base64') => 'dGVzdA=='
            'dGVzdA=='.decode('base64') => 'test'
            'subjects?_d'.encode('urlbase64') => 'c3ViamVjdHM_X2Q='
            'c3ViamVjdHM_X2Q='.decode('urlbase64') => 'subjects?_d'
            'test'.encode('hex') => '74657374'
            'test'.encode('rot13') => {}
            'A&B'.escape('html') => 'A&amp;B'
            ' 123456 '.trim() => '123456'
            '  '.trim() => ''
            'A,,C'.split(',') => 'A' ; '' ; 'C'
            ('A' | 'B' | 'C').join() => 'ABC'
            ('A' | 'B' | 'C').join(',') => 'A,B,C'
            {}.join(',') => {}
            ('a' | 'b').upper() => !
            1.upper() => !
            'ABC' + {} + 'DEF' => {}
            'ABC' & {} & 'DEF' => 'ABCDEF'
            'a b' ~ 'A\tB' => true
            '\p\\p\3' => 'p\p3'
            ",
        );
    }

    #[test]
    fn math() {
        check(
            r"
            (-5).abs() => 5
            (-5.5 'mg').abs() => 5.5 'mg'
            (-1.1).ceiling() => -1
            (-2.1).floor() => -3
            1.00000001.truncate() => 1
            16.log(2) => 4
            100.0.log(10.0) => 2
            2.power(3) => 8
            2.power(-1) => 0.5
            (-1).power(0.5) => {}
            3.14159.round(3) => 3.142
            (-0.5).round() => -1
            1.5.round(-1) => !
            81.sqrt() => 9
            (-1).sqrt() => {}
            4 / 2 => 2
            2 / 4 => 0.5
            12 / 0 => {}
            0 / 0 => {}
            5 div 2 => 2
            5.5 div 0.7 => 7
            5 mod 0 => {}
            5.5 mod 0.7 => 0.6
            2147483647 + 1 => {}
            -2147483647 - 2 => {}
            2147483647L + 1 => 2147483648
            1 + 'a' => !
            'a' * 2 => !
            -(1 | 2) => !
            -7.combine(3) => !
            (-7).combine(3) => -7 ; 3
            (1.0 | 2.0 | 3.0).sum() => 6.0
            (2 | 4 | 8).min() => 2
            (2 | 4 | 8).max() => 8
            (5.5 | 4.7 | 4.8).avg() => 5
            (3 | 1 | 2).sort($this desc) => 3 ; 2 ; 1
            ('3' | '1' | '10').sort() => '1' ; '10' ; '3'
            (1 | 'a').sort() => !
            ",
        );
    }

    #[test]
    fn quantities() {
        check(
            r"
            1 'cm' = 10.0 'mm' => true
            1 'cm' = 1 's' => {}
            1 'cm' = 1 'm' => false
            23 'Cel' = 73.4 '[degF]' => {}
            23 'Cel' = 23 'Cel' => true
            1 'h' = 3600 's' => true
            1 hour = 3600 's' => true
            1 year = 1 'a' => {}
            1 year ~ 1 'a' => true
            1 month ~ 1 'mo' => true
            1 year = 12 months => true
            1 year = 12 'mo' => {}
            7 days = 1 'wk' => true
            1 second = 1 's' => true
            6 months > 1 year => false
            23 = 23 '1' => true
            2.1 'cm' ~ 21 'mm' => true
            21 'mm' ~ 2 'cm' => true
            4 'g' ~ 4040 'mg' => true
            1 '[in_i]' = 2.54 'cm' => true
            1 'mm[Hg]' < 1 'kPa' => true
            1 'mmol/L' = 1 'mol/m3' => true
            37 'Cel' > 36 'Cel' => true
            12 'cm' * 3 'cm' => 36 'cm2'
            10 'm/s' * 10 's' => 100 'm'
            3 * 2 'cm' => 6 'cm'
            12 day * 45 'm' => {}
            12 'cm2' / 3 'cm' => 4 'cm'
            120 'm' / 60 's' => 2 'm/s'
            60 / 1 's' => 60 '/s'
            60 's' / 2 => 30 's'
            3 'm' + 3 'cm' => 3.03 'm'
            3 'cm' + 3 'm' => 303 'cm'
            3 'cm' - 3 'm' => -297 'cm'
            1 + 2 'cm' => 3 'cm'
            1 'kg' + 1 'cm' => {}
            2 minutes + 60 seconds => 3 minutes
            1 year + 12 months => {}
            3 'd' + 1 'wk' => 10 'd'
            52 'cm'.toQuantity('m') => 0.52 'm'
            45.toQuantity('m') => 45 'm'
            24 'm'.toQuantity('kg') => {}
            1 'a'.toQuantity('d') => 365.25 'd'
            '4 days'.toQuantity() => 4 days
            '10 \'mm[Hg]\''.toQuantity() => 10 'mm[Hg]'
            '10 furlongs'.toQuantity() => {}
            10 'Cel'.convertsToQuantity('[degF]') => false
            1 'mg'.comparable(2 'mg') => true
            1 'm'.comparable(20 'cm') => true
            1.comparable(2) => true
            1 year.comparable(1 'a') => false
            23 'Cel'.comparable(73.4 '[degF]') => false
            4 days.toString() => '4 days'
            1 day.toString() => '1 day'
            ",
        );
    }

    #[test]
    fn dates() {
        check(
            r"
            @2012-01 = @2012 => {}
            @2012-01-01T10:30 = @2012-01-01T10:31 => false
            @2012-01-01T10:30:31.0 = @2012-01-01T10:30:31 => true
            @2012-01-01T10:30:31.1 = @2012-01-01T10:30:31 => false
            @2012-01-01T10:30:31.1 > @2012-01-01T10:30:31 => true
            @2012-01 ~ @2012 => false
            @2017-11-05T01:30:00.0-04:00 < @2017-11-05T01:15:00.0-05:00 => true
            @2018-01-01T16:00:00+11:00 < @2018-01-01T15:00:00.0+10:00 => false
            @2018-01-01T16:00:00+12:00 < @2018-01-01T15:00:00.0+10:00 => true
            @2012-04-15T15:00:00Z < @2012-04-17T10:00:00 => true
            @2012-04-15T15:00:00Z < @2012-04-15T10:00:00 => {}
            @T10 < @T10:30 => {}
            @T10:30:00 <= @T10:30:00.0 => true
            @T10 = @2012 => false
            @T10 < @2012 => !
            @2026-01-31 + 1 month => 2026-02-28
            @2020-02-29 + 1 year => 2021-02-28
            @2019-03-01 - 24 months => 2017-03-01
            @1973-12-25 + 7.9 days => 1974-01-01
            @1973-12-25T00:00:00.000+10:00 + 42.53 seconds => 1973-12-25T00:00:42.530+10:00
            @2026-01-01T13:00:00 + 30 minutes => 2026-01-01T13:30:00
            @2026-01-01T23:59:59Z + 1 's' => 2026-01-02T00:00:00Z
            @T23:30:00 + 1 hour => 00:30:00
            @T00:30:00 - 1 hour => 23:30:00
            @T01:00:00 + 48 hour => 01:00:00
            @T01:00 + 1 day => !
            @2014 + 24 months => 2016
            @2014 + 23 months => 2015
            @2016 + 365 days => 2017
            @2014 - 1 month => 2014
            @2026-02 + 5 weeks => 2026-03
            @2026-02 - 1 day => 2026-02
            @2012 + 1 'mo' => !
            @2012 + 1 'cm' => !
            @9999-12-31 + 1 day => !
            @2015-02-30 => !
            @2015-13 => !
            @T24:00 => !
            @2014.highBoundary(6) => 2014-12
            @2014.lowBoundary() => 2014-01-01
            @2012-02.highBoundary() => 2012-02-29
            @2014-01-01T08:05+08:00.highBoundary(17) => 2014-01-01T08:05:59.999+08:00
            @T10:30.lowBoundary(9) => 10:30:00.000
            @2014.highBoundary(5) => {}
            @2014-01-05T10:30:00.000.precision() => 17
            @T10:30:00.000.precision() => 9
            @2012-01-01T12:30:40.002-07:00.hourOf() => 12
            @2012-01-01T12:30:40.002-07:00.millisecondOf() => 2
            @2012-01-01T12:30:00.000+08:45.timezoneOffsetOf() => 8.75
            @2012-01-01T12:30:00.000-07:00.dateOf() => 2012-01-01
            @2012-01-01T12:30:00.000-07:00.timeOf() => 12:30:00.000
            @2012.monthOf() => {}
            @2025-01-02.duration(@2025-01-07, 'week') => 0
            @2024-12-01.duration(@2025-09-01, 'year') => 0
            @2025-01-02.difference(@2025-01-07, 'week') => 1
            @2024-12-01.difference(@2025-09-01, 'year') => 1
            @2024-01-15T23:30:00-05:00.toDate() => 2024-01-15
            '2015-02-04T14:34:28Z'.toDateTime() => 2015-02-04T14:34:28Z
            '14:34:28'.toTime() => 14:34:28
            today() => 2026-02-25
            timeOfDay() => 14:31:39.096
            now() => 2026-02-25T14:31:39.096+11:00
            ",
        );
    }

    #[test]
    fn boundaries_of_numbers() {
        check(
            r"
            1.587.lowBoundary() => 1.58650000
            1.587.highBoundary(2) => 1.59
            1.587.highBoundary(0) => 2
            (-1.587).lowBoundary(2) => -1.59
            (-1.587).highBoundary() => -1.58650000
            (-1.587).highBoundary(0) => -1
            0.lowBoundary(1) => -0.5
            1.587.lowBoundary(29) => {}
            1.587.lowBoundary(-1) => {}
            'a'.lowBoundary() => !
            {}.lowBoundary() => {}
            ",
        );
    }

    #[test]
    fn logic_and_collections() {
        check(
            r"
            true and {} => {}
            false and {} => false
            {} or true => true
            {} xor true => {}
            {} implies true => true
            {} implies false => {}
            true implies {} => {}
            false implies 1/0 => true
            (1 | 2) and true => !
            'a' and true => true
            {}.not() => {}
            {} = {} => {}
            {} ~ {} => true
            1 ~ {} => false
            (1 | 2) = (2 | 1) => false
            (1 | 2) ~ (2 | 1) => true
            1 = 'a' => false
            1 < 'a' => !
            (1 | 2) < 3 => !
            1 in {} => false
            {} in (1 | 2) => {}
            (1 | 2) in (1 | 2) => !
            {} contains 1 => false
            (1 | 2 | 3 | 4 | 5 | 6).where($index mod 2 = 0) => 1 ; 3 ; 5
            (1 | 2 | 3).all($this > 0) => true
            {}.all(false) => true
            (1 | 2).single() => !
            {}.single() => {}
            (1 | 2)[1] => 2
            (1 | 2)[-1] => {}
            (1 | 2)[5] => {}
            (1 | 2).skip(-1) => 1 ; 2
            (1 | 2).take(-1) => {}
            1.combine(1).combine(2).distinct() => 1 ; 2
            1 'm' | 100 'cm' => 1 'm'
            (1 | 2).subsetOf(1 | 2 | 3) => true
            {}.subsetOf({}) => true
            (1 | 2 | 3).aggregate($total + $this, 0) => 6
            $total => !
            iif(true, 1, 1 + 'a') => 1
            iif({}, 1) => {}
            coalesce({}, 2, 1 + 'a') => 2
            defineVariable('x', 1).select(%x) => 1
            (defineVariable('x', 1).select(%x)) | (defineVariable('x', 2).select(%x)) => 1 ; 2
            defineVariable('x').defineVariable('x') => !
            %nothing => !
            %ucum => 'http://unitsofmeasure.org'
            %`vs-a` => 'http://hl7.org/fhir/ValueSet/a'
            nothing() => !
            count(1) => !
            1.is(Strang.x) => !
            (1).type().name => 'Integer'
            1 is System.Integer => true
            1 'mg' is Quantity => true
            ",
        );
    }

    #[test]
    fn record() {
        check(
            r##"
            Bundle.entry.resource.ofType(Patient).id => "p"
            Bundle.entry.resource.ofType(Patient).name.given => "Ann" ; "B"
            Bundle.entry.resource.name.family.exists() => true
            Bundle.entry.resource.name.family.hasValue() => false
            Bundle.entry.resource.name.given.id => "g"
            Bundle.entry.resource.birthDate.extension('http://x.org/time').value => "1974-12-25T14:35:45-05:00"
            Bundle.entry.resource.birthDate < @1975 => true
            Bundle.entry.resource.ofType(Patient).multipleBirth => 2
            Bundle.entry.resource.ofType(Patient).multipleBirthInteger.exists() => true
            Bundle.entry.resource.value = 1500 'mg' => true
            Bundle.entry.resource.value.value => 1.50
            Bundle.entry.resource.subject.resolve().id => "p"
            Bundle.entry.resource.performer[0].resolve() => {}
            Bundle.entry.resource.performer[0].resolve() is Practitioner => true
            Bundle.entry.resource.performer[1].resolve() is Organization => true
            Bundle.entry.resource.performer.where(resolve() is Organization).display => "X"
            Bundle.descendants().where($this is Organization).id => "o"
            Bundle.entry.first().resource.contained.id => "o"
            Patient.name => {}
            %resource.type => "collection"
            Bundle.entry.fullUrl.select(substring(0, 7)).distinct() => 'http://'
            Bundle.entry[0] = Bundle.entry[0] => true
            Bundle.entry[0] = Bundle.entry[1] => false
            conformsTo('http://x.org/p') => !
            memberOf('http://x.org/v') => !
            "##,
        );
    }

    #[test]
    fn json_keeps_digits_and_types() {
        let tape = Tape::parse(RECORD.as_bytes(), &Limits::default()).expect("valid JSON");
        let context = Context::new(&tape, None);
        let shown = |text: &str| {
            let program = compile(text, &CompileOptions::default()).expect("an expression");
            program.evaluate(&context).expect("a result").to_json(&context)
        };
        assert_eq!(
            shown("1.50 | 'a\"b' | @2015 | true"),
            concat!(
                r#"[{"type":"decimal","value":1.50},{"type":"string","value":"a\"b"},"#,
                r#"{"type":"date","value":"2015"},{"type":"boolean","value":true}]"#,
            )
        );
        assert_eq!(shown("1 'mg'"), r#"[{"type":"Quantity","value":"1 'mg'"}]"#);
        assert_eq!(shown("Bundle.entry[1].resource.value.value"), r#"[{"type":"decimal","value":1.50}]"#);
        assert_eq!(shown("Bundle.entry[0].resource.name.family"), r#"[{"type":"Element","value":null}]"#);
        assert_eq!(shown("{}"), "[]");
    }
}
