//! A node of the tree: scalar, list or mapping, and where it stands.

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Number within the file; those of everything inside follow it.
    pub id: u32,
    /// One more than the highest number inside.
    pub end: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    /// Where the key stands, from 1.
    pub line: u32,
    /// Where the key stands, from 1.
    pub column: u32,
    pub value: Node,
}

/// A scalar before anybody has said what type it should be.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// Its text, variables filled in.
    pub text: String,
    /// As written, when variables were filled in; only this is ever shown.
    pub written: Option<String>,
    /// A variable in it could not be filled in, which has been reported.
    pub unresolved: bool,
    /// Without quotes, so that `8080`, `true` and `null` are not texts.
    pub plain: bool,
}

impl Scalar {
    /// What may be shown of it: what stands in the file, never a variable's value.
    pub fn shown(&self) -> String {
        let text = self.written.as_deref().unwrap_or(&self.text);
        match text.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &text[..end]).escape_debug().to_string(),
            None => text.escape_debug().to_string(),
        }
    }

    /// Nothing at all.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// `true` or `false`, unquoted.
    pub fn as_bool(&self) -> Option<bool> {
        match &*self.text {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// A whole number, unquoted, in decimal, `0x` or `0o` notation.
    pub fn as_integer(&self) -> Option<i64> {
        if !self.plain {
            return None;
        }
        let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
        match self.text.get(..2) {
            Some("0x") => radix(&self.text[2..], 16),
            Some("0o") => radix(&self.text[2..], 8),
            _ => self.text.parse().ok(),
        }
    }

    /// Whether YAML itself would take it for something other than text.
    pub fn is_text(&self) -> bool {
        let number = || {
            let digits = self.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
            let odd = matches!(&*self.text, ".inf" | "-.inf" | "+.inf" | ".nan" | ".NaN" | ".Inf");
            self.as_integer().is_some() || odd || digits && self.text.parse::<f64>().is_ok()
        };
        // A variable's value has no quotes of its own: it is whatever type is wanted.
        !self.plain || self.written.is_some() || !(self.is_null() || self.as_bool().is_some() || number())
    }
}

impl Node {
    /// What kind of thing it is, in words.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
            Content::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Content::Scalar(scalar) => format!("`{}`", scalar.shown()),
        }
    }

    /// No value.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar that is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_text() => Some(&scalar.text),
            _ => None,
        }
    }

    /// How many lists and mappings nest here, itself included.
    pub fn depth(&self) -> usize {
        let below = match &self.content {
            Content::Scalar(_) => return 0,
            Content::List(items) => items.iter().map(Self::depth).max(),
            Content::Map(entries) => entries.iter().map(|entry| entry.value.depth()).max(),
        };
        1 + below.unwrap_or(0)
    }

    /// Moves its numbers and those of everything inside up.
    pub fn renumber(&mut self, offset: u32) {
        self.id += offset;
        self.end += offset;
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.renumber(offset)),
            Content::Map(entries) => entries.iter_mut().for_each(|entry| entry.value.renumber(offset)),
        }
    }
}
