//! Patterns with `*`.

/// Fewest characters that Auth0 wants after a `*`.
const MIN_LITERAL: usize = 3;

/// A text with wildcards, as Auth0 allows them: literals of at least three characters anywhere but at
/// the start, where any length serves. `a*`, `*example*`, `jane*smith`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Literal(String),
    /// Any characters, also none.
    Any,
}

/// Why Auth0 would not take a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing but `*`, or nothing at all.
    #[error("needs some text beside *")]
    NoLiteral,
    /// No `*` in it.
    #[error("has no * in it")]
    NoWildcard,
    /// Auth0 takes short text at the start only.
    #[error("needs at least 3 characters of text after a *")]
    ShortLiteral,
}

impl Pattern {
    /// A pattern from its parts. Neighbours of one kind are joined.
    ///
    /// # Errors
    /// [`PatternError`] says which of Auth0's rules is broken.
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Result<Self, PatternError> {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (_, Piece::Literal(text)) if text.is_empty() => {}
                (Some(Piece::Literal(before)), Piece::Literal(text)) => before.push_str(&text),
                (Some(Piece::Any), Piece::Any) => {}
                (_, piece) => joined.push(piece),
            }
        }
        let short = |(at, piece): (usize, &Piece)| matches!(piece, Piece::Literal(text) if at > 0 && text.chars().count() < MIN_LITERAL);
        if !joined.iter().any(|p| matches!(p, Piece::Literal(_))) {
            Err(PatternError::NoLiteral)
        } else if !joined.contains(&Piece::Any) {
            Err(PatternError::NoWildcard)
        } else if joined.iter().enumerate().any(short) {
            Err(PatternError::ShortLiteral)
        } else {
            Ok(Self(joined))
        }
    }

    /// Everything that starts with a text.
    ///
    /// # Errors
    /// [`PatternError::NoLiteral`] when the text is empty.
    pub fn prefix(text: impl Into<String>) -> Result<Self, PatternError> {
        Self::new([Piece::Literal(text.into()), Piece::Any])
    }

    /// Everything that contains a text.
    ///
    /// # Errors
    /// [`PatternError`] when the text has fewer than three characters.
    pub fn infix(text: impl Into<String>) -> Result<Self, PatternError> {
        Self::new([Piece::Any, Piece::Literal(text.into()), Piece::Any])
    }

    /// The parts: literals and [`Piece::Any`] in turn.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_auth0s_rules() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert!(Pattern::prefix("j").is_ok());
        assert!(Pattern::infix("usa").is_ok());
        assert_eq!(Pattern::infix("us"), Err(PatternError::ShortLiteral));
        assert_eq!(Pattern::prefix(""), Err(PatternError::NoLiteral));
        assert_eq!(Pattern::new([]), Err(PatternError::NoLiteral));
        assert_eq!(
            Pattern::new([literal("jane")]),
            Err(PatternError::NoWildcard)
        );
        let joined = Pattern::new([literal("ja"), literal("ne"), Piece::Any, Piece::Any]).unwrap();
        assert_eq!(joined.pieces(), [literal("jane"), Piece::Any]);
        // Characters count, not bytes.
        assert_eq!(
            Pattern::infix("\u{e9}\u{e9}"),
            Err(PatternError::ShortLiteral)
        );
    }
}
