//! Rules of window functions: with ORDER BY in the window, SQL computes a running value over equal rows together, and Polars row by
//! row, or not a running one. Polars gives nulls no rank, and sorts them first in any window.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    CaseWhen, Expr, Function, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, OrderByOptions, Query, Select,
    Value, Visit, Visitor, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::expression::{column_name, is_column, last_argument, without_parentheses};

/// Functions that are the same in SQL and Polars with ORDER BY in the window.
const ORDERED: [&str; 6] = ["dense_rank", "first_value", "lag", "lead", "rank", "row_number"];
/// Aggregates that Polars computes as running values, row by row.
const RUNNING: [&str; 5] = ["count", "max", "min", "sum", "total"];

/// Refuses windows that Polars computes differently from SQL.
pub fn check(select: &Select) -> Result<(), String> {
    let mut windows = Windows { named: &select.named_window, queries: 0 };
    let parts = select.projection.visit(&mut windows);
    let parts = if parts.is_continue() { select.qualify.visit(&mut windows) } else { parts };
    match parts {
        ControlFlow::Break(reason) => Err(reason),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Puts nulls where ORDER BY of a query puts them: behind ascending and in front of descending values, or where NULLS
/// FIRST and NULLS LAST say. Polars orders by several keys with a struct, so a key that can be null gets another key
/// before it that says whether it is. `complete` are columns without nulls.
///
/// # Errors
/// Two keys can be null: their additional keys would have the same name.
pub fn order_nulls(window: &mut WindowSpec, complete: &HashSet<String>) -> Result<(), String> {
    let keys = std::mem::take(&mut window.order_by);
    let with_nulls: Vec<String> =
        keys.iter().filter(|key| can_be_null(&key.expr, complete)).map(|key| key.expr.to_string()).collect();
    if let [first, second, ..] = &with_nulls[..] {
        return Err(format!(
            "{first} and {second} in ORDER BY of a window can both be null; write coalesce({second}, …) with the value that \
             orders its nulls"
        ));
    }
    for key in keys {
        let OrderByOptions { asc, nulls_first } = key.options;
        let options = OrderByOptions { asc, nulls_first: None };
        if can_be_null(&key.expr, complete) {
            let is_descending = asc == Some(false);
            // Of the numbers 0 and 1, the one for null.
            let of_null = nulls_first.unwrap_or(is_descending) == is_descending;
            window.order_by.push(OrderByExpr { expr: null_flag(&key.expr, of_null), options, with_fill: None });
        }
        window.order_by.push(OrderByExpr { options, ..key });
    }
    Ok(())
}

fn can_be_null(key: &Expr, complete: &HashSet<String>) -> bool {
    match without_parentheses(key) {
        column if is_column(column) => column_name(column).is_none_or(|name| !complete.contains(name)),
        Expr::IsNull(_) | Expr::IsNotNull(_) => false,
        Expr::Value(value) => value.value == Value::Null,
        Expr::Function(function) if function.name.to_string() == "coalesce" => {
            last_argument(function).is_none_or(|last| can_be_null(last, complete))
        }
        _ => true,
    }
}

/// `CASE WHEN key IS NULL THEN 1 ELSE 0 END`, or with 0 and 1.
fn null_flag(key: &Expr, of_null: bool) -> Expr {
    let number = |is_one: bool| Expr::value(Value::Number(u8::from(is_one).to_string(), false));
    let condition = Expr::IsNull(Box::new(key.clone()));
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: number(of_null) }],
        else_result: Some(Box::new(number(!of_null))),
    }
}

struct Windows<'a> {
    named: &'a [NamedWindowDefinition],
    queries: usize,
}

impl Visitor for Windows<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) if self.queries == 0 => {
                self.check(function).map_or_else(ControlFlow::Break, ControlFlow::Continue)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Windows<'_> {
    fn check(&self, function: &Function) -> Result<(), String> {
        let name = function.name.to_string();
        let Some(window) = self.window(function) else { return Ok(()) };
        if window.order_by.is_empty() || ORDERED.contains(&name.as_str()) {
            return Ok(());
        }
        if !RUNNING.contains(&name.as_str()) {
            return Err(format!(
                "`{name}` with ORDER BY in the window is not supported; leave out ORDER BY for the value of all rows of the \
                 partition"
            ));
        }
        let is_by_row = window.window_frame.as_ref().is_some_and(|frame| {
            frame.units == WindowFrameUnits::Rows
                && frame.start_bound == WindowFrameBound::Preceding(None)
                && matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow))
        });
        if is_by_row {
            return Ok(());
        }
        Err(format!(
            "`{name}` with ORDER BY in the window is supported row by row only: write \
             {name}(…) over (order by … rows unbounded preceding), or leave out ORDER BY"
        ))
    }

    fn window<'a>(&'a self, function: &'a Function) -> Option<&'a WindowSpec> {
        match function.over.as_ref()? {
            WindowType::WindowSpec(window) => Some(window),
            WindowType::NamedWindow(name) => self.named.iter().find_map(|definition| match definition {
                NamedWindowDefinition(known, NamedWindowExpr::WindowSpec(window)) if known == name => Some(window),
                _ => None,
            }),
        }
    }
}
