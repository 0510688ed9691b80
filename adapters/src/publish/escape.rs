//! Texts that a registry's grammar does not allow, written so that they can be read back.
//!
//! ```text
//! management.port ──escape──▶ management_x2e_port ──undo──▶ management.port
//! ```
//!
//! What is not allowed stands as `_x`, its UTF-8 bytes in hexadecimal digits (a run of them as one), `_`. A `_`
//! before an `x` in the original is written that way too, so that `undo(escape(text))` is always `text`. The result
//! needs nothing but letters, digits and `_`, which metadata keys of Consul, names of XML elements and of Java allow.

use std::{collections::BTreeMap, sync::Arc};

/// Writes a text with what `keep` allows. It is asked with each character and its place, counted in bytes.
pub fn escape(text: &str, keep: impl Fn(usize, char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = false;
    for (at, c) in text.char_indices() {
        let plain = keep(at, c) && !(c == '_' && text[at + 1..].starts_with('x'));
        if plain {
            if std::mem::take(&mut run) {
                out.push('_');
            }
            out.push(c);
            continue;
        }
        if !std::mem::replace(&mut run, true) {
            out.push_str("_x");
        }
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
    if run {
        out.push('_');
    }
    out
}

/// Reads what [`escape`] wrote. What it cannot have written stays as it is.
pub fn undo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match original(&from[2..]) {
            Some((decoded, length)) => {
                out.push_str(&decoded);
                rest = &from[2 + length..];
            }
            None => {
                out.push('_');
                rest = &from[1..];
            }
        }
    }
    out + rest
}

/// The keys of a record that was written by us as they were at its origin.
pub fn undo_keys(metadata: &mut BTreeMap<Arc<str>, Arc<str>>) {
    let escaped: Vec<Arc<str>> = metadata.keys().filter(|key| key.contains("_x")).cloned().collect();
    for key in escaped {
        if let Some(value) = metadata.remove(&key) {
            metadata.insert(undo(&key).into(), value);
        }
    }
}

/// The text that hexadecimal digits up to the next `_` stand for, and how many bytes to skip.
fn original(text: &str) -> Option<(String, usize)> {
    let digits = &text.as_bytes()[..text.find('_')?];
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect();
    Some((String::from_utf8(bytes?).ok()?, digits.len() + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn for_consul(_: usize, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '-' || c == '_'
    }

    #[test]
    fn what_is_allowed_stays_readable() {
        for (text, written) in [
            ("zone", "zone"),
            ("management.port", "management_x2e_port"),
            ("a b/c", "a_x20_b_x2f_c"),
            ("snow_☃_man", "snow__xe29883__man"),
            ("_x2e_", "_x5f_x2e_"),
            ("a_xyz", "a_x5f_xyz"),
        ] {
            assert_eq!(escape(text, for_consul), written);
            assert_eq!(undo(written), text);
        }
    }

    #[test]
    fn a_first_character_can_be_held_to_another_rule() {
        let name = escape("1st", |at, c| c.is_ascii_alphabetic() || at > 0 && c.is_ascii_digit());
        assert_eq!(name, "_x31_st");
    }

    #[test]
    fn what_was_never_escaped_stays() {
        for text in ["_x", "_xyz_", "_x2_", "_xff_", "_x__", "a_X2E_"] {
            assert_eq!(undo(text), text);
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "(_x|[0-9a-f]{2}|_|\\.|.){0,40}") {
            let written = escape(&text, for_consul);
            prop_assert!(written.chars().all(|c| for_consul(0, c)), "{}", written);
            prop_assert_eq!(undo(&written), text);
        }
    }
}
