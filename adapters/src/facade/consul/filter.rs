//! Consul's `?filter=`: which rows of an answer are wanted.
//!
//! ```text
//! or       = and { "or" and }
//! and      = not { "and" not }
//! not      = "not" not | "(" or ")" | match
//! match    = selector ("==" | "!=" | ["not"] "contains") value
//!          | selector "is" ["not"] "empty"
//!          | value ["not"] "in" selector
//! selector = name { "." name | "[" string "]" }
//! ```
//!
//! The meaning is that of hashicorp/go-bexpr, which Consul uses: a selector that goes through a list means *any* of its items, and
//! a key that a map does not have is equal to nothing and empty. `matches` (regular expressions) is not understood.
//! What an answer has to offer is a [`Shape`]; a selector that is not in it is an error, as in Consul.

use serde_json::Value;

/// Deepest nesting of an expression.
const DEPTH: usize = 32;
/// Longest expression, bytes.
const LENGTH: usize = 4096;

/// What there is in a row.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// A list of texts.
    Texts,
    /// Values of one shape by free keys.
    Map(&'static Shape),
    /// Fields.
    Fields(&'static [(&'static str, Shape)]),
    /// A list of rows.
    Rows(&'static [(&'static str, Shape)]),
}

use Shape::{Fields, Flag, Map, Number, Rows, Text, Texts};

const ADDRESS: Shape = Fields(&[("Address", Text), ("Port", Number)]);
const WEIGHTS: Shape = Fields(&[("Passing", Number), ("Warning", Number)]);

const CHECK_FIELDS: &[(&str, Shape)] = &[
    ("Node", Text),
    ("CheckID", Text),
    ("Name", Text),
    ("Status", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Type", Text),
];
const NODE_FIELDS: &[(&str, Shape)] = &[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("Meta", Map(&Text)),
];
const SERVICE_FIELDS: &[(&str, Shape)] = &[
    ("Kind", Text),
    ("ID", Text),
    ("Service", Text),
    ("Tags", Texts),
    ("Address", Text),
    ("TaggedAddresses", Map(&ADDRESS)),
    ("Meta", Map(&Text)),
    ("Port", Number),
    ("Weights", WEIGHTS),
    ("EnableTagOverride", Flag),
];

/// Of a check: `/v1/health/checks`, `node` and `state`, and the agent's checks.
pub const CHECK: &Shape = &Fields(CHECK_FIELDS);
/// Of `/v1/catalog/nodes`.
pub const NODE: &Shape = &Fields(NODE_FIELDS);
/// Of the agent's services.
pub const SERVICE: &Shape = &Fields(SERVICE_FIELDS);
/// Of `/v1/health/service`.
pub const ENTRY: &Shape = &Fields(&[
    ("Node", Fields(NODE_FIELDS)),
    ("Service", Fields(SERVICE_FIELDS)),
    ("Checks", Rows(CHECK_FIELDS)),
]);
/// Of `/v1/catalog/service` and `/v1/catalog/services`.
pub const CATALOG: &Shape = &Fields(&[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("NodeMeta", Map(&Text)),
    ("ServiceKind", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("ServiceAddress", Text),
    ("ServiceTaggedAddresses", Map(&ADDRESS)),
    ("ServiceWeights", WEIGHTS),
    ("ServiceMeta", Map(&Text)),
    ("ServicePort", Number),
    ("ServiceEnableTagOverride", Flag),
]);

/// An expression that fits a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Any(Vec<Term>),
    All(Vec<Term>),
    Not(Box<Term>),
    Match(Match),
}

#[derive(Clone, Debug, PartialEq)]
struct Match {
    selector: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Equal(Literal),
    NotEqual(Literal),
    Has(String),
    HasNot(String),
    Empty,
    NotEmpty,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Expression {
    /// Reads an expression over rows of that shape.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(text: &str, shape: &Shape) -> Result<Self, String> {
        if text.len() > LENGTH {
            return Err(format!("it is longer than {LENGTH} bytes"));
        }
        let mut reader = Reader {
            tokens: tokens(text)?,
            at: 0,
            shape,
        };
        let term = reader.either(0)?;
        match reader.tokens.get(reader.at) {
            None => Ok(Self(term)),
            Some(token) => Err(reader.unexpected(token, "`and`, `or` or the end")),
        }
    }

    /// Whether a row is wanted.
    pub fn takes(&self, row: &Value) -> bool {
        self.0.takes(row)
    }
}

impl Term {
    fn takes(&self, row: &Value) -> bool {
        match self {
            Self::Any(terms) => terms.iter().any(|term| term.takes(row)),
            Self::All(terms) => terms.iter().all(|term| term.takes(row)),
            Self::Not(term) => !term.takes(row),
            Self::Match(one) => one.takes(&one.selector, row),
        }
    }
}

impl Match {
    fn takes(&self, left: &[String], value: &Value) -> bool {
        let Some((name, rest)) = left.split_first() else {
            return self.test.holds(value);
        };
        match value {
            Value::Array(items) => items.iter().any(|item| self.takes(left, item)),
            Value::Object(fields) => match fields.get(name) {
                Some(value) => self.takes(rest, value),
                None => self.test.holds(&Value::Null),
            },
            _ => self.test.holds(&Value::Null),
        }
    }
}

impl Test {
    /// Of what is not there nothing holds but that it is empty and differs.
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Equal(literal) => literal.is(value),
            Self::NotEqual(literal) => !literal.is(value),
            Self::Has(text) => has(value, text),
            Self::HasNot(text) => !has(value, text),
            Self::Empty => is_empty(value),
            Self::NotEmpty => !is_empty(value),
        }
    }
}

