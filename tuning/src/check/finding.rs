//! What a check says, and the changes that can be made and undone while the host runs.

use crate::host::Unread;
use std::fmt;

/// From the worst on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A broker does not start, or what it acknowledges is not safe.
    Fatal,
    /// It works, and costs.
    Warn,
    /// Whether this is well is not known.
    Unread,
    /// Worth knowing; whether it is to be changed depends.
    Note,
    /// There is no such thing here.
    NotApplicable,
    Fine,
}

impl Severity {
    /// As JSON and people read it; never changed once released.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Warn => "warn",
            Severity::Unread => "unread",
            Severity::Note => "note",
            Severity::NotApplicable => "not-applicable",
            Severity::Fine => "fine",
        }
    }
}

/// What one check found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Never changed once released.
    pub id: &'static str,
    /// Which of several things it is about: a folder, a device, an interface.
    pub subject: Option<String>,
    pub severity: Severity,
    pub found: String,
    /// Empty when all is well.
    pub wanted: String,
    /// What it costs, measured or documented; empty when all is well.
    pub why: String,
    pub fixes: Vec<Fix>,
}

/// How it is changed, and how that is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// A line of a shell; what it cannot say stands after `#`.
    pub command: String,
    pub undo: String,
    /// What `apply` may do by itself: safe, and undone at once.
    pub change: Option<Change>,
}

/// A value written to a file of `/proc/sys` or `/sys`, gone with the next start of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub value: String,
    /// Where the value before stands; another file where the kernel keeps two spellings of one setting.
    pub undo_path: String,
    pub undo_value: String,
}

impl Change {
    /// `before` is what the file says now.
    pub fn new(path: impl Into<String>, value: impl Into<String>, before: impl Into<String>) -> Self {
        let path = path.into();
        Self { undo_path: path.clone(), path, value: value.into(), undo_value: before.into() }
    }

    pub fn command(&self) -> String {
        write_command(&self.path, &self.value)
    }

    pub fn undo(&self) -> String {
        write_command(&self.undo_path, &self.undo_value)
    }
}

fn write_command(path: &str, value: &str) -> String {
    match path.strip_prefix("/proc/sys/") {
        Some(key) => format!("sudo sysctl -w {}={value}", key.replace('/', ".")),
        None => format!("echo {value} | sudo tee {path}"),
    }
}

impl Finding {
    fn new(id: &'static str, severity: Severity, found: impl Into<String>) -> Self {
        Self { id, subject: None, severity, found: found.into(), wanted: String::new(), why: String::new(), fixes: Vec::new() }
    }

    pub(super) fn fatal(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Severity::Fatal, found)
    }

    pub(super) fn warn(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Severity::Warn, found)
    }

    pub(super) fn note(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Severity::Note, found)
    }

    pub(super) fn fine(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Severity::Fine, found)
    }

    pub(super) fn not_applicable(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Severity::NotApplicable, found)
    }

    pub(super) fn unread(id: &'static str, unread: &Unread) -> Self {
        Self::new(id, Severity::Unread, unread.to_string())
            .wanted("a value that can be read")
            .why("Nothing is known of it, so nothing is said of it: run the check as root, or look yourself.")
    }

    pub(super) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(super) fn wanted(mut self, wanted: impl Into<String>) -> Self {
        self.wanted = wanted.into();
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// A command for the operator, and the one that undoes it.
    pub(super) fn fix(mut self, command: impl Into<String>, undo: impl Into<String>) -> Self {
        self.fixes.push(Fix { command: command.into(), undo: undo.into(), change: None });
        self
    }

    /// A change that may be made by `apply`.
    pub(super) fn change(mut self, change: Change) -> Self {
        self.fixes.push(Fix { command: change.command(), undo: change.undo(), change: Some(change) });
        self
    }

    /// What is wrong, or was not known.
    pub fn is_problem(&self) -> bool {
        self.severity < Severity::NotApplicable
    }
}

/// What stands after `#` is for people; a line of a shell takes it as it is.
fn in_prose(command: &str) -> String {
    match command.split_once("# ") {
        Some(("", text)) => text.to_owned(),
        Some((command, text)) => format!("{} ({text})", command.trim_end()),
        None => command.to_owned(),
    }
}

/// One paragraph, for a log or a reason not to start.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        write!(f, "{}", self.found)?;
        if !self.wanted.is_empty() {
            write!(f, "; wanted: {}", self.wanted)?;
        }
        if !self.why.is_empty() {
            write!(f, ". {}", self.why.trim_end_matches('.'))?;
        }
        for fix in &self.fixes {
            write!(f, ". To change it: {}", in_prose(&fix.command))?;
        }
        Ok(())
    }
}
