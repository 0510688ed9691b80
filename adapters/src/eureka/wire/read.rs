//! Reading, forgivingly. Only what is no list of applications at all is refused.
//!
//! A list is opened piece by piece: each application and each instance stays raw text until its turn, so a
//! broken one spoils nothing but itself, and memory holds one opened record at a time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use super::{
    Action, Application, Applications, DataCenter, Format, InstanceInfo, LeaseInfo, MAX_INSTANCES, PortField,
    Unreadable, exact_status, status, xml,
};

/// Why an answer or a request is no such document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("not the JSON that was expected: {error}"))
    }
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a full fetch, a delta or a VIP's answer: the root is `applications`.
pub fn applications(body: &[u8], format: Format) -> Result<Applications, ReadError> {
    let as_json;
    let json = match format {
        Format::Json => body,
        Format::Xml => {
            as_json = serde_json::to_vec(&xml::to_json(body)?)?;
            &as_json
        }
    };
    let root: Fields = serde_json::from_slice(json)?;
    let list = root
        .get("applications")
        .ok_or_else(|| ReadError("no `applications` in it".to_owned()))?;
    // XML's empty list is an empty element, which reads as empty text.
    let list: Fields = match list.get() {
        r#""""# => Fields::new(),
        text => serde_json::from_str(text)?,
    };

    let mut read = Applications::default();
    let mut room = MAX_INSTANCES;
    for (key, raw) in list {
        match key.as_str() {
            "application" => {
                for entry in one_or_many(raw, MAX_INSTANCES)? {
                    match application(entry, &mut room) {
                        Ok(application) => read.applications.push(application),
                        Err(error) if room == 0 => return Err(error),
                        Err(ReadError(reason)) => read.unreadable.push(unreadable(entry, reason)),
                    }
                }
            }
            // The `_` in `versions_delta` and `apps_hashcode` is escaped as the server is configured to.
            key if key.starts_with("version") => read.version = scalar(raw),
            // Empty text is the hash of an empty registry, not a missing one.
            key if key.starts_with("apps") => {
                read.hash = scalar(raw).or_else(|| (raw.get() == "\"\"").then(String::new));
            }
            _ => {}
        }
    }
    Ok(read)
}

/// Reads a registration: the root is `instance`.
pub fn instance(body: &[u8], format: Format) -> Result<InstanceInfo, ReadError> {
    let root = match format {
        Format::Json => serde_json::from_slice(body)?,
        Format::Xml => xml::to_json(body)?,
    };
    match root.get("instance") {
        Some(Value::Object(fields)) => Ok(instance_of(fields)),
        _ => Err(ReadError("no `instance` in it".to_owned())),
    }
}

fn application(raw: &RawValue, room: &mut usize) -> Result<Application, ReadError> {
    let fields: Fields = serde_json::from_str(raw.get())?;
    let mut read = Application {
        name: fields.get("name").copied().and_then(scalar).unwrap_or_default(),
        ..Application::default()
    };
    let entries = match fields.get("instance") {
        Some(raw) => one_or_many(raw, *room)?,
        None => Vec::new(),
    };
    if entries.len() > *room {
        *room = 0;
        return Err(ReadError(format!("more than {MAX_INSTANCES} instances")));
    }
    *room -= entries.len();
    for entry in entries {
        match serde_json::from_str::<Value>(entry.get()) {
            Ok(Value::Object(fields)) => read.instances.push(instance_of(&fields)),
            Ok(_) => read
                .unreadable
                .push(unreadable(entry, "an instance is an object".to_owned())),
            Err(error) => read.unreadable.push(unreadable(entry, error.to_string())),
        }
    }
    Ok(read)
}

/// An array's elements; one object as its own only element; nothing for null and for XML's empty text.
/// At most `limit` and one more, which is enough to see that there are too many.
fn one_or_many(raw: &RawValue, limit: usize) -> Result<Vec<&RawValue>, ReadError> {
    struct Elements<'a>(Vec<&'a RawValue>);
    struct Seed(usize);
    impl<'de> serde::de::DeserializeSeed<'de> for Seed {
        type Value = Elements<'de>;
        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Elements<'de>, D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    impl<'de> serde::de::Visitor<'de> for Seed {
        type Value = Elements<'de>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
            let mut read = Vec::new();
            while let Some(element) = seq.next_element::<&RawValue>()? {
                if read.len() <= self.0 {
                    read.push(element);
                }
            }
            Ok(Elements(read))
        }
    }

    match raw.get().as_bytes().first() {
        Some(b'[') => {
            let mut json = serde_json::Deserializer::from_str(raw.get());
            let Elements(read) = serde::de::DeserializeSeed::deserialize(Seed(limit), &mut json)?;
            Ok(read)
        }
        Some(b'{') => Ok(vec![raw]),
        Some(b'n') => Ok(Vec::new()),
        Some(b'"') if raw.get() == r#""""# => Ok(Vec::new()),
        _ => Err(ReadError("neither an array nor an object".to_owned())),
    }
}

fn unreadable(raw: &RawValue, reason: String) -> Unreadable {
    Unreadable {
        sample: raw.get().chars().take(120).collect(),
        reason,
    }
}

