//! Query parameters of the Management API: known ones only, each of its type.

use super::Problem;

/// A parameter that a call takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// As Auth0's error texts have it.
    pub(super) description: &'static str,
}

/// The parameters of one call.
#[derive(Debug)]
pub(super) struct Query {
    known: &'static [Parameter],
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the query; a parameter that is not known is 400.
    pub(super) fn read(text: &str, known: &'static [Parameter]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect();
        let unknown: Vec<&str> = pairs
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| known.iter().all(|parameter| parameter.name != *name))
            .collect();
        if unknown.is_empty() {
            Ok(Self { known, pairs })
        } else {
            let reason = format!("Additional properties not allowed: {}", unknown.join(","));
            Err(Problem::query(&reason, "", ""))
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn problem(&self, name: &str, reason: &str) -> Problem {
        let mut known = self.known.iter();
        let parameter = known.find(|parameter| parameter.name == name);
        Problem::query(
            reason,
            name,
            parameter.map_or("", |parameter| parameter.description),
        )
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.problem(name, "Expected type boolean but found type string")),
        }
    }

    pub(super) fn number(
        &self,
        name: &str,
        minimum: u64,
        maximum: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let Ok(number) = text.parse::<i128>() else {
            return Err(self.problem(name, "Expected type integer but found type string"));
        };
        if number < i128::from(minimum) {
            let reason = format!("Value {number} is less than minimum {minimum}");
            return Err(self.problem(name, &reason));
        }
        match u64::try_from(number)
            .ok()
            .filter(|number| *number <= maximum)
        {
            Some(number) => Ok(Some(number)),
            None => {
                let reason = format!("Value {number} is greater than maximum {maximum}");
                Err(self.problem(name, &reason))
            }
        }
    }

    /// The names of a comma-separated list, all of them among `values`.
    pub(super) fn fields(&self, name: &str, values: &[&str]) -> Result<Vec<String>, Problem> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        if names.iter().all(|name| values.contains(&name.as_str())) {
            return Ok(names);
        }
        let reason = format!(
            "String '{text}' does not match pattern. Must be a comma separated list of the \
             following values: {}",
            values.join(",")
        );
        Err(self.problem(name, &reason))
    }
}
