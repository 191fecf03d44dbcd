//! Rules of GROUP BY and aggregates. Polars evaluates a select item of a grouped query either in each group or on its result, and
//! gives a list or a wrong value where SQL mixes both.

use std::collections::HashSet;

use sqlparser::ast::{Expr, GroupByExpr, OrderBy, OrderByKind, Select, SelectItem, Value};

use super::expression::{Parts, column_name, is_column, is_same_column, take_first_of_group, without_parentheses};

const WITH_GROUPS: &str = "compute the groups in a WITH query, then the window over it: \
                           with g as (select … group by …) select … over (…) from g";
const NAME_THE_AGGREGATE: &str = "name the aggregate in the select list, count(*) as n, and write order by n";

/// What the groups of a query have in common.
#[derive(Default)]
struct Keys {
    columns: Vec<Expr>,
    /// Expressions, each equal to a select item.
    expressions: Vec<Expr>,
    /// Names of `columns` that are names of select items as well.
    ambiguous: Vec<String>,
}

/// Replaces an expression in ORDER BY that equals a select item by the item's position, where it has an aggregate.
pub fn check_order(select: &Select, order: Option<&mut OrderBy>) -> Result<(), String> {
    let Some(OrderByKind::Expressions(by)) = order.map(|order| &mut order.kind) else { return Ok(()) };
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    for by in by {
        let parts = Parts::of(&by.expr);
        if parts.has_window && is_grouped {
            return Err(format!("window function in ORDER BY of a query with GROUP BY; {WITH_GROUPS}"));
        }
        let expr = without_parentheses(&by.expr);
        let is_computed = !is_column(expr) && !parts.columns.is_empty();
        if !(parts.has_aggregate || is_grouped && is_computed) {
            continue;
        }
        let place = select.projection.iter().position(|item| expression(item).is_some_and(|item| item == expr));
        match place {
            Some(place) => by.expr = Expr::value(Value::Number((place + 1).to_string(), false)),
            None if parts.has_aggregate => {
                return Err(format!("ORDER BY {expr} is not a column of the result; {NAME_THE_AGGREGATE}"));
            }
            None => {}
        }
    }
    Ok(())
}

/// The order of a UNION, EXCEPT or INTERSECT.
pub fn check_order_of_set(order: Option<&mut OrderBy>) -> Result<(), String> {
    let Some(OrderByKind::Expressions(by)) = order.map(|order| &order.kind) else { return Ok(()) };
    match by.iter().find(|by| Parts::of(&by.expr).has_aggregate) {
        Some(by) => Err(format!("ORDER BY {} is not a column of the result; {NAME_THE_AGGREGATE}", by.expr)),
        None => Ok(()),
    }
}

/// Checks the clauses of a select, and rewrites group keys next to aggregates.
pub fn check(select: &mut Select, columns: &HashSet<String>) -> Result<(), String> {
    let condition = Parts::of(&select.selection);
    if condition.has_aggregate {
        return Err("aggregate in WHERE; use HAVING, or compute the value in a WITH query and CROSS JOIN it".into());
    }
    if condition.has_window {
        return Err("window function in WHERE; compute it in a WITH query and filter that".into());
    }
    match keys(select, columns)? {
        None => without_groups(select),
        Some(keys) => with_groups(select, &keys, columns),
    }
}

fn without_groups(select: &Select) -> Result<(), String> {
    if select.having.is_some() {
        return Err("HAVING needs GROUP BY; use WHERE for a condition on a column, or a WITH query for one on an \
                    aggregate of all rows"
            .into());
    }
    let parts = Parts::of(&select.projection);
    if parts.has_nested_aggregate {
        return Err(nested());
    }
    if !parts.has_aggregate {
        return Ok(());
    }
    if parts.has_window {
        return Err("window function next to an aggregate; compute one of them in a WITH query".into());
    }
    let all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().any(all) {
        return Err("`*` next to an aggregate; name the columns and add GROUP BY".into());
    }
    match parts.columns.first() {
        Some(column) => Err(neither(column)),
        None => Ok(()),
    }
}

fn with_groups(select: &mut Select, keys: &Keys, columns: &HashSet<String>) -> Result<(), String> {
    let having = Parts::of(&select.having);
    let items = Parts::of(&select.projection);
    if items.has_window || having.has_window || Parts::of(&select.qualify).has_window {
        return Err(format!("window function in a query with GROUP BY; {WITH_GROUPS}"));
    }
    if items.has_nested_aggregate || having.has_nested_aggregate {
        return Err(nested());
    }
    for item in &mut select.projection {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        };
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                constant_in_group(expr, name.as_deref(), keys)?;
            }
            _ => return Err("`*` in a query with GROUP BY; name the columns".into()),
        }
    }
    let Some(condition) = &mut select.having else { return Ok(()) };
    for column in having.columns {
        if keys.columns.iter().any(|key| is_same_column(key, &column)) {
            continue;
        }
        let name = column_name(&column).unwrap_or_default();
        let item = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if alias.value == name && !columns.contains(name) => Some(expr),
            _ => None,
        });
        let Some(item) = item else {
            return Err(format!(
                "`{column}` in HAVING is neither a GROUP BY column nor inside an aggregate; use WHERE for a condition on a column"
            ));
        };
        replace(condition, &column, &Expr::Nested(Box::new(item.clone())));
    }
    take_first_of_group(condition);
    Ok(())
}

