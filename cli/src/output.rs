//! Answers on standard output: tables for people, JSON and YAML for programs.

use std::io::Write;

use serde_json::Value;

use crate::outcome::Failure;

/// Rows under headings, in columns two spaces apart, as wide as their widest cell.
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has as many cells as there are headings.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headings: Vec<String> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in lines() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Prints, and ends quietly when the reader has gone (`landfall get … | head`).
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// `1 route`, `2 routes`: a number with its noun, whose plural has an `s` or `ies`.
pub fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// The entries of a JSON list; none if it is no list.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A JSON value in a table.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A JSON answer, indented.
pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The same answer as YAML.
pub fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::No(format!("the answer cannot be written as YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_has_its_noun() {
        assert_eq!(count(1, "registry"), "1 registry");
        assert_eq!(count(0, "registry"), "0 registries");
        assert_eq!(count(2, "problem"), "2 problems");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "AGE"]);
        table.row(["orders".to_owned(), "1s".to_owned()]);
        assert_eq!(table.to_string(), "NAME    AGE\norders  1s\n");
    }

    #[test]
    fn yaml_reads_as_the_json_it_came_from() {
        let value =
            json!({"a": {"b": [1, {"c": "x", "d": []}], "e": {}}, "odd: key": "no", "t": "10.0.0.1:80", "n": null});
        let text = yaml(&value).unwrap();
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
    }
}
