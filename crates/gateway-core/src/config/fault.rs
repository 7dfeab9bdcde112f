//! What is wrong with a configuration, all of it at once.

use std::collections::BTreeSet;
use std::fmt;

/// One thing that is wrong: where, what, and the mend. Never holds a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Name of the variable, or JSON pointer (RFC 6901) into `config.json`.
    pub location: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

/// Something that works, and that an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the variable, or JSON pointer into `config.json`.
    pub location: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "{count} {noun} in the configuration:")?;
        for Fault {
            location,
            problem,
            mend,
        } in &self.0
        {
            write!(f, "\n  {location}: {problem}; {mend}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

/// Collects while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
    /// Places where more that is wrong is but a consequence.
    settled: BTreeSet<String>,
}

impl Report {
    pub(super) fn fault(
        &mut self,
        location: impl Into<String>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (location, problem, mend) = (location.into(), problem.into(), mend.into());
        if self.settled.contains(&location) {
            return;
        }
        self.faults.push(Fault {
            location,
            problem,
            mend,
        });
    }

    pub(super) fn warn(&mut self, location: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Warning {
            location: location.into(),
            message: message.into(),
        });
    }

    /// One mend, one fault: where there is one already, no other is noted from now on.
    pub(super) fn settle(&mut self) {
        let locations = self.faults.iter().map(|fault| fault.location.clone());
        self.settled.extend(locations);
    }

    /// The faults, in order and each once.
    pub(super) fn into_faults(mut self) -> Faults {
        self.faults.sort();
        self.faults.dedup();
        Faults(self.faults)
    }
}
