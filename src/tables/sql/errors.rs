//! Errors of Polars in plain words.

/// The reason that Polars gives, as one sentence without the code that it suggests.
pub fn plain(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default().trim();
    let between = |start: &str, end: char| -> Option<&str> { error.split_once(start)?.1.split(end).next() };
    if let Some(column) = between("unable to find column \"", '"') {
        if let Some((name, table)) = column.split_once(':') {
            return format!(
                "`{table}.{name}` cannot be used in this place; rename it in a WITH query: with t as (select {table}.{name} as x, …)"
            );
        }
        let known = between("valid columns: [", ']').unwrap_or_default().replace('"', "");
        return format!("unknown column `{column}`; expected one of {known}");
    }
    if let Some(name) = between("keys contained duplicate output name '", '\'') {
        return format!("two GROUP BY columns are called `{name}`; rename one of them in a WITH query");
    }
    if let Some(name) = between("duplicate output name '", '\'') {
        return format!("two columns of the result are called `{name}`; name them, for example min(age) as youngest");
    }
    if let Some(table) = between("no table or struct column named '", '\'') {
        return format!(
            "unknown table `{table}`; a subquery refers to the outer query only by = in the WHERE clause of EXISTS (…)"
        );
    }
    if error.contains("Exists {") {
        return "EXISTS is supported only as a condition of WHERE, joined to others by AND, and its subquery compares with \
                columns of the outer query only by ="
            .into();
    }
    if first.contains("join_where") {
        return "a comparison of columns of different types in a join; write `from a cross join b where …`, or cast one of them"
            .into();
    }
    if first.starts_with("regex") {
        let reason = error.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be parsed");
        return format!("invalid regular expression: {reason}");
    }
    if first.contains("lengths don't match") {
        return "the select items have different numbers of rows".into();
    }
    if first.contains("List type (inner:") {
        return "a condition or an item has several values per group; use an aggregate, or compute it in a WITH query"
            .into();
    }
    if ["Ident {", "Span(", "Some(", "dyn int", "strict=False", ".alias("].iter().any(|code| first.contains(code)) {
        return in_words(first.split(" (lhs:").next().unwrap_or_default())
            .filter(|reason| !reason.contains(" {"))
            .unwrap_or_else(|| "a part of this query is not supported".into());
    }
    if let Some((before, _)) = first.split_once(" for ").filter(|_| first.starts_with("conversion from")) {
        let values = between("values: [", ']').map(|values| format!(": {values}")).unwrap_or_default();
        return format!("{}{values}; use try_cast for null instead", types_in_words(before));
    }
    let first = first.split("Deprecation:").next().unwrap_or_default().trim();
    types_in_words(["not found: ", "duplicate: "].iter().find_map(|kind| first.strip_prefix(kind)).unwrap_or(first))
}

/// The reason where it is a sentence after code is removed.
fn in_words(reason: &str) -> Option<String> {
    let has_code = ["Ident {", "Span(", "Some(", "strict=False", ".alias("].iter().any(|code| reason.contains(code));
    (!has_code).then(|| types_in_words(reason))
}

fn types_in_words(reason: &str) -> String {
    let words = [
        ("`str`", "text"),
        ("dtypes str", "types text"),
        ("dtype text", "type text"),
        ("dtype", "type"),
        ("dyn int", "whole number"),
        ("dyn float", "number"),
        ("`i64`", "whole number"),
        ("`i128`", "whole number"),
        ("`f64`", "number"),
        ("(f64)", ""),
        ("(i64)", ""),
        ("(i128)", ""),
        ("`bool`", "true or false"),
    ];
    let reason = words.iter().fold(reason.to_owned(), |text, (polars, plain)| text.replace(polars, plain));
    reason.trim_end_matches([' ', ';', '.', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_no_code() {
        for (error, expected) in [
            (
                "not found: unable to find column \"nope\"; valid columns: [\"a\", \"b\"]\n\nDid you mean \"a\"?",
                "unknown column `nope`; expected one of a, b",
            ),
            (
                "duplicate: projections contained duplicate output name 'age'. It's possible that multiple expressions are \
                 returning the same default column name. If this is the case, try renaming the columns with \
                 `.alias(\"new_name\")` to avoid duplicate column names.",
                "two columns of the result are called `age`; name them, for example min(age) as youngest",
            ),
            (
                "expression Foo { values: [Value(ValueWithSpan { value: Number(\"1\", false), span: Span(Location(1,15)) })] } \
                 is not currently supported",
                "a part of this query is not supported",
            ),
            (
                "conversion from `str` to `i64` failed in column 'sex' for 11 out of 12 values: [\"F\", \"M\"]\n\nYou might \
                 want to try:\n- setting `strict=False` to set values that cannot be converted to `null`",
                "conversion from text to whole number failed in column 'sex': \"F\", \"M\"; use try_cast for null instead",
            ),
            (
                "regex error: regex parse error:\n    [\n    ^\nerror: unclosed character class",
                "invalid regular expression: unclosed character class",
            ),
            (
                "arithmetic on dtypes str and dyn int is not allowed (lhs: column 'sex', rhs: expression `dyn int: 1`); try an \
                 explicit cast first",
                "arithmetic on types text and whole number is not allowed",
            ),
            ("cannot compare string with numeric type (f64)", "cannot compare string with numeric type"),
            ("unsupported function 'foo'", "unsupported function 'foo'"),
        ] {
            assert_eq!(plain(error), expected);
        }
    }
}
