//! Parts of an expression.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query,
    UnaryOperator, Visit, VisitMut, Visitor, VisitorMut,
};

/// Functions that give one value for a group of rows.
const AGGREGATES: [&str; 26] = [
    "array_agg",
    "avg",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "first",
    "group_concat",
    "last",
    "listagg",
    "max",
    "median",
    "min",
    "quantile_cont",
    "quantile_disc",
    "stddev",
    "stddev_samp",
    "stdev",
    "stdev_samp",
    "string_agg",
    "sum",
    "total",
    "var",
    "var_samp",
    "variance",
];

/// The parts of an expression outside nested queries.
#[derive(Default)]
pub struct Parts {
    /// Columns outside aggregates.
    pub columns: Vec<Expr>,
    /// Whether it has an aggregate that is not a window function.
    pub has_aggregate: bool,
    /// Whether an aggregate is inside another.
    pub has_nested_aggregate: bool,
    pub has_window: bool,
    aggregates: usize,
    queries: usize,
}

impl Parts {
    pub fn of(part: &impl Visit) -> Parts {
        let mut parts = Parts::default();
        let _ = part.visit(&mut parts);
        parts
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        if is_aggregate(expr) {
            self.has_aggregate = true;
            self.has_nested_aggregate |= self.aggregates > 0;
            self.aggregates += 1;
        }
        self.has_window |= matches!(expr, Expr::Function(function) if function.over.is_some());
        if self.aggregates == 0 && is_column(expr) {
            self.columns.push(expr.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.aggregates -= usize::from(self.queries == 0 && is_aggregate(expr));
        ControlFlow::Continue(())
    }
}

/// Replaces columns outside aggregates by their value in the first row of the group, which is exact for columns that are constant
/// in a group.
pub fn take_first_of_group(expr: &mut Expr) {
    let _ = VisitMut::visit(expr, &mut FirstOfGroup { aggregates: 0, queries: 0 });
}

struct FirstOfGroup {
    aggregates: usize,
    queries: usize,
}

impl VisitorMut for FirstOfGroup {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.aggregates += usize::from(self.queries == 0 && is_aggregate(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 {
            self.aggregates -= usize::from(is_aggregate(expr));
            if self.aggregates == 0 && is_column(expr) {
                *expr = call("first", vec![expr.clone()]);
            }
        }
        ControlFlow::Continue(())
    }
}

pub fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn is_aggregate(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    function.over.is_none() && AGGREGATES.contains(&function.name.to_string().as_str())
}

/// Name of a column without that of its table.
pub fn column_name(expr: &Expr) -> Option<&str> {
    match without_parentheses(expr) {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

/// Whether two expressions are the same column; a table's name may be left out.
pub fn is_same_column(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::CompoundIdentifier(a), Expr::CompoundIdentifier(b)) => a == b,
        _ => column_name(a).is_some_and(|name| column_name(b) == Some(name)),
    }
}

pub fn without_parentheses(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// `name(args)`.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The first argument of a function, where it is an expression.
pub fn first_argument(function: &Function) -> Option<&Expr> {
    plain_arguments(function)?.first().and_then(expression_of)
}

/// The last argument of a function, where it is an expression.
pub fn last_argument(function: &Function) -> Option<&Expr> {
    plain_arguments(function)?.last().and_then(expression_of)
}

fn plain_arguments(function: &Function) -> Option<&[FunctionArg]> {
    if let FunctionArguments::List(list) = &function.args { Some(&list.args) } else { None }
}

fn expression_of(argument: &FunctionArg) -> Option<&Expr> {
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument { Some(expr) } else { None }
}

/// The column that Polars names the result of an expression after: the leftmost one.
pub fn leftmost_column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::Ceil { expr: inner, .. }
        | Expr::Floor { expr: inner, .. }
        | Expr::Substring { expr: inner, .. }
        | Expr::Trim { expr: inner, .. }
        | Expr::Extract { expr: inner, .. }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsDistinctFrom(inner, _)
        | Expr::IsNotDistinctFrom(inner, _)
        | Expr::InList { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. }
        | Expr::Between { expr: inner, .. }
        | Expr::Like { expr: inner, .. }
        | Expr::ILike { expr: inner, .. }
        | Expr::RLike { expr: inner, .. }
        | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner }
        | Expr::BinaryOp { left: inner, .. } => leftmost_column(inner),
        Expr::Case { conditions, .. } => leftmost_column(&conditions.first()?.result),
        Expr::Function(function) => leftmost_column(first_argument(function)?),
        _ => column_name(expr),
    }
}
