//! A Rust file seen three ways: as text, as code without comments and literals, as prose without code.
//! All three have the same lines.

use std::path::Path;

#[derive(Debug)]
pub(super) struct Source {
    text: String,
    code: String,
    prose: String,
}

/// `mod name;`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    pub(super) name: String,
    /// By `#[path = "…"]`.
    pub(super) path: Option<String>,
    /// Under `#[cfg(test)]`.
    pub(super) is_test: bool,
}

impl Source {
    pub(super) fn read(root: &Path, file: &str) -> Source {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        Source::new(text)
    }

    fn new(text: String) -> Source {
        let (code, prose) = split(&text);
        Source { text, code, prose }
    }

    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    pub(super) fn text_lines_with(&self, word: &str) -> Vec<usize> {
        lines_with(&self.text, word)
    }

    pub(super) fn code_lines_with(&self, word: &str) -> Vec<usize> {
        lines_with(&self.code, word)
    }

    pub(super) fn prose_lines_with(&self, words: &str) -> Vec<usize> {
        lines_with(&self.prose, words)
    }

    /// Leaves out what stands under `#[cfg(test)]`; finds `std::net` in `use std::{io, net::IpAddr}` as well.
    pub(super) fn production_lines_with(&self, name: &str) -> Vec<usize> {
        let code = without_tests(&self.code);
        let mut lines = lines_with(&code, name);
        for (line, path) in used_paths(&code) {
            if path == name || path.starts_with(&format!("{name}::")) {
                lines.push(line);
            }
        }
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    pub(super) fn allowances_without_reason(&self) -> Vec<usize> {
        let starts = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
        let found = starts.iter().flat_map(|start| self.code.match_indices(start));
        let bare = found.filter(|(at, start)| {
            let inside = self.code.get(at + start.len()..).unwrap_or_default();
            !inside.split(']').next().unwrap_or_default().contains("reason =")
        });
        bare.map(|(at, _)| line_at(&self.code, at)).collect()
    }

    pub(super) fn declarations(&self) -> Vec<Declaration> {
        let mut found = Vec::new();
        let mut path = None;
        let mut is_test = false;
        for (code, text) in self.code.lines().zip(self.text.lines()) {
            let code = code.trim();
            if code.starts_with("#[path") {
                path = text.split('"').nth(1).map(str::to_string);
            } else if code.starts_with("#[cfg(test)]") {
                is_test = true;
            } else if !code.is_empty() && !code.starts_with("#[") {
                if let Some(name) = declared(code) {
                    found.push(Declaration { name: name.to_string(), path: path.clone(), is_test });
                }
                (path, is_test) = (None, false);
            }
        }
        found
    }
}

/// The name in `pub(crate) mod name;`.
fn declared(line: &str) -> Option<&str> {
    let item = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => line,
    };
    item.trim_start().strip_prefix("mod ")?.strip_suffix(';').map(str::trim)
}

/// Lines (from 1) where `word` stands by itself, not as a part of a longer name.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let alone = text.match_indices(word).filter(|(at, _)| {
        let before = text.get(..*at).unwrap_or_default().chars().next_back();
        let after = text.get(at + word.len()..).unwrap_or_default().chars().next();
        let starts_free = !word.starts_with(is_name) || !before.is_some_and(is_name);
        let ends_free = !word.ends_with(is_name) || !after.is_some_and(is_name);
        starts_free && ends_free
    });
    let mut lines: Vec<usize> = alone.map(|(at, _)| line_at(text, at)).collect();
    lines.dedup();
    lines
}

fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// Every path that a `use` brings in, written out, with its line.
fn used_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let starts_item =
            code.get(..at).unwrap_or_default().chars().next_back().is_none_or(char::is_whitespace);
        let tree = code.get(at + 4..).unwrap_or_default().split(';').next().unwrap_or_default();
        if starts_item {
            let tree: String = tree.chars().filter(|c| !c.is_whitespace()).collect();
            let mut paths = Vec::new();
            expand("", &tree, &mut paths);
            found.extend(paths.into_iter().map(|path| (line_at(code, at), path)));
        }
    }
    found
}

