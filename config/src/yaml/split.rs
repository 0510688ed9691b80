//! A text in parts, one for each document, so that a syntax error in one does not hide the others'.

/// Cuts before every line that begins a document, so that an error in one does not hide the others'.
/// YAML allows no such line inside a scalar.
pub(super) fn split(text: &str) -> Vec<(u32, &str)> {
    let (mut parts, mut start, mut start_line, mut at) = (Vec::new(), 0, 0, 0);
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let begins = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if begins && at > start {
            let only_prefix = text[start..at]
                .lines()
                .all(|l| l.trim().is_empty() || l.starts_with(['#', '%']) || l.trim_start().starts_with('#'));
            if !only_prefix {
                parts.push((start_line, &text[start..at]));
                (start, start_line) = (at, line as u32);
            }
        }
        at += content.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// What would mend a syntax error.
pub(super) fn syntax_mend(text: &str, info: &str) -> &'static str {
    if info.contains("tab") || text.lines().any(|line| line.starts_with('\t')) {
        "indent with spaces, never with tabs"
    } else if info.contains("anchor") || info.contains("alias") {
        "an alias must name an anchor that stands before it in the same document"
    } else {
        "mend the YAML here or just before; look for a missing quote, bracket, colon or indent"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_at_document_markers_and_keep_their_lines() {
        let parts = split("# head\n---\na: 1\n---\nb: |\n  ---\n  x\n--- c\n---d: 1\n");
        let expected = [
            (0, "# head\n---\na: 1\n"),
            (3, "---\nb: |\n  ---\n  x\n"),
            (7, "--- c\n---d: 1\n"),
        ];
        assert_eq!(parts, expected);
    }
}
