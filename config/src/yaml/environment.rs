//! `${NAME}` and `${NAME:-default}` inside scalar values, from the process's environment.
//!
//! Filled in after parsing, so a value can never change the structure of a document. `$${` stands for
//! a literal `${`. An empty variable counts as unset, as in a shell's `:-`.

/// Where variables come from.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fills in; `Ok(None)` when there was nothing to fill in. `Err` says what is wrong and what would be right.
pub(crate) fn fill(text: &str, environment: &Environment<'_>) -> Result<Option<String>, (String, String)> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            return Err((
                "`${` without `}`".to_owned(),
                "close it, or write `$${` for a literal `${`".to_owned(),
            ));
        };
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty();
        if !valid {
            return Err((
                format!("`${{{}}}` is no reference to a variable", after[..end].escape_debug()),
                "write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`".to_owned(),
            ));
        }
        match (environment(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err((
                    format!("the environment variable {name} is not set"),
                    format!("set it, or give a default: `${{{name}:-…}}`"),
                ));
            }
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_with_their_value_or_default() {
        let environment = |name: &str| match name {
            "HOST" => Some("h1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("plain $HOME", Ok(None)),
            ("${HOST}", Ok(Some("h1"))),
            ("http://${HOST}:${PORT:-80}/", Ok(Some("http://h1:80/"))),
            ("${EMPTY:-x}", Ok(Some("x"))),
            ("${NONE:-}", Ok(Some(""))),
            ("$${HOST} ${HOST}", Ok(Some("${HOST} h1"))),
            ("${NONE}", Err("the environment variable NONE is not set")),
            ("${EMPTY}", Err("the environment variable EMPTY is not set")),
            ("${HOST", Err("`${` without `}`")),
            ("${1A}", Err("`${1A}` is no reference to a variable")),
        ] {
            let got = fill(text, &environment).map_err(|(what, _)| what);
            assert_eq!(
                got,
                expected
                    .map(|o: Option<&str>| o.map(str::to_owned))
                    .map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
