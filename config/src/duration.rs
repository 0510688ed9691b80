//! Durations as the Gateway API writes them (GEP-2257): `10s`, `1h30m`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use landfall_model::duration::Written;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A duration; one to four whole numbers each followed by `h`, `m`, `s` or `ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(time::Duration);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write one to four whole numbers with units h, m, s, ms, such as `30s` or `1h30m`")]
pub struct InvalidDuration(String);

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// As the standard library's type.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let bad = || InvalidDuration(text.to_owned());
        let (mut rest, mut millis, mut parts) = (text, 0u64, 0);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = match digits {
                1..=5 => rest[..digits].parse().map_err(|_| bad())?,
                _ => return Err(bad()),
            };
            rest = &rest[digits..];
            let (unit, scale) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))
                .ok_or_else(bad)?;
            rest = &rest[unit.len()..];
            millis += number * scale;
            parts += 1;
        }
        if (1..=4).contains(&parts) {
            Ok(Self(time::Duration::from_millis(millis)))
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Written(self.0).fmt(f)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
            "x-mend": "write one to four whole numbers with units h, m, s, ms, such as `30s` or `1h30m`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_gep_2257_says() {
        for (text, millis, printed) in [
            ("0h0m0s", 0, "0s"),
            ("10s30m1h", 5_410_000, "1h30m10s"),
            ("100ms200ms300ms", 600, "600ms"),
            ("150m", 9_000_000, "2h30m"),
            ("7230s", 7_230_000, "2h30s"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get(), time::Duration::from_millis(millis), "{text}");
            assert_eq!(duration.to_string(), printed, "{text}");
        }
        for bad in ["", "1", "1m1", "1d", "1h30m10s20ms50h", "999999h", "1.5h", "-15m"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }
}
