//! Consumer groups: our coordinator beside Apache's.

mod answers;
