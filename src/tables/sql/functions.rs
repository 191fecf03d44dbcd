//! Functions and operators: those that Polars lacks are refused, those that it computes differently from SQL are rewritten.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::expression::call;

/// Functions of Polars with unsigned values: a difference below 0 would wrap around.
const UNSIGNED: [&str; 11] = [
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
];

/// The type of whole numbers in a query: 128 bits, so that a sum or a product of numbers with 64 bits does not wrap
/// around.
const WHOLE_NUMBER: DataType = DataType::HugeInt;

/// Most `%` in a query: each is rewritten with its left operand twice.
const MAX_MODULO: usize = 10;

const POSITION: &str =
    "position and strpos are not supported, as Polars counts bytes; use LIKE '%text%' or a regular expression";

/// Writes the names of functions in lower case, so that equal expressions are equal.
pub fn lower_case_names(query: &mut Query) {
    struct LowerCase;
    impl VisitorMut for LowerCase {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr {
                function.name = Ident::new(function.name.to_string().to_lowercase()).into();
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut LowerCase);
}

/// Refuses parts of SQL that Polars does not have, in plain words.
///
/// # Errors
/// There is such a part.
pub fn refuse_unsupported(query: &Query) -> Result<(), String> {
    match query.visit(&mut Unsupported { modulo: 0 }) {
        ControlFlow::Break(reason) => Err(reason),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Unsupported {
    modulo: usize,
}

impl Visitor for Unsupported {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let reason = match expr {
            Expr::Subquery(_) => "a subquery as a value is not supported; use a WITH query and a CROSS JOIN: \
                with m as (select max(age) as m from patients) select … from patients cross join m where age = m"
                .into(),
            Expr::Tuple(_) => format!(
                "a list of columns such as {expr} is not supported; compare the columns one by one, or join with using (…)"
            ),
            Expr::Position { .. } => POSITION.into(),
            Expr::Function(function) if function.name.to_string() == "strpos" => POSITION.into(),
            Expr::Function(function) if counts_rows(&function.name.to_string()) && !has_column(&function.args) => {
                format!(
                    "{expr} has no column, and Polars would compute it for one row; use count(*), as in 2 * count(*)"
                )
            }
            Expr::BinaryOp { op: BinaryOperator::BitwiseXor | BinaryOperator::PGExp, .. } => {
                "operator `^` is not supported; use power(x, y)".into()
            }
            Expr::BinaryOp { op, .. } if !is_supported(op) => format!("operator `{op}` is not supported"),
            Expr::BinaryOp { op: BinaryOperator::Modulo, .. } => {
                self.modulo += 1;
                if self.modulo <= MAX_MODULO {
                    return ControlFlow::Continue(());
                }
                format!("more than {MAX_MODULO} operators `%`")
            }
            Expr::UnaryOp { op, .. }
                if !matches!(op, UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not) =>
            {
                format!("operator `{op}` is not supported")
            }
            Expr::Cast { data_type, .. } if is_unsigned(data_type) => {
                format!("type {data_type} is not supported, as a difference below 0 would wrap around; use bigint")
            }
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                format!("placeholder {expr} is not supported; write the value itself")
            }
            Expr::JsonAccess { .. }
            | Expr::IsNormalized { .. }
            | Expr::InUnnest { .. }
            | Expr::SimilarTo { .. }
            | Expr::Convert { .. }
            | Expr::AtTimeZone { .. }
            | Expr::Overlay { .. }
            | Expr::Collate { .. }
            | Expr::Prefixed { .. }
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Struct { .. }
            | Expr::Named { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::MatchAgainst { .. }
            | Expr::OuterJoin(_)
            | Expr::Prior(_)
            | Expr::Lambda(_)
            | Expr::MemberOf(_) => format!("{expr} is not supported"),
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(reason)
    }
}

/// Whether an aggregate of the same value depends on the number of rows.
fn counts_rows(name: &str) -> bool {
    ["sum", "array_agg", "corr", "covar", "covar_samp"].contains(&name)
        || name.starts_with("std")
        || name.starts_with("var")
}

fn has_column(arguments: &FunctionArguments) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                // An aggregate has a value per group.
                Expr::Function(function) if function.name.to_string() == "count" => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    arguments.visit(&mut Columns).is_break()
}

fn is_unsigned(data_type: &DataType) -> bool {
    // Their names are INT UNSIGNED, UBIGINT, UINT64, …
    let name = data_type.to_string().to_uppercase();
    name.contains("UNSIGNED") || name.starts_with("UINT") || name.starts_with('U') && name.ends_with("INT")
}

fn is_supported(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(
        op,
        Op::Plus
            | Op::Minus
            | Op::Multiply
            | Op::Divide
            | Op::DuckIntegerDivide
            | Op::Modulo
            | Op::StringConcat
            | Op::Gt
            | Op::Lt
            | Op::GtEq
            | Op::LtEq
            | Op::Spaceship
            | Op::Eq
            | Op::NotEq
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::BitwiseOr
            | Op::BitwiseAnd
            | Op::PGRegexMatch
            | Op::PGRegexIMatch
            | Op::PGRegexNotMatch
            | Op::PGRegexNotIMatch
            | Op::PGLikeMatch
            | Op::PGILikeMatch
            | Op::PGNotLikeMatch
            | Op::PGNotILikeMatch
            | Op::PGStartsWith
            | Op::Arrow
            | Op::LongArrow
            | Op::HashArrow
            | Op::HashLongArrow
    )
}

/// Rewrites what Polars computes differently from SQL.
pub fn rewrite(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewrite);
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let null = Expr::value(Value::Null);
        let taken = std::mem::replace(expr, null);
        *expr = rewritten(taken);
        ControlFlow::Continue(())
    }
}

