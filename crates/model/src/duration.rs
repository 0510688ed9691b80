//! Durations as the configuration writes them (GEP-2257): `10s`, `1h30m`, `500ms`. Reading them is `config`'s.

use std::{fmt, time::Duration};

use serde::Serializer;

/// Writes a duration as hours, minutes, seconds and milliseconds, without what is zero. Less than a millisecond is not
/// written; nothing at all is `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (millis / 3_600_000, "h"),
            (millis / 60_000 % 60, "m"),
            (millis / 1000 % 60, "s"),
            (millis % 1000, "ms"),
        ];
        parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

/// For `serialize_with`: as text.
///
/// # Errors
/// Those of the serializer.
pub fn text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Written(*duration))
}

/// The same for one that may be missing.
///
/// # Errors
/// Those of the serializer.
pub fn text_if_any<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => text(duration, serializer),
        None => serializer.serialize_none(),
    }
}
