use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Piece, Query, check, matches, parse};

fn term(field: &str, value: &str) -> Query {
    Query::Term {
        field: (!field.is_empty()).then(|| field.to_owned()),
        value: value.to_owned(),
    }
}

fn not(query: Query) -> Query {
    Query::Not(Box::new(query))
}

#[track_caller]
fn reads(q: &str, expected: &Query) {
    assert_eq!(parse(q).as_ref(), Ok(expected), "{q}");
}

#[test]
fn fields_terms_and_phrases() {
    reads("jane", &term("", "jane"));
    reads("name:jane", &term("name", "jane"));
    reads("name : jane", &term("name", "jane"));
    reads(
        r#"app_metadata.plan:"gold \"plus\" \\ \*""#,
        &Query::Phrase {
            field: Some("app_metadata.plan".to_owned()),
            value: r#"gold "plus" \ *"#.to_owned(),
        },
    );
    reads(r"name:John\ Doe", &term("name", "John Doe"));
    reads(r"user_id:auth0|64b0", &term("user_id", "auth0|64b0"));
    reads(
        r"user_metadata.my\:key:x",
        &term("user_metadata.my:key", "x"),
    );
    reads(r"name:\u0041\u00e9\ud83d\ude00", &term("name", "Aé😀"));
    reads("name:a-b+c/d&e=f", &term("name", "a-b+c/d&e=f"));
    reads("_exists_:username", &Query::Exists("username".to_owned()));
    reads("*:*", &Query::All);
}

#[test]
fn groups_and_operators() {
    let (a, b, c) = (term("", "a"), term("", "b"), term("", "c"));
    let and = |x: &Query, y: &Query| Query::And(vec![x.clone(), y.clone()]);
    let or = |x: &Query, y: &Query| Query::Or(vec![x.clone(), y.clone()]);
    reads("a b", &or(&a, &b));
    reads("a OR b", &or(&a, &b));
    reads("a || b", &or(&a, &b));
    reads("a && b", &and(&a, &b));
    reads(
        "a or b",
        &Query::Or(vec![a.clone(), term("", "or"), b.clone()]),
    );
    reads("a OR b AND c", &or(&a, &and(&b, &c)));
    reads("a AND b OR c", &or(&and(&a, &b), &c));
    reads("(a OR b) AND c", &and(&or(&a, &b), &c));
    reads("a AND (b AND c)", &and(&a, &and(&b, &c)));
    reads("((a))", &a);
    reads("NOT a", &not(a.clone()));
    reads("!a", &not(a.clone()));
    reads("NOT a OR b", &or(&not(a.clone()), &b));
    reads("NOT a AND b", &and(&not(a.clone()), &b));
    reads("a NOT b", &and(&a, &not(b.clone())));
    reads("a -b", &and(&a, &not(b.clone())));
    reads("+a b", &a);
    reads("+a -b c", &and(&a, &not(b.clone())));
    reads("-a b c", &and(&or(&b, &c), &not(a.clone())));
    reads(
        "name:(a OR email:b)",
        &or(&term("name", "a"), &term("email", "b")),
    );
    reads(
        "name:(a OR b)^2",
        &Query::Boost {
            query: Box::new(or(&term("name", "a"), &term("name", "b"))),
            factor: "2".to_owned(),
        },
    );
}

