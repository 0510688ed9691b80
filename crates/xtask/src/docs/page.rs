//! A JSON Schema as a page of tables: one section per kind, one row per field.
//!
//! Objects inside objects follow as rows of their own, with the whole path. What occurs in several places is told once.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

const HEAD: &str = "\
# Reference

Every kind of document and every field. Generated from the JSON Schema ([schema.json](schema.json)) by
`cargo xtask docs`; do not edit. [configuration.md](configuration.md) explains how the parts work together.

`list[].field` is a field of each entry of a list. Unknown fields are errors. Durations are one to four whole numbers
with units `h`, `m`, `s`, `ms`, such as `1h30m`.
";

/// The page.
pub(super) fn render(schema: &Value) -> String {
    let kinds = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let mut page = HEAD.to_owned();
    if let Some(metadata) = kinds.first().map(|kind| &kind["properties"]["metadata"]) {
        let _ = write!(page, "\n## metadata\n\n{}\n\n", text(metadata, "description"));
        table(&mut page, "metadata", metadata);
    }
    for kind in kinds {
        let fields = &kind["properties"];
        let versions: Vec<String> = fields["apiVersion"]["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .map(code)
            .collect();
        let name = text(&fields["kind"], "const");
        let _ = write!(page, "\n## {name}\n\napiVersion {}. ", versions.join(" or "));
        let description = meaning(&fields["spec"]);
        if fields["spec"]["properties"].is_object() {
            let _ = write!(page, "{description}\n\n");
            table(&mut page, "spec", &fields["spec"]);
        } else {
            page += "Its `spec` is accepted as it is and has no effect.\n";
        }
    }
    page
}

fn table(page: &mut String, path: &str, object: &Value) {
    *page += "| field | type | default | meaning |\n|---|---|---|---|\n";
    let mut homes = BTreeMap::new();
    find_homes(path, object, &mut homes);
    rows(page, path, object, &homes);
}

/// Where the fields of each object are told: at the shallowest of its places. Elsewhere that place is named.
fn find_homes(path: &str, object: &Value, homes: &mut BTreeMap<String, String>) {
    let fields = object["properties"].as_object().into_iter().flatten();
    for (name, field) in fields {
        let Some((mark, inner)) = inner(field) else { continue };
        let place = format!("{path}.{name}{mark}");
        let depth = |place: &str| place.matches('.').count();
        let home = homes
            .entry(inner["properties"].to_string())
            .or_insert_with(|| place.clone());
        if depth(&place) < depth(home) {
            home.clone_from(&place);
        }
        find_homes(&place, inner, homes);
    }
}

/// A row for each field, and for what is inside it.
fn rows(page: &mut String, path: &str, object: &Value, homes: &BTreeMap<String, String>) {
    let Some(fields) = object["properties"].as_object() else {
        return;
    };
    let required: Vec<&str> = object["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_required = |name: &str| required.contains(&name);
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_by_key(|name| !is_required(name));
    for name in names {
        let (field, here) = (&fields[name], format!("{path}.{name}"));
        let (said, default) = part_default(text(field, "description"));
        let default = match default {
            _ if is_required(name) => "required".to_owned(),
            Some(default) => default,
            None => stated_default(field),
        };
        let mut meaning = said + &notes(field);
        let inner = inner(field).map(|(mark, inner)| (format!("{here}{mark}"), inner));
        let elsewhere = inner.as_ref().and_then(|(place, inner)| {
            let home = homes.get(&inner["properties"].to_string());
            home.filter(|home| *home != place)
        });
        if let Some(home) = elsewhere {
            meaning += &format!(" Fields as in `{home}`.");
        }
        let _ = writeln!(
            page,
            "| `{here}` | {} | {} | {} |",
            cell(&kind_of(field)),
            cell(&default),
            cell(meaning.trim())
        );
        if let (Some((place, inner)), None) = (inner, elsewhere) {
            rows(page, &place, inner, homes);
        }
    }
}

/// The object whose fields follow, and the mark that a path to them carries.
fn inner(field: &Value) -> Option<(&'static str, &Value)> {
    let object = |value: &Value| value["properties"].as_object().is_some_and(|fields| !fields.is_empty());
    if object(field) {
        return Some(("", field));
    }
    let of_variants = |value: &'_ Value| value["anyOf"].as_array()?.iter().position(object);
    if let Some(at) = of_variants(field) {
        return Some(("", &field["anyOf"][at]));
    }
    let items = field.get("items")?;
    match (object(items), of_variants(items)) {
        (true, _) => Some(("[]", items)),
        (false, Some(at)) => Some(("[]", &items["anyOf"][at])),
        (false, None) => None,
    }
}

fn kind_of(field: &Value) -> String {
    if let Some(variants) = field["anyOf"].as_array() {
        let kinds = variants.iter().filter(|variant| variant["type"] != "null").map(kind_of);
        return kinds.collect::<Vec<_>>().join(" or ");
    }
    if let Some(items) = field.get("items") {
        return match kind_of(items).as_str() {
            "" => "list".to_owned(),
            of => format!("list of {of}"),
        };
    }
    let words = values(field);
    if !words.is_empty() {
        return words
            .iter()
            .map(|(word, _)| word.clone())
            .collect::<Vec<_>>()
            .join(", ");
    }
    let named = match &field["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match named {
        Some("string") if text(field, "pattern").contains("h|m|s|ms") => "duration".to_owned(),
        Some("string") if text(field, "pattern").starts_with("^(file|env):") => "reference".to_owned(),
        Some("object") if field["additionalProperties"].is_object() => "map".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "anything".to_owned(),
    }
}

/// The words that may stand there, each with its meaning if it has one.
fn values(field: &Value) -> Vec<(String, &str)> {
    let variants = field["oneOf"].as_array().into_iter().flatten();
    let described = variants.filter_map(|variant| Some((code(variant.get("const")?), text(variant, "description"))));
    let plain = field["enum"].as_array().into_iter().flatten();
    let plain = plain.filter(|word| !word.is_null()).map(|word| (code(word), ""));
    described.chain(plain).collect()
}

/// What a reader should know besides the description: the words, the bounds, what is to come.
fn notes(field: &Value) -> String {
    let mut notes = String::new();
    let words = values(field);
    for (word, meaning) in words.iter().filter(|(_, meaning)| !meaning.is_empty()) {
        let _ = write!(notes, "<br>{word}: {meaning}");
    }
    let number = |name: &str| field[name].as_i64();
    let range = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least @ 1..), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        _ => None,
    };
    let count = match (number("minItems"), number("maxItems")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most} entries")),
        (Some(1), None) => Some("at least one entry".to_owned()),
        (None, Some(most)) => Some(format!("at most {most} entries")),
        _ => None,
    };
    for bound in [range, count].into_iter().flatten() {
        let _ = write!(notes, " ({bound})");
    }
    notes + &later(field) + &field.get("items").map(later).unwrap_or_default()
}

