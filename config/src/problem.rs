//! What is wrong with a configuration: the place, the fault, the mend.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// More problems than this are not collected: nobody reads on, and a hostile file could fill the memory.
pub const MAX_PROBLEMS: usize = 1000;

/// One thing that is wrong (or, in a list of warnings, odd) and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path inside the document, such as `spec.rules[0].matches[1].path.value`; empty means the whole.
    pub path: String,
    /// What is wrong. Never holds a secret.
    pub what: String,
    /// What would be right.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// All problems of a configuration, in order of file and place. Never empty as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// At most [`MAX_PROBLEMS`], the last of which says so if there were more.
    pub(crate) fn capped(mut self) -> Self {
        if self.0.len() > MAX_PROBLEMS {
            self.0.truncate(MAX_PROBLEMS);
            if let Some(last) = self.0.last_mut() {
                last.path.clear();
                last.what = "there are more problems, from here on they are not shown".to_owned();
                last.mend = "mend the others first".to_owned();
            }
        }
        self
    }

    /// In order of file and place, each once.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort();
        self.0.dedup();
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read at all: the path is wrong, or rights are missing.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// What was to be read.
        path: std::path::PathBuf,
        /// Why it could not.
        #[source]
        source: std::io::Error,
    },
    /// It was read and is wrong; nothing of it is used.
    #[error("{0}")]
    Refused(Problems),
}

impl LoadError {
    /// As problems, for one list that holds both; an unreadable path has its place at 1:1.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Refused(problems) => problems.0.clone(),
            Self::Unreadable { path, source } => vec![Problem {
                file: path.display().to_string().into(),
                line: 1,
                column: 1,
                path: String::new(),
                what: format!("cannot be read: {source}"),
                mend: "check that it exists and may be read".to_owned(),
            }],
        }
    }
}

/// The one of `known` that `word` was probably meant to be.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let near = |candidate: &'a str| {
        let other = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &other);
        // A word cut short or drawn out is meant more often than a word of that distance.
        let extends = lower.len() >= 4 && (other.starts_with(&lower) || lower.starts_with(&other) && other.len() >= 4);
        let near = distance <= (candidate.chars().count() / 3).max(1);
        (near || extends).then_some((!near, distance, candidate))
    };
    known
        .into_iter()
        .filter_map(near)
        .min()
        .map(|(.., candidate)| candidate)
}

/// `did you mean `x`?` when something is close, else a list of all.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match closest(word, known.clone()) {
        Some(one) => format!("did you mean `{one}`?"),
        None => one_of(known),
    }
}

/// `write one of a, b, c`; says so when there is none.
pub(crate) fn one_of<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    match all.len() {
        0 => "there is none that could be named here".to_owned(),
        1 => format!("write `{}`", all[0]),
        n if n > 24 => format!("write one of {} and {} more", all[..24].join(", "), n - 24),
        _ => format!("write one of {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_gets_the_nearest_known_one() {
        let known = ["hostnames", "parentRefs", "rules"];
        assert_eq!(closest("hostnmaes", known), Some("hostnames"));
        assert_eq!(closest("parentrefs", known), Some("parentRefs"));
        assert_eq!(closest("parent", known), Some("parentRefs"));
        assert_eq!(closest("zebra", known), None);
        assert_eq!(suggestion("zebra", known), "write one of hostnames, parentRefs, rules");
    }
}
