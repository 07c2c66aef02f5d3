//! Writes the Rust source of the messages: structs, defaults, decode and encode.
//! The text is kept lean: version checks are plain `if`s, everything else is a call of `Reader` or `Writer`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::condition::Condition;
use crate::fields::{default_value, ident, is_not_default, primitive, rust_type};
use crate::parse::{Field, Kind, Message, Struct, Type, Versions};

/// `messages.rs`: a module for every message, and the enums over all requests and responses.
pub(crate) fn messages(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        module(&mut out, message);
    }
    let requests: Vec<_> = messages.iter().filter(|m| matches!(m.kind, Kind::Request { .. })).collect();
    let responses: Vec<_> = messages.iter().filter(|m| matches!(m.kind, Kind::Response { .. })).collect();
    body(&mut out, "RequestBody", "Request", "A request of any API.", &requests);
    body(&mut out, "ResponseBody", "Response", "A response of any API.", &responses);
    out
}

/// `api_key.rs`: the enum of API keys, with what the definitions say of each.
pub(crate) fn api_keys(messages: &[Message]) -> Result<String, String> {
    let mut apis = BTreeMap::new();
    for message in messages {
        if let Kind::Request { key } = message.kind
            && let Some(other) = apis.insert(key, message)
        {
            return Err(format!("{} and {} have the same key", other.name, message.name));
        }
    }
    let mut out = String::new();
    let o = &mut out;
    let name = |message: &Message| message.name.trim_end_matches("Request").to_string();
    put(o, "/// The APIs of Kafka 3.9 in ZooKeeper mode; the value is the key on the wire.");
    put(o, "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    put(o, "#[repr(i16)]");
    put(o, "pub enum ApiKey {");
    for (key, message) in &apis {
        put(o, &format!("{} = {key},", name(message)));
    }
    put(o, "}");
    put(o, "impl ApiKey {");
    put(o, "/// All of them, by rising key.");
    put(o, "pub const ALL: &[ApiKey] = &[");
    for message in apis.values() {
        put(o, &format!("ApiKey::{},", name(message)));
    }
    put(o, "];");
    put(o, "pub(crate) const fn definition(self) -> Definition { match self {");
    for message in apis.values() {
        let flexible = message.flexible.map_or("i16::MAX".to_string(), |v| v.to_string());
        put(
            o,
            &format!(
                "ApiKey::{api} => Definition {{ name: \"{api}\", min: {}, max: {}, flexible: {flexible} }},",
                message.versions.first,
                message.versions.last,
                api = name(message),
            ),
        );
    }
    put(o, "} } }");
    Ok(out)
}

fn module(out: &mut String, message: &Message) {
    let module = snake_case(&message.name);
    let _ = writeln!(out, "/// [`{}`] and the structs in it.\npub mod {module} {{", message.name);
    put(out, "use super::prelude::*;");
    for (index, item) in message.structs.iter().enumerate() {
        definition(out, message, item, index == 0);
        default(out, item);
        codec(out, message, item, index == 0);
    }
    if let Kind::Request { key: _ } = message.kind {
        let api = message.name.trim_end_matches("Request");
        let response = format!("super::{}_response::{api}Response", snake_case(api));
        let _ = writeln!(
            out,
            "impl Request for {} {{ const KEY: ApiKey = ApiKey::{api}; type Response = {response}; }}",
            message.name
        );
    }
    let Versions { first, last } = message.versions;
    let _ = writeln!(
        out,
        "impl {} {{ /// The versions of the definition.\npub const VERSIONS: RangeInclusive<i16> = {first}..={last}; }}",
        message.name
    );
    put(out, "}");
    let _ = writeln!(out, "pub use {module}::{};", message.name);
}

fn definition(out: &mut String, message: &Message, item: &Struct, top: bool) {
    let doc = match (top, message.kind) {
        (true, Kind::Request { key } | Kind::Response { key }) => format!("API key {key}, versions"),
        (true, _) => "Versions".to_string(),
        (false, _) => format!("Part of [`{}`], versions", message.name),
    };
    let Versions { first, last } = message.versions;
    let _ = writeln!(out, "/// {doc} {first} to {last}.");
    put(out, "#[derive(Debug, Clone, PartialEq)]");
    let _ = writeln!(out, "pub struct {} {{", item.name);
    for field in &item.fields {
        if field.versions != message.versions {
            let _ = writeln!(out, "/// Versions {} to {}.", field.versions.first, field.versions.last);
        }
        let _ = writeln!(out, "pub {}: {},", ident(&field.name), rust_type(field));
    }
    put(out, "}");
}

fn default(out: &mut String, item: &Struct) {
    let _ = writeln!(out, "impl Default for {} {{ fn default() -> Self {{ Self {{", item.name);
    for field in &item.fields {
        let _ = writeln!(out, "{}: {},", ident(&field.name), default_value(field));
    }
    put(out, "} } }");
}

fn codec(out: &mut String, message: &Message, item: &Struct, top: bool) {
    let name = &item.name;
    let first = message.versions.first;
    let range = Condition::of(message.versions, Versions { first: i16::MIN, last: i16::MAX });
    let flexible = match message.flexible {
        None => "false".to_string(),
        Some(from) if from <= first => "true".to_string(),
        Some(from) => format!("version >= {from}"),
    };
    let scope = Scope { message, item };

    let _ = writeln!(out, "impl Message for {name} {{");
    put(out, "fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {");
    if top {
        let _ = writeln!(
            out,
            "if !({range}) {{ return Err(DecodeError::UnsupportedVersion {{ message: \"{name}\", version }}); }}"
        );
    }
    let _ = writeln!(out, "let flexible = {flexible};");
    put(out, "let mut m = Self::default();");
    for field in item.fields.iter().filter(|field| field.tag.is_none()) {
        let read = format!("m.{} = {};", ident(&field.name), scope.read(field));
        scope.condition(field).wrap(out, &read, "");
    }
    scope.read_tags(out);
    put(out, "Ok(m) }");

    put(out, "fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {");
    if top {
        let _ = writeln!(
            out,
            "if !({range}) {{ return Err(EncodeError::UnsupportedVersion {{ message: \"{name}\", version }}); }}"
        );
    }
    let _ = writeln!(out, "let flexible = {flexible};");
    for field in &item.fields {
        let present = scope.condition(field);
        let write = if field.tag.is_none() { scope.write(field) } else { String::new() };
        let absent = if field.ignorable || present.always() {
            String::new()
        } else {
            format!(
                "if {} {{ return Err(EncodeError::unsupported(\"{name}\", \"{}\", version)); }}",
                is_not_default(field),
                field.name
            )
        };
        present.wrap(out, &write, &absent);
    }
    scope.write_tags(out);
    put(out, "Ok(()) } }");
}

/// Where the fields being written stand.
struct Scope<'a> {
    message: &'a Message,
    item: &'a Struct,
}

