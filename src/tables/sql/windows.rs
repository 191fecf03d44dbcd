//! Rules of window functions: with ORDER BY in the window, SQL computes a running value over equal rows together, and Polars row by
//! row, or not a running one.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, NamedWindowDefinition, NamedWindowExpr, Query, Select, Visit, Visitor, WindowFrameBound,
    WindowFrameUnits, WindowSpec, WindowType,
};

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
