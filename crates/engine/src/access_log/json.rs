//! Just enough JSON to write a flat object: texts of any bytes, numbers, times.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

/// A JSON object on its way into a buffer.
pub struct Object<'b> {
    out: &'b mut Vec<u8>,
    first: bool,
}

impl<'b> Object<'b> {
    /// Opens the object.
    pub fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Closes the object and the line.
    pub fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// `name` is ours and needs no escapes.
    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Any bytes; what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        escape(self.out, value);
        self.out.push(b'"');
    }

    /// A text, if there is one.
    pub fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text in its own words.
    pub fn display(&mut self, name: &str, value: &dyn std::fmt::Display) {
        self.name(name);
        self.out.push(b'"');
        // Writing into memory cannot fail.
        let _ = write!(Escaping(self.out), "{value}");
        self.out.push(b'"');
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        digits(self.out, value, 1);
    }

    /// A moment in UTC, RFC 3339 with microseconds. Before 1970 is 1970.
    pub fn time(&mut self, name: &str, value: SystemTime) {
        let since = value.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        self.name(name);
        let parts = [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (second / 3600, 2, b':'),
            (second / 60 % 60, 2, b':'),
            (second % 60, 2, b'.'),
            (u64::from(since.subsec_micros()), 6, b'Z'),
        ];
        self.out.push(b'"');
        for (number, width, after) in parts {
            digits(self.out, number, width);
            self.out.push(after);
        }
        self.out.push(b'"');
    }
}

/// Escapes what is written through it.
struct Escaping<'b>(&'b mut Vec<u8>);

impl Write for Escaping<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        escape(self.0, text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = rest
            .iter()
            .position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f))
        {
            out.extend_from_slice(&rest[..at]);
            match rest[at] {
                byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
                byte => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                }
            }
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Decimal digits, at least `width` of them.
fn digits(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut text = [b'0'; 20];
    let (mut at, mut rest) = (text.len(), value);
    while rest > 0 {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - width)..]);
}

/// Year, month and day of the day that many days after 1970-01-01 (Howard Hinnant, `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