#[test]
fn wildcards_ranges_and_the_rest() {
    let wildcard = |field: &str, pattern: &[Piece]| Query::Wildcard {
        field: Some(field.to_owned()),
        pattern: pattern.to_vec(),
    };
    let text = |text: &str| Piece::Text(text.to_owned());
    reads("name:j*", &wildcard("name", &[text("j"), Piece::Any]));
    reads("name:*", &wildcard("name", &[Piece::Any]));
    reads("name:*~0.5", &wildcard("name", &[Piece::Any]));
    reads(
        r"name:a\*b*c?",
        &wildcard("name", &[text("a*b"), Piece::Any, text("c"), Piece::One]),
    );
    let range = |from: Option<&str>, to: Option<&str>, inclusive: (bool, bool)| Query::Range {
        field: Some("x".to_owned()),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        from_inclusive: inclusive.0,
        to_inclusive: inclusive.1,
    };
    reads("x:[1 TO 2]", &range(Some("1"), Some("2"), (true, true)));
    reads("x:{1 TO 2}", &range(Some("1"), Some("2"), (false, false)));
    reads("x:[1 TO 2}", &range(Some("1"), Some("2"), (true, false)));
    reads("x:{* TO *]", &range(None, None, (false, true)));
    reads(
        r#"x:["a b" TO "*"]"#,
        &range(Some("a b"), Some("*"), (true, true)),
    );
    reads(
        r"x:[2018-01-15T10:11:12Z TO \*]",
        &range(Some("2018-01-15T10:11:12Z"), Some("*"), (true, true)),
    );
    assert!(matches!(parse("a~0.5"), Ok(Query::Fuzzy { similarity: Some(s), .. }) if s == "0.5"));
    assert!(matches!(
        parse(r#""a b"~3^2.5"#),
        Ok(Query::Boost { query, .. }) if matches!(*query, Query::Proximity { .. })
    ));
}

#[test]
fn what_is_not_in_the_grammar() {
    for q in [
        "",
        " ",
        "(",
        ")",
        "()",
        "a)",
        "(a",
        "a AND",
        "AND a",
        "OR",
        "NOT",
        "a AND OR b",
        "a:",
        ":a",
        "a:b:c",
        "\"a",
        "a\\",
        "\\u12",
        "\\uXYZW",
        "a^",
        "a^b",
        "a]",
        "x:[1 TO",
        "x:[1 TO 2",
        "x:[TO 2]",
        "x:[1]",
        "x:[]",
        "NOT NOT a",
        "ja*:x",
        "*:x",
        "a:(b",
        "+",
        "-",
        "!",
        "~",
        "a ~ ~",
    ] {
        assert!(parse(q).is_err(), "{q}: {:?}", parse(q));
    }
    let error = parse("name:(a OR b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a parenthesis is not closed at character 12"
    );
}

#[test]
fn depth_is_limited_and_length_is_not() {
    let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&deep(200)).is_ok());
    assert!(parse(&deep(201)).is_err());
    assert!(parse(&deep(10_000)).is_err());
    assert!(parse(&"(".repeat(10_000)).is_err());
    let start = std::time::Instant::now();
    let long = vec!["user_id:\"auth0|64b0c0ffee0000000000a001\""; 20_000].join(" OR ");
    assert!(matches!(parse(&long), Ok(Query::Or(parts)) if parts.len() == 20_000));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

fn mia() -> Value {
    json!({
        "user_id": "auth0|64b0c0ffee0000000000a001",
        "email": "mia@Example.org", "email_verified": true, "username": "Mia.R",
        "name": "Mia Rossi", "nickname": "mia", "blocked": false, "picture": "https://x.example/p",
        "created_at": "2018-01-15T10:11:12.131Z", "last_login": "2024-12-31T23:59:59.999Z",
        "logins_count": 12, "locale": "it", "phone_number": "+391234",
        "identities": [
            { "connection": "Username-Password-Authentication", "user_id": "64b0c0ffee0000000000a001",
              "provider": "auth0", "isSocial": false },
            { "connection": "google-oauth2", "user_id": 1234, "provider": "google-oauth2", "isSocial": true }
        ],
        "app_metadata": {
            "plan": "Gold", "level": 7, "ratio": 0.5, "groups": ["users", "admin"], "none": null,
            "empty": {}, "list": [], "hollow": { "a": [] }, "sites": { "12345": { "on": true } }
        },
        "user_metadata": { "lang": "it", "age": 30, "addresses": [{ "city": "Paris" }, { "city": "Rome" }] }
    })
}

#[track_caller]
fn finds(q: &str, expected: bool) {
    let query = parse(q).unwrap();
    assert_eq!(matches(&query, &mia()), expected, "{q}");
}

#[test]
fn values_match_as_a_whole_and_some_whatever_their_case() {
    finds("email:MIA@example.ORG", true);
    finds("name:\"mia rossi\"", true);
    finds("name:mia", false);
    finds("nickname:MIA", true);
    finds("username:mia.r", false);
    finds("username:Mia.R", true);
    finds("app_metadata.plan:gold", false);
    finds("app_metadata.plan:Gold", true);
    finds("user_id:auth0", false);
    finds("user_id:auth0*", true);
    finds("user_id:\"auth0|64b0c0ffee0000000000a001\"", true);
    finds("email.domain:example.org", true);
    finds("email.raw:mia@Example.org", false);
    finds("name:\"mia*\"", false);
}

#[test]
fn types_arrays_and_nested_paths() {
    finds("email_verified:true", true);
    finds("blocked:false", true);
    finds("blocked:true", false);
    finds("logins_count:12", true);
    finds("logins_count:12.0", true);
    finds("logins_count:>=10", false);
    finds("app_metadata.ratio:0.50", true);
    finds("app_metadata.groups:admin", true);
    finds("app_metadata.groups:(owner OR admin)", true);
    finds("app_metadata.sites.12345.on:true", true);
    finds("app_metadata.sites.12345:*", true);
    finds("user_metadata.addresses.city:\"Paris\"", true);
    finds("user_metadata.addresses.city:\"Lyon\"", false);
    finds("identities.connection:\"google-oauth2\"", true);
    finds("identities.user_id:1234", true);
    finds("identities.provider:auth0", true);
    finds("connection:\"google-oauth2\"", false);
    finds("locale:it", false);
    finds("picture:*", false);
    finds("created_at:2018-01-15", true);
    finds("created_at:2018-01", true);
    finds("created_at:2018-02", false);
}

