//! Reads variables of the environment, each also from a file.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use super::fault::Report;
use super::near::{choose, near};
use super::object::pick;

/// Where configuration comes from: the process's own environment and files, or a test's.
pub trait Environment {
    /// A variable's value; `None` when it is not set. A value that is not Unicode is best handed out
    /// with replacement characters, so that it is judged rather than overlooked.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8. Only the kind of the error is shown.
    fn read_file(&self, path: &Path) -> io::Result<String>;

    /// The names of all variables that are set, to warn about near misses; none by default.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A fault has been reported; there is no value to go on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// A value, none (not set), or a fault.
pub(super) type Read<T> = Result<Option<T>, Reported>;

/// Is this a name that a shell could set (POSIX, "Environment Variable Definition")?
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The environment under reading.
pub(super) struct Variables<'a> {
    environment: &'a dyn Environment,
    report: &'a Report,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(environment: &'a dyn Environment, report: &'a Report) -> Self {
        Self {
            environment,
            report,
            asked: RefCell::default(),
        }
    }

    /// A variable, from itself or from the file that `<NAME>_FILE` names. Empty is not set.
    pub(super) fn text(&self, name: &str) -> Read<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        let set = |name: &str| {
            self.environment
                .variable(name)
                .filter(|value| !value.is_empty())
        };
        let twin = format!("{name}_FILE");
        match (set(name), set(&twin)) {
            (value, None) => Ok(value),
            (None, Some(path)) => self.file(name, &twin, &path).map(Some),
            (Some(_), Some(_)) => {
                let problem = format!("is set, and {twin} too");
                self.refuse(name, problem, "keep one of them")
            }
        }
    }

    /// The file's text without one line break at its end, which most editors add.
    fn file(&self, name: &str, twin: &str, path: &str) -> Result<String, Reported> {
        // Somebody may have put the secret itself here: the path is not shown.
        let problem = match self.environment.read_file(Path::new(path)) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if !text.is_empty() {
                    return Ok(text.to_owned());
                }
                "names a file that is empty".to_owned()
            }
            Err(error) => format!("names a file that cannot be read ({})", error.kind()),
        };
        let mend = format!("let it name a file with the value, or set {name}");
        self.refuse(twin, problem, mend)
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Read<u64> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let mend = format!("write one from {} to {}", range.start(), range.end());
        // `u64::from_str` takes a plus sign.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.refuse(name, "is not a whole number", mend);
        }
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => self.refuse(name, "is out of range", mend),
        }
    }

    /// A value out of a list.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Read<T> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match pick(&text, choices) {
            Some(value) => Ok(Some(value)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.refuse(name, "is not a known value", choose(&text, &names))
            }
        }
    }

    /// A comma list, white space around its entries ignored; each entry is read by `entry`, which says
    /// what is wrong with it.
    pub(super) fn list<T>(
        &self,
        name: &str,
        mend: &str,
        mut entry: impl FnMut(&str) -> Result<T, &'static str>,
    ) -> Read<Vec<T>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        let mut outcome = Ok(());
        for (number, part) in (1..).zip(text.split(',')) {
            let part = part.trim();
            let read = if part.is_empty() {
                Err("is empty")
            } else {
                entry(part)
            };
            match read {
                Ok(value) => entries.push(value),
                Err(problem) => {
                    let problem = format!("has an entry (number {number}) that {problem}");
                    outcome = self.refuse(name, problem, mend);
                }
            }
        }
        outcome.map(|()| Some(entries))
    }

    /// Reports a fault of a variable.
    pub(super) fn refuse<T>(
        &self,
        name: &str,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Result<T, Reported> {
        self.report.fault(name, problem, mend);
        Err(Reported)
    }

    /// Which variables were asked for so far.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Warns about variables that nobody asked for and that look like one of `known`.
    pub(super) fn warn_of_near_misses(&self, known: &BTreeSet<String>) {
        let asked = self.asked.borrow();
        for name in self.environment.names() {
            let base = name.strip_suffix("_FILE").unwrap_or(&name);
            if asked.contains(&name) || asked.contains(base) {
                continue;
            }
            if let Some(meant) = near(base, known.iter().map(String::as_str)) {
                let message = format!("is not read; did you mean `{meant}`?");
                self.report.warn(name.as_str(), message);
            }
        }
    }
}

/// The value, or a default where there is none or a fault has been reported.
pub(super) fn or<T>(read: Read<T>, default: T) -> T {
    read.ok().flatten().unwrap_or(default)
}
