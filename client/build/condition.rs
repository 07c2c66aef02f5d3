//! Version checks in the generated code.

use std::fmt::{self, Write};

use crate::parse::Versions;

/// A test of `version`, given the versions in which it can be asked.
pub(crate) struct Condition(String);

impl Condition {
    pub(crate) fn of(versions: Versions, within: Versions) -> Condition {
        let lower = (versions.first > within.first).then(|| format!("version >= {}", versions.first));
        let upper = (versions.last < within.last).then(|| format!("version <= {}", versions.last));
        Condition(match (lower, upper) {
            _ if versions.first == versions.last && within != versions => {
                format!("version == {}", versions.first)
            }
            (None, None) => "true".to_string(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(lower), Some(upper)) => format!("{lower} && {upper}"),
        })
    }

    pub(crate) fn always(&self) -> bool {
        self.0 == "true"
    }

    pub(crate) fn negated(&self) -> String {
        format!("!({})", self.0)
    }

    /// `then` where the condition holds, `otherwise` elsewhere.
    pub(crate) fn wrap(&self, out: &mut String, then: &str, otherwise: &str) {
        let _ = match (self.always(), then, otherwise) {
            (_, "", "") => Ok(()),
            (true, then, _) => writeln!(out, "{then}"),
            (false, "", otherwise) => writeln!(out, "if {} {{ {otherwise} }}", self.negated()),
            (false, then, "") => writeln!(out, "if {self} {{ {then} }}"),
            (false, then, otherwise) => writeln!(out, "if {self} {{ {then} }} else {{ {otherwise} }}"),
        };
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
