//! Recordings of what command line tools print, as text: one case after the other, between them events that
//! change the world.
//!
//! ```text
//! # a heading
//!
//! ## slug (3.9.1)                  the version of the tool
//! # a remark
//! -- file NAME                     a file in the tool's folder
//! ...
//! $ kafka-topics --list
//! exit 0
//! -- stdin                         a section that is absent was empty
//! ...
//! \ no newline at end              behind a section whose last line has none
//! -- stdout
//! ...
//! -- stderr
//! ...
//!                                  one empty line ends a case
//! ! an event without record
//! ```
//! `<name>` stands for a text that differs from run to run, `<stack>` for the frames of a Java stack trace.

use regex::Regex;

const NO_NEWLINE: &str = "\\ no newline at end";

/// A recording, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Heading(String),
    Event(String),
    Case(Case),
}

/// One run of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Case {
    pub slug: String,
    pub version: String,
    /// Name and content.
    pub files: Vec<(String, String)>,
    /// As Kafka's script is named, or a program such as `timeout` that runs it.
    pub tool: String,
    /// What follows the tool's name, with `$` variables not replaced.
    pub arguments: Vec<String>,
    pub stdin: String,
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    /// What the tool told through its log, which goes to stderr as well.
    pub log: String,
}

impl Transcript {
    pub fn parse(text: &str) -> Transcript {
        let lines: Vec<&str> = text.lines().collect();
        let is_step = |at: usize| {
            let begins = ["# ", "! ", "## "].iter().any(|mark| lines[at].starts_with(mark));
            // A remark follows its case's title, not an empty line.
            begins && (at == 0 || lines[at - 1].is_empty() || lines[at - 1].starts_with("# "))
                || lines[at].starts_with("## ")
        };
        let starts: Vec<usize> = (0..lines.len()).filter(|&at| is_step(at)).collect();
        let ends = starts.iter().skip(1).copied().chain([lines.len()]);
        let steps = starts.iter().zip(ends).map(|(&start, end)| step(&lines[start..end]));
        Transcript { steps: steps.collect() }
    }
}

fn step(lines: &[&str]) -> Step {
    let first = lines[0];
    if let Some(title) = first.strip_prefix("## ") {
        return Step::Case(case(title, &lines[1..]));
    }
    match first.strip_prefix("! ") {
        Some(event) => Step::Event(event.to_owned()),
        None => Step::Heading(first.trim_start_matches("# ").to_owned()),
    }
}

fn case(title: &str, lines: &[&str]) -> Case {
    let (slug, version) = title.split_once(" (").unwrap_or((title, ""));
    let mut case =
        Case { slug: slug.to_owned(), version: version.trim_end_matches(')').to_owned(), ..Case::default() };
    // The empty line behind the case is not of its output.
    let lines = lines.strip_suffix(&[""]).unwrap_or(lines);
    let mut section = String::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("-- ") {
            section = name.to_owned();
            if let Some(file) = section.strip_prefix("file ") {
                case.files.push((file.to_owned(), String::new()));
            }
        } else if let Some(command) = line.strip_prefix("$ ") {
            section.clear();
            let mut words = words(command);
            case.arguments = words.split_off(1);
            case.tool = words.concat();
        } else if let Some(code) = line.strip_prefix("exit ").filter(|_| section.is_empty()) {
            case.exit = code.parse().unwrap_or_else(|e| panic!("{title}: exit {code}: {e}"));
        } else {
            let text = match section.as_str() {
                "stdin" => &mut case.stdin,
                "stdout" => &mut case.stdout,
                "stderr" => &mut case.stderr,
                "log" => &mut case.log,
                file if file.starts_with("file ") => &mut case.files.last_mut().expect("just pushed").1,
                // A remark.
                _ => continue,
            };
            if *line == NO_NEWLINE {
                text.pop();
                continue;
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    case
}

/// The words of a shell command without anything but single quotes in it.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    // `<x, 250 times>` is one word.
    let mut is_placeholder = false;
    for c in command.chars() {
        match c {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted && !is_placeholder => words.extend(word.take()),
            c => {
                is_placeholder = c == '<' || (is_placeholder && c != '>');
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    words
}

/// A pattern for what a tool may print: the text as it stands, with the named placeholders as given.
pub fn pattern(text: &str, placeholders: &[(&str, &str)]) -> Regex {
    let mut expression = String::from(r"\A");
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        expression.push_str(&regex::escape(&rest[..at]));
        rest = &rest[at..];
        let found = placeholders.iter().find(|(name, _)| {
            rest.strip_prefix('<').and_then(|r| r.strip_prefix(name)).is_some_and(|r| r.starts_with('>'))
        });
        match found {
            Some((name, class)) => {
                expression.push_str(&format!("(?:{class})"));
                rest = &rest[name.len() + 2..];
            }
            None => {
                expression.push('<');
                rest = &rest[1..];
            }
        }
    }
    expression.push_str(&regex::escape(rest));
    Regex::new(&(expression + r"\z")).expect("escaped text and known classes make a pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_events_are_read() {
        let text = "\
# about

## one (3.9.1)
# a remark
-- file f.properties
a=b
-- stdin
in
\\ no newline at end
$ tool --topic 'a b' --name <x, 2 times> ''
exit 1
-- stdout

-- stderr
no
<stack>
-- log
[<timestamp>] ERROR so

# heading

! something happened

## two (2.8.2)
$ tool
exit 0
";
        let steps = Transcript::parse(text).steps;
        let case = Case {
            slug: "one".into(),
            version: "3.9.1".into(),
            files: vec![("f.properties".into(), "a=b\n".into())],
            tool: "tool".into(),
            stdin: "in".into(),
            arguments: ["--topic", "a b", "--name", "<x, 2 times>", ""].map(String::from).to_vec(),
            exit: 1,
            stdout: "\n".into(),
            stderr: "no\n<stack>\n".into(),
            log: "[<timestamp>] ERROR so\n".into(),
        };
        let two =
            Case { slug: "two".into(), version: "2.8.2".into(), tool: "tool".into(), ..Case::default() };
        assert_eq!(
            steps,
            [
                Step::Heading("about".into()),
                Step::Case(case),
                Step::Heading("heading".into()),
                Step::Event("something happened".into()),
                Step::Case(two)
            ]
        );
    }

    #[test]
    fn placeholders_stand_for_their_class_alone() {
        let pattern = pattern("id <id> of <String: x>\n", &[("id", "[0-9]+")]);
        assert!(pattern.is_match("id 42 of <String: x>\n"));
        assert!(!pattern.is_match("id x of <String: x>\n"));
        assert!(!pattern.is_match("id 42 of <String: x>\nmore"));
    }
}
