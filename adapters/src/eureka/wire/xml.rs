//! Eureka's XML: read into the shape of its JSON, written by hand.
//!
//! ```text
//! <port enabled="true">80</port>     {"port": {"@enabled": "true", "$": "80"}}
//! <a>x</a> <a>y</a>                  {"a": ["x", "y"]}
//! <metadata><a__b>1</a__b></…>       {"metadata": {"a_b": "1"}}
//! ```
//!
//! XStream writes map keys as element names and escapes what XML names cannot hold: `_` as `__`, `$` as
//! `_-`, any other character as `_.` and four hex digits of each UTF-16 unit. Both ways are done here, for
//! the keys of `metadata` alone.

use quick_xml::{
    escape::{escape, resolve_predefined_entity},
    events::{BytesStart, Event},
    reader::Reader,
};
use serde_json::{Map, Value};

use super::{
    Application, Applications, DataCenter, Detail, InstanceInfo, PortField,
    read::ReadError,
    write::{amazon, bool_text, class_of, data_center_name, dirty, lease_fields, optional_texts},
};

/// Deeper than any record of Eureka's.
const MAX_DEPTH: usize = 16;
/// Elements and attributes in one document.
const MAX_NODES: usize = 2_000_000;

struct Element {
    name: String,
    fields: Map<String, Value>,
    text: String,
}

impl Element {
    fn value(self) -> Value {
        let Self { mut fields, text, .. } = self;
        let says = !text.trim().is_empty();
        if fields.is_empty() {
            return Value::String(if says { text } else { String::new() });
        }
        if says {
            fields.insert("$".to_owned(), Value::String(text.trim().to_owned()));
        }
        Value::Object(fields)
    }
}

/// Reads a document into JSON's shape; the root element is the only key of the object.
pub fn to_json(body: &[u8]) -> Result<Value, ReadError> {
    let text = std::str::from_utf8(body).map_err(|_| ReadError("XML that is not UTF-8".to_owned()))?;
    let bad = |error: &dyn std::fmt::Display| ReadError(format!("not the XML that was expected: {error}"));
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::new("")];
    let mut nodes = 0;
    loop {
        match reader.read_event().map_err(|error| bad(&error))? {
            Event::Start(tag) => {
                let element = start(&tag, &open, &mut nodes)?;
                open.push(element);
            }
            Event::Empty(tag) => {
                let element = start(&tag, &open, &mut nodes)?;
                close(element, &mut open);
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open);
                }
            }
            Event::Text(part) => append(&mut open, &part.xml_content(quick_xml::XmlVersion::Implicit1_0)),
            Event::CData(part) => append(&mut open, &part.xml_content(quick_xml::XmlVersion::Implicit1_0)),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(|error| bad(&error))? {
                Some(character) => append(&mut open, character.encode_utf8(&mut [0; 4])),
                None => {
                    let name = entity.xml_content(quick_xml::XmlVersion::Implicit1_0);
                    let known = resolve_predefined_entity(&name)
                        .ok_or_else(|| bad(&format_args!("unknown entity `{name}`")))?;
                    append(&mut open, known);
                }
            },
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(root), true) if !root.fields.is_empty() => Ok(Value::Object(root.fields)),
        _ => Err(ReadError("XML that ends before it is complete".to_owned())),
    }
}

impl Element {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fields: Map::new(),
            text: String::new(),
        }
    }
}

fn start(tag: &BytesStart<'_>, open: &[Element], nodes: &mut usize) -> Result<Element, ReadError> {
    *nodes += 1;
    if open.len() > MAX_DEPTH || *nodes > MAX_NODES {
        return Err(ReadError("XML that is too deep or too long".to_owned()));
    }
    let raw_name = tag.name();
    let name: &str = raw_name.as_ref();
    let mut element = match open.last() {
        Some(parent) if parent.name == "metadata" => Element::new(&key_of(name)),
        _ => Element::new(name),
    };
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| ReadError(format!("not the XML that was expected: {error}")))?;
        *nodes += 1;
        let key: &str = attribute.key.as_ref();
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| ReadError(format!("not the XML that was expected: {error}")))?;
        element
            .fields
            .insert(format!("@{key}"), Value::String(value.into_owned()));
    }
    Ok(element)
}

fn close(element: Element, open: &mut [Element]) {
    let Some(parent) = open.last_mut() else { return };
    let name = element.name.clone();
    let value = element.value();
    match parent.fields.get_mut(&name) {
        None => {
            parent.fields.insert(name, value);
        }
        Some(Value::Array(many)) => many.push(value),
        Some(one) => {
            let first = std::mem::take(one);
            *one = Value::Array(vec![first, value]);
        }
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// A metadata key as an element name.
pub fn name_of(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 8);
    for (at, character) in key.chars().enumerate() {
        match character {
            '_' => name.push_str("__"),
            '$' => name.push_str("_-"),
            'a'..='z' | 'A'..='Z' => name.push(character),
            '0'..='9' | '-' | '.' if at > 0 => name.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    name.push_str(&format!("_.{unit:04x}"));
                }
            }
        }
    }
    name
}

