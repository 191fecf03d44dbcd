//! A query as text, checked and made safe for polars.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, ObjectName, Statement, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// Most bytes of a query.
const MOST_BYTES: usize = 64 << 10;
/// Most operations one in another: polars walks over them by recursion.
const DEEPEST: usize = 500;
/// Functions of polars whose values are unsigned: a difference of theirs below 0 would wrap around.
const UNSIGNED: [&str; 12] = [
    "count",
    "length",
    "len",
    "char_length",
    "character_length",
    "octet_length",
    "bit_length",
    "array_length",
    "row_number",
    "rank",
    "dense_rank",
    "strpos",
];

/// A query that may be run.
#[derive(Debug)]
pub struct Query {
    /// Its text for polars.
    pub sql: String,
    /// The tables that it names.
    pub tables: Vec<String>,
}

impl Query {
    /// Reads a query. Values that polars computes without a sign become signed ones of 64 bits.
    ///
    /// # Errors
    /// It is no single query, or too long or deep.
    pub fn parse(text: &str) -> Result<Query, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("the query has {} bytes; at most {MOST_BYTES} are read", text.len()));
        }
        let statements = Parser::parse_sql(&GenericDialect, text).map_err(|e| e.to_string())?;
        let [statement] = <[Statement; 1]>::try_from(statements)
            .map_err(|found| format!("{} statements; expected one query", found.len()))?;
        let Statement::Query(mut query) = statement else {
            return Err("tables are only read; expected a query: select …, or with … select …".into());
        };
        let mut names = Names::default();
        if let ControlFlow::Break(reason) = query.visit(&mut names) {
            return Err(reason);
        }
        // It breaks nowhere.
        let _ = VisitMut::visit(&mut query, &mut Signed);
        Ok(Query { sql: query.to_string(), tables: names.tables })
    }
}

#[derive(Default)]
struct Names {
    tables: Vec<String>,
    depth: usize,
}

impl Visitor for Names {
    type Break = String;

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        match &name.0[..] {
            [part] => self.tables.extend(part.as_ident().map(|ident| ident.value.clone())),
            _ => return ControlFlow::Break(format!("there is no table {name}; a table has a name of one word")),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        match self.depth > DEEPEST {
            true => ControlFlow::Break(format!("more than {DEEPEST} operations one in another")),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

struct Signed;

impl VisitorMut for Signed {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        if UNSIGNED.contains(&name.as_str()) {
            *expr = to_bigint(std::mem::replace(expr, Expr::value(Value::Null)));
        } else if name == "sum" {
            // The sum of true and false is unsigned; that of any other column keeps its type.
            let sum = Box::new(std::mem::replace(expr, Expr::value(Value::Null)));
            let zero = Box::new(to_bigint(Expr::value(Value::Number("0".into(), false))));
            *expr = Expr::Nested(Box::new(Expr::BinaryOp { left: sum, op: BinaryOperator::Plus, right: zero }));
        }
        ControlFlow::Continue(())
    }
}

fn to_bigint(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_and_its_tables() {
        let query = Query::parse("with x as (select * from \"a b\") select count(*) from x join c using (id)").unwrap();
        assert_eq!(query.tables, ["a b", "x", "c"]);
        assert!(query.sql.contains("CAST(count(*) AS BIGINT)"), "{}", query.sql);
        for (text, says) in [
            ("", "0 statements"),
            ("select 1; select 2", "2 statements"),
            ("drop table images", "only read"),
            ("insert into images values (1)", "only read"),
            ("select * from images.foo", "images.foo"),
            ("selec 1", "selec"),
        ] {
            let error = Query::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let long = |terms: usize| format!("select {}", vec!["1"; terms].join("+"));
        assert!(Query::parse(&long(100)).is_ok());
        assert!(Query::parse(&long(DEEPEST + 2)).unwrap_err().contains("one in another"));
        assert!(Query::parse(&long(MOST_BYTES)).unwrap_err().contains("bytes"));
    }
}