fn scalar(raw: &RawValue) -> Option<String> {
    text(Some(&serde_json::from_str(raw.get()).ok()?))
}

/// Reads the fields of one instance. Never fails: what is missing or odd shows as such in the record.
pub fn instance_of(fields: &Map<String, Value>) -> InstanceInfo {
    let get = |name: &str| fields.get(name);
    let metadata = strings(get("metadata"));
    let data_center = match get("dataCenterInfo") {
        Some(Value::Object(stated)) => Some(DataCenter {
            name: text(stated.get("name")).unwrap_or_default(),
            metadata: strings(stated.get("metadata")),
        }),
        _ => None,
    };
    let host_name = text(get("hostName")).unwrap_or_default();
    let instance_id = text(get("instanceId"))
        // Spring's server: an id in the metadata counts, made unique by the host.
        .or_else(|| {
            let id = metadata.get("instanceId").filter(|id| !id.is_empty())?;
            Some(match id.starts_with(&host_name) {
                true => id.clone(),
                false => format!("{host_name}:{id}"),
            })
        })
        .or_else(|| data_center.as_ref()?.metadata.get("instance-id").cloned())
        .unwrap_or_else(|| host_name.clone());

    InstanceInfo {
        instance_id,
        app: text(get("app")).unwrap_or_default(),
        app_group: text(get("appGroupName")).map(|name| name.to_uppercase()),
        ip: text(get("ipAddr")).unwrap_or_default(),
        sid: text(get("sid")).filter(|sid| sid != "na" && sid != "unknown"),
        port: port(get("port"), true),
        secure_port: port(get("securePort"), false),
        home_page: text(get("homePageUrl")),
        status_page: text(get("statusPageUrl")),
        health_check: text(get("healthCheckUrl")),
        secure_health_check: text(get("secureHealthCheckUrl")),
        vip: text(get("vipAddress")),
        secure_vip: text(get("secureVipAddress")),
        country: number(get("countryId")).unwrap_or(1),
        status: text(get("status")).map(|word| status(&word)),
        // JSON writes the first, XML the second; a word of neither is no override.
        overridden: text(get("overriddenStatus"))
            .or_else(|| text(get("overriddenstatus")))
            .and_then(|word| exact_status(&word))
            .unwrap_or(landfall_model::Status::Unknown),
        lease: lease(get("leaseInfo")),
        coordinating: flag(get("isCoordinatingDiscoveryServer")).unwrap_or(false),
        last_updated: number(get("lastUpdatedTimestamp")).unwrap_or(0),
        last_dirty: number(get("lastDirtyTimestamp")),
        action: text(get("actionType")).and_then(|word| Action::parse(&word)),
        asg: text(get("asgName")),
        metadata,
        data_center,
        host_name,
    }
}

/// `{"$": 8080, "@enabled": "true"}`, or a bare number, which is on if `default`.
fn port(value: Option<&Value>, default: bool) -> PortField {
    let whole = |value: Option<&Value>| match text(value) {
        Some(_) => number(value).unwrap_or(-1),
        None => 0,
    };
    match value {
        Some(Value::Object(fields)) => PortField {
            number: whole(fields.get("$")),
            // XML's reader: the plain port is on unless it says no, the secure one off unless it says yes.
            enabled: flag(fields.get("@enabled")).unwrap_or(default),
        },
        None | Some(Value::Null) => PortField::default(),
        bare => PortField {
            number: whole(bare),
            enabled: default,
        },
    }
}

fn lease(value: Option<&Value>) -> LeaseInfo {
    let Some(Value::Object(fields)) = value else {
        return LeaseInfo::default();
    };
    let whole = |name: &str| number(fields.get(name)).unwrap_or(0);
    LeaseInfo {
        renewal_interval: whole("renewalIntervalInSecs"),
        duration: whole("durationInSecs"),
        registered: whole("registrationTimestamp"),
        renewed: number(fields.get("lastRenewalTimestamp")).unwrap_or_else(|| whole("renewalTimestamp")),
        evicted: whole("evictionTimestamp"),
        up_since: whole("serviceUpTimestamp"),
    }
}

/// A map of texts. `@class` names a Java class, and so does `class` when it holds one of Java's own.
fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let Some(Value::Object(fields)) = value else {
        return BTreeMap::new();
    };
    let names_a_class = |key: &str, value: &str| match key {
        "@class" => true,
        "class" => value.starts_with("java.util."),
        _ => false,
    };
    fields
        .iter()
        .filter_map(|(key, value)| match value {
            // Empty text is a value here, unlike in the fields of an instance.
            Value::String(value) => Some((key.clone(), value.clone())),
            other => Some((key.clone(), text(Some(other))?)),
        })
        .filter(|(key, value)| !names_a_class(key, value))
        .collect()
}

/// Text, number or boolean as text; `None` for null, empty text and anything with parts.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        // XML with attributes: `<name class="java.lang.String">orders</name>`.
        Value::Object(fields) => text(fields.get("$")),
        Value::Null | Value::Array(_) => None,
    }
}

fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            // `as` saturates, so a huge float becomes a huge number, not a panic.
            Some(float as i64)
        }),
        other => text(Some(other))?.trim().parse().ok(),
    }
}

fn flag(value: Option<&Value>) -> Option<bool> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