/// Writes `a::{b, c::{d, e}}` out as `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{tree}"));
        return;
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner.get(start..at).unwrap_or_default();
                if !part.is_empty() {
                    expand(&format!("{prefix}{head}"), part, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Blanks every item that follows `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut chars: Vec<char> = code.chars().collect();
    let attribute: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while at < chars.len() {
        if !chars.get(at..).is_some_and(|rest| rest.starts_with(&attribute)) {
            at += 1;
            continue;
        }
        let end = item_end(&chars, at + attribute.len());
        for c in chars.iter_mut().take(end).skip(at).filter(|c| **c != '\n') {
            *c = ' ';
        }
        at = end;
    }
    chars.into_iter().collect()
}

/// Where the item that begins at `start` is over: after its `;`, its last brace, or a field's comma.
fn item_end(code: &[char], start: usize) -> usize {
    let (mut round, mut braces) = (0, 0);
    for (at, c) in code.iter().enumerate().skip(start) {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => braces += 1,
            '}' if braces <= 1 => return at + usize::from(braces == 1),
            '}' => braces -= 1,
            ';' | ',' if round == 0 && braces == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Code with comments and literals blanked, and comments with code and literals blanked.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut prose) = (String::new(), String::new());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or_default();
        let follows_name = at > 0 && chars.get(at - 1).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let (length, is_comment) = match rest {
            ['/', '/', ..] => (rest.iter().take_while(|c| **c != '\n').count(), true),
            ['/', '*', ..] => (block_comment(rest), true),
            ['"', ..] => (quoted(rest), false),
            ['r', ..] if !follows_name && raw_string(rest).is_some() => {
                (raw_string(rest).unwrap_or(1), false)
            }
            ['b', after @ ..] if !follows_name && raw_string(after).is_some() => {
                (1 + raw_string(after).unwrap_or(0), false)
            }
            ['\'', '\\', ..] => (quoted(rest), false),
            ['\'', _, '\'', ..] => (3, false),
            _ => (0, false),
        };
        if length == 0 {
            code.push(c);
            prose.push(if c == '\n' { '\n' } else { ' ' });
            at += 1;
            continue;
        }
        for c in rest.iter().take(length) {
            let blank = if *c == '\n' { '\n' } else { ' ' };
            code.push(blank);
            prose.push(if is_comment { *c } else { blank });
        }
        at += length;
    }
    (code, prose)
}

/// The length of a literal up to the quote it began with, past escaped ones.
fn quoted(text: &[char]) -> usize {
    let quote = text.first();
    let mut escaped = false;
    for (at, c) in text.iter().enumerate().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if Some(c) == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match text.get(at..) {
            Some(['/', '*', ..]) => (depth, at) = (depth + 1, at + 2),
            Some(['*', '/', ..]) if depth == 1 => return at + 2,
            Some(['*', '/', ..]) => (depth, at) = (depth - 1, at + 2),
            Some([_, ..]) => at += 1,
            _ => return text.len(),
        }
    }
}

/// The length of `r"…"` or `r#"…"#` at the start of `text`.
fn raw_string(text: &[char]) -> Option<usize> {
    let rest = text.strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    let body = rest.get(hashes..)?.strip_prefix(&['"'])?;
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let close = body.windows(end.len()).position(|window| window == end)?;
    Some(1 + hashes + 1 + close + end.len())
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "let a = \"tokio \\\" // no\"; // for a\nlet b = r#\"x\" tokio\"#; /* c /* d */ e */ let q = '\"'; tokio::f();\n";
    let source = Source::new(text.to_string());
    assert_eq!(source.code_lines_with("tokio"), [2]);
    assert_eq!(source.prose_lines_with("for a"), [1]);
    assert_eq!(source.prose_lines_with("no"), [0; 0]);
    assert!(source.code.trim_end().ends_with("let q =    ; tokio::f();"), "{}", source.code);
    assert!(source.prose.contains("/* c /* d */ e */"), "{}", source.prose);
}

#[test]
fn tests_are_not_production() {
    let text = "#[cfg(test)]\nuse tokio::a;\nfn f<'a>(x: &'a [u8; 2]) {}\n#[cfg(test)]\nmod tests {\n fn g() { tokio::b() }\n}\n\
                struct S {\n #[cfg(test)]\n t: tokio::T,\n u: tokio::U,\n}\n";
    assert_eq!(Source::new(text.to_string()).production_lines_with("tokio"), [11]);
}

#[test]
fn grouped_uses_are_written_out() {
    let source = Source::new("use std::{\n    io,\n    net::{IpAddr, TcpStream},\n};\n".to_string());
    assert_eq!(source.production_lines_with("std::net"), [1]);
    assert_eq!(source.production_lines_with("std::ne"), [0; 0]);
}

#[test]
fn modules_are_found_with_their_attributes() {
    let text = "#[path = \"a/b.rs\"]\nmod b;\n#[cfg(test)]\npub(crate) mod c;\npub mod d;\nmod e {\n}\n";
    let declaration = |name: &str, path: Option<&str>, is_test| Declaration {
        name: name.to_string(),
        path: path.map(str::to_string),
        is_test,
    };
    assert_eq!(
        Source::new(text.to_string()).declarations(),
        [
            declaration("b", Some("a/b.rs"), false),
            declaration("c", None, true),
            declaration("d", None, false)
        ]
    );
}

#[test]
fn allowances_want_reasons() {
    let text =
        "#[allow(dead_code)]\nfn a() {}\n#[allow(\n    dead_code,\n    reason = \"x\"\n)]\nfn b() {}\n";
    assert_eq!(Source::new(text.to_string()).allowances_without_reason(), [1]);
}
