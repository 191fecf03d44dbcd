//! A query as text, checked and rewritten so that Polars computes what SQL defines.
//!
//! Polars accepts some queries and computes something else than SQL does. Each of them is either rewritten, where that is
//! exact, or refused with the reason and a query that works.

mod errors;
mod expression;
mod functions;
mod grouping;
mod joins;
mod names;
mod windows;

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, NamedWindowDefinition, NamedWindowExpr, ObjectName, Query as SqlQuery, Select,
    SelectItem, SetExpr, Statement, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut, WindowType,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

pub use errors::plain;
use expression::{column_name, without_parentheses};

/// Largest size of a query in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Largest depth of nested operations: Polars visits them by recursion.
const MAX_DEPTH: usize = 500;

/// A query that was parsed.
#[derive(Debug)]
pub struct Query {
    query: SqlQuery,
    /// The tables that it names, without those that it defines by WITH.
    pub tables: Vec<String>,
    /// Texts that columns are compared with by `=` or `IN`. Columns that the query defines itself are left out.
    pub comparisons: Vec<TextComparison>,
    /// Columns of its WITH queries and of subqueries in FROM.
    derived_columns: HashSet<String>,
    /// Whether it has outer joins or set operations: then a column can be null that has no null in its table.
    adds_nulls: bool,
}

/// The columns of the tables that a query names.
#[derive(Debug, Default)]
pub struct TableColumns {
    /// All of them.
    pub names: HashSet<String>,
    /// Those that have no null in any of the tables.
    pub complete: HashSet<String>,
}

/// `column = 'text'`.
#[derive(Debug, PartialEq, Eq)]
pub struct TextComparison {
    pub column: String,
    pub text: String,
}

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    /// The text is not exactly one query, is too long or too deeply nested, or uses a part of SQL that Polars does not have.
    pub fn parse(text: &str) -> Result<Query, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("the query has {} bytes; expected at most {MAX_BYTES}", text.len()));
        }
        let statements = Parser::parse_sql(&GenericDialect, text).map_err(|e| e.to_string())?;
        let [statement] = <[Statement; 1]>::try_from(statements)
            .map_err(|found| format!("{} statements; expected one query", found.len()))?;
        let Statement::Query(mut query) = statement else {
            return Err("tables are only read; expected a query: select …, or with … select …. \
                        `carpus query TABLES` without a query lists the tables and their columns"
                .into());
        };
        let mut names = Names::default();
        if let ControlFlow::Break(reason) = query.visit(&mut names) {
            return Err(reason);
        }
        functions::lower_case_names(&mut query);
        functions::refuse_unsupported(&query)?;
        names.tables.retain(|table| !names.with.contains(table));
        names.comparisons.retain(|comparison| !names.aliases.contains(&comparison.column));
        let Names { tables, comparisons, derived_columns, adds_nulls, .. } = names;
        Ok(Query { query: *query, tables, comparisons, derived_columns, adds_nulls })
    }

    /// The query for Polars.
    ///
    /// # Errors
    /// Polars would compute something else than SQL defines; the message says how to write the query instead.
    pub fn for_polars(mut self, columns: TableColumns) -> Result<String, String> {
        let TableColumns { names: mut columns, mut complete } = columns;
        complete.retain(|name| !self.adds_nulls && !self.derived_columns.contains(name));
        columns.extend(self.derived_columns);
        match VisitMut::visit(&mut self.query, &mut Rules { columns: &columns, complete: &complete }) {
            ControlFlow::Break(reason) => return Err(reason),
            ControlFlow::Continue(()) => functions::rewrite(&mut self.query),
        }
        Ok(self.query.to_string())
    }
}

/// Collects names and literals, and limits the depth.
#[derive(Default)]
struct Names {
    tables: Vec<String>,
    /// Names of WITH queries.
    with: HashSet<String>,
    aliases: HashSet<String>,
    derived_columns: HashSet<String>,
    comparisons: Vec<TextComparison>,
    adds_nulls: bool,
    depth: usize,
}

