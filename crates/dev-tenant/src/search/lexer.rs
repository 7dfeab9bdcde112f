//! Text to tokens, by the token rules of Lucene's `QueryParser.jj`.

use super::{Piece, SyntaxError};

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) position: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    And,
    Or,
    Not,
    Plus,
    Minus,
    Open,
    Close,
    Colon,
    /// `^2`, with its number.
    Boost(String),
    /// `~` with its number, if it has one.
    Tilde(Option<String>),
    Quoted(String),
    Term(String),
    Pattern(Vec<Piece>),
    Range(Range),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) from_inclusive: bool,
    pub(super) to_inclusive: bool,
}

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut lexer = Lexer {
        text: text.chars().collect(),
        at: 0,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer {
    text: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError {
            reason,
            position: self.at,
        }
    }

    fn skip_white(&mut self) {
        while self.peek().is_some_and(is_white) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        self.skip_white();
        let position = self.at;
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        let single = match first {
            '+' => Some(Kind::Plus),
            '-' => Some(Kind::Minus),
            '!' => Some(Kind::Not),
            '(' => Some(Kind::Open),
            ')' => Some(Kind::Close),
            ':' => Some(Kind::Colon),
            _ => None,
        };
        let kind = if let Some(kind) = single {
            self.at += 1;
            kind
        } else {
            match first {
                '^' => self.boost()?,
                '~' => {
                    self.at += 1;
                    Kind::Tilde(self.number())
                }
                '"' => Kind::Quoted(self.quoted()?),
                '[' | '{' => Kind::Range(self.range()?),
                ']' | '}' => return Err(self.error("a bracket that nothing opened")),
                _ => self.word()?,
            }
        };
        Ok(Some(Token { kind, position }))
    }

    fn boost(&mut self) -> Result<Kind, SyntaxError> {
        self.at += 1;
        self.skip_white();
        self.number()
            .map(Kind::Boost)
            .ok_or_else(|| self.error("no number after ^"))
    }

    /// Digits, with more digits after a dot.
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        let digits = |lexer: &mut Self| {
            let before = lexer.at;
            while lexer.peek().is_some_and(|c| c.is_ascii_digit()) {
                lexer.at += 1;
            }
            lexer.at > before
        };
        if !digits(self) {
            return None;
        }
        if self.peek() == Some('.') {
            let dot = self.at;
            self.at += 1;
            if !digits(self) {
                self.at = dot;
            }
        }
        Some(self.text.get(start..self.at)?.iter().collect())
    }

    /// The content of a quoted text, unescaped.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        let mut value = Value::default();
        loop {
            match self.peek() {
                None => return Err(self.error("a quote is not closed")),
                Some('"') => {
                    self.at += 1;
                    return Ok(value.finish());
                }
                Some('\\') => value.unit(self.escaped()?),
                Some(c) => {
                    value.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// What a backslash stands for: the next character, or `\u0041`.
    fn escaped(&mut self) -> Result<Escaped, SyntaxError> {
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(self.error("nothing after a backslash"));
        };
        self.at += 1;
        if c != 'u' {
            return Ok(Escaped::Char(c));
        }
        let digits = self.text.get(self.at..self.at + 4);
        let unit = digits.and_then(|digits| {
            digits.iter().try_fold(0_u16, |unit, c| {
                let digit = u16::try_from(c.to_digit(16)?).ok()?;
                Some(unit << 4 | digit)
            })
        });
        let unit = unit.ok_or_else(|| self.error("no four hexadecimal digits after \\u"))?;
        self.at += 4;
        Ok(Escaped::Unit(unit))
    }

    fn range(&mut self) -> Result<Range, SyntaxError> {
        let from_inclusive = self.peek() == Some('[');
        self.at += 1;
        let from = self.bound()?;
        self.skip_white();
        if self.text.get(self.at..self.at + 2) == Some(&['T', 'O'])
            && self.text.get(self.at + 2).copied().is_some_and(is_white)
        {
            self.at += 2;
        }
        let to = self.bound()?;
        self.skip_white();
        let to_inclusive = match self.peek() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(self.error("a range is not closed")),
        };
        self.at += 1;
        Ok(Range {
            from,
            to,
            from_inclusive,
            to_inclusive,
        })
    }

    /// One end of a range; `None` when it is open.
    fn bound(&mut self) -> Result<Option<String>, SyntaxError> {
        self.skip_white();
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let mut value = Value::default();
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                ']' | '}' => break,
                c if is_white(c) => break,
                '\\' => value.unit(self.escaped()?),
                c => {
                    value.push(c);
                    self.at += 1;
                }
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        match raw {
            [] => Err(self.error("an end of a range is missing")),
            ['T', 'O'] => Err(self.error("an end of a range is missing")),
            ['*'] => Ok(None),
            _ => Ok(Some(value.finish())),
        }
    }

    /// A term, an operator in letters, or a pattern.
    fn word(&mut self) -> Result<Kind, SyntaxError> {
        let start = self.at;
        let mut pieces = Vec::new();
        let mut value = Value::default();
        let mut end_text = |value: &mut Value, piece: Option<Piece>| {
            let text = std::mem::take(value).finish();
            if !text.is_empty() {
                pieces.push(Piece::Text(text));
            }
            pieces.extend(piece);
        };
        while let Some(c) = self.peek() {
            match c {
                '*' => end_text(&mut value, Some(Piece::Any)),
                '?' => end_text(&mut value, Some(Piece::One)),
                '\\' => {
                    value.unit(self.escaped()?);
                    continue;
                }
                '+' | '-' if self.at > start => value.push(c),
                c if ends_word(c) => break,
                c => value.push(c),
            }
            self.at += 1;
        }
        end_text(&mut value, None);
        let raw: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        Ok(match raw.as_str() {
            "AND" | "&&" => Kind::And,
            "OR" | "||" => Kind::Or,
            "NOT" => Kind::Not,
            _ => match pieces.as_mut_slice() {
                [Piece::Text(text)] => Kind::Term(std::mem::take(text)),
                _ => Kind::Pattern(pieces),
            },
        })
    }
}

#[derive(Clone, Copy)]
enum Escaped {
    Char(char),
    Unit(u16),
}

/// Characters, some of them as halves of a surrogate pair.
#[derive(Default)]
struct Value {
    text: String,
    units: Vec<u16>,
}

impl Value {
    fn push(&mut self, c: char) {
        self.flush();
        self.text.push(c);
    }

    fn unit(&mut self, escaped: Escaped) {
        match escaped {
            Escaped::Char(c) => self.push(c),
            Escaped::Unit(unit) => self.units.push(unit),
        }
    }

    fn flush(&mut self) {
        if !self.units.is_empty() {
            self.text.push_str(&String::from_utf16_lossy(&self.units));
            self.units.clear();
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

/// White space of the grammar; other Unicode spaces belong to a term.
fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{3000}')
}

fn ends_word(c: char) -> bool {
    is_white(c)
        || matches!(
            c,
            '+' | '-' | '!' | '(' | ')' | ':' | '^' | '[' | ']' | '"' | '{' | '}' | '~'
        )
}
