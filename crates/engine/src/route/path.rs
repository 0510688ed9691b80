//! Paths that mean different things to different servers.
//!
//! Landfall matches and forwards the raw bytes of a path. `//`, `%2f` and other escapes are therefore just bytes.
//! Dot segments are not: many servers resolve them, so `/public/../admin` would be matched here as `/public` and
//! served there as `/admin`. The HTTP side answers such a path with 400 before any route is asked.

/// Whether a segment of the path is `.` or `..`, also with escaped dots (`%2e`), or followed by path parameters
/// (`..;x=1`, which servlet containers cut off before they resolve the dots).
pub fn is_ambiguous(path: &str) -> bool {
    // Nearly every path has neither "/." nor an escape behind a slash; one pass over the bytes settles that.
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if matches!(bytes[at], b'/' | b'\\') && is_dot_segment(&bytes[at + 1..]) {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether the segment at the start of `rest` is one or two dots.
fn is_dot_segment(rest: &[u8]) -> bool {
    let mut rest = rest;
    for dots in 0..3 {
        match rest {
            [] | [b'/' | b';' | b'\\', ..] => return dots > 0,
            [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => rest = tail,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_ambiguous_however_they_are_written() {
        for path in [
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/%2e/b",
            "/a/%2E%2e/b",
            "/a/.%2e",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a\\..\\b",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn other_dots_doubled_slashes_and_escapes_are_bytes() {
        for path in [
            "/",
            "",
            "*",
            "/a//b",
            "/a/.b",
            "/a/...",
            "/a/b.",
            "/a/..b",
            "/a%2fb",
            "/.well-known/x",
            "/a;b",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }
}
