//! Text to parsed form: the parameters of a query.

use auth0_api::search::Piece;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::filter::{Filter, Test};
use super::{QueryError, Slice};

/// Fields that are parameters of their own.
pub(crate) const PLAIN_FIELDS: [&str; 15] = [
    "blocked",
    "created_at",
    "email",
    "email_verified",
    "family_name",
    "given_name",
    "last_ip",
    "last_login",
    "logins_count",
    "name",
    "nickname",
    "phone_number",
    "updated_at",
    "user_id",
    "username",
];

/// `_l` when it is not given.
const DEFAULT_LIMIT: u32 = 25;
/// The largest `_l`.
const MAX_LIMIT: u32 = 1000;

/// Which route the query came to: they take different parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /users`
    List,
    /// `GET /users/count`
    Count,
    /// `GET /users/export`
    Export,
}

/// A query, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct UserQuery {
    /// Conditions that must all hold, each with the parameter that it came from.
    pub conditions: Vec<(String, Filter)>,
    /// The header `acl_rows`.
    pub acl: Option<Filter>,
    /// The connections asked for; none asks for all.
    pub connections: Option<Vec<String>>,
    /// `_sk` and `_l`.
    pub slice: Slice,
    /// `_s`
    pub sort: Option<SortText>,
    /// `_p`
    pub fields: Vec<String>,
    /// `_explain`
    pub explain: bool,
}

/// An order as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortText {
    /// Name of the field.
    pub field: String,
    /// From the largest.
    pub descending: bool,
}

impl UserQuery {
    /// Reads the decoded pairs of a query string, the header `acl_rows`, and the header
    /// `json-query-params-encoding`.
    ///
    /// # Errors
    /// [`QueryError`] names the parameter: unknown, given twice, or not of its form.
    pub fn parse<'a>(
        route: Route,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        acl_rows: Option<&str>,
        encoding: Option<&str>,
    ) -> Result<Self, QueryError> {
        let base64 = match encoding {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("base64") => true,
            Some(_) => {
                return Err(QueryError::new(
                    "json-query-params-encoding",
                    "must be base64 where it is given",
                ));
            }
        };
        let mut reader = Reader {
            route,
            base64,
            seen: Vec::new(),
            conditions: Vec::new(),
            connections: None,
            limit: DEFAULT_LIMIT,
            skip: 0,
            sort: None,
            fields: Vec::new(),
            explain: false,
        };
        for (name, value) in pairs {
            reader.pair(name, value)?;
        }
        let acl = acl_rows
            .map(|text| Filter::parse_list("acl_rows", text))
            .transpose()?;
        reader.finish(acl)
    }
}

struct Reader {
    route: Route,
    base64: bool,
    seen: Vec<String>,
    conditions: Vec<(String, Filter)>,
    connections: Option<Vec<String>>,
    limit: u32,
    skip: u32,
    sort: Option<SortText>,
    fields: Vec<String>,
    explain: bool,
}

