//! Conditions, parsed: what `_q`, `acl_rows` and the plain parameters have in common.

use auth0_api::search::Piece;
use serde_json::Number;

use super::{QueryError, printable, regex};
use crate::json::Tree;

/// A condition on users, not yet held against what Auth0 can search.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All hold. Of no conditions, everybody.
    All(Vec<Self>),
    /// At least one holds. Of no conditions, nobody.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A field passes a test.
    Field(String, Test),
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is this value, or a list with it.
    Equals(Scalar),
    /// It is on this side of a value.
    Compare(Order, Scalar),
    /// It has a value.
    Exists,
    /// It matches a pattern.
    Matches(Vec<Piece>),
    /// A plain parameter's value, whose `*` are wildcards; what it means depends on the field.
    Plain(Vec<Piece>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `$gt`
    Greater,
    /// `$gte`
    GreaterOrEqual,
    /// `$lt`
    Less,
    /// `$lte`
    LessOrEqual,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum Scalar {
    Text(String),
    Number(Number),
    Bool(bool),
}

impl Filter {
    /// Reads a filter in MongoDB's style. `parameter` is what errors call it.
    ///
    /// # Errors
    /// [`QueryError`]: no JSON, a key twice, an operator that Auth0 cannot express.
    pub fn parse(parameter: &str, json: &str) -> Result<Self, QueryError> {
        Reader { parameter }.filter(tree(parameter, json)?)
    }

    /// Reads a filter or a list of filters that must all hold.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_list(parameter: &str, json: &str) -> Result<Self, QueryError> {
        let reader = Reader { parameter };
        match tree(parameter, json)? {
            Tree::List(items) => items
                .into_iter()
                .map(|item| reader.filter(item))
                .collect::<Result<_, _>>()
                .map(Self::All),
            filter => reader.filter(filter),
        }
    }

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

fn tree(parameter: &str, json: &str) -> Result<Tree, QueryError> {
    serde_json::from_str(json).map_err(|error| {
        // What serde says of text alone repeats none of it.
        QueryError::new(parameter, format!("is not JSON that can be read: {error}"))
    })
}

struct Reader<'a> {
    parameter: &'a str,
}