impl Visitor for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<String> {
        self.adds_nulls |= matches!(&*query.body, SetExpr::SetOperation { .. });
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.with.insert(table.alias.name.value.clone());
            self.derived_columns.extend(table.alias.columns.iter().map(|column| column.name.value.clone()));
            self.derived_columns.extend(result_columns(&table.query.body));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        if let TableFactor::Derived { subquery, .. } = table {
            self.derived_columns.extend(result_columns(&subquery.body));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        self.adds_nulls |= select.from.iter().flat_map(|table| &table.joins).any(joins::is_outer);
        self.aliases.extend(select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        }));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        match &name.0[..] {
            [part] => self.tables.extend(part.as_ident().map(|ident| ident.value.clone())),
            _ => return ControlFlow::Break(format!("unknown table {name}; a table has a name of one word")),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return ControlFlow::Break(format!("more than {MAX_DEPTH} nested operations"));
        }
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                self.comparisons.extend(comparison(left, right).or_else(|| comparison(right, left)));
            }
            Expr::InList { expr, list, .. } => {
                self.comparisons.extend(list.iter().filter_map(|value| comparison(expr, value)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn comparison(column: &Expr, value: &Expr) -> Option<TextComparison> {
    let Expr::Value(value) = without_parentheses(value) else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    Some(TextComparison { column: column_name(column)?.to_owned(), text: text.clone() })
}

/// Names of the columns of a query where they are written in it.
fn result_columns(body: &SetExpr) -> Vec<String> {
    match body {
        SetExpr::Select(select) => select.projection.iter().filter_map(names::of_item).collect(),
        SetExpr::Query(query) => result_columns(&query.body),
        SetExpr::SetOperation { left, .. } => result_columns(left),
        _ => Vec::new(),
    }
}

/// Applies the rules of each select, innermost queries first.
struct Rules<'a> {
    columns: &'a HashSet<String>,
    /// Columns without nulls.
    complete: &'a HashSet<String>,
}

impl VisitorMut for Rules<'_> {
    type Break = String;

    fn post_visit_query(&mut self, query: &mut SqlQuery) -> ControlFlow<String> {
        let order = query.order_by.as_mut();
        let result = match &mut *query.body {
            SetExpr::Select(select) => grouping::check_order(select, order),
            _ => grouping::check_order_of_set(order),
        };
        let result = result.and_then(|()| selects(&mut query.body, &mut |select| self.select(select)));
        result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) = expr else {
            return ControlFlow::Continue(());
        };
        windows::order_nulls(window, self.complete).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = window
                && let Err(reason) = windows::order_nulls(window, self.complete)
            {
                return ControlFlow::Break(reason);
            }
        }
        ControlFlow::Continue(())
    }
}

impl Rules<'_> {
    fn select(&self, select: &mut Select) -> Result<(), String> {
        joins::check(&select.from)?;
        windows::check(select)?;
        names::make_unique(select, self.columns);
        grouping::check(select, self.columns)
    }
}