impl Reader {
    fn pair(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let list = self.route == Route::List;
        match name {
            // The back office sends these to every collection; there is no such state here.
            "_st" | "_useEstimate" => self.once(name),
            "_q" => {
                self.once(name)?;
                let text = if self.base64 {
                    decode_base64(value)?
                } else {
                    value.to_owned()
                };
                self.conditions
                    .push((name.to_owned(), Filter::parse(name, &text)?));
                Ok(())
            }
            "_l" if list => {
                self.once(name)?;
                self.limit = number(name, value, 1, MAX_LIMIT)?;
                Ok(())
            }
            "_sk" if list => {
                self.once(name)?;
                self.skip = number(name, value, 0, u32::MAX)?;
                Ok(())
            }
            "_s" if list => {
                self.once(name)?;
                self.sort = Some(sort(name, value)?);
                Ok(())
            }
            "_p" if self.route != Route::Count => {
                self.once(name)?;
                self.fields = fields(name, value)?;
                Ok(())
            }
            "_explain" if list => {
                self.once(name)?;
                self.explain = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(QueryError::new(name, "must be true or false")),
                };
                Ok(())
            }
            "connection" => {
                let names = split(name, value)?
                    .into_iter()
                    .map(|item| item.text(name))
                    .collect::<Result<Vec<_>, _>>()?;
                self.connections.get_or_insert_default().extend(names);
                Ok(())
            }
            _ if PLAIN_FIELDS.contains(&name) => {
                self.once(name)?;
                self.plain(name, Item::read(name, value)?);
                Ok(())
            }
            _ if name.starts_with("app_metadata.") => {
                for item in split(name, value)? {
                    self.plain(name, item);
                }
                Ok(())
            }
            _ if name.starts_with("user_metadata.") => {
                self.plain(name, Item::read(name, value)?);
                Ok(())
            }
            "_l" | "_sk" | "_s" | "_p" | "_explain" => Err(QueryError::new(
                name,
                "is a parameter of GET /users, not of this route",
            )),
            _ => Err(QueryError::new(name, "is not a parameter of this route")),
        }
    }

    fn plain(&mut self, name: &str, item: Item) {
        let filter = Filter::Field(name.to_owned(), Test::Plain(item.0));
        self.conditions.push((name.to_owned(), filter));
    }

    fn once(&mut self, name: &str) -> Result<(), QueryError> {
        if self.seen.iter().any(|seen| seen == name) {
            return Err(QueryError::new(name, "is given twice: send it once"));
        }
        self.seen.push(name.to_owned());
        Ok(())
    }

    fn finish(self, acl: Option<Filter>) -> Result<UserQuery, QueryError> {
        let slice = Slice::new(self.skip, self.limit).ok_or_else(|| {
            QueryError::new(
                "_sk",
                "and _l together reach beyond the 1000th user, where Auth0 ends: narrow the query, \
                 or take everything from /users/export",
            )
        })?;
        Ok(UserQuery {
            conditions: self.conditions,
            acl,
            connections: self.connections,
            slice,
            sort: self.sort,
            fields: self.fields,
            explain: self.explain,
        })
    }
}

/// A value with its wildcards.
struct Item(Vec<Piece>);

impl Item {
    fn read(name: &str, value: &str) -> Result<Self, QueryError> {
        let mut items = items(value, false);
        match (items.pop(), items.is_empty()) {
            (Some(item), true) if !item.0.is_empty() => Ok(item),
            _ => Err(empty(name)),
        }
    }

    fn text(self, name: &str) -> Result<String, QueryError> {
        match <[Piece; 1]>::try_from(self.0) {
            Ok([Piece::Literal(text)]) => Ok(text),
            _ => Err(QueryError::new(name, "takes no wildcards")),
        }
    }
}

/// A comma list; `\,` is a comma.
fn split(name: &str, value: &str) -> Result<Vec<Item>, QueryError> {
    let items = items(value, true);
    if items.iter().any(|item| item.0.is_empty()) {
        return Err(empty(name));
    }
    Ok(items)
}

/// `*` is a wildcard; `\*`, `\\` and, in a list, `\,` stand for themselves; a backslash before anything
/// else is a backslash.
fn items(value: &str, commas: bool) -> Vec<Item> {
    let mut items = vec![Item(Vec::new())];
    let mut literal = String::new();
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let piece = match character {
            '\\' => {
                let escaped = characters
                    .next_if(|next| matches!(next, '*' | '\\') || (commas && *next == ','));
                literal.push(escaped.unwrap_or('\\'));
                continue;
            }
            '*' => Some(Piece::Any),
            ',' if commas => None,
            plain => {
                literal.push(plain);
                continue;
            }
        };
        let text = std::mem::take(&mut literal);
        if let Some(item) = items.last_mut() {
            if !text.is_empty() {
                item.0.push(Piece::Literal(text));
            }
            item.0.extend(piece.clone());
        }
        if piece.is_none() {
            items.push(Item(Vec::new()));
        }
    }
    if let Some(item) = items.last_mut()
        && !literal.is_empty()
    {
        item.0.push(Piece::Literal(literal));
    }
    for item in &mut items {
        item.0
            .dedup_by(|next, before| *next == Piece::Any && *before == Piece::Any);
    }
    items
}

fn empty(name: &str) -> QueryError {
    QueryError::new(
        name,
        // It takes no wildcards.
        if name == "connection" {
            "needs a value: leave it out for all"
        } else {
            "needs a value: leave it out, or send * for any"
        },
    )
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, QueryError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            QueryError::new(
                name,
                if most == u32::MAX {
                    format!("must be a whole number from {least}")
                } else {
                    format!("must be a whole number from {least} to {most}")
                },
            )
        })
}

