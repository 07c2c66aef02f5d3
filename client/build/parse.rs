//! Reads the message definitions; the format is described in `messages/README.md`.
//! Whatever is not understood stops the build with the file's name and the line's number.

use std::fmt;

/// A top-level message: what stands on the wire behind a header, or in a record or znode.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) versions: Versions,
    /// First version with compact lengths and tagged fields.
    pub(crate) flexible: Option<i16>,
    /// The message itself first, then the structs nested in it in order of appearance.
    pub(crate) structs: Vec<Struct>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Request { key: i16 },
    Response { key: i16 },
    Header,
    Data,
}

#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Option<Versions>,
    pub(crate) default: Option<String>,
    /// May be dropped silently where the version has no such field.
    pub(crate) ignorable: bool,
    pub(crate) tag: Option<u32>,
    /// Keeps the old length prefix in flexible versions too.
    pub(crate) inflexible: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// Closed range of versions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Versions {
    fn parse(text: &str, last: i16) -> Result<Versions, String> {
        let number = |t: &str| t.parse::<i16>().map_err(|_| format!("`{text}` is not a version range"));
        if let Some(first) = text.strip_suffix('+') {
            return Ok(Versions { first: number(first)?, last });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Versions { first: number(first)?, last: number(last)? })
    }
}

impl Type {
    fn parse(text: &str) -> Type {
        if let Some(element) = text.strip_prefix("[]") {
            return Type::Array(Box::new(Type::parse(element)));
        }
        match text {
            "bool" => Type::Bool,
            "int8" => Type::Int8,
            "int16" => Type::Int16,
            "int32" => Type::Int32,
            "int64" => Type::Int64,
            "float64" => Type::Float64,
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            name => Type::Struct(name.to_string()),
        }
    }

    /// The struct this is, or is an array of.
    fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

/// All messages of one file.
pub(crate) fn parse(text: &str) -> Result<Vec<Message>, SyntaxError> {
    let mut file = File::default();
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let depth = (line.len() - content.len()) / 2;
        file.line(depth, content).map_err(|what| SyntaxError { line: index + 1, what })?;
    }
    Ok(file.messages)
}

#[derive(Default)]
struct File {
    messages: Vec<Message>,
    /// The structs that the current line is nested in: index in the message, versions it appears in.
    open: Vec<(usize, Versions)>,
    /// What the last field is (an array) of: the struct that a deeper line would belong to.
    last: Option<(String, Versions)>,
}

impl File {
    fn line(&mut self, depth: usize, content: &str) -> Result<(), String> {
        if depth == 0 {
            return self.start(content);
        }
        if depth == self.open.len() + 1 {
            let (name, versions) = self.last.take().ok_or("indented below a field that is no struct")?;
            self.open_struct(&name, versions)?;
        }
        self.open.truncate(depth);
        let &(index, versions) =
            self.open.get(depth - 1).ok_or("two spaces of indentation a level, please")?;
        let field = field(content, versions)?;
        self.last = field.ty.struct_name().map(|name| (name.to_string(), field.versions));
        let message = self.messages.last_mut().ok_or("a field before any message")?;
        message.structs[index].fields.push(field);
        Ok(())
    }

    fn start(&mut self, content: &str) -> Result<(), String> {
        self.open.clear();
        self.last = None;
        if let Some(name) = content.strip_prefix("struct ") {
            let versions = self.messages.last().ok_or("a struct before any message")?.versions;
            return self.open_struct(name, versions);
        }
        let message = header(content)?;
        let (name, versions) = (message.name.clone(), message.versions);
        self.messages.push(message);
        self.open_struct(&name, versions)
    }

    fn open_struct(&mut self, name: &str, versions: Versions) -> Result<(), String> {
        let message = self.messages.last_mut().ok_or("a struct before any message")?;
        if message.structs.iter().any(|s| s.name == name) {
            return Err(format!("a second struct {name} in {}", message.name));
        }
        self.open.push((message.structs.len(), versions));
        message.structs.push(Struct { name: name.to_string(), fields: Vec::new() });
        Ok(())
    }
}

fn header(line: &str) -> Result<Message, String> {
    let mut words = line.split_whitespace();
    let kind_word = words.next().unwrap_or_default();
    let name = words.next().ok_or("a message without a name")?.to_string();
    let (mut key, mut versions, mut flexible) = (None, None, None);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` without a value"))?;
        match word {
            "key" => key = Some(value.parse::<i16>().map_err(|_| format!("`{value}` is not a key"))?),
            "versions" => versions = Some(Versions::parse(value, i16::MAX)?),
            "flexible" => flexible = Some(Versions::parse(value, i16::MAX)?.first),
            _ => return Err(format!("unknown word `{word}`")),
        }
    }
    let versions = versions.ok_or("a message without versions")?;
    let kind = match (kind_word, key) {
        ("request", Some(key)) => Kind::Request { key },
        ("response", Some(key)) => Kind::Response { key },
        ("header", None) => Kind::Header,
        ("data", None) => Kind::Data,
        _ => {
            return Err(
                "expected `request NAME key N`, `response NAME key N`, `header NAME` or `data NAME`".into()
            );
        }
    };
    Ok(Message { kind, name, versions, flexible, structs: Vec::new() })
}

/// `name type[?[versions]] [versions] [= default] [ignorable] [tag N] [inflexible]`
fn field(line: &str, parent: Versions) -> Result<Field, String> {
    let mut words = line.split_whitespace().peekable();
    let name = words.next().ok_or("a field without a name")?.to_string();
    let type_word = words.next().ok_or("a field without a type")?;
    let versions = match words.next_if(|w| w.starts_with(|c: char| c.is_ascii_digit())) {
        Some(word) => Versions::parse(word, parent.last)?,
        None => parent,
    };
    let (type_name, nullable) = match type_word.split_once('?') {
        None => (type_word, None),
        Some((name, "")) => (name, Some(versions)),
        Some((name, range)) => (name, Some(Versions::parse(range, versions.last)?)),
    };
    let mut field = Field {
        name,
        ty: Type::parse(type_name),
        versions,
        nullable,
        default: None,
        ignorable: false,
        tag: None,
        inflexible: false,
    };
    while let Some(word) = words.next() {
        match word {
            "=" => field.default = Some(words.next().ok_or("`=` without a value")?.to_string()),
            "tag" => {
                let number = words.next().ok_or("`tag` without a number")?;
                field.tag = Some(number.parse().map_err(|_| format!("`{number}` is not a tag"))?);
            }
            "ignorable" => field.ignorable = true,
            "inflexible" => field.inflexible = true,
            _ => return Err(format!("unknown word `{word}`")),
        }
    }
    if field.tag.is_some() && field.ty == Type::Records {
        return Err(
            "records cannot be tagged: their bytes are not copied, so their size comes too late".into()
        );
    }
    Ok(field)
}