impl Reader<'_> {
    fn fault(&self, message: impl Into<String>) -> QueryError {
        QueryError::new(self.parameter, message)
    }

    /// An object at the top, or an item of `$and`, `$or`, `$nor`.
    fn filter(&self, tree: Tree) -> Result<Filter, QueryError> {
        let Tree::Object(entries) = tree else {
            return Err(self.fault(format!("must be a JSON object, not {}", tree.kind())));
        };
        let entries = self.once(entries)?;
        let mut all = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            all.push(match key.as_str() {
                "$and" => Filter::All(self.filters(&key, value)?),
                "$or" => Filter::Any(self.filters(&key, value)?),
                "$nor" => Filter::Any(self.filters(&key, value)?).not(),
                "$comment" => return Err(self.unknown(&key)),
                _ if key.starts_with('$') => return Err(self.unknown(&key)),
                _ => self.field(&key, value)?,
            });
        }
        Ok(single(all))
    }

    fn filters(&self, operator: &str, value: Tree) -> Result<Vec<Filter>, QueryError> {
        match value {
            Tree::List(items) if !items.is_empty() => {
                items.into_iter().map(|item| self.filter(item)).collect()
            }
            _ => Err(self.fault(format!("needs a list with something in it for {operator}"))),
        }
    }

    /// What a field has to be: a value, or an object of operators.
    fn field(&self, name: &str, value: Tree) -> Result<Filter, QueryError> {
        match value {
            Tree::Object(entries) => {
                let operators = entries
                    .iter()
                    .filter(|(key, _)| key.starts_with('$'))
                    .count();
                if operators == 0 {
                    return Err(self.fault(format!(
                        "compares {} with a whole object, which Auth0 cannot: name the keys below it with dots",
                        printable(name)
                    )));
                }
                self.operators(name, entries)
            }
            value => self.equals(name, "$eq", value),
        }
    }

    fn operators(&self, name: &str, entries: Vec<(String, Tree)>) -> Result<Filter, QueryError> {
        let mut entries = self.once(entries)?;
        let mut all = Vec::with_capacity(entries.len());
        let options = entries
            .iter()
            .position(|(key, _)| key == "$options")
            .map(|at| entries.remove(at).1);
        if options.is_some() && !entries.iter().any(|(key, _)| key == "$regex") {
            return Err(self.fault("has $options without $regex"));
        }
        for (operator, value) in entries {
            all.push(match operator.as_str() {
                "$eq" => self.equals(name, &operator, value)?,
                "$ne" => self.equals(name, &operator, value)?.not(),
                "$in" => Filter::Any(self.each(name, &operator, value)?),
                "$nin" => Filter::Any(self.each(name, &operator, value)?).not(),
                "$all" => {
                    let all = self.each(name, &operator, value)?;
                    // MongoDB: an empty $all matches nobody.
                    if all.is_empty() {
                        Filter::Any(all)
                    } else {
                        Filter::All(all)
                    }
                }
                "$gt" => self.compare(name, &operator, Order::Greater, value)?,
                "$gte" => self.compare(name, &operator, Order::GreaterOrEqual, value)?,
                "$lt" => self.compare(name, &operator, Order::Less, value)?,
                "$lte" => self.compare(name, &operator, Order::LessOrEqual, value)?,
                "$exists" => match value {
                    Tree::Bool(true) => Filter::Field(name.to_owned(), Test::Exists),
                    Tree::Bool(false) => Filter::Field(name.to_owned(), Test::Exists).not(),
                    _ => return Err(self.fault("needs true or false for $exists")),
                },
                "$not" => match value {
                    Tree::Object(inner) if !inner.is_empty() => self.operators(name, inner)?.not(),
                    _ => return Err(self.fault("needs an object of operators for $not")),
                },
                "$elemMatch" => self.element(name, value)?,
                "$regex" => self.regex(name, value, options.as_ref())?,
                _ => return Err(self.unknown(&operator)),
            });
        }
        Ok(single(all))
    }

    /// Auth0 sees the values of a list, but not which of them belong to one element: one condition on
    /// an element can be asked, two cannot.
    fn element(&self, name: &str, value: Tree) -> Result<Filter, QueryError> {
        let Tree::Object(mut entries) = value else {
            return Err(self.fault("needs an object for $elemMatch"));
        };
        let with_options = entries.iter().any(|(key, _)| key == "$regex");
        let options = entries
            .iter()
            .position(|(key, _)| with_options && key == "$options")
            .map(|at| entries.remove(at));
        let (Some((key, value)), true) = (entries.pop(), entries.is_empty()) else {
            return Err(self.fault(
                "has an $elemMatch without exactly one condition: Auth0 cannot tell which values stand in one element",
            ));
        };
        let (name, tests) = if key.starts_with('$') {
            (
                name.to_owned(),
                [(key, value)].into_iter().chain(options).collect(),
            )
        } else {
            let path = format!("{name}.{key}");
            match value {
                Tree::Object(entries)
                    if entries.iter().filter(|(key, _)| key != "$options").count() == 1 =>
                {
                    (path, entries)
                }
                Tree::Object(_) => {
                    return Err(self.fault(
                        "has an $elemMatch with more than one operator: Auth0 cannot tell which values stand in one element",
                    ));
                }
                value => (path, vec![("$eq".to_owned(), value)]),
            }
        };
        // "An element that is not x" is not "no element is x", which is all that Auth0 can say.
        let allowed = ["$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$regex"];
        for (operator, value) in &tests {
            if !allowed.contains(&operator.as_str()) && operator != "$options" {
                return Err(self.fault(format!(
                    "has {} inside $elemMatch, which Auth0 cannot express",
                    printable(operator)
                )));
            }
            let null = match value {
                Tree::List(items) => items.contains(&Tree::Null),
                value => *value == Tree::Null,
            };
            if null {
                return Err(self.fault(
                    "has null inside $elemMatch: Auth0 cannot tell an element without the key",
                ));
            }
        }
        self.operators(&name, tests)
    }

    fn regex(&self, name: &str, value: Tree, options: Option<&Tree>) -> Result<Filter, QueryError> {
        let Tree::Text(pattern) = value else {
            return Err(self.fault("needs a string for $regex"));
        };
        match options {
            None => {}
            Some(Tree::Text(text)) if text.is_empty() => {}
            Some(Tree::Text(text)) if text == "i" && regex::ignores_case(name) => {}
            Some(Tree::Text(text)) if text == "i" => {
                return Err(self.fault(format!(
                    "has $options i, but Auth0 compares the case of {}",
                    printable(name)
                )));
            }
            Some(_) => {
                return Err(self
                    .fault("has $options that Auth0 cannot honour: only i, on e-mail and names"));
            }
        }
        let test = regex::parse(&pattern).map_err(|why| self.fault(why))?;
        Ok(Filter::Field(name.to_owned(), test))
    }

    fn each(&self, name: &str, operator: &str, value: Tree) -> Result<Vec<Filter>, QueryError> {
        match value {
            Tree::List(items) => items
                .into_iter()
                .map(|item| self.equals(name, operator, item))
                .collect(),
            _ => Err(self.fault(format!("needs a list for {operator}"))),
        }
    }

    fn equals(&self, name: &str, operator: &str, value: Tree) -> Result<Filter, QueryError> {
        // Auth0 does not index null: it is as good as absent.
        if value == Tree::Null {
            return Ok(Filter::Field(name.to_owned(), Test::Exists).not());
        }
        let value = self.scalar(operator, value)?;
        Ok(Filter::Field(name.to_owned(), Test::Equals(value)))
    }

    fn compare(
        &self,
        name: &str,
        operator: &str,
        order: Order,
        value: Tree,
    ) -> Result<Filter, QueryError> {
        let value = self.scalar(operator, value)?;
        Ok(Filter::Field(name.to_owned(), Test::Compare(order, value)))
    }

    fn scalar(&self, operator: &str, value: Tree) -> Result<Scalar, QueryError> {
        match value {
            Tree::Text(text) => Ok(Scalar::Text(text)),
            // Such a number has been rounded when it was read, or would be at Auth0.
            Tree::Number(number) if number.is_f64() && number.as_f64().is_none_or(is_inexact) => {
                Err(self.fault(format!(
                    "has a number for {operator} that is too large to be exact: send it as a string"
                )))
            }
            Tree::Number(number) => Ok(Scalar::Number(number)),
            Tree::Bool(value) => Ok(Scalar::Bool(value)),
            other => Err(self.fault(format!(
                "needs a string, a number or a boolean for {operator}, not {}",
                other.kind()
            ))),
        }
    }

    fn unknown(&self, operator: &str) -> QueryError {
        self.fault(format!(
            "has the operator {}, which is not supported",
            printable(operator)
        ))
    }

    /// Refuses a key that comes twice: the second would win, unseen.
    fn once(&self, entries: Vec<(String, Tree)>) -> Result<Vec<(String, Tree)>, QueryError> {
        for (at, (key, _)) in entries.iter().enumerate() {
            if entries.iter().take(at).any(|(before, _)| before == key) {
                return Err(self.fault(format!("has the key {} twice", printable(key))));
            }
        }
        Ok(entries)
    }
}

/// Above this not every whole number is one of the type's own.
fn is_inexact(number: f64) -> bool {
    number.abs() >= 9_007_199_254_740_992.0
}

fn single(mut all: Vec<Filter>) -> Filter {
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            all.extend(last);
            Filter::All(all)
        }
    }
}
