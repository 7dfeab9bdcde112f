//! A parsed filter against the rules, and the `q` that everything becomes.

use auth0_api::search::{Field, FieldError, Query, SearchQuery};

use super::filter::Filter;
use super::parse::{PLAIN_FIELDS, UserQuery};
use super::{QueryError, printable, value};

/// Whom a filter selects.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// Everybody: there is no condition.
    Everybody,
    /// Nobody: Auth0 need not be asked.
    Nobody,
    /// Those whom Auth0 finds.
    Users(Query),
}

/// Which connections may be touched at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Everything,
    /// These; none of them means nobody.
    Connections(Vec<String>),
}

impl Scope {
    /// May a connection be touched?
    #[must_use]
    pub fn allows(&self, connection: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Connections(names) => names.iter().any(|name| name == connection),
        }
    }
}

impl Selection {
    /// Holds a filter against the rules. `parameter` is what errors call it, where a condition does not
    /// name itself.
    ///
    /// # Errors
    /// [`QueryError`]: a field that cannot be searched, a value or an operator that does not suit it.
    pub fn compile(parameter: &str, filter: &Filter) -> Result<Self, QueryError> {
        match filter {
            Filter::All(filters) => {
                let mut queries = Vec::new();
                let mut nobody = false;
                // Each is looked at, also after the outcome is known: a fault must not hide.
                for filter in filters {
                    match Self::compile(parameter, filter)? {
                        Self::Everybody => {}
                        Self::Nobody => nobody = true,
                        Self::Users(query) => queries.push(query),
                    }
                }
                Ok(if nobody {
                    Self::Nobody
                } else {
                    Query::all(queries).map_or(Self::Everybody, Self::Users)
                })
            }
            Filter::Any(filters) => {
                let mut queries = Vec::new();
                let mut everybody = false;
                for filter in filters {
                    match Self::compile(parameter, filter)? {
                        Self::Everybody => everybody = true,
                        Self::Nobody => {}
                        Self::Users(query) => queries.push(query),
                    }
                }
                Ok(if everybody {
                    Self::Everybody
                } else {
                    Query::any(queries).map_or(Self::Nobody, Self::Users)
                })
            }
            Filter::Not(inner) => Ok(match Self::compile(parameter, inner)? {
                Self::Everybody => Self::Nobody,
                Self::Nobody => Self::Everybody,
                Self::Users(query) => Self::Users(query.not()),
            }),
            Filter::Field(name, test) => {
                let field = field(parameter, name)?;
                value::compile(field, test).map(Self::Users).map_err(|why| {
                    if name == parameter {
                        QueryError::new(name, why)
                    } else {
                        QueryError::new(
                            parameter,
                            format!("has a condition on {} that {why}", printable(name)),
                        )
                    }
                })
            }
        }
    }
}

fn field(parameter: &str, name: &str) -> Result<Field, QueryError> {
    let parsed = if PLAIN_FIELDS.contains(&name)
        || name == "identities.connection"
        || name.starts_with("app_metadata")
        || name.starts_with("user_metadata")
    {
        Field::parse(name)
    } else {
        Err(FieldError::Unknown)
    };
    parsed.map_err(|error| {
        if name == parameter {
            QueryError::new(name, error.to_string())
        } else {
            let name = printable(name);
            QueryError::new(
                parameter,
                format!("names the field {name}: it {error}").replace("it Auth0 has", "Auth0 has"),
            )
        }
    })
}

impl UserQuery {
    /// The query's conditions, the ACL and the connections, each in parentheses of its own, joined by
    /// AND. `Ok(None)` selects nobody, `Ok(Some(None))` everybody.
    ///
    /// # Errors
    /// [`QueryError`] when a rule is broken or the `q` would be too long.
    pub fn q(&self, scope: &Scope) -> Result<Option<Option<SearchQuery>>, QueryError> {
        let query = match self.selection(scope)? {
            Selection::Nobody => return Ok(None),
            Selection::Everybody => return Ok(Some(None)),
            Selection::Users(query) => query,
        };
        SearchQuery::new(&query)
            .map(|q| Some(Some(q)))
            .map_err(|error| QueryError::new("the query", format!("cannot be sent: {error}")))
    }

    /// The tree behind [`Self::q`].
    ///
    /// # Errors
    /// [`QueryError`] when a rule is broken.
    pub fn selection(&self, scope: &Scope) -> Result<Selection, QueryError> {
        let mut parts = Vec::new();
        for (parameter, filter) in &self.conditions {
            parts.push(Selection::compile(parameter, filter)?);
        }
        let conditions = both(parts);
        let acl = match &self.acl {
            Some(filter) => Selection::compile("acl_rows", filter)?,
            None => Selection::Everybody,
        };
        let connections = self.connections(scope);
        let mut parts = Vec::new();
        for part in [conditions, acl, connections] {
            match part {
                Selection::Nobody => return Ok(Selection::Nobody),
                Selection::Everybody => {}
                Selection::Users(query) => parts.push(query.grouped()),
            }
        }
        Ok(Query::all(parts).map_or(Selection::Everybody, Selection::Users))
    }

    /// The ACL alone.
    ///
    /// # Errors
    /// [`QueryError`] when a rule is broken.
    pub fn acl(&self) -> Result<Selection, QueryError> {
        self.acl
            .as_ref()
            .map_or(Ok(Selection::Everybody), |filter| {
                Selection::compile("acl_rows", filter)
            })
    }

    /// The asked-for connections, cut to the allowed ones.
    fn connections(&self, scope: &Scope) -> Selection {
        let names = match (&self.connections, scope) {
            (None, Scope::Everything) => return Selection::Everybody,
            (None, Scope::Connections(allowed)) => allowed.clone(),
            (Some(asked), scope) => asked
                .iter()
                .filter(|name| scope.allows(name))
                .cloned()
                .collect(),
        };
        let named = names
            .into_iter()
            .map(|name| Query::phrase(Field::connection(), name));
        Query::any(named).map_or(Selection::Nobody, Selection::Users)
    }
}

fn both(parts: Vec<Selection>) -> Selection {
    let mut queries = Vec::new();
    for part in parts {
        match part {
            Selection::Nobody => return Selection::Nobody,
            Selection::Everybody => {}
            Selection::Users(query) => queries.push(query),
        }
    }
    Query::all(queries).map_or(Selection::Everybody, Selection::Users)
}
