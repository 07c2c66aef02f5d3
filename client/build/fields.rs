//! What a field is in Rust: name, type, default.

use crate::parse::{Field, Type};

pub(crate) fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.ty);
    // Records are never copied into a default value: "no records" is null, as in Kafka.
    if field.nullable.is_some() || field.ty == Type::Records { format!("Option<{plain}>") } else { plain }
}

fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::Int8 => "i8".into(),
        Type::Int16 => "i16".into(),
        Type::Int32 => "i32".into(),
        Type::Int64 => "i64".into(),
        Type::Float64 => "f64".into(),
        Type::Uuid => "Uuid".into(),
        Type::String => "Str".into(),
        Type::Bytes => "Bytes".into(),
        Type::Records => "Records".into(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

/// The name that `Reader` and `Writer` methods have for it.
pub(crate) fn primitive(ty: &Type) -> String {
    match ty {
        Type::String => "string".into(),
        Type::Records => "records".into(),
        other => plain_type(other).to_lowercase(),
    }
}

pub(crate) fn default_value(field: &Field) -> String {
    let optional = field.nullable.is_some();
    match (field.default.as_deref(), &field.ty) {
        (_, Type::Records) | (Some("null"), _) => "None".into(),
        (None, Type::Array(_) | Type::Bytes | Type::String) if optional => {
            format!("Some({}::new())", path(&field.ty))
        }
        (None, Type::Array(_) | Type::Bytes | Type::String) => format!("{}::new()", path(&field.ty)),
        (None, Type::Struct(name)) if optional => format!("Some({name}::default())"),
        (None, Type::Struct(name)) => format!("{name}::default()"),
        (None, Type::Uuid) => "Uuid::ZERO".into(),
        (None, Type::Bool) => "false".into(),
        (None, Type::Float64) => "0.0".into(),
        (None, _) => "0".into(),
        (Some(value), _) => value.into(),
    }
}

fn path(ty: &Type) -> &'static str {
    match ty {
        Type::Array(_) => "Vec",
        Type::Bytes => "Bytes",
        _ => "Str",
    }
}

/// Whether `self`'s field differs from its default, as an expression.
pub(crate) fn is_not_default(field: &Field) -> String {
    let value = format!("self.{}", ident(&field.name));
    let null_by_default = field.default.as_deref() == Some("null") || field.ty == Type::Records;
    match &field.ty {
        _ if null_by_default => format!("{value}.is_some()"),
        Type::Array(_) | Type::Bytes | Type::String if field.nullable.is_some() => {
            format!("{value}.as_ref().is_none_or(|v| !v.is_empty())")
        }
        Type::Array(_) | Type::Bytes | Type::String => format!("!{value}.is_empty()"),
        Type::Uuid => format!("!{value}.is_zero()"),
        Type::Bool if field.default.as_deref() == Some("true") => format!("!{value}"),
        Type::Bool => value,
        _ => format!("{value} != {}", default_value(field)),
    }
}

pub(crate) fn ident(name: &str) -> String {
    match name {
        "type" | "match" | "ref" | "move" | "use" => format!("{name}_"),
        _ => name.to_string(),
    }
}