impl Literal {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str().is_some_and(|value| value == text),
            Self::Number(number) => value.as_i64() == Some(*number),
            Self::Flag(flag) => value.as_bool() == Some(*flag),
        }
    }
}

/// A text has a part, a list an item, a map a key.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value.contains(text),
        Value::Array(items) => items.iter().any(|item| item == text),
        Value::Object(fields) => fields.contains_key(text),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word, with its dots.
    Word(String),
    /// A text in quotes.
    Quoted(String),
    /// `(`, `)`, `[`, `]`, `==`, `!=`, `.`
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SIGNS: [&str; 7] = ["==", "!=", "(", ")", "[", "]", "."];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
        let after = if first == '"' || first == '`' {
            let (token, after) = quoted(rest, first)?;
            tokens.push(Token::Quoted(token));
            after
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            &rest[sign.len()..]
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            // A dot before a bracket or a quote belongs to what follows.
            tokens.push(Token::Word(rest[..end].to_owned()));
            &rest[end..]
        } else {
            return Err(format!("`{}` is no part of an expression", first.escape_debug()));
        };
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            c if c == quote => return Ok((out, &text[at + c.len_utf8()..])),
            '\\' if quote == '"' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => out.push(escaped),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                _ => return Err("a `\\` in a text that escapes nothing".to_owned()),
            },
            c => out.push(c),
        }
    }
    Err("a text in quotes that does not end".to_owned())
}

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    shape: &'a Shape,
}