/// Checks that a select item has one value per group, and rewrites it so that Polars sees this.
fn constant_in_group(expr: &mut Expr, name: Option<&str>, keys: &Keys) -> Result<(), String> {
    let plain = without_parentheses(expr);
    if keys.expressions.contains(plain) {
        return Ok(());
    }
    let parts = Parts::of(plain);
    let other = parts.columns.iter().find(|column| !keys.columns.iter().any(|key| is_same_column(key, column)));
    if let Some(column) = other {
        return Err(match keys.expressions.iter().find(|key| contains(plain, key)) {
            Some(key) => computed_key(key),
            None if name.is_some_and(|name| keys.ambiguous.iter().any(|key| key == name)) => format!(
                "`{}` in GROUP BY is both a column and the name of a select item; give the item another name",
                name.unwrap_or_default()
            ),
            None => neither(column),
        });
    }
    if !is_column(plain) {
        take_first_of_group(expr);
    }
    Ok(())
}

/// The keys of GROUP BY; `None` without it.
fn keys(select: &Select, columns: &HashSet<String>) -> Result<Option<Keys>, String> {
    let mut keys = Keys::default();
    let mut add = |expr: &Expr| match without_parentheses(expr) {
        expr if is_column(expr) => keys.columns.push(expr.clone()),
        expr => keys.expressions.push(expr.clone()),
    };
    let by = match &select.group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) if !modifiers.is_empty() => {
            return Err("GROUP BY with ROLLUP, CUBE or TOTALS is not supported; group in one query per level".into());
        }
        GroupByExpr::All(_) => {
            let items = select.projection.iter().filter_map(expression);
            items.filter(|item| !Parts::of(*item).has_aggregate).for_each(add);
            return Ok(Some(keys));
        }
        GroupByExpr::Expressions(by, _) if by.is_empty() => return Ok(None),
        GroupByExpr::Expressions(by, _) => by,
    };
    let mut ambiguous = Vec::new();
    for key in by {
        let key = without_parentheses(key);
        let item = match key {
            Expr::Value(value) => match &value.value {
                Value::Number(place, _) => {
                    let place = place.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                    let item = place.and_then(|place| select.projection.get(place)).and_then(expression);
                    Some(item.ok_or_else(|| format!("GROUP BY {key} is not the position of a select item"))?)
                }
                _ => return Err(format!("GROUP BY {key} is a constant; expected a column")),
            },
            Expr::Identifier(name) => {
                let named = select.projection.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => Some(expr),
                    _ => None,
                });
                if named.is_some() && columns.contains(&name.value) {
                    ambiguous.push(name.value.clone());
                }
                named.filter(|_| !columns.contains(&name.value))
            }
            Expr::CompoundIdentifier(_) => None,
            computed => match select.projection.iter().filter_map(expression).find(|item| *item == computed) {
                Some(item) => Some(item),
                None => return Err(computed_key(computed)),
            },
        };
        let key = item.unwrap_or(key);
        if Parts::of(key).has_aggregate {
            return Err(format!("GROUP BY {key} is an aggregate; expected a column"));
        }
        add(key);
    }
    keys.ambiguous = ambiguous;
    Ok(Some(keys))
}

/// The expression of a select item.
fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(without_parentheses(expr)),
        _ => None,
    }
}

fn contains(expr: &Expr, part: &Expr) -> bool {
    sqlparser::ast::visit_expressions(expr, |found| match found == part {
        true => std::ops::ControlFlow::Break(()),
        false => std::ops::ControlFlow::Continue(()),
    })
    .is_break()
}

fn replace(expr: &mut Expr, part: &Expr, by: &Expr) {
    let _ = sqlparser::ast::visit_expressions_mut(expr, |found| {
        if found == part {
            *found = by.clone();
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
}

fn neither(column: &Expr) -> String {
    format!(
        "`{column}` is neither in GROUP BY nor inside an aggregate; add it to GROUP BY, or write max({column}) or another aggregate"
    )
}

fn computed_key(key: &Expr) -> String {
    format!(
        "GROUP BY {key} is not a select item of its own; compute the key in a WITH query and group by its name: \
         with k as (select {key} as k, … from …) select k, count(*) as n from k group by k"
    )
}

fn nested() -> String {
    "aggregate inside another aggregate; compute the inner one in a WITH query".into()
}
