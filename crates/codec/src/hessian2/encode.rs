//! Scalars, strings and binaries to bytes, always in their shortest form, as Java's own writer has it.
//!
//! None of these takes a number in any table, so they can be written in front of, or behind, anything.
//!
//! Next on the path: [`Encoder`](super::Encoder), which writes containers.

use super::text::{JavaString, utf16_len};

/// Units in one chunk of a string, and bytes in one of a binary. Java cuts there too.
const CHUNK: usize = 0x8000;

/// Appends null.
pub fn null(out: &mut Vec<u8>) {
    out.push(b'N');
}

/// Appends an int in its shortest form.
pub fn int(out: &mut Vec<u8>, value: i32) {
    match value {
        -0x10..=0x2f => out.push((0x90 + value) as u8),
        -0x800..=0x7ff => out.extend([(0xc8 + (value >> 8)) as u8, value as u8]),
        -0x40000..=0x3ffff => out.extend([(0xd4 + (value >> 16)) as u8, (value >> 8) as u8, value as u8]),
        _ => {
            out.push(b'I');
            out.extend(value.to_be_bytes());
        }
    }
}

/// Appends a long in its shortest form.
pub fn long(out: &mut Vec<u8>, value: i64) {
    match value {
        -8..=15 => out.push((0xe0 + value) as u8),
        -0x800..=0x7ff => out.extend([(0xf8 + (value >> 8)) as u8, value as u8]),
        -0x40000..=0x3ffff => out.extend([(0x3c + (value >> 16)) as u8, (value >> 8) as u8, value as u8]),
        _ => match i32::try_from(value) {
            Ok(value) => {
                out.push(b'Y');
                out.extend(value.to_be_bytes());
            }
            Err(_) => {
                out.push(b'L');
                out.extend(value.to_be_bytes());
            }
        },
    }
}

/// Appends a double in its shortest form that keeps every bit.
pub fn double(out: &mut Vec<u8>, value: f64) {
    let same = |other: f64| other.to_bits() == value.to_bits();
    let (byte, short, thousandths) = (value as i8, value as i16, (value * 1000.0) as i32);
    if same(0.0) {
        out.push(0x5b);
    } else if same(1.0) {
        out.push(0x5c);
    } else if same(f64::from(byte)) {
        out.extend([0x5d, byte as u8]);
    } else if same(f64::from(short)) {
        out.push(0x5e);
        out.extend(short.to_be_bytes());
    } else if same(0.001 * f64::from(thousandths)) {
        out.push(0x5f);
        out.extend(thousandths.to_be_bytes());
    } else {
        out.push(b'D');
        out.extend(value.to_be_bytes());
    }
}

/// Appends a date, in minutes if it is full ones.
pub fn date(out: &mut Vec<u8>, milliseconds: i64) {
    match i32::try_from(milliseconds / 60_000) {
        Ok(minutes) if milliseconds % 60_000 == 0 => {
            out.push(0x4b);
            out.extend(minutes.to_be_bytes());
        }
        _ => {
            out.push(0x4a);
            out.extend(milliseconds.to_be_bytes());
        }
    }
}

/// Appends text as a string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    wtf8(out, text.as_bytes());
}

/// Appends a Java string.
pub fn java_string(out: &mut Vec<u8>, string: &JavaString) {
    wtf8(out, string.as_bytes());
}

fn wtf8(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    let mut units = utf16_len(rest);
    while units > CHUNK {
        let (end, taken) = cut(rest);
        let (piece, after) = rest.split_at(end);
        out.push(b'R');
        out.extend((taken as u16).to_be_bytes());
        characters(out, piece);
        units -= taken;
        rest = after;
    }
    match units {
        0..=0x1f => out.push(units as u8),
        0x20..=0x3ff => out.extend([0x30 + (units >> 8) as u8, units as u8]),
        _ => {
            out.push(b'S');
            out.extend((units as u16).to_be_bytes());
        }
    }
    characters(out, rest);
}

/// Where a full chunk ends, and its units; never inside a character.
fn cut(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut units) = (0, 0);
    while let Some(lead) = bytes.get(at) {
        let (width, count) = match lead {
            0..0x80 => (1, 1),
            0x80..0xe0 => (2, 1),
            0xe0..0xf0 => (3, 1),
            _ => (4, 2),
        };
        if units + count > CHUNK {
            break;
        }
        at += width;
        units += count;
    }
    (at.min(bytes.len()), units)
}

/// Characters above U+FFFF go out as two surrogates of three bytes: Java refuses four.
fn characters(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b >= 0xf0) {
        let (plain, wide) = rest.split_at(at);
        out.extend_from_slice(plain);
        let [a, b, c, d, ..] = *wide else {
            rest = wide;
            break;
        };
        let bits = |byte: u8| u32::from(byte & 0x3f);
        let code = u32::from(a & 7) << 18 | bits(b) << 12 | bits(c) << 6 | bits(d);
        for unit in [0xd7c0 + (code >> 10), 0xdc00 | code & 0x3ff] {
            out.extend([
                (0xe0 | unit >> 12) as u8,
                (0x80 | unit >> 6 & 0x3f) as u8,
                (0x80 | unit & 0x3f) as u8,
            ]);
        }
        rest = &wide[4..];
    }
    out.extend_from_slice(rest);
}

/// Appends a binary.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while rest.len() > CHUNK {
        let (piece, after) = rest.split_at(CHUNK);
        out.push(b'A');
        out.extend((CHUNK as u16).to_be_bytes());
        out.extend_from_slice(piece);
        rest = after;
    }
    match rest.len() {
        length @ 0..=0xf => out.push(0x20 + length as u8),
        length @ 0x10..=0x3ff => out.extend([0x34 + (length >> 8) as u8, length as u8]),
        length => {
            out.push(b'B');
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(rest);
}
