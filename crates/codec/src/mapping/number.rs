//! Numbers of any size between their decimal text and what Java's BigInteger keeps: 32 bits a word, the highest first.

/// Decimal digits of one number that are taken; turning them into words takes time that grows with their square.
pub(super) const MOST_DIGITS: usize = 4096;

/// Words of one BigInteger that are written out, for the same reason.
const MOST_WORDS: usize = 2048;

/// The largest exponent of a decimal: `1e999999999` is short to write, and long to work with for the one who gets it.
const MOST_EXPONENT: i64 = 9999;

/// A decimal number taken apart: value = digits × 10^exponent.
#[derive(Debug)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Of the text of a JSON number; `None` if it is none, or is larger than is taken.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        if !super::json::is_number(text) || text.len() > MOST_DIGITS {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse().ok()?),
            None => (text, 0i64),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        (exponent.abs() <= MOST_EXPONENT).then_some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }

    /// The digits of the integer that this is, with its sign; `None` if it is none (`5.0` and `1e3` are).
    pub(super) fn integer(&self) -> Option<String> {
        let fraction = self.fraction.trim_end_matches('0');
        let mut digits = format!("{}{fraction}", self.whole);
        let zeros = self.exponent - i64::try_from(fraction.len()).ok()?;
        let digits_only_zero = digits.bytes().all(|byte| byte == b'0');
        if digits_only_zero {
            return Some("0".to_owned());
        }
        match usize::try_from(zeros) {
            Ok(zeros) if digits.len() + zeros <= MOST_DIGITS => digits.extend(std::iter::repeat_n('0', zeros)),
            Ok(_) => return None,
            Err(_) => {
                let cut = usize::try_from(-zeros).ok()?;
                let keep = digits.len().checked_sub(cut)?;
                if digits.get(keep..)?.bytes().any(|byte| byte != b'0') {
                    return None;
                }
                digits.truncate(keep);
            }
        }
        let digits = digits.trim_start_matches('0');
        Some(format!("{}{digits}", if self.negative { "-" } else { "" }))
    }

    /// The integer, if it is one that a long holds.
    pub(super) fn long(&self) -> Option<i64> {
        self.integer()?.parse().ok()
    }
}

/// What Java's BigInteger keeps of such digits: its sign (-1, 0, 1) and its words. `None` if there are too many digits, or what
/// is none.
pub(super) fn words(digits: &str) -> Option<(i32, Vec<i32>)> {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits),
    };
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Lowest first while it grows.
    let mut words: Vec<u32> = Vec::new();
    for digit_group in digits.as_bytes().chunks(9) {
        let (mut carry, mut scale) = (0u64, 1u64);
        for digit in digit_group {
            carry = carry * 10 + u64::from(digit - b'0');
            scale *= 10;
        }
        for word in &mut words {
            let value = u64::from(*word) * scale + carry;
            *word = value as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            words.push(carry as u32);
        }
    }
    let sign = if words.is_empty() { 0 } else { sign };
    Some((sign, words.into_iter().rev().map(|word| word as i32).collect()))
}

/// The digits of a BigInteger; `None` if it is too large, or none that Java makes.
pub(super) fn digits(sign: i32, words: &[i32]) -> Option<String> {
    if words.len() > MOST_WORDS || !(-1..=1).contains(&sign) {
        return None;
    }
    let mut rest: Vec<u32> = words.iter().map(|word| *word as u32).collect();
    let mut groups: Vec<u32> = Vec::new();
    while rest.iter().any(|word| *word != 0) {
        let mut left = 0u64;
        for word in &mut rest {
            let value = left << 32 | u64::from(*word);
            *word = (value / 1_000_000_000) as u32;
            left = value % 1_000_000_000;
        }
        groups.push(left as u32);
        let leading = rest.iter().take_while(|word| **word == 0).count();
        rest.drain(..leading);
    }
    match (groups.pop(), sign) {
        (None, 0) => Some("0".to_owned()),
        (Some(first), 1 | -1) => {
            let mut text = format!("{}{first}", if sign < 0 { "-" } else { "" });
            groups
                .iter()
                .rev()
                .for_each(|group| text.push_str(&format!("{group:09}")));
            Some(text)
        }
        _ => None,
    }
}

/// The text of a double as JSON has it; `None` for what JSON has no number for.
pub(super) fn double_text(value: f64) -> Option<String> {
    value.is_finite().then(|| format!("{value:?}"))
}

/// The shortest text of a float. Java writes floats as the doubles of their shortest text, but those in a `float[]` as their
/// exact doubles; both have the same float next to them.
pub(super) fn float_text(value: f64) -> Option<String> {
    let value = value as f32;
    value.is_finite().then(|| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_told_from_what_only_looks_like_them() {
        let integer = |text: &str| Decimal::of(text).and_then(|decimal| decimal.integer());
        for (text, digits) in [
            ("5", "5"),
            ("5.0", "5"),
            ("1e3", "1000"),
            ("-1.50E2", "-150"),
            ("1200e-2", "12"),
            ("-0.0", "0"),
            ("0e9999", "0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(integer(text).as_deref(), Some(digits), "{text}");
        }
        for text in ["0.5", "1e-1", "15e-1", "1e9999", "1e99999", "x", ""] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(
            Decimal::of("9223372036854775807").and_then(|d| d.long()),
            Some(i64::MAX)
        );
        assert_eq!(Decimal::of("9223372036854775808").and_then(|d| d.long()), None);
    }

    #[test]
    fn words_are_those_of_java() {
        assert_eq!(words("0"), Some((0, vec![])));
        assert_eq!(words("-1"), Some((-1, vec![1])));
        assert_eq!(words("4294967296"), Some((1, vec![1, 0])));
        assert_eq!(words("18446744073709551615"), Some((1, vec![-1, -1])));
        assert_eq!(digits(1, &[-1, -1]).as_deref(), Some("18446744073709551615"));
        assert_eq!(digits(0, &[1]), None);
        assert_eq!(digits(1, &[]), None);
        assert_eq!(words("12a"), None);
    }

    proptest! {
        #[test]
        fn any_digits_come_back(text in "-?[1-9][0-9]{0,300}") {
            let (sign, words) = words(&text).expect("they are digits");
            prop_assert_eq!(digits(sign, &words).expect("they are words"), text);
        }
    }
}