impl Reader<'_> {
    fn either(&mut self, depth: usize) -> Result<Term, String> {
        let mut terms = vec![self.both(depth)?];
        while self.word("or") {
            terms.push(self.both(depth)?);
        }
        Ok(one_or(terms, Term::Any))
    }

    fn both(&mut self, depth: usize) -> Result<Term, String> {
        let mut terms = vec![self.not(depth)?];
        while self.word("and") {
            terms.push(self.not(depth)?);
        }
        Ok(one_or(terms, Term::All))
    }

    fn not(&mut self, depth: usize) -> Result<Term, String> {
        if depth > DEPTH {
            return Err(format!("it is nested deeper than {DEPTH}"));
        }
        if self.word("not") {
            return Ok(Term::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.sign("(") {
            let term = self.either(depth + 1)?;
            return match self.sign(")") {
                true => Ok(term),
                false => Err("a `(` without its `)`".to_owned()),
            };
        }
        self.comparison().map(Term::Match)
    }

    fn comparison(&mut self) -> Result<Match, String> {
        // `value in selector`, else a selector comes first.
        let ahead = |token: Option<&Token>, word: &str| matches!(token, Some(Token::Word(found)) if found == word);
        let next = self.tokens.get(self.at + 1);
        let is_in = ahead(next, "in") || (ahead(next, "not") && ahead(self.tokens.get(self.at + 2), "in"));
        if is_in {
            let value = self.value()?;
            let negated = self.word("not");
            self.at += 1;
            let (selector, shape) = self.selector()?;
            return membership(selector, shape, value, negated);
        }
        let (selector, shape) = self.selector()?;
        let equal = self.sign("==");
        if equal || self.sign("!=") {
            let value = self.value()?;
            let literal = literal(&selector, shape, value)?;
            let test = if equal {
                Test::Equal(literal)
            } else {
                Test::NotEqual(literal)
            };
            return Ok(Match { selector, test });
        }
        if self.word("is") {
            let negated = self.word("not");
            if !self.word("empty") {
                return Err("after `is` and `is not` stands `empty`".to_owned());
            }
            if !matches!(shape, Texts | Map(_) | Rows(_)) {
                return Err(format!("`{}` is no list and no map: use `==`", selector.join(".")));
            }
            let test = if negated { Test::NotEmpty } else { Test::Empty };
            return Ok(Match { selector, test });
        }
        let negated = self.word("not");
        if self.word("contains") {
            let value = self.value()?;
            return membership(selector, shape, value, negated);
        }
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) if word == "matches" => {
                Err("regular expressions (`matches`) are not supported here".to_owned())
            }
            Some(token) => Err(self.unexpected(token, "`==`, `!=`, `in`, `contains`, `is empty` or one with `not`")),
            None => Err(format!("after `{}` a comparison is missing", selector.join("."))),
        }
    }

    /// A selector, and what it stands for.
    fn selector(&mut self) -> Result<(Vec<String>, &'static Shape), String> {
        let Some(Token::Word(first)) = self.tokens.get(self.at) else {
            return match self.tokens.get(self.at) {
                Some(token) => Err(self.unexpected(token, "a selector such as `Service.Tags`")),
                None => Err("it ends where a selector is missing".to_owned()),
            };
        };
        let mut path: Vec<String> = first.trim_end_matches('.').split('.').map(str::to_owned).collect();
        self.at += 1;
        while self.sign("[") {
            let Some(Token::Quoted(key)) = self.tokens.get(self.at) else {
                return Err("in `[` and `]` stands a key in quotes".to_owned());
            };
            path.push(key.clone());
            self.at += 1;
            if !self.sign("]") {
                return Err("a `[` without its `]`".to_owned());
            }
            while self.sign(".") {
                if let Some(Token::Word(more)) = self.tokens.get(self.at) {
                    path.extend(more.split('.').map(str::to_owned));
                    self.at += 1;
                }
            }
        }
        let shape = find(self.shape, &path).ok_or_else(|| format!("Selector \"{}\" is not valid", path.join(".")))?;
        Ok((path, shape))
    }

    fn value(&mut self) -> Result<String, String> {
        let value = match self.tokens.get(self.at) {
            Some(Token::Word(text) | Token::Quoted(text)) => text.clone(),
            Some(token) => return Err(self.unexpected(token, "a value")),
            None => return Err("it ends where a value is missing".to_owned()),
        };
        self.at += 1;
        Ok(value)
    }

    fn word(&mut self, expected: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word == expected);
        self.at += usize::from(is);
        is
    }

    fn sign(&mut self, expected: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(sign)) if *sign == expected);
        self.at += usize::from(is);
        is
    }

    fn unexpected(&self, token: &Token, wanted: &str) -> String {
        let shown = match token {
            Token::Word(text) => text.clone(),
            Token::Quoted(text) => format!("\"{text}\""),
            Token::Sign(sign) => (*sign).to_owned(),
        };
        format!("`{}` stands where {wanted} is expected", shown.escape_debug())
    }
}

fn one_or(mut terms: Vec<Term>, many: fn(Vec<Term>) -> Term) -> Term {
    match (terms.len(), terms.pop()) {
        (1, Some(one)) => one,
        (_, Some(last)) => {
            terms.push(last);
            many(terms)
        }
        (_, None) => many(terms),
    }
}

/// What a path leads to.
fn find(shape: &Shape, path: &[String]) -> Option<&'static Shape> {
    let (name, rest) = path.split_first()?;
    let inner: &'static Shape = match shape {
        Fields(fields) | Rows(fields) => {
            let (_, shape) = fields.iter().find(|(field, _)| field == name)?;
            shape
        }
        Map(inner) => inner,
        Text | Number | Flag | Texts => return None,
    };
    if rest.is_empty() {
        Some(inner)
    } else {
        find(inner, rest)
    }
}

fn literal(selector: &[String], shape: &Shape, value: String) -> Result<Literal, String> {
    let name = selector.join(".");
    match shape {
        Text => Ok(Literal::Text(value)),
        Number => {
            let number = value.parse().map(Literal::Number);
            number.map_err(|_| format!("`{name}` is a number, and `{}` is none", value.escape_debug()))
        }
        Flag => {
            let flag = value.parse().map(Literal::Flag);
            flag.map_err(|_| format!("`{name}` is true or false, and `{}` is neither", value.escape_debug()))
        }
        Texts | Map(_) | Fields(_) | Rows(_) => Err(format!("`{name}` has several values: use `in` or `contains`")),
    }
}

fn membership(selector: Vec<String>, shape: &Shape, value: String, negated: bool) -> Result<Match, String> {
    if !matches!(shape, Text | Texts | Map(_)) {
        return Err(format!("nothing is in `{}`: use `==`", selector.join(".")));
    }
    let test = if negated { Test::HasNot(value) } else { Test::Has(value) };
    Ok(Match { selector, test })
}

#[cfg(test)]
mod tests;
