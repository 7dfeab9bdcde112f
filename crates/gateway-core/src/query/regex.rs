//! The regular expressions that Auth0's wildcards can express: text, anchors and `.*`.

use auth0_api::search::{Field, FieldKind, Piece};

use super::filter::{Scalar, Test};

/// Does Auth0 ignore the case of this field?
pub(super) fn ignores_case(field: &str) -> bool {
    Field::parse(field).is_ok_and(|field| field.kind() == FieldKind::Name)
}

/// Reads a pattern: `^prefix`, `infix`, `^whole$`, `^a.*b`, with `\` before whatever means something.
pub(super) fn parse(pattern: &str) -> Result<Test, String> {
    let mut characters = pattern.chars().peekable();
    let mut pieces = Vec::new();
    let mut literal = String::new();
    if characters.next_if_eq(&'^').is_none() {
        pieces.push(Piece::Any);
    }
    let mut anchored_end = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                // A letter or digit after a backslash is a class or a reference.
                Some(escaped) if !escaped.is_alphanumeric() => literal.push(escaped),
                Some(escaped) => {
                    return Err(format!(
                        "has \\{escaped} in $regex, which Auth0 cannot express"
                    ));
                }
                None => return Err("has a $regex that ends in a backslash".to_owned()),
            },
            '$' if characters.peek().is_none() => anchored_end = true,
            '.' if characters.next_if_eq(&'*').is_some() => {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Any);
            }
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => {
                return Err(format!(
                    "has {character} in $regex, which Auth0 cannot express: use ^prefix or a plain part, \
                     and \\ before special characters"
                ));
            }
            plain => literal.push(plain),
        }
    }
    pieces.push(Piece::Literal(literal));
    if !anchored_end {
        pieces.push(Piece::Any);
    }
    pieces.retain(|piece| !matches!(piece, Piece::Literal(text) if text.is_empty()));
    Ok(match pieces.as_slice() {
        [] => Test::Equals(Scalar::Text(String::new())),
        [Piece::Literal(whole)] => Test::Equals(Scalar::Text(whole.clone())),
        pieces if pieces.iter().all(|piece| *piece == Piece::Any) => Test::Exists,
        _ => Test::Matches(pieces),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_auth0_can_express_and_nothing_else() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        for (pattern, test) in [
            ("^mia", Test::Matches(vec![literal("mia"), Piece::Any])),
            (
                "mia",
                Test::Matches(vec![Piece::Any, literal("mia"), Piece::Any]),
            ),
            ("mia$", Test::Matches(vec![Piece::Any, literal("mia")])),
            ("^mia$", Test::Equals(Scalar::Text("mia".to_owned()))),
            (r"^a\.b\*", Test::Matches(vec![literal("a.b*"), Piece::Any])),
            (
                "^a.*bcd",
                Test::Matches(vec![literal("a"), Piece::Any, literal("bcd"), Piece::Any]),
            ),
            ("", Test::Exists),
            (".*", Test::Exists),
        ] {
            assert_eq!(parse(pattern), Ok(test), "{pattern}");
        }
        for pattern in [
            "a.b", "a|b", "(a)", "[ab]", "a+", "a?", "a*", "a{2}", r"\d", r"\1", "a\\", "a^b",
            "a$b",
        ] {
            assert!(parse(pattern).is_err(), "{pattern}");
        }
    }
}