/// The metadata key an element name stands for. What is no escape stays as it is.
pub fn key_of(name: &str) -> String {
    if !name.contains('_') {
        return name.to_owned();
    }
    let mut units: Vec<u16> = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        let hex = rest
            .strip_prefix("_.")
            .and_then(|hex| hex.get(..4))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        let (unit, length) = match hex {
            Some(unit) => (Some(unit), 6),
            None if rest.starts_with("__") => (Some(u16::from(b'_')), 2),
            None if rest.starts_with("_-") => (Some(u16::from(b'$')), 2),
            None => (None, character.len_utf8()),
        };
        match unit {
            Some(unit) => units.push(unit),
            None => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
        }
        rest = &rest[length..];
    }
    String::from_utf16_lossy(&units)
}

/// `<applications>…`.
pub fn write_applications(applications: &Applications, detail: Detail) -> Vec<u8> {
    let mut out = String::from("<applications>");
    element(
        &mut out,
        "versions__delta",
        applications.version.as_deref().unwrap_or("1"),
    );
    element(&mut out, "apps__hashcode", applications.hash.as_deref().unwrap_or(""));
    for one in &applications.applications {
        push_application(&mut out, one, detail);
    }
    out.push_str("</applications>");
    out.into_bytes()
}

/// `<application>…`.
pub fn write_application(application: &Application, detail: Detail) -> Vec<u8> {
    let mut out = String::new();
    push_application(&mut out, application, detail);
    out.into_bytes()
}

/// `<instance>…`.
pub fn write_instance(info: &InstanceInfo) -> Vec<u8> {
    let mut out = String::new();
    push_instance(&mut out, info, Detail::Full);
    out.into_bytes()
}

fn push_application(out: &mut String, application: &Application, detail: Detail) {
    out.push_str("<application>");
    element(out, "name", &application.name);
    for info in &application.instances {
        push_instance(out, info, detail);
    }
    out.push_str("</application>");
}

fn push_instance(out: &mut String, info: &InstanceInfo, detail: Detail) {
    let full = detail == Detail::Full;
    out.push_str("<instance>");
    element(out, "instanceId", &info.instance_id);
    element(out, "hostName", &info.host_name);
    element(out, "app", &info.app);
    for (name, value) in [("appGroupName", &info.app_group), ("sid", &info.sid)] {
        if let Some(value) = value.as_ref().filter(|_| full) {
            element(out, name, value);
        }
    }
    element(out, "ipAddr", &info.ip);
    element(out, "status", info.known_status().as_str());
    if full {
        element(out, "overriddenstatus", info.overridden.as_str());
    }
    push_port(out, "port", info.port);
    push_port(out, "securePort", info.secure_port);
    push_data_center(out, info.data_center.as_ref().unwrap_or(&DataCenter::default()), detail);
    for (name, value) in optional_texts(info, detail) {
        if let Some(value) = value {
            element(out, name, value);
        }
    }
    element(out, "lastUpdatedTimestamp", &info.last_updated.to_string());
    if full {
        element(out, "countryId", &info.country.to_string());
        out.push_str("<leaseInfo>");
        for (name, value) in lease_fields(info.lease) {
            element(out, name, &value.to_string());
        }
        out.push_str("</leaseInfo>");
        push_map(
            out,
            info.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        );
        element(out, "isCoordinatingDiscoveryServer", bool_text(info.coordinating));
        element(out, "lastDirtyTimestamp", &dirty(info).to_string());
    }
    if let Some(action) = info.action {
        element(out, "actionType", action.as_str());
    }
    out.push_str("</instance>");
}

fn push_port(out: &mut String, name: &str, port: PortField) {
    out.push_str(&format!(
        "<{name} enabled=\"{}\">{}</{name}>",
        bool_text(port.enabled),
        port.number
    ));
}

fn push_data_center(out: &mut String, data_center: &DataCenter, detail: Detail) {
    out.push_str(&format!("<dataCenterInfo class=\"{}\">", class_of(data_center)));
    element(out, "name", data_center_name(data_center));
    if data_center.name == "Amazon" {
        push_map(out, amazon(data_center, detail).into_iter());
    }
    out.push_str("</dataCenterInfo>");
}

fn push_map<'a>(out: &mut String, map: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut map = map.peekable();
    if map.peek().is_none() {
        out.push_str("<metadata class=\"java.util.Collections$EmptyMap\"/>");
        return;
    }
    out.push_str("<metadata>");
    // An empty key has no element name.
    for (key, value) in map.filter(|(key, _)| !key.is_empty()) {
        element(out, &name_of(key), value);
    }
    out.push_str("</metadata>");
}

fn element(out: &mut String, name: &str, text: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    // XML 1.0 has no way at all to write most control characters.
    let legal: String = text
        .chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => character,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            _ => character,
        })
        .collect();
    out.push_str(&escape(legal.as_str()));
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}