impl Scope<'_> {
    fn condition(&self, field: &Field) -> Condition {
        Condition::of(field.versions, self.message.versions)
    }

    /// Whether null is allowed, as an expression of `version`.
    fn nullable(&self, field: &Field) -> Option<Condition> {
        let versions = field.nullable?;
        Some(Condition::of(versions, field.versions))
    }

    fn read(&self, field: &Field) -> String {
        let flexible = if field.inflexible { "false" } else { "flexible" };
        if let Some(nullable) = self.nullable(field) {
            return match &field.ty {
                Type::Struct(name) if nullable.always() => format!("r.nullable_struct::<{name}>(version)?"),
                Type::Struct(name) => {
                    format!(
                        "if {nullable} {{ r.nullable_struct::<{name}>(version)? }} else {{ Some({name}::decode(r, version)?) }}"
                    )
                }
                Type::Array(element) => match &**element {
                    Type::Struct(_) => format!("r.nullable_array({flexible}, {nullable}, version)?"),
                    other => format!("r.nullable_{}s({flexible}, {nullable})?", primitive(other)),
                },
                other => format!("r.nullable_{}({flexible}, {nullable})?", primitive(other)),
            };
        }
        match &field.ty {
            Type::Struct(name) => format!("{name}::decode(r, version)?"),
            Type::Array(element) => match &**element {
                Type::Struct(_) => format!("r.array({flexible}, version)?"),
                other => format!("r.{}s({flexible})?", primitive(other)),
            },
            Type::String | Type::Bytes => format!("r.{}({flexible})?", primitive(&field.ty)),
            Type::Records => format!("r.nullable_records({flexible}, false)?"),
            other => format!("r.{}()?", primitive(other)),
        }
    }

    fn write(&self, field: &Field) -> String {
        let flexible = if field.inflexible { "false" } else { "flexible" };
        let value = format!("self.{}", ident(&field.name));
        let error = format!("|| EncodeError::null(\"{}\", \"{}\", version)", self.item.name, field.name);
        if let Some(nullable) = self.nullable(field) {
            let check = if nullable.always() {
                String::new()
            } else {
                let null = format!("{value}.is_none()");
                let refuse = format!(
                    "return Err(EncodeError::null(\"{}\", \"{}\", version));",
                    self.item.name, field.name
                );
                format!("if {} && {null} {{ {refuse} }}\n", nullable.negated())
            };
            let write = match &field.ty {
                Type::Struct(_) if nullable.always() => {
                    format!("w.nullable_struct({value}.as_ref(), version)?;")
                }
                Type::Struct(_) => format!(
                    "if {nullable} {{ w.nullable_struct({value}.as_ref(), version)?; }} else if let Some(s) = &{value} {{ s.encode(w, version)?; }}"
                ),
                Type::Array(element) => match &**element {
                    Type::Struct(_) => {
                        format!("w.nullable_array({flexible}, {value}.as_deref(), version)?;")
                    }
                    other => format!("w.nullable_{}s({flexible}, {value}.as_deref())?;", primitive(other)),
                },
                Type::Records => format!("w.nullable_records({flexible}, {value}.as_ref())?;"),
                other => format!("w.nullable_{}({flexible}, {value}.as_deref())?;", primitive(other)),
            };
            return check + &write;
        }
        match &field.ty {
            Type::Struct(_) => format!("{value}.encode(w, version)?;"),
            Type::Array(element) => match &**element {
                Type::Struct(_) => format!("w.array({flexible}, &{value}, version)?;"),
                other => format!("w.{}s({flexible}, &{value})?;", primitive(other)),
            },
            Type::String | Type::Bytes => format!("w.{}({flexible}, &{value})?;", primitive(&field.ty)),
            Type::Records => {
                format!("w.nullable_records({flexible}, Some({value}.as_ref().ok_or_else({error})?))?;")
            }
            other => format!("w.{}({value});", primitive(other)),
        }
    }

    fn tagged(&self) -> Vec<&Field> {
        let mut fields: Vec<_> = self.item.fields.iter().filter(|field| field.tag.is_some()).collect();
        fields.sort_by_key(|field| field.tag);
        fields
    }

    fn read_tags(&self, out: &mut String) {
        if self.message.flexible.is_none() {
            return;
        }
        let tagged = self.tagged();
        if tagged.is_empty() {
            put(out, "if flexible { r.skip_tagged_fields()?; }");
            return;
        }
        put(out, "if flexible { r.tagged_fields(|r, tag| { match tag {");
        for field in tagged {
            let guard = match self.condition(field) {
                present if present.always() => String::new(),
                present => format!(" if {present}"),
            };
            let tag = field.tag.unwrap_or_default();
            let _ = writeln!(out, "{tag}{guard} => m.{} = {},", ident(&field.name), self.read(field));
        }
        put(out, "_ => return Ok(false), } Ok(true) })?; }");
    }

    fn write_tags(&self, out: &mut String) {
        if self.message.flexible.is_none() {
            return;
        }
        let tagged = self.tagged();
        if tagged.is_empty() {
            put(out, "if flexible { w.uvarint(0); }");
            return;
        }
        put(out, "if flexible {");
        for field in &tagged {
            let mut present = is_not_default(field);
            if !self.condition(field).always() {
                present = format!("({}) && ({present})", self.condition(field));
            }
            let _ = writeln!(out, "let has_{} = {present};", field.name);
        }
        let count: Vec<_> = tagged.iter().map(|field| format!("u32::from(has_{})", field.name)).collect();
        let _ = writeln!(out, "w.uvarint({});", count.join(" + "));
        for field in &tagged {
            let tag = field.tag.unwrap_or_default();
            let write = self.write(field);
            let _ = writeln!(
                out,
                "if has_{} {{ w.tagged_field({tag}, |w| {{ {write} Ok(()) }})?; }}",
                field.name
            );
        }
        put(out, "}");
    }
}

