//! Regular expressions, compiled once per text and carried over from runtime to runtime.

use std::{collections::HashMap, sync::Arc};

use regex::bytes::Regex;

/// Compiled expressions by their text. All are anchored at both ends.
#[derive(Debug, Default)]
pub struct Regexes {
    compiled: HashMap<Arc<str>, Regex>,
}

impl Regexes {
    /// The compiled expression: from here, from `previous`, or compiled now.
    ///
    /// # Errors
    /// The text is no regular expression, or one that would need too much memory.
    pub fn get(&mut self, text: &Arc<str>, previous: Option<&Self>) -> Result<Regex, Box<regex::Error>> {
        if let Some(known) = self.compiled.get(text) {
            return Ok(known.clone());
        }
        let regex = match previous.and_then(|previous| previous.compiled.get(text)) {
            Some(known) => known.clone(),
            None => Regex::new(&format!(r"\A(?:{text})\z")).map_err(Box::new)?,
        };
        self.compiled.insert(text.clone(), regex.clone());
        Ok(regex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_text_or_not_at_all() {
        let regex = Regexes::default().get(&"/api|/v[0-9]+".into(), None).unwrap();
        assert!(regex.is_match(b"/api") && regex.is_match(b"/v12"));
        assert!(!regex.is_match(b"/api/x") && !regex.is_match(b"/x/api") && !regex.is_match(b"/api\n"));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        assert!(Regexes::default().get(&"(".into(), None).is_err());
    }
}
