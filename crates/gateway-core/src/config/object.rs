//! Reads JSON objects key by key, and notices what was not asked for.

use std::collections::BTreeSet;

use super::fault::Report;
use crate::json::Tree;

/// An object, and where it stands.
pub(super) struct Object<'a> {
    pub(super) pointer: String,
    entries: &'a [(String, Tree)],
    known: BTreeSet<&'static str>,
}

impl<'a> Object<'a> {
    /// Looks at a value as an object. A key that comes twice is a fault.
    pub(super) fn new(pointer: String, tree: &'a Tree, report: &mut Report) -> Option<Self> {
        let Tree::Object(entries) = tree else {
            report.fault(
                shown(&pointer),
                format!("is {}", tree.kind()),
                "make it an object",
            );
            return None;
        };
        let mut seen = BTreeSet::new();
        for (key, _) in entries {
            if !seen.insert(key.as_str()) {
                report.fault(join(&pointer, key), "is given twice", "keep one of them");
            }
        }
        Some(Self {
            pointer,
            entries,
            known: BTreeSet::new(),
        })
    }

    /// All entries, for an object whose keys are names of the operator's own.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Tree)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn at(&self, key: &str) -> String {
        join(&self.pointer, key)
    }

    /// A value, if it is there and not null.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Tree> {
        self.known.insert(key);
        let found = self
            .entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value);
        found.filter(|value| !matches!(value, Tree::Null))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(name, value)| name == key && !matches!(value, Tree::Null))
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        let tree = self.get(key)?;
        text(&self.at(key), tree, report)
    }

    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<&'a str> {
        self.require(key, "a string", report);
        self.text(key, report)
    }

    /// Notes the absence of a key that has to be there.
    pub(super) fn require(&mut self, key: &'static str, what: &str, report: &mut Report) {
        if self.get(key).is_none() {
            report.fault(self.at(key), "is missing", format!("add it ({what})"));
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool, report: &mut Report) -> bool {
        match self.get(key) {
            None => default,
            Some(Tree::Bool(value)) => *value,
            Some(other) => {
                report.fault(
                    self.at(key),
                    format!("is {}", other.kind()),
                    "make it true or false",
                );
                default
            }
        }
    }

    /// A list of texts that are not empty, each once.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Vec<(String, &'a str)> {
        let at = self.at(key);
        match self.get(key) {
            None => Vec::new(),
            Some(Tree::List(items)) => {
                let mut seen = BTreeSet::new();
                let mut texts = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let at = join(&at, &index.to_string());
                    let Some(text) = text(&at, item, report) else {
                        continue;
                    };
                    if seen.insert(text) {
                        texts.push((at, text));
                    } else {
                        report.fault(at, "is in the list twice", "keep one of them");
                    }
                }
                texts
            }
            Some(other) => {
                report.fault(
                    at,
                    format!("is {}", other.kind()),
                    "make it a list of strings",
                );
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        let text = self.text(key, report)?;
        let chosen = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            report.fault(
                self.at(key),
                "is not one of its values",
                format!("use {}", words.join(", ")),
            );
        }
        chosen
    }

    /// Notes every key that was not asked for.
    pub(super) fn report_unknown(&self, report: &mut Report) {
        for (key, _) in self.entries {
            if self.known.contains(key.as_str()) {
                continue;
            }
            let near = self.known.iter().find(|known| is_near(known, key));
            let mend = match near {
                Some(known) => format!("did you mean {known}?"),
                None => {
                    let known: Vec<&str> = self.known.iter().copied().collect();
                    format!("remove it (known here: {})", known.join(", "))
                }
            };
            report.fault(join(&self.pointer, key), "is not a known key", mend);
        }
    }
}

pub(super) fn text<'a>(at: &str, tree: &'a Tree, report: &mut Report) -> Option<&'a str> {
    match tree {
        Tree::Text(text) if text.is_empty() => {
            report.fault(at, "is empty", "give it a value, or remove it");
            None
        }
        Tree::Text(text) => Some(text),
        other => {
            report.fault(at, format!("is {}", other.kind()), "make it a string");
            None
        }
    }
}

/// A JSON pointer one step further (RFC 6901, section 3).
pub(super) fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The pointer of the whole document is empty, which nobody can read.
fn shown(pointer: &str) -> &str {
    if pointer.is_empty() {
        "config.json"
    } else {
        pointer
    }
}

/// Two keys of which one may be a slip of the other: alike but for case and signs, or for one letter.
fn is_near(known: &str, given: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let (known, given) = (plain(known), plain(given));
    let (short, long) = if known.len() < given.len() {
        (&known, &given)
    } else {
        (&given, &known)
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let head = short
        .iter()
        .zip(long.iter())
        .take_while(|(a, b)| a == b)
        .count();
    let tail = short
        .iter()
        .rev()
        .zip(long.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    head + tail + 1 >= long.len()
}
