//! Rules of JOIN: Polars turns an outer join with another condition than equalities into an inner join.

use std::collections::HashSet;

use sqlparser::ast::{BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};

use super::expression::{Parts, without_parentheses};

/// Refuses conditions of joins that Polars does not keep.
pub fn check(from: &[TableWithJoins]) -> Result<(), String> {
    from.iter().flat_map(|table| &table.joins).try_for_each(|join| {
        let table = table_name(&join.relation);
        let outer = |kind, on| outer(kind, on, table);
        match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => inner(on, table),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => outer("LEFT JOIN", on),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => {
                refuse_using("RIGHT JOIN", on).and_then(|()| outer("RIGHT JOIN", on))
            }
            JoinOperator::FullOuter(on) => refuse_using("FULL JOIN", on).and_then(|()| outer("FULL JOIN", on)),
            JoinOperator::Semi(on) | JoinOperator::LeftSemi(on) | JoinOperator::RightSemi(on) => outer("SEMI JOIN", on),
            JoinOperator::Anti(on) | JoinOperator::LeftAnti(on) | JoinOperator::RightAnti(on) => outer("ANTI JOIN", on),
            _ => Err("this kind of join is not supported; expected JOIN, LEFT, RIGHT, FULL or CROSS JOIN".into()),
        }
    })
}

/// Whether a join gives rows in which the columns of a table are null.
pub fn is_outer(join: &Join) -> bool {
    use JoinOperator as Op;
    matches!(join.join_operator, Op::Left(_) | Op::LeftOuter(_) | Op::Right(_) | Op::RightOuter(_) | Op::FullOuter(_))
}

/// The name by which a query refers to a table.
fn table_name(table: &TableFactor) -> Option<&str> {
    match table {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(&alias.name.value)
        }
        TableFactor::Table { name, .. } => Some(&name.0.last()?.as_ident()?.value),
        _ => None,
    }
}

fn inner(constraint: &JoinConstraint, table: Option<&str>) -> Result<(), String> {
    let JoinConstraint::On(on) = constraint else { return Ok(()) };
    let conditions = conditions(on);
    match conditions.iter().find(|condition| !compares_two_tables(condition, &COMPARISONS, table)) {
        None => Ok(()),
        Some(other) if conditions.len() == 1 => Err(format!(
            "ON takes only comparisons of columns of the joined table with columns of another; write CROSS JOIN and move {other} \
             to WHERE"
        )),
        Some(other) => Err(format!(
            "ON takes only comparisons of columns of the joined table with columns of another; move {other} to WHERE"
        )),
    }
}

fn outer(join: &str, constraint: &JoinConstraint, table: Option<&str>) -> Result<(), String> {
    let JoinConstraint::On(on) = constraint else { return Ok(()) };
    let conditions = conditions(on);
    match conditions.iter().find(|condition| !compares_two_tables(condition, &[BinaryOperator::Eq], table)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "ON of a {join} takes only equalities of columns of the joined table with columns of another, joined by AND; found \
             {other}. Put the condition into a subquery: {} (select … where …) p on a.key = p.key",
            join.to_lowercase()
        )),
    }
}

/// Polars takes the left table's column for a key of USING, which is null in rows of only the right table.
fn refuse_using(join: &str, constraint: &JoinConstraint) -> Result<(), String> {
    let JoinConstraint::Using(keys) = constraint else { return Ok(()) };
    let key = keys.first().map(ToString::to_string).unwrap_or_default();
    Err(format!(
        "{join} with USING is not supported; write {} b on a.{key} = b.{key}, and select coalesce(a.{key}, b.{key}) as {key}",
        join.to_lowercase()
    ))
}

const COMPARISONS: [BinaryOperator; 6] = [
    BinaryOperator::Eq,
    BinaryOperator::NotEq,
    BinaryOperator::Lt,
    BinaryOperator::LtEq,
    BinaryOperator::Gt,
    BinaryOperator::GtEq,
];

/// The conditions that AND joins.
fn conditions(on: &Expr) -> Vec<&Expr> {
    match without_parentheses(on) {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conditions(left).into_iter().chain(conditions(right)).collect()
        }
        other => vec![other],
    }
}

/// Whether it is one of these comparisons, with columns on both sides, and the columns are not known to be of the same table or of
/// other tables than the joined one.
fn compares_two_tables(condition: &Expr, comparisons: &[BinaryOperator], joined: Option<&str>) -> bool {
    let Expr::BinaryOp { left, op, right } = condition else { return false };
    let sides = [left, right].map(|side| Parts::of(&**side).columns);
    // `None` for a column without the name of its table.
    let tables = [0, 1].map(|side| {
        let table = |column: &Expr| match column {
            Expr::CompoundIdentifier(idents) => idents.first().map(|ident| ident.value.clone()),
            _ => None,
        };
        sides[side].iter().map(table).collect::<HashSet<Option<String>>>()
    });
    let named = |side: usize| tables[side].iter().flatten().map(String::as_str).collect::<HashSet<&str>>();
    let has_joined = tables.iter().flatten().any(|table| table.is_none() || table.as_deref() == joined);
    comparisons.contains(op)
        && sides.iter().all(|columns| !columns.is_empty())
        && named(0).is_disjoint(&named(1))
        && (has_joined || joined.is_none())
}
