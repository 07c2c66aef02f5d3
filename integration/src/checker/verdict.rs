//! What the rules found, as a table for people.

use std::fmt;

/// Of each rule's violations only so many are told one by one.
const TOLD: usize = 5;

/// What one rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What must hold, in words.
    pub rule: &'static str,
    /// How many things the rule was held against. None at all: it proves nothing.
    pub checked: u64,
    /// How many it could not be held against, since nobody answered.
    pub unasked: u64,
    /// How many violated it.
    pub violations: u64,
    /// The first of them.
    pub told: Vec<String>,
}

impl Finding {
    pub fn of(rule: &'static str) -> Finding {
        Finding { rule, checked: 0, unasked: 0, violations: 0, told: Vec::new() }
    }

    /// Holds the rule against one more thing; `wrong` says what is wrong with it.
    pub fn check(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violations += 1;
            if self.told.len() < TOLD {
                self.told.push(wrong());
            }
        }
    }

    pub fn holds(&self) -> bool {
        self.violations == 0 && self.checked > 0
    }
}

/// All findings. Clean only if every rule was held against something and found nothing.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(Finding::holds)
    }

    /// The rules that do not hold.
    pub fn broken(&self) -> Vec<&'static str> {
        self.findings.iter().filter(|finding| !finding.holds()).map(|finding| finding.rule).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.rule.len()).max().unwrap_or(0);
        for finding in &self.findings {
            let word = match (finding.checked, finding.violations) {
                (0, _) => "UNPROVEN",
                (_, 0) => "holds",
                _ => "BROKEN",
            };
            write!(
                f,
                "{:width$}  {word:8}  {} checked, {} violations",
                finding.rule, finding.checked, finding.violations
            )?;
            let unasked = match finding.unasked {
                0 => String::new(),
                count => format!(", {count} not to be asked"),
            };
            writeln!(f, "{unasked}")?;
            for told in &finding.told {
                writeln!(f, "    {told}")?;
            }
            if finding.violations > finding.told.len() as u64 {
                writeln!(f, "    … and {} more", finding.violations - finding.told.len() as u64)?;
            }
        }
        write!(f, "verdict: {}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_was_held_against_nothing_proves_nothing() {
        let mut holds = Finding::of("holds");
        holds.check(true, String::new);
        holds.unasked = 3;
        let verdict = |findings: &[Finding]| Verdict { findings: findings.to_vec() };
        assert!(verdict(&[holds.clone()]).is_clean());
        assert!(!verdict(&[holds.clone(), Finding::of("idle")]).is_clean());
        assert!(!verdict(&[]).is_clean());
        let mut broken = Finding::of("broken");
        for number in 0..7 {
            broken.check(false, || format!("violation {number}"));
        }
        let text = verdict(&[holds, broken]).to_string();
        assert_eq!(
            text,
            "holds   holds     1 checked, 0 violations, 3 not to be asked\n\
             broken  BROKEN    7 checked, 7 violations\n    violation 0\n    violation 1\n    violation 2\n    \
             violation 3\n    violation 4\n    … and 2 more\nverdict: NOT CLEAN"
        );
    }
}