/// The selects of a query that set operations (UNION, …) join. Queries in parentheses are visited on their own.
fn selects(body: &mut SetExpr, apply: &mut impl FnMut(&mut Select) -> Result<(), String>) -> Result<(), String> {
    match body {
        SetExpr::Select(select) => apply(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left, apply)?;
            selects(right, apply)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Result<String, String> {
        let columns = ["sex", "age", "side", "label", "area_px", "n_images", "subset", "image_id"];
        let names = columns.map(str::to_owned).into();
        Query::parse(text)?.for_polars(TableColumns { names, complete: HashSet::from(["n_images".to_owned()]) })
    }

    #[test]
    fn one_query_and_its_tables() {
        let text = "with x as (select * from \"a b\") select count(*) from x join c using (id)";
        assert_eq!(Query::parse(text).unwrap().tables, ["a b", "c"]);
        assert!(sql(text).unwrap().contains("CAST(count(*) AS HUGEINT)"));
        for (text, expected) in [
            ("", "0 statements"),
            ("select 1; select 2", "2 statements"),
            ("drop table images", "only read"),
            ("show tables", "without a query lists the tables"),
            ("insert into images values (1)", "only read"),
            ("select * from images.foo", "images.foo"),
            ("selec 1", "selec"),
        ] {
            let error = Query::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let long = |terms: usize| format!("select {}", vec!["1"; terms].join("+"));
        assert!(Query::parse(&long(100)).is_ok());
        assert!(Query::parse(&long(MAX_DEPTH + 2)).unwrap_err().contains("nested operations"));
        assert!(Query::parse(&long(MAX_BYTES)).unwrap_err().contains("bytes"));
    }

    #[test]
    fn compared_texts_are_collected() {
        let query = Query::parse("select 1 from t where t.sex = 'f' and 'L' = side and label in ('a', 'b') and x = 1");
        let found: Vec<String> =
            query.unwrap().comparisons.iter().map(|c| format!("{}={}", c.column, c.text)).collect();
        assert_eq!(found, ["sex=f", "side=L", "label=a", "label=b"]);
        let own = "with x as (select upper(sex) as sex from t) select * from x where sex = 'FEMALE'";
        assert_eq!(Query::parse(own).unwrap().comparisons, []);
    }

    /// Queries that Polars would answer wrongly, or refuse in words that do not help.
    #[test]
    fn queries_are_refused_with_advice() {
        for (text, expected) in [
            // Windows run inside each group.
            ("select sex, count(*)*100.0/sum(count(*)) over () from p group by sex", "WITH query"),
            ("select rank() over w from p group by sex window w as (order by count(*))", "WITH query"),
            ("select count(*), rank() over (order by age) from p", "window function next to an aggregate"),
            // Columns next to an aggregate.
            ("select label, count(*) from bones", "`label` is neither"),
            ("select *, count(*) from bones", "`*` next to an aggregate"),
            ("select age, count(*) from p group by sex", "`age` is neither"),
            ("select age - count(*) from p group by sex", "`age` is neither"),
            ("select max(count(*)) from p group by sex", "inside another"),
            ("select sex from p where age > avg(age)", "aggregate in WHERE"),
            ("select sex from p where rank() over (order by age) = 1", "window function in WHERE"),
            // Joins.
            ("select 1 from a left join b on a.x = b.x and b.n > 1", "LEFT JOIN"),
            ("select 1 from a left join b on a.x = b.x and b.n > 1", "(select … where …)"),
            ("select 1 from a full join b on a.x = b.x and a.y <> b.y", "FULL JOIN"),
            ("select 1 from a left join b on a.x = b.x or a.y = b.y", "equalities"),
            ("select 1 from a left join b on a.x = b.x and a.y = a.z", "equalities"),
            ("select 1 from a join b on a.x = b.x left join c on a.y = b.y", "equalities"),
            ("select 1 from a join b on a.n like 'x%'", "write CROSS JOIN"),
            ("select 1 from a join b on a.x = b.x and b.side = 'L'", "b.side = 'L' to WHERE"),
            ("select 1 from a join b on a.x between b.x and b.y", "to WHERE"),
            ("select x from a right join b using (x)", "coalesce(a.x, b.x)"),
            ("select x from a full join b using (x)", "coalesce(a.x, b.x)"),
            // Group keys.
            ("select cast(n_images/10 as int)*10 from p group by cast(n_images/10 as int)", "key in a WITH query"),
            ("select cast(n_images/10 as int)*10, cast(n_images/10 as int) as k from p group by k", "WITH query"),
            ("select n_images, upper(sex) as u from p group by 2", "`n_images` is neither"),
            ("select upper(sex) as subset, count(*) from p group by subset", "both a column and"),
            ("select count(*) as n from p group by n", "aggregate"),
            ("select sum(age) from p group by rollup(sex)", "not supported"),
            // HAVING and ORDER BY.
            ("select sex, avg(age) as m from p group by sex having age > 30", "use WHERE"),
            ("select sex, avg(age) as age from p group by sex having age > 30", "use WHERE"),
            ("select sex from p having age > 30", "HAVING needs GROUP BY"),
            ("select count(*) from p having count(*) > 30", "HAVING needs GROUP BY"),
            ("select sex from p group by sex order by count(*) desc", "order by n"),
            ("select label from p order by count(*)", "order by n"),
            ("select sex from p group by sex union select side from i order by count(*)", "order by n"),
            // Windows.
            ("select avg(age) over (order by age) from p", "`avg` with ORDER BY"),
            ("select sum(age) over (order by age) from p", "rows unbounded preceding"),
            ("select rank() over (order by age, sex) from p", "age and sex in ORDER BY of a window can both be null"),
            ("select rank() over (order by age, sex) from p", "coalesce(sex, …)"),
            ("select last_value(age) over w from p window w as (order by age)", "`last_value` with ORDER BY"),
            // Functions and parts of SQL.
            ("select position('b' in sex) - 5 from p", "LIKE"),
            ("select strpos(sex, 'b') from p", "LIKE"),
            ("select 2 ^ 3", "operator `^`"),
            ("select struct(1, 2)", "not supported"),
            ("select cast(age as int unsigned) - 99 from p", "INT UNSIGNED is not supported"),
            ("select cast(age as uinteger) from p", "is not supported"),
            ("select cast(age as ubigint) from p", "UBIGINT is not supported"),
            ("select try_cast(age as uint8) from p", "UInt8 is not supported"),
            ("select 1 from p where (age, sex) in (select age, sex from p)", "list of columns"),
            ("select (select max(age) from p)", "CROSS JOIN"),
            ("select sex from p where age = (select max(age) from p)", "CROSS JOIN"),
        ] {
            let error = sql(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("Ident") && !error.contains(" { "), "{text}: {error}");
        }
    }

    #[test]
    fn queries_are_rewritten_exactly() {
        for (text, expected) in [
            ("select sex is not true from p", "NOT coalesce(sex, false)"),
            ("select sex is not false from p", "coalesce(sex, true)"),
            ("select sex is unknown from p", "sex IS NULL"),
            ("select POWER(10, 10)", "power(CAST(10 AS DOUBLE PRECISION), CAST(10 AS DOUBLE PRECISION))"),
            ("select cast(age as int) from p", "CAST(age AS HUGEINT)"),
            ("select age % 3 from p", "(abs(age) % abs(3)) * sign(age)"),
            ("select n_images - count(*) from p group by n_images", "first(n_images) - CAST(count(*) AS HUGEINT)"),
            ("select sex from p group by sex having sex = 'F'", "HAVING first(sex) = 'F'"),
            ("select sex, count(*) as n from p group by sex having n > 1", "HAVING (CAST(count(*) AS HUGEINT)) > 1"),
            ("select sex, Count(*) from p group by sex order by count(*) desc", "ORDER BY 2 DESC"),
            ("select upper(sex), count(*) from p group by 1 order by upper(sex)", "ORDER BY 1"),
            ("select min(age), max(age) from p", "min(age) AS min_age, max(age) AS max_age"),
            ("select upper(sex), lower(sex) from p", "upper(sex) AS upper_sex, lower(sex) AS lower_sex"),
            ("select sex, max(age), age + 1 from p group by sex, age", "max(age) AS max_age"),
            ("select *, upper(sex) from p", "upper(sex) AS upper_sex"),
            ("select cast(age as bigint) from p", "CAST(age AS HUGEINT)"),
            ("select rank() over (order by age) from p", "(ORDER BY CASE WHEN age IS NULL THEN 1 ELSE 0 END, age)"),
            (
                "select lag(sex) over (order by age desc) from p",
                "(ORDER BY CASE WHEN age IS NULL THEN 1 ELSE 0 END DESC, age DESC)",
            ),
            (
                "select lag(sex) over (order by age nulls first) from p",
                "(ORDER BY CASE WHEN age IS NULL THEN 0 ELSE 1 END, age)",
            ),
            (
                "select lag(sex) over w from p window w as (order by n_images desc, age desc nulls last)",
                "(ORDER BY n_images DESC, CASE WHEN age IS NULL THEN 0 ELSE 1 END DESC, age DESC)",
            ),
            ("select rank() over (order by age, coalesce(sex, 'F')) from p", "END, age, coalesce(sex, 'F'))"),
            ("select rank() over (order by n_images) from p left join q on p.x = q.x", "WHEN n_images IS NULL"),
            ("with k as (select 1 as n_images) select rank() over (order by n_images) from k", "WHEN n_images IS NULL"),
        ] {
            let found = sql(text).expect(text);
            assert!(found.contains(expected), "{text}: {found}");
        }
        for unchanged in [
            "SELECT sex, age FROM p AS a LEFT JOIN b ON a.x = b.x AND a.y = b.z WHERE NOT age > 3 ORDER BY age",
            "SELECT a.x FROM a JOIN b ON a.x = b.x AND a.y < b.y",
            "SELECT upper(sex) AS u FROM p GROUP BY u",
            "SELECT upper(sex) FROM p GROUP BY upper(sex)",
            "SELECT sex AS k, 'total' AS t FROM p GROUP BY k ORDER BY k DESC NULLS LAST",
            "SELECT max(age) AS m FROM p ORDER BY m",
            "SELECT max(age) OVER (PARTITION BY sex) AS m, first_value(sex) OVER (ORDER BY n_images) AS r FROM p",
        ] {
            assert_eq!(sql(unchanged).expect(unchanged), unchanged);
        }
    }
}
