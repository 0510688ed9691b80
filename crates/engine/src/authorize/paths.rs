//! A path in every reading that somebody behind us may have of it.
//!
//! Paths are routed and passed on as sent. A service may decode `%2f`, join `//`, resolve `..`, take `\` for `/`, cut off
//! `;parameters` or decode twice; whichever it does, its reading is among these.

use std::borrow::Cow;

/// As often as somebody may decode a path.
const MOST_DECODED: usize = 3;

/// The readings of a path; only the first for one that all read alike.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    sent: &'a str,
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    pub(super) fn of(sent: &'a str) -> Self {
        let odd = sent.contains(['%', '\\', ';']) || sent.contains("//") || sent.contains("/.");
        let mut readings = Self {
            sent,
            others: Vec::new(),
        };
        if odd {
            let mut text = Cow::Borrowed(sent);
            for _ in 0..=MOST_DECODED {
                readings.add(&text);
                let more = decoded(&text);
                if more == text {
                    break;
                }
                text = Cow::Owned(more);
            }
        }
        readings
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.sent).chain(self.others.iter().map(String::as_str))
    }

    /// Adds a text, and what is left of it when it is made plain.
    fn add(&mut self, text: &str) {
        for reading in [text.to_owned(), plain(text, false), plain(text, true)] {
            if reading != self.sent && !self.others.contains(&reading) {
                self.others.push(reading);
            }
        }
    }
}

/// Without empty and dot segments, with `/` for `\`; `cut` takes what follows a `;` from each segment first.
fn plain(path: &str, cut: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split(['/', '\\']) {
        let segment = match segment.split_once(';') {
            Some((name, _)) if cut => name,
            _ => segment,
        };
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut plain = String::with_capacity(path.len() + 1);
    for segment in &segments {
        plain.push('/');
        plain.push_str(segment);
    }
    if open || plain.is_empty() {
        plain.push('/');
    }
    plain
}

/// With every `%xx` decoded once; what makes no text is replaced.
fn decoded(path: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = path.as_bytes();
    let (mut found, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                found.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (byte, ..) => {
                found.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&found).into_owned()
}
