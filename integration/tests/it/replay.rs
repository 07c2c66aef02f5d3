//! Replays a recording of Kafka's tools with ours, from top to bottom.

use std::process::Command;
use std::time::{Duration, Instant};

use integration::apache::Release;
use integration::cluster::{PATIENCE, ottla};
use integration::process::{run, succeed};
use integration::stock_tool::{Done, StockTool};
use integration::transcript::{Case, Step, Transcript, pattern};
use regex::Regex;
use tempfile::TempDir;

use crate::brokers::Brokers;

pub(crate) struct Replay<'a> {
    pub(crate) brokers: &'a mut dyn Brokers,
    /// Kafka's own tool. `None`: ours.
    pub(crate) stock: Option<StockTool>,
    /// Where the tools run.
    pub(crate) folder: TempDir,
    /// Tables of options, by the versions that begin so.
    pub(crate) helps: Vec<(&'static str, String)>,
    /// What stands for a text that differs from run to run, and a pattern of such texts.
    pub(crate) placeholders: &'static [(&'static str, &'static str)],
    /// What is replaced in the tools' output before it is compared.
    pub(crate) masks: Vec<(Regex, String)>,
    /// Words of commands, and what they stand for. In what is recorded a placeholder of the same name wins: there
    /// it may stand for another such text each time.
    pub(crate) variables: Vec<(String, String)>,
    /// Cases that are not replayed, with the reason.
    pub(crate) left_out: &'static [(&'static str, &'static str)],
    /// Whether the lines of a case may come in any order.
    pub(crate) is_unordered: fn(&Case) -> bool,
}