fn sort(name: &str, value: &str) -> Result<SortText, QueryError> {
    if value.contains(',') {
        return Err(QueryError::new(
            name,
            "takes one field: Auth0 cannot sort by more",
        ));
    }
    let (descending, field) = match value.strip_prefix('-') {
        Some(field) => (true, field),
        None => (false, value),
    };
    if field.starts_with("app_metadata") || field.starts_with("user_metadata") {
        return Err(QueryError::new(name, "cannot sort by metadata at Auth0"));
    }
    if !PLAIN_FIELDS.contains(&field) {
        return Err(QueryError::new(
            name,
            "must name a field of the user, such as email or -created_at",
        ));
    }
    Ok(SortText {
        field: field.to_owned(),
        descending,
    })
}

fn fields(name: &str, value: &str) -> Result<Vec<String>, QueryError> {
    let mut fields = Vec::new();
    for field in value.split(',') {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if field.is_empty() || field.len() > 64 || !field.bytes().all(plain) {
            return Err(QueryError::new(
                name,
                "must be a comma list of the user's top-level fields, such as email,app_metadata",
            ));
        }
        if !fields.iter().any(|before| before == field) {
            fields.push(field.to_owned());
        }
    }
    Ok(fields)
}

/// Both alphabets, padded or not. A plus sign that a form turned into a space is one again.
fn decode_base64(value: &str) -> Result<String, QueryError> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard: String = value
        .chars()
        .map(|character| match character {
            ' ' | '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    GeneralPurpose::new(&alphabet::STANDARD, config)
        .decode(standard)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            QueryError::new(
                "_q",
                "is not base64 of UTF-8, as json-query-params-encoding says",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pairs: &[(&str, &str)]) -> String {
        UserQuery::parse(Route::List, pairs.iter().copied(), None, None)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn names_the_parameter_and_the_mend() {
        let errors = [
            error(&[("_l", "0")]),
            error(&[("_l", "1001")]),
            error(&[("_l", "+5")]),
            error(&[("_sk", "-1")]),
            error(&[("_sk", "990"), ("_l", "25")]),
            error(&[("_l", "5"), ("_l", "5")]),
            error(&[("email", "a"), ("email", "b")]),
            error(&[("email", "")]),
            error(&[("connection", "a,,b")]),
            error(&[("connection", "a*")]),
            error(&[("_s", "email,name")]),
            error(&[("_s", "app_metadata.x")]),
            error(&[("_s", "picture")]),
            error(&[("_p", "email,")]),
            error(&[("_explain", "1")]),
            error(&[("page", "1")]),
            error(&[("app_metadata", "x")]),
            error(&[("_q", "{")]),
        ];
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn takes_what_the_back_office_sends_to_every_collection() {
        let query = UserQuery::parse(
            Route::List,
            [("_st", "PUBLIC"), ("_useEstimate", "true")],
            None,
            None,
        );
        assert!(query.unwrap().conditions.is_empty());
    }

    #[test]
    fn base64_comes_in_every_spelling() {
        // ?>?>~ needs both special characters of the alphabet.
        for text in [
            "eyJlbWFpbCI6Ij8+Pz5+In0=",
            "eyJlbWFpbCI6Ij8+Pz5+In0",
            "eyJlbWFpbCI6Ij8 Pz5 In0=",
            "eyJlbWFpbCI6Ij8-Pz5-In0",
        ] {
            let query =
                UserQuery::parse(Route::List, [("_q", text)], None, Some("base64")).unwrap();
            let filter = Filter::parse("_q", r#"{"email":"?>?>~"}"#).unwrap();
            assert_eq!(query.conditions, [("_q".to_owned(), filter)], "{text}");
        }
        assert!(UserQuery::parse(Route::List, [("_q", "{}")], None, Some("base64")).is_err());
        assert!(UserQuery::parse(Route::List, [], None, Some("gzip")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pairs: Vec<(String, String)>, acl: Option<String>) {
            let pairs = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let _ = UserQuery::parse(Route::List, pairs, acl.as_deref(), None);
        }

        #[test]
        fn an_escaped_text_is_a_literal(text in "[ -~\u{e9}]{1,20}") {
            let escaped = text.replace('\\', "\\\\").replace('*', "\\*").replace(',', "\\,");
            let items = items(&escaped, true);
            proptest::prop_assert_eq!(items.len(), 1);
            proptest::prop_assert_eq!(&items[0].0, &[Piece::Literal(text)]);
        }
    }
}
