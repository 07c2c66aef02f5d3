//! How a tool of Kafka's ends when it does not succeed.

use std::fmt;

/// A Java exception, as far as its first line goes: what scripts look for in the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    pub(super) class: &'static str,
    pub(super) message: String,
    /// Class and message of what is behind it.
    pub(super) cause: Option<(&'static str, String)>,
}

impl Exception {
    pub(super) fn new(class: &'static str, message: impl Into<String>) -> Exception {
        Exception { class, message: message.into(), cause: None }
    }

    pub(super) fn caused_by(self, class: &'static str, message: impl Into<String>) -> Exception {
        Exception { cause: Some((class, message.into())), ..self }
    }

    /// As another exception that has this one for its cause and no words of its own.
    pub(super) fn wrapped_in(self, class: &'static str) -> Exception {
        Exception { class, message: self.to_string(), cause: self.cause }
    }

    /// As Java prints it.
    pub(super) fn trace(&self) -> String {
        let cause = self.cause.as_ref().map(|(class, message)| format!("Caused by: {class}: {message}\n"));
        format!("{self}\n{}", cause.unwrap_or_default())
    }

    /// As a tool that catches it in `main` prints it on stderr: the message, then the trace.
    pub(super) fn caught(&self) -> String {
        format!("{}\n{}\n", self.message, self.trace())
    }

    /// As Java prints what nobody catches.
    pub(super) fn uncaught(&self) -> String {
        format!("Exception in thread \"main\" {}", self.trace())
    }
}

/// `Throwable.toString`.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_stay_where_they_were() {
        let plain = Exception::new("a.B", "no");
        assert_eq!(plain.caught(), "no\na.B: no\n\n");
        assert_eq!(plain.uncaught(), "Exception in thread \"main\" a.B: no\n");
        let caused = plain.caused_by("c.D", "why");
        assert_eq!(caused.caught(), "no\na.B: no\nCaused by: c.D: why\n\n");
        assert_eq!(caused.uncaught(), "Exception in thread \"main\" a.B: no\nCaused by: c.D: why\n");
    }

    #[test]
    fn a_wrapper_says_what_it_holds() {
        let wrapped = Exception::new("a.B", "no").caused_by("c.D", "why").wrapped_in("e.F");
        assert_eq!(wrapped.trace(), "e.F: a.B: no\nCaused by: c.D: why\n");
    }
}
