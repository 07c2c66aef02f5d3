//! The table of options that Kafka's tools print (jopt-simple's help formatter): two columns in 80
//! characters, every line padded with blanks.

use super::options::OptionSpec;

const WIDTH: usize = 80;
const SEPARATOR: usize = 2;
/// The options have at most half of it; what they do not need, the descriptions may have.
const COLUMN: usize = (WIDTH - SEPARATOR) / 2;
/// What a line begins with that continues the one above.
const INDENT: &str = "  ";

/// The options by name, below a heading.
pub(super) fn table(specs: &[OptionSpec]) -> String {
    let mut rows = vec![("Option".to_owned(), "Description"), ("------".to_owned(), "-----------")];
    let mut sorted: Vec<&OptionSpec> = specs.iter().collect();
    sorted.sort_by_key(|spec| spec.name);
    rows.extend(sorted.into_iter().map(|spec| (title(spec), spec.description.as_ref())));

    let unwrapped = rows.iter().map(|(option, _)| option.len()).max().unwrap_or(0);
    let room = WIDTH - SEPARATOR - unwrapped.min(COLUMN);
    let cells: Vec<(Vec<String>, Vec<String>)> =
        rows.iter().map(|(option, description)| (wrap(option, COLUMN), wrap(description, room))).collect();
    let widest = |lines: &mut dyn Iterator<Item = &String>| lines.map(String::len).max().unwrap_or(0);
    let option_width = widest(&mut cells.iter().flat_map(|(option, _)| option));
    let description_width = widest(&mut cells.iter().flat_map(|(_, description)| description));

    let mut table = String::new();
    for (left, right) in &cells {
        for line in 0..left.len().max(right.len()) {
            let cell = |cells: &[String]| cells.get(line).cloned().unwrap_or_default();
            let (left, right) = (cell(left), cell(right));
            let between = " ".repeat(SEPARATOR);
            table.push_str(&format!("{left:option_width$}{between}{right:description_width$}\n"));
        }
    }
    table
}

fn title(spec: &OptionSpec) -> String {
    let Some(value) = spec.value else { return format!("--{}", spec.name) };
    let said = match (value.kind, value.described_as) {
        ("", "") => return format!("--{}", spec.name),
        (kind, "") => kind.to_owned(),
        ("", described_as) => described_as.to_owned(),
        (kind, described_as) => format!("{kind}: {described_as}"),
    };
    match value.is_optional {
        true => format!("--{} [{said}]", spec.name),
        false => format!("--{} <{said}>", spec.name),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    text.trim().split('\n').flat_map(|line| wrap_line(line, width)).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in words(line) {
        if piece.len() + word.len() > width {
            pieces.push(piece.trim_end().to_owned());
            piece = INDENT.to_owned();
        }
        piece.push_str(word);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Where Java's `BreakIterator` would break the lines of such English text: after blanks and hyphens, and within a
/// word after a full stop, colon or comma and before a bracket.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut before = None;
    for (at, c) in line.char_indices() {
        let breaks = match before {
            Some(' ') => c != ' ',
            Some('-') => c != '-' && c != ' ',
            Some('.' | ':') => c.is_alphanumeric(),
            Some(',') => c.is_alphabetic(),
            Some(before) => c == '(' && before.is_alphanumeric(),
            None => false,
        };
        if breaks {
            words.extend(line.get(start..at));
            start = at;
        }
        before = Some(c);
    }
    words.extend(line.get(start..));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options::{flag, string};

    #[test]
    fn long_texts_are_wrapped_in_both_columns() {
        let specs = [
            string("server", "where to find the server", "Where the server is, as host.\nSecond line of it"),
            flag("all", "Take all of what there is with a --long-option and throttled.replicas."),
        ];
        assert_eq!(
            table(&specs),
            "\
Option                               Description                          
------                               -----------                          
--all                                Take all of what there is with a --  
                                       long-option and throttled.replicas.
--server <String: where to find the  Where the server is, as host.        
  server>                            Second line of it                    
"
        );
    }
}