#[test]
fn what_exists() {
    for (field, expected) in [
        ("username", true),
        ("family_name", false),
        ("logins_count", true),
        ("app_metadata.level", true),
        ("app_metadata.none", false),
        ("app_metadata.empty", false),
        ("app_metadata.list", false),
        ("app_metadata.hollow", false),
        ("app_metadata.sites", true),
        ("user_metadata.addresses.city", true),
        ("nothing", false),
    ] {
        finds(&format!("_exists_:{field}"), expected);
        finds(&format!("NOT _exists_:{field}"), !expected);
    }
    finds("NOT _exists_:logins_count OR logins_count:0", false);
    finds("app_metadata.none:null", false);
}

#[test]
fn ranges() {
    finds("logins_count:[12 TO 12]", true);
    finds("logins_count:{12 TO *]", false);
    finds("logins_count:[* TO 12}", false);
    finds("logins_count:[2 TO 100]", true);
    finds("logins_count:[a TO b]", false);
    finds("app_metadata.level:[7 TO *]", true);
    finds("app_metadata.plan:[Go TO Gp]", true);
    finds("name:[MIA TO mib]", true);
    finds("last_login:[* TO 2024-12-31]", true);
    finds("last_login:[* TO 2024-12-31}", false);
    finds("last_login:{2024-12-31 TO *]", false);
    finds("last_login:[2024-12-31 TO *]", true);
    finds("created_at:[2017-12 TO 2018-01]", true);
    finds(
        "created_at:[2018-01-15T10:11:12.131Z TO 2018-01-15T10:11:12.131Z]",
        true,
    );
    finds("created_at:[2018-01-15T10:11:12.132Z TO *]", false);
    finds("created_at:[* TO *]", true);
    finds("family_name:[* TO *]", false);
    finds("user_metadata.age:[1 TO 99]", false);
}

#[test]
fn wildcards_and_bare_terms() {
    finds("name:MIA*", true);
    finds("name:*ross*", true);
    finds("name:m*rossi", true);
    finds("name:*rosso", false);
    finds("email:*@example.org", true);
    finds("user_metadata.lang:i*", false);
    finds("mia", true);
    finds("\"mia rossi\"", true);
    finds("mia@example.org", true);
    finds("it", false);
    finds("Gold", false);
    finds("*:*", true);
}

#[test]
fn what_auth0_refuses() {
    for (q, good) in [
        ("name:j*", true),
        ("name:*", true),
        ("name:*usa", true),
        ("name:*sa", false),
        ("name:jane*smith", true),
        ("name:*example*", true),
        ("name:jane*th", false),
        ("name:jan?", false),
        ("user_metadata.lang:i*", false),
        ("a OR (b AND NOT user_metadata.lang:i*)", false),
        ("user_metadata.age:[1 TO 2]", false),
        ("app_metadata.sites.12345:*", true),
        ("app_metadata.age:[1 TO 2]", true),
        ("[1 TO 2]", false),
        ("jane~", false),
        ("\"jane smith\"~2", false),
        ("name:(*sa)^2", false),
    ] {
        assert_eq!(check(&parse(q).unwrap()).is_ok(), good, "{q}");
    }
}

#[test]
fn many_values_are_as_good_as_one() {
    let with = |field: &str, values: &[&str]| {
        let all: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        format!("{field}:({})", all.join(" OR "))
    };
    finds(
        &with("user_metadata.lang", &["a", "b", "c", "d", "it"]),
        true,
    );
    finds(&with("name", &["a", "b", "c", "d", "MIA ROSSI"]), true);
    finds(&with("logins_count", &["1", "2", "3", "4", "12"]), true);
    finds(
        &with("created_at", &["1", "2", "3", "4", "2018-01-15"]),
        true,
    );
    finds(&with("email", &["a", "b", "c", "d", "e"]), false);
}