/// Fields and values that the vocabulary has and we have not.
fn later(field: &Value) -> String {
    let mut later = String::new();
    for (list, what) in [("x-later", "Fields not"), ("x-later-values", "Values not")] {
        let words: Vec<String> = field[list].as_array().into_iter().flatten().map(code).collect();
        if !words.is_empty() {
            let _ = write!(later, " {what} supported yet: {}.", words.join(", "));
        }
    }
    later
}

/// The description and its notes, for a whole object.
fn meaning(field: &Value) -> String {
    text(field, "description").to_owned() + &later(field)
}

/// Takes the sentence that begins with `Default` out of a description.
fn part_default(description: &str) -> (String, Option<String>) {
    let Some(at) = description
        .find("Default")
        .filter(|at| (*at == 0 || description[..*at].ends_with(". ")) && description[at + 7..].starts_with([' ', ':']))
    else {
        return (description.to_owned(), None);
    };
    let sentence = &description[at..];
    let end = sentence.find(". ").map_or(sentence.len(), |end| end + 1);
    let default = sentence[7..end].trim_start_matches([':', ' ']).trim_end_matches('.');
    let rest = format!("{}{}", &description[..at], sentence[end..].trim_start());
    (rest.trim_end().to_owned(), Some(default.to_owned()))
}

