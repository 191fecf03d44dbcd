//! Names of the columns of a result.

use std::collections::HashSet;

use sqlparser::ast::{Expr, Ident, Select, SelectItem};

use super::expression::{is_column, leftmost_column};

/// Name of a select item as Polars gives it, where it is known.
pub fn of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(expr) => leftmost_column(expr).map(str::to_owned),
        _ => None,
    }
}

/// Names expressions whose names would occur twice by their function and column: `min_age` and `max_age`.
pub fn make_unique(select: &mut Select, columns: &HashSet<String>) {
    let names: Vec<Option<String>> = select.projection.iter().map(of_item).collect();
    let has_all_columns = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut used: HashSet<String> = names.iter().flatten().cloned().collect();
    let mut named = Vec::new();
    for (item, name) in select.projection.drain(..).zip(&names) {
        let is_twice = |name: &String| {
            names.iter().flatten().filter(|other| *other == name).count() > 1
                || has_all_columns && columns.contains(name)
        };
        named.push(match (item, name) {
            (SelectItem::UnnamedExpr(expr), Some(name)) if !is_column(&expr) && is_twice(name) => {
                let base = format!("{}_{name}", outermost(&expr));
                let numbered = (2..).map(|n| format!("{base}_{n}"));
                let alias = std::iter::once(base.clone()).chain(numbered).find(|alias| !used.contains(alias));
                let alias = alias.expect("numbers do not end");
                used.insert(alias.clone());
                SelectItem::ExprWithAlias { expr, alias: identifier(alias) }
            }
            (item, _) => item,
        });
    }
    select.projection = named;
}

/// A word for the outermost operation.
fn outermost(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) => outermost(inner),
        Expr::Function(function) => function.name.to_string(),
        Expr::Cast { .. } => "cast".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "trim".into(),
        Expr::Case { .. } => "case".into(),
        _ => "expression".into(),
    }
}

/// The name as SQL, in quotes where it needs them.
fn identifier(name: String) -> Ident {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain { Ident::new(name) } else { Ident::with_quote('"', name) }
}