impl<'a> Replay<'a> {
    /// The table of Kafka 3.9.1 is that of the case `help`.
    pub(crate) fn new(brokers: &'a mut dyn Brokers, recording: &str) -> Replay<'a> {
        let table = Transcript::parse(recording).steps.into_iter().find_map(|step| match step {
            Step::Case(case) if case.slug == "help" => {
                case.stderr.split_once('\n').map(|(_, table)| table.to_owned())
            }
            _ => None,
        });
        Replay {
            brokers,
            stock: None,
            folder: TempDir::new().expect("a temporary folder can be made"),
            helps: vec![("3.9", table.expect("the recording has the table of options"))],
            placeholders: &[],
            masks: Vec::new(),
            variables: Vec::new(),
            left_out: &[],
            is_unordered: |_| false,
        }
    }

    /// Runs all steps, and fails with all differences. `happen` brings about an event; `seen` is shown the
    /// output of every case that was as recorded.
    pub(crate) fn play(
        &mut self,
        steps: &[Step],
        mut happen: impl FnMut(&mut Replay<'a>, &str),
        mut seen: impl FnMut(&mut Replay<'a>, &str),
    ) {
        let mut differences = Vec::new();
        let mut compared = 0;
        for step in steps {
            match step {
                Step::Heading(_) => {}
                Step::Event(event) => happen(self, event),
                Step::Case(case) if self.is_left_out(case) => {}
                Step::Case(case) => {
                    compared += 1;
                    match self.compare(case) {
                        Ok(stdout) => seen(self, &stdout),
                        Err(difference) => differences.push(difference),
                    }
                }
            }
        }
        assert!(
            differences.is_empty(),
            "{} of {compared} cases:\n\n{}",
            differences.len(),
            differences.join("\n")
        );
        println!("{compared} cases, all as recorded");
    }

    fn is_left_out(&self, case: &Case) -> bool {
        let name = format!("{} ({})", case.slug, case.version);
        self.left_out.iter().any(|(left_out, _)| *left_out == name)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An event that is a command, with its input behind `<<<`. It has to succeed.
    pub(crate) fn run_event(&mut self, event: &str) {
        let (command, input) = event.split_once(" <<< ").unwrap_or((event, "''"));
        let input = input.trim_matches('\'').replace("\\n", "\n");
        let mut words = command.split(' ').map(|word| self.filled_in(word)).collect::<Vec<_>>().into_iter();
        let tool = words.next().expect("a command has a name");
        let arguments: Vec<String> = words.collect();
        let mut command = match tool.as_str() {
            // To bring about what our tools are shown, rather than what they do.
            "kafka-console-producer" => Release::V3_9.java("kafka.tools.ConsoleProducer"),
            "kafka-console-consumer" => Release::V3_9.java("org.apache.kafka.tools.consumer.ConsoleConsumer"),
            tool => ours(tool),
        };
        command.args(&arguments).current_dir(self.folder.path());
        succeed(&mut command, input.as_bytes(), PATIENCE * 2);
    }

    /// Runs the tool and compares. What only looks is repeated until it sees what was recorded: news spread
    /// from the controller to the other brokers after the tool that made them has ended.
    fn compare(&mut self, case: &Case) -> Result<String, String> {
        for (name, content) in &case.files {
            std::fs::write(self.folder.path().join(name), content).expect("a file can be written");
        }
        let arguments: Vec<String> = case.arguments.iter().map(|word| self.filled_in(word)).collect();
        let only_looks = arguments.iter().any(|argument| argument == "--list" || argument == "--describe");
        let (stdout, stderr) = (self.expected(case, &case.stdout), self.expected(case, &case.stderr));
        let started = Instant::now();
        loop {
            let said = self.tool(case, &arguments);
            let is_recorded = stdout.1.is_match(&said.stdout) && stderr.1.is_match(&said.stderr);
            if said.exit == case.exit && is_recorded {
                return Ok(said.stdout);
            }
            if !only_looks || started.elapsed() > PATIENCE / 3 {
                return Err(format!(
                    "## {} ({})\n$ {} {}\nrecorded: exit {}\n{}--\n{}\nsaid: exit {}\n{}--\n{}",
                    case.slug,
                    case.version,
                    case.tool,
                    arguments.join(" "),
                    case.exit,
                    stdout.0,
                    stderr.0,
                    said.exit,
                    said.stdout,
                    said.stderr
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The recorded text, and a pattern of it.
    fn expected(&self, case: &Case, text: &str) -> (String, Regex) {
        let help = self.helps.iter().find(|(version, _)| case.version.starts_with(version));
        let help = help.map_or("<help>\n", |(_, table)| table);
        let text = text.replace("<stack>\n", "").replace("<help>\n", help);
        let fixed = self.variables.iter().filter(|(name, _)| !self.is_placeholder(name));
        let text = fixed.fold(text, |text, (name, value)| text.replace(name, value));
        let text = self.in_order(case, text);
        let pattern = pattern(&text, self.placeholders);
        (text, pattern)
    }

    fn is_placeholder(&self, variable: &str) -> bool {
        let name = variable.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
        self.placeholders.iter().any(|(placeholder, _)| Some(*placeholder) == name)
    }

    fn in_order(&self, case: &Case, text: String) -> String {
        if !(self.is_unordered)(case) {
            return text;
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    pub(crate) fn filled_in(&self, word: &str) -> String {
        match word {
            "$B" => self.brokers.bootstrap(),
            "$B1" => self.brokers.address(1),
            "$B2" => self.brokers.address(2),
            "$Z" => self.brokers.zookeeper(),
            other => {
                let known = self.variable(other);
                assert!(known.is_some() || !other.starts_with('$'), "an unknown variable: {other}");
                known.unwrap_or(other).to_owned()
            }
        }
    }

    fn tool(&mut self, case: &Case, arguments: &[String]) -> Done {
        let mut done = match &mut self.stock {
            Some(stock) => {
                let done = stock.run(arguments);
                Done { stderr: without_frames(&done.stderr), ..done }
            }
            None => self.ours(case, arguments),
        };
        if !case.log.is_empty() {
            done.stderr = without_log(&done.stderr);
        }
        let masked = |text: String| {
            let masks = self.masks.iter();
            let masked = masks.fold(text, |text, (mask, with)| mask.replace_all(&text, with).into_owned());
            self.in_order(case, masked)
        };
        Done { exit: done.exit, stdout: masked(done.stdout), stderr: masked(done.stderr) }
    }

    fn ours(&self, case: &Case, arguments: &[String]) -> Done {
        let mut command = match case.tool.as_str() {
            "timeout" => {
                let mut command = Command::new("timeout");
                let (limits, rest) = arguments.split_at(3);
                let (tool, rest) = rest.split_first().expect("timeout runs something");
                // The recorded exit codes are those of the tools.
                command.arg("--preserve-status").args(limits).arg(ottla()).arg(subcommand(tool)).args(rest);
                command
            }
            tool => {
                let mut command = ours(tool);
                command.args(arguments);
                command
            }
        };
        let output = run(command.current_dir(self.folder.path()), case.stdin.as_bytes(), PATIENCE * 2);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let exit = output.status.code().unwrap_or(-1);
        Done { exit, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// As recordings are: without the frames of Java's stack traces, causes that repeat what was said, and what the
/// harness makes Kafka's tools log.
fn without_frames(text: &str) -> String {
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        let is_frame = ["\tat ", "\t... ", "WARN - ", "ERROR - "].iter().any(|begin| line.starts_with(begin));
        let cause = line.strip_prefix("Caused by: ").map(str::trim_end);
        if !is_frame && !cause.is_some_and(|cause| kept.contains(cause)) {
            kept.push_str(line);
        }
    }
    kept
}

/// What else is on stderr. How often and in which words a client tells of its troubles is its own affair.
fn without_log(text: &str) -> String {
    let entry = r"(?m)^\[[0-9-]+ [0-9:,]+\] (?:WARN .*\n|ERROR .*\n.*\n(?:Caused by: .*\n)*)";
    Regex::new(entry).expect("a right pattern").replace_all(text, "").into_owned()
}

pub(crate) fn ours(tool: &str) -> Command {
    let mut command = Command::new(ottla());
    command.arg(subcommand(tool));
    command
}

/// `kafka-topics` is `ottla topics`.
fn subcommand(tool: &str) -> &str {
    tool.strip_prefix("kafka-").unwrap_or_else(|| panic!("{tool} is no tool of Kafka's"))
}
