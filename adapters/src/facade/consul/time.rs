//! Durations as Go writes them: `10s`, `1m30s`, `1.5h`, `250ms`.

use std::fmt::Write as _;

/// Units and their milliseconds.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-6),
    ("us", 1e-3),
    ("µs", 1e-3),
    ("ms", 1.0),
    ("s", 1e3),
    ("m", 60e3),
    ("h", 3600e3),
];

/// Milliseconds of a duration; `None` if it is none or negative.
pub(super) fn millis(text: &str) -> Option<u64> {
    let mut rest = text.trim().strip_prefix('+').unwrap_or(text.trim());
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        total += number * factor;
        rest = &rest[end..];
    }
    // A century is enough, and keeps sums far from overflow.
    (total <= 3.2e12).then_some(total.round() as u64)
}

/// As Go prints it: `1m30s`, `10s`, `250ms`.
pub(super) fn text(millis: u64) -> String {
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    if millis < 1000 {
        return if millis == 0 {
            "0s".to_owned()
        } else {
            format!("{millis}ms")
        };
    }
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = match rest % 1000 {
        0 => write!(text, "{}s", rest / 1000),
        part => write!(text, "{}.{}s", rest / 1000, format!("{part:03}").trim_end_matches('0')),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (written, ms, shown) in [
            ("10s", 10_000, "10s"),
            ("1m30s", 90_000, "1m30s"),
            ("1.5h", 5_400_000, "1h30m0s"),
            ("250ms", 250, "250ms"),
            ("2500ms", 2500, "2.5s"),
            ("0", 0, "0s"),
            ("90m", 5_400_000, "1h30m0s"),
        ] {
            assert_eq!(millis(written), Some(ms), "{written}");
            assert_eq!(text(ms), shown);
        }
        for bad in ["", "10", "s", "-1s", "10x", "1e9s", "99999999999h", "."] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
