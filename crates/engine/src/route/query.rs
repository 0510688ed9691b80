//! Query parameters: found and compared without a copy.

/// The value of the first parameter of that name, still escaped. Names are compared after decoding, with case.
pub fn first<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        equals(key, name.as_bytes()).then_some(value)
    })
}

/// Whether `escaped` decodes to `plain`.
pub fn equals(escaped: &str, plain: &[u8]) -> bool {
    decode(escaped).eq(plain.iter().copied())
}

/// The bytes a form-encoded text stands for: `+` is a space, `%41` is `A`, a broken escape is itself.
pub fn decode(escaped: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = escaped.as_bytes();
    std::iter::from_fn(move || {
        let (byte, tail) = match rest {
            [] => return None,
            [b'+', tail @ ..] => (b' ', tail),
            [b'%', high, low, tail @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, tail),
                _ => (b'%', &rest[1..]),
            },
            [byte, tail @ ..] => (*byte, tail),
        };
        rest = tail;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_found_and_decoded() {
        let query = "a=1&b=x%20y+z&a=2&c&%64=%zz";
        assert_eq!(first(query, "a"), Some("1"));
        assert!(equals(first(query, "b").unwrap(), b"x y z"));
        assert_eq!(first(query, "c"), Some(""));
        assert!(equals(first(query, "d").unwrap(), b"%zz"));
        assert_eq!(first(query, "A"), None);
    }
}
