//! Broken configurations: a good one and some two hundred ways to break it in one place.
//!
//! Each line of `table.txt` is `find => replace => what`. The first `find` in `base.yaml` becomes `replace`;
//! every `▶` in it marks a place where a problem must be reported (and is taken out); `what` must be part of
//! each problem. `\n` stands for a line end. There are as many problems as marks, unless `what` begins with
//! `+`, which allows more. The system test breaks a running gateway's configuration with the same table.

/// A broken configuration and where it is wrong.
pub struct Case {
    /// The line of the table, to find it again.
    pub name: String,
    /// The configuration.
    pub text: String,
    /// Line and column, from 1, of every problem that must be there.
    pub places: Vec<(u32, u32)>,
    /// Part of every such problem.
    pub what: String,
    /// Further problems are fine.
    pub more: bool,
}

/// The good configuration.
pub const BASE: &str = include_str!("base.yaml");

/// Every broken one.
pub fn cases() -> Vec<Case> {
    let table = include_str!("table.txt").lines().enumerate();
    let used = table.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    used.map(|(number, line)| case(number + 1, line)).collect()
}

fn case(number: usize, line: &str) -> Case {
    let name = format!("table.txt:{number}: {line}");
    let parts: Vec<String> = line
        .split(" => ")
        .map(|part| part.replace("\\n", "\n").replace("\\t", "\t"))
        .collect();
    let [find, replace, what] = &parts[..] else {
        panic!("{name}: three parts are needed")
    };
    assert!(BASE.contains(find.as_str()), "{name}: `{find}` is not in base.yaml");
    let marked = BASE.replacen(find.as_str(), replace, 1);
    let (mut text, mut places) = (String::new(), Vec::new());
    for part in marked.split_inclusive('▶') {
        let (part, marks) = (part.trim_end_matches('▶'), part.ends_with('▶'));
        text.push_str(part);
        if marks {
            let line = text.matches('\n').count() + 1;
            let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            places.push((line as u32, column as u32));
        }
    }
    assert!(!places.is_empty(), "{name}: no place is marked");
    let (what, more) = match what.strip_prefix('+') {
        Some(what) => (what.to_owned(), true),
        None => (what.clone(), false),
    };
    Case {
        name,
        text,
        places,
        what,
        more,
    }
}
