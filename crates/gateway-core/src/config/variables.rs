//! Variables: from the environment, or from a file that `<NAME>_FILE` names.

use std::io;
use std::path::Path;

use super::fault::Report;
use crate::json::Tree;

/// Where variables and files come from: the process' own, or a test's.
pub trait Environment {
    /// The value of a variable, if it is text.
    fn variable(&self, name: &str) -> Option<String>;

    /// Is a variable set, be it to something that is no text?
    fn is_set(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As the file system says.
    fn read_file(&self, path: &Path) -> io::Result<String>;
}

/// A variable: its own value, or its file's text without the newline at the end. Empty is unset.
pub(super) fn variable(
    environment: &dyn Environment,
    name: &str,
    report: &mut Report,
) -> Option<String> {
    let mut set = |name: &str| {
        let value = environment.variable(name);
        // Taken for none, a protection that was asked for would be off.
        if value.is_none() && environment.is_set(name) {
            report.fault(name, "is not UTF-8", "set it to text, or remove it");
        }
        value.filter(|value| !value.is_empty())
    };
    let file_variable = format!("{name}_FILE");
    let (value, file) = (set(name), set(&file_variable));
    match (value, file) {
        (value, None) => value,
        (Some(_), Some(_)) => {
            report.fault(
                name,
                format!("is set, and so is {file_variable}"),
                "keep one of them",
            );
            None
        }
        (None, Some(path)) => match environment.read_file(Path::new(&path)) {
            Ok(text) => {
                Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|t| !t.is_empty())
            }
            Err(error) => {
                let problem = format!("names a file that cannot be read ({})", error.kind());
                report.fault(file_variable, problem, "check the path and its permissions");
                None
            }
        },
    }
}

/// Replaces every `{{NAME}}` in the texts and keys of a document. What comes in is not looked at again.
///
/// This happens after parsing: a secret with a quote in it cannot break the document.
pub(super) fn substitute(
    tree: &mut Tree,
    pointer: &str,
    lookup: &mut dyn FnMut(&str, &mut Report) -> Option<String>,
    report: &mut Report,
) {
    match tree {
        Tree::Text(text) => *text = replaced(text, pointer, lookup, report),
        Tree::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let pointer = super::object::join(pointer, &index.to_string());
                substitute(item, &pointer, lookup, report);
            }
        }
        Tree::Object(entries) => {
            for (key, value) in entries {
                let here = super::object::join(pointer, key);
                *key = replaced(key, &here, lookup, report);
                substitute(value, &here, lookup, report);
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => {}
    }
}

fn replaced(
    text: &str,
    pointer: &str,
    lookup: &mut dyn FnMut(&str, &mut Report) -> Option<String>,
    report: &mut Report,
) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            report.fault(
                pointer,
                "has {{ and no }} behind it",
                "close it, or write the text into a variable",
            );
            break;
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        result.push_str(before);
        let name = name.trim();
        if is_name(name) {
            match lookup(name, report) {
                Some(value) => result.push_str(&value),
                None => {
                    report.fault(
                        pointer,
                        format!("needs the variable {name}, which is not set"),
                        format!("set {name} or {name}_FILE"),
                    );
                    // Not empty, so that its absence is not reported as well.
                    result.push_str("{{unset}}");
                }
            }
        } else {
            report.fault(
                pointer,
                "has {{…}} with something that is no variable's name",
                "use letters, digits and _",
            );
        }
        rest = after;
    }
    result.push_str(rest);
    result
}