/// Writes a tree in the syntax: each value quoted, each group in parentheses.
fn render(query: &Query) -> String {
    let named = |field: &Option<String>, rest: String| match field {
        None => rest,
        Some(field) => format!("{}:{rest}", escaped(field)),
    };
    let all = |parts: &[Query], word: &str| {
        let parts: Vec<String> = parts.iter().map(render).collect();
        format!("({})", parts.join(word))
    };
    match query {
        Query::Term { field, value } => named(field, escaped(value)),
        Query::Phrase { field, value } => named(field, quoted(value)),
        Query::Wildcard { field, pattern } => {
            let pieces = pattern.iter().map(|piece| match piece {
                Piece::Text(text) => escaped(text),
                Piece::Any => "*".to_owned(),
                Piece::One => "?".to_owned(),
            });
            named(field, pieces.collect())
        }
        Query::Range {
            field,
            from,
            to,
            from_inclusive,
            to_inclusive,
        } => {
            let end = |end: &Option<String>| end.as_deref().map_or("*".to_owned(), quoted);
            let open = if *from_inclusive { '[' } else { '{' };
            let close = if *to_inclusive { ']' } else { '}' };
            named(field, format!("{open}{} TO {}{close}", end(from), end(to)))
        }
        Query::Exists(field) => format!("_exists_:{}", escaped(field)),
        Query::All => "*:*".to_owned(),
        Query::And(parts) => all(parts, " AND "),
        Query::Or(parts) => all(parts, " OR "),
        Query::Not(inner) => format!("(NOT {})", render(inner)),
        Query::Fuzzy {
            field,
            value,
            similarity,
        } => named(
            field,
            format!(
                "{}~{}",
                escaped(value),
                similarity.clone().unwrap_or_default()
            ),
        ),
        Query::Proximity { field, value, slop } => named(
            field,
            format!("{}~{}", quoted(value), slop.clone().unwrap_or_default()),
        ),
        Query::Boost { query, factor } => format!("({})^{factor}", render(query)),
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Everything but letters and digits gets a backslash, the first character as well when
/// it could start an operator; `u` stays, for `\u` means something else.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for (n, c) in value.chars().enumerate() {
        if !c.is_alphanumeric() || (n == 0 && matches!(c, 'A' | 'O' | 'N')) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn trees() -> impl Strategy<Value = Query> {
    let field = || proptest::option::of("[a-zA-Z_. :é]{1,6}");
    let value = || "[ -~é\\u{3000}😀]{1,8}";
    let piece = prop_oneof![
        value().prop_map(Piece::Text),
        Just(Piece::Any),
        Just(Piece::One)
    ];
    let pattern = proptest::collection::vec(piece, 0..4).prop_map(|mut pattern| {
        pattern.dedup_by(|a, b| matches!((a, b), (Piece::Text(_), Piece::Text(_))));
        pattern.push(Piece::Any);
        pattern
    });
    let leaf = prop_oneof![
        (field(), value()).prop_map(|(field, value)| Query::Term { field, value }),
        (field(), ".{0,8}").prop_map(|(field, value)| Query::Phrase { field, value }),
        (field(), pattern).prop_map(|(field, pattern)| Query::Wildcard { field, pattern }),
        (
            field(),
            proptest::option::of(".{0,8}"),
            proptest::option::of(".{0,8}"),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(
                |(field, from, to, from_inclusive, to_inclusive)| Query::Range {
                    field,
                    from,
                    to,
                    from_inclusive,
                    to_inclusive,
                }
            ),
        value().prop_map(Query::Exists),
        Just(Query::All),
        (
            field(),
            value(),
            proptest::option::of("[0-9]{1,2}(\\.[0-9])?")
        )
            .prop_map(|(field, value, similarity)| Query::Fuzzy {
                field,
                value,
                similarity
            }),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let many = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            many.clone().prop_map(Query::And),
            many.prop_map(Query::Or),
            inner.clone().prop_map(not),
            (inner, "[0-9]{1,2}").prop_map(|(query, factor)| Query::Boost {
                query: Box::new(query),
                factor,
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(tree in trees()) {
        let q = render(&tree);
        prop_assert_eq!(parse(&q), Ok(tree.clone()), "{}", q);
        let _ = check(&tree);
        let _ = matches(&tree, &mia());
    }

    #[test]
    fn no_text_makes_it_panic(q in ".{0,60}") {
        if let Ok(query) = parse(&q) {
            let _ = check(&query);
            let _ = matches(&query, &mia());
        }
    }

    #[test]
    fn no_text_made_of_its_own_symbols_makes_it_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "b:", " ", "(", ")", "AND ", " OR ", "NOT ", "+", "-", "!", "\"", "[", "]", "{",
                "}", " TO ", "*", "?", "~", "^", "1", ".", "\\", "\\u00", "&&", "||", "_exists_:", "é",
            ]),
            0..30,
        )
    ) {
        if let Ok(query) = parse(&parts.concat()) {
            prop_assert_eq!(parse(&render(&query)).map(|again| render(&again)), Ok(render(&query)));
            let _ = matches(&query, &mia());
        }
    }
}