fn stated_default(field: &Value) -> String {
    match &field["default"] {
        Value::Null => String::new(),
        Value::Array(list) if list.is_empty() => String::new(),
        Value::Object(_) => String::new(),
        value => code(value),
    }
}

fn code(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("`{text}`"),
        None => format!("`{value}`"),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(spec: Value) -> String {
        render(&json!({ "oneOf": [{ "properties": {
            "apiVersion": { "enum": ["a/v1", "a/v1beta1"] },
            "kind": { "const": "Thing" },
            "metadata": { "description": "Name.", "properties": { "name": { "type": "string" } }, "required": ["name"] },
            "spec": spec,
        } }] }))
    }

    fn row(field: Value) -> String {
        let page = page(json!({ "properties": { "x": field } }));
        let row = page.lines().find(|line| line.starts_with("| `spec.x`"));
        row.unwrap_or_default().to_owned()
    }

    #[test]
    fn a_kind_has_its_versions_and_its_fields_the_required_ones_first() {
        let page = page(json!({
            "description": "A thing.",
            "properties": { "a": { "type": "boolean", "default": false }, "b": { "type": ["integer", "null"] } },
            "required": ["b"],
        }));
        let kind = page.split("## Thing").nth(1).unwrap_or_default();
        assert_eq!(
            kind,
            "\n\napiVersion `a/v1` or `a/v1beta1`. A thing.\n\n| field | type | default | meaning |\n\
             |---|---|---|---|\n| `spec.b` | integer | required |  |\n| `spec.a` | boolean | `false` |  |\n"
        );
        assert!(page.contains("| `metadata.name` | string | required |  |"));
    }

    #[test]
    fn the_default_is_taken_from_the_words_before_the_schema() {
        let row =
            row(json!({ "type": "string", "default": "5s", "description": "Pause. Default `5s` (short). More." }));
        assert_eq!(row, "| `spec.x` | string | `5s` (short) | Pause. More. |");
        for kept in ["Defaults are odd.", "The (Default) one.", "Ordinary."] {
            assert_eq!(part_default(kept), (kept.to_owned(), None));
        }
    }

    #[test]
    fn words_bounds_and_what_is_to_come_are_told() {
        let words = row(json!({
            "oneOf": [{ "const": "In", "description": "Inside|out." }],
            "x-later-values": ["Out"],
            "description": "Which.",
        }));
        assert_eq!(
            words,
            "| `spec.x` | `In` |  | Which.<br>`In`: Inside\\|out. Values not supported yet: `Out`. |"
        );
        let bounds = row(json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1, "maxItems": 4 }));
        assert_eq!(bounds, "| `spec.x` | list of integer |  | (1 to 4 entries) |");
    }

    #[test]
    fn an_object_is_told_once_at_its_shallowest_place() {
        let object = json!({ "type": "object", "properties": { "deep": { "type": "string" } } });
        let page = page(json!({ "properties": {
            "a": { "type": "object", "properties": { "first": object } },
            "b": { "type": "array", "items": object },
            "c": { "anyOf": [{ "type": "string" }, object] },
        } }));
        assert!(
            page.contains("| `spec.a.first` | object |  | Fields as in `spec.b[]`. |\n"),
            "{page}"
        );
        assert!(
            page.contains("| `spec.b` | list of object |  |  |\n| `spec.b[].deep` | string |  |  |\n"),
            "{page}"
        );
        assert!(
            page.contains("| `spec.c` | string or object |  | Fields as in `spec.b[]`. |\n"),
            "{page}"
        );
        assert_eq!(page.matches("deep").count(), 1);
    }
}
