//! The JSON Schema of a configuration document, for editors.

use serde_json::{Value, json};

use crate::kinds::Kind;

/// A schema (draft 2020-12) for one document of any kind. Checks over several fields are not in it.
pub fn schema() -> Value {
    let kinds: Vec<_> = Kind::ALL.into_iter().map(Kind::schema).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Landfall configuration",
        "description": "One document of a Landfall configuration.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "oneOf": kinds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_kind_once_and_every_field_is_described() {
        let schema = schema();
        let kinds = schema["oneOf"].as_array().unwrap();
        let names: Vec<_> = kinds
            .iter()
            .map(|k| k["properties"]["kind"]["const"].as_str().unwrap())
            .collect();
        assert_eq!(names, Kind::ALL.map(Kind::name));

        fn undescribed(value: &Value, path: &str, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    for (key, inner) in object {
                        let here = format!("{path}/{key}");
                        if key == "properties" && !path.ends_with("/properties") {
                            for (field, schema) in inner.as_object().into_iter().flatten() {
                                if schema.get("description").is_none() {
                                    found.push(format!("{here}/{field}"));
                                }
                            }
                        }
                        undescribed(inner, &here, found);
                    }
                }
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .for_each(|(i, v)| undescribed(v, &format!("{path}/{i}"), found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        undescribed(&schema, "", &mut found);
        found.retain(|path| !path.ends_with("/metadata") && !path.ends_with("/spec"));
        assert_eq!(found, Vec::<String>::new());
    }
}