/// The enum over all messages of one direction.
fn body(out: &mut String, name: &str, suffix: &str, doc: &str, messages: &[&Message]) {
    let api = |message: &Message| message.name.trim_end_matches(suffix).to_string();
    let _ = writeln!(out, "/// {doc}\n#[derive(Debug, Clone, PartialEq)]\npub enum {name} {{");
    for message in messages {
        let _ = writeln!(out, "{}({}),", api(message), message.name);
    }
    put(out, "}");
    let _ = writeln!(out, "impl {name} {{");
    put(out, "pub fn key(&self) -> ApiKey { match self {");
    for message in messages {
        let _ = writeln!(out, "Self::{api}(_) => ApiKey::{api},", api = api(message));
    }
    put(out, "} }");
    put(out, "/// Reads the body that follows the header; what may follow the body is left unread.");
    put(
        out,
        "pub fn decode(key: ApiKey, version: i16, r: &mut Reader) -> Result<Self, DecodeError> { Ok(match key {",
    );
    for message in messages {
        let _ = writeln!(
            out,
            "ApiKey::{api} => Self::{api}({}::decode(r, version)?),",
            message.name,
            api = api(message)
        );
    }
    put(out, "}) }");
    put(out, "pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> { match self {");
    for message in messages {
        let _ = writeln!(out, "Self::{}(m) => m.encode(w, version),", api(message));
    }
    put(out, "} } }");
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