fn rewritten(expr: Expr) -> Expr {
    let truth = |value: bool| Expr::value(Value::Boolean(value));
    let not = |expr: Expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) };
    match expr {
        // Polars gives null for null.
        Expr::IsTrue(x) => call("coalesce", vec![*x, truth(false)]),
        Expr::IsNotTrue(x) => not(call("coalesce", vec![*x, truth(false)])),
        Expr::IsFalse(x) => not(call("coalesce", vec![*x, truth(true)])),
        Expr::IsNotFalse(x) => call("coalesce", vec![*x, truth(true)]),
        Expr::IsUnknown(x) => Expr::IsNull(x),
        Expr::IsNotUnknown(x) => Expr::IsNotNull(x),
        // The remainder of Polars has the sign of the divisor, that of SQL the sign of the dividend.
        Expr::BinaryOp { left, op: BinaryOperator::Modulo, right } => remainder(*left, *right),
        Expr::Function(ref function) => match function.name.to_string().as_str() {
            "mod" => match arguments(&expr) {
                Some([left, right]) => remainder(left, right),
                None => expr,
            },
            // Powers of whole numbers have 32 bits.
            "pow" | "power" => match arguments::<2>(&expr) {
                Some(arguments) => {
                    call("power", arguments.map(|argument| cast(argument, DataType::DoublePrecision)).into())
                }
                None => expr,
            },
            // The sum of true and false is unsigned; that of any other column keeps its type.
            "sum" => Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(expr),
                op: BinaryOperator::Plus,
                right: Box::new(cast(Expr::value(Value::Number("0".into(), false)), WHOLE_NUMBER)),
            })),
            name if UNSIGNED.contains(&name) => cast(expr, WHOLE_NUMBER),
            _ => expr,
        },
        Expr::Cast { kind, expr, data_type, array, format } => {
            let data_type = match data_type {
                DataType::TinyInt(_)
                | DataType::Int2(_)
                | DataType::Int16
                | DataType::SmallInt(_)
                | DataType::MediumInt(_)
                | DataType::Int(_)
                | DataType::Int4(_)
                | DataType::Int32
                | DataType::Integer(_)
                | DataType::Int8(_)
                | DataType::Int64
                | DataType::BigInt(_)
                | DataType::Int128 => WHOLE_NUMBER,
                other => other,
            };
            Expr::Cast { kind, expr, data_type, array, format }
        }
        other => other,
    }
}

fn remainder(left: Expr, right: Expr) -> Expr {
    let operation = |left: Expr, op: BinaryOperator, right: Expr| {
        Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
    };
    let size = operation(call("abs", vec![left.clone()]), BinaryOperator::Modulo, call("abs", vec![right]));
    operation(size, BinaryOperator::Multiply, call("sign", vec![left]))
}

/// The arguments of a function, where they are as many expressions.
fn arguments<const N: usize>(expr: &Expr) -> Option<[Expr; N]> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    arguments.collect::<Option<Vec<Expr>>>()?.try_into().ok()
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}
