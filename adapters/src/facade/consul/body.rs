//! Requests' bodies, read as Consul's server reads them: names of fields in any case, with or without underscores.
//!
//! Clients differ: `ID` and `Name` (Spring, npm), `id` and `name` (Python), `service_id`. Nulls are as good as
//! missing, numbers may be text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    record::{Check, Health, Node, Owner, Probe, Service},
    time,
};

/// Consul's: the least time a service is critical before it is removed.
const LEAST_CRITICAL: u64 = 60_000;
/// Patience of a probe that says nothing about it.
const TIMEOUT: u64 = 10_000;
/// Probes are not run more often.
const LEAST_INTERVAL: u64 = 100;
/// Kinds of checks that only a real agent can run.
const ELSEWHERE: [&str; 10] = [
    "ScriptArgs",
    "Args",
    "Script",
    "DockerContainerID",
    "GRPC",
    "H2PING",
    "UDP",
    "AliasService",
    "AliasNode",
    "OSService",
];

/// The fields of an object.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

/// What a body says, or in Consul's words why it says nothing.
type Read<T> = Result<T, String>;

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Read<Self> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            _ => Err("Request decode failed: an object is wanted".to_owned()),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let same = |key: &str| {
            let key = key.bytes().filter(|b| *b != b'_');
            key.map(|b| b.to_ascii_lowercase())
                .eq(name.bytes().map(|b| b.to_ascii_lowercase()))
        };
        let exact = self.0.get(name);
        let found = exact.or_else(|| self.0.iter().find(|(key, _)| same(key)).map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Read<String> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(value) => scalar(value).ok_or_else(|| format!("Request decode failed: {name} is no text")),
        }
    }

    fn flag(&self, name: &str) -> Read<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text.is_empty() => Ok(false),
            Some(Value::String(text)) => text
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| format!("Request decode failed: {name} is neither true nor false")),
            Some(_) => Err(format!("Request decode failed: {name} is neither true nor false")),
        }
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> Read<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::String(text) if text.is_empty() => return Ok(None),
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_i64(),
        };
        match number.map(T::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(format!("Request decode failed: {name} is no number in range")),
        }
    }

    /// A Go duration, or nanoseconds; in ms.
    fn duration(&self, name: &str) -> Read<u64> {
        match self.get(name) {
            None => Ok(0),
            Some(Value::String(text)) if text.is_empty() => Ok(0),
            Some(Value::String(text)) => {
                time::millis(text).ok_or_else(|| format!("Request decode failed: {name}: invalid duration"))
            }
            Some(value) => value
                .as_u64()
                .map(|nanos| nanos / 1_000_000)
                .ok_or_else(|| format!("Request decode failed: {name}: invalid duration")),
        }
    }

    fn texts(&self, name: &str) -> Read<Vec<String>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    scalar(item).ok_or_else(|| format!("Request decode failed: {name} has an item that is no text"))
                })
                .collect(),
            Some(_) => Err(format!("Request decode failed: {name} is no list")),
        }
    }

    /// The user's own keys.
    fn map(&self, name: &str) -> Read<BTreeMap<String, String>> {
        let Some(value) = self.get(name) else {
            return Ok(BTreeMap::new());
        };
        let wrong = || format!("Request decode failed: {name} is no map of texts");
        let pairs = value.as_object().ok_or_else(wrong)?.iter();
        pairs
            .map(|(key, value)| Ok((key.clone(), scalar(value).ok_or_else(wrong)?)))
            .collect()
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Any JSON body.
pub(super) fn json(body: &[u8]) -> Read<Value> {
    serde_json::from_slice(body).map_err(|error| format!("Request decode failed: {error}"))
}

/// `/v1/agent/service/register`: the service and its checks.
pub(super) fn registration(body: &[u8]) -> Read<(Service, Vec<Check>)> {
    let value = json(body)?;
    let fields = Fields::of(&value)?;
    let service = service(&fields)?;
    if service.name.is_empty() {
        return Err("Missing service name".to_owned());
    }
    let mut stated: Vec<&Value> = Vec::new();
    match fields.get("Checks") {
        None => {}
        Some(Value::Array(items)) => stated.extend(items),
        Some(_) => return Err("Request decode failed: Checks is no list".to_owned()),
    }
    stated.extend(
        fields
            .get("Check")
            .filter(|check| check.as_object().is_none_or(|fields| !fields.is_empty())),
    );
    let mut checks = Vec::with_capacity(stated.len());
    for (number, value) in stated.iter().enumerate() {
        let mut check = agent_check(&Fields::of(value)?)?;
        if check.id.is_empty() {
            check.id = match stated.len() {
                1 => format!("service:{}", service.id),
                _ => format!("service:{}:{}", service.id, number + 1),
            };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
        check.service.clone_from(&service.id);
        checks.push(check);
    }
    Ok((service, checks))
}

/// `/v1/agent/check/register`.
pub(super) fn check_registration(body: &[u8]) -> Read<Check> {
    let value = json(body)?;
    let fields = Fields::of(&value)?;
    if fields.text("Name")?.is_empty() {
        return Err("Missing check name".to_owned());
    }
    let mut check = agent_check(&fields)?;
    if check.id.is_empty() {
        check.id.clone_from(&check.name);
    }
    Ok(check)
}

/// `/v1/agent/check/update/:id`: status and output.
pub(super) fn check_update(body: &[u8]) -> Read<(Health, String)> {
    let value = json(body)?;
    let fields = Fields::of(&value)?;
    let word = fields.text("Status")?;
    let status = Health::parse(&word).ok_or_else(|| format!("Invalid check status: '{}'", word.escape_debug()))?;
    Ok((status, fields.text("Output")?))
}

/// What `/v1/catalog/register` says.
pub(super) struct Registration {
    pub(super) datacenter: String,
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) skip_node_update: bool,
    pub(super) service: Option<Service>,
    pub(super) checks: Vec<Check>,
}

/// `/v1/catalog/register`.
pub(super) fn catalog_registration(body: &[u8]) -> Read<Registration> {
    let value = json(body)?;
    let fields = Fields::of(&value)?;
    let name = fields.text("Node")?;
    let node = Node {
        id: fields.text("ID")?,
        address: fields.text("Address")?,
        tagged: fields.map("TaggedAddresses")?,
        meta: fields.map("NodeMeta")?,
    };
    let skip_node_update = fields.flag("SkipNodeUpdate")?;
    if name.is_empty() || (node.address.is_empty() && !skip_node_update) {
        return Err("Must provide node and address".to_owned());
    }
    let service = match fields.get("Service") {
        Some(value) => {
            let mut service = service(&Fields::of(value)?)?;
            if service.name.is_empty() {
                return Err("Must provide service name (Service.Service) when registering a service".to_owned());
            }
            service.owner = Owner::Catalog;
            Some(service)
        }
        None => None,
    };
    let mut stated: Vec<&Value> = Vec::new();
    match fields.get("Checks") {
        None => {}
        Some(Value::Array(items)) => stated.extend(items),
        Some(_) => return Err("Request decode failed: Checks is no list".to_owned()),
    }
    stated.extend(fields.get("Check"));
    let checks = stated
        .into_iter()
        .map(|value| catalog_check(&Fields::of(value)?))
        .collect::<Read<_>>()?;
    Ok(Registration {
        datacenter: fields.text("Datacenter")?,
        name,
        node,
        skip_node_update,
        service,
        checks,
    })
}

/// `/v1/catalog/deregister`: datacenter, node, and perhaps a service or a check.
pub(super) fn catalog_deregistration(body: &[u8]) -> Read<(String, String, Option<String>, Option<String>)> {
    let value = json(body)?;
    let fields = Fields::of(&value)?;
    let name = fields.text("Node")?;
    if name.is_empty() {
        return Err("Must provide node".to_owned());
    }
    let given = |name: &str| Ok::<_, String>(Some(fields.text(name)?).filter(|text| !text.is_empty()));
    Ok((fields.text("Datacenter")?, name, given("ServiceID")?, given("CheckID")?))
}

fn service(fields: &Fields<'_>) -> Read<Service> {
    // The agent's body says `Name`, the catalog's `Service`.
    let name = match fields.text("Name")? {
        name if name.is_empty() => fields.text("Service")?,
        name => name,
    };
    let kind = fields.text("Kind")?;
    if !kind.is_empty() || fields.get("Proxy").is_some() || fields.get("Connect").is_some() {
        return Err("proxies and Connect are not supported here: register the service itself".to_owned());
    }
    let id = fields.text("ID")?;
    let address = fields.text("Address")?;
    let port = fields.number::<u16>("Port")?.unwrap_or(0);
    let weights = match fields.get("Weights") {
        Some(value) => {
            let weights = Fields::of(value)?;
            let passing = weights.number::<u16>("Passing")?.unwrap_or(1);
            let warning = weights.number::<u16>("Warning")?.unwrap_or(1);
            if passing == 0 {
                return Err("Invalid Weights: Passing must be greater than 0".to_owned());
            }
            (passing, warning)
        }
        None => (1, 1),
    };
    let mut tagged = BTreeMap::new();
    if let Some(Value::Object(stated)) = fields.get("TaggedAddresses") {
        for (tag, value) in stated {
            let one = Fields::of(value)?;
            tagged.insert(
                tag.clone(),
                (one.text("Address")?, one.number::<u16>("Port")?.unwrap_or(0)),
            );
        }
    }
    // As the agent does, for clients that read these.
    let tags: &[&str] = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => &["lan_ipv4", "wan_ipv4"],
        Ok(std::net::IpAddr::V6(_)) => &["lan_ipv6", "wan_ipv6"],
        Err(_) => &[],
    };
    for tag in tags {
        tagged
            .entry((*tag).to_owned())
            .or_insert_with(|| (address.clone(), port));
    }
    Ok(Service {
        id: if id.is_empty() { name.clone() } else { id },
        name,
        tags: fields.texts("Tags")?,
        address,
        port,
        tagged,
        meta: fields.map("Meta")?,
        weights,
        tag_override: fields.flag("EnableTagOverride")?,
        owner: Owner::Agent,
    })
}

fn agent_check(fields: &Fields<'_>) -> Read<Check> {
    if let Some(kind) = ELSEWHERE.into_iter().find(|kind| {
        fields
            .get(kind)
            .is_some_and(|value| *value != "" && *value != Value::Array(Vec::new()))
    }) {
        return Err(format!(
            "Invalid check: {kind} checks are not run here; use HTTP, TCP or TTL"
        ));
    }
    let (http, tcp) = (fields.text("HTTP")?, fields.text("TCP")?);
    let (ttl, interval) = (fields.duration("TTL")?, fields.duration("Interval")?);
    let probe = match (http.is_empty(), tcp.is_empty()) {
        (false, false) => return Err("Invalid check: HTTP beside TCP".to_owned()),
        (false, true) => http_probe(fields, http)?,
        (true, false) => Probe::Tcp(tcp),
        (true, true) if ttl == 0 => return Err("Invalid check: TTL must be > 0 for TTL checks".to_owned()),
        (true, true) => Probe::Ttl(ttl),
    };
    let active = !matches!(probe, Probe::Ttl(_));
    if active && interval == 0 {
        return Err(
            "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks".to_owned(),
        );
    }
    let timeout = match fields.duration("Timeout")? {
        0 if active => TIMEOUT,
        stated => stated,
    };
    let after = fields.duration("DeregisterCriticalServiceAfter")?;
    Ok(Check {
        interval: interval.max(if active { LEAST_INTERVAL } else { 0 }),
        timeout,
        deregister_after: if after == 0 { 0 } else { after.max(LEAST_CRITICAL) },
        good_before: fields.number::<u32>("SuccessBeforePassing")?.unwrap_or(0),
        bad_before: fields.number::<u32>("FailuresBeforeCritical")?.unwrap_or(0),
        ..stated_check(fields, probe)?
    })
}

fn catalog_check(fields: &Fields<'_>) -> Read<Check> {
    let mut check = stated_check(fields, Probe::Stated)?;
    if check.id.is_empty() {
        check.id.clone_from(&check.name);
    }
    if check.id.is_empty() {
        return Err("Must provide a CheckID or a Name for a check".to_owned());
    }
    Ok(check)
}

fn stated_check(fields: &Fields<'_>, probe: Probe) -> Read<Check> {
    let id = match fields.text("CheckID")? {
        id if id.is_empty() => fields.text("ID")?,
        id => id,
    };
    let status = match fields.text("Status")? {
        word if word.is_empty() => Health::Critical,
        word => Health::parse(&word).ok_or_else(|| format!("Bad check status: {}", word.escape_debug()))?,
    };
    Ok(Check {
        id,
        name: fields.text("Name")?,
        status,
        notes: fields.text("Notes")?,
        output: fields.text("Output")?,
        service: fields.text("ServiceID")?,
        probe,
        interval: 0,
        timeout: 0,
        deregister_after: 0,
        good_before: 0,
        bad_before: 0,
    })
}

fn http_probe(fields: &Fields<'_>, url: String) -> Read<Probe> {
    let good = url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !good {
        return Err("Invalid check: HTTP is no http or https URL".to_owned());
    }
    let mut headers = Vec::new();
    if let Some(Value::Object(stated)) = fields.get("Header") {
        for (name, values) in stated {
            let values = values.as_array().cloned().unwrap_or_default();
            headers.extend(values.iter().filter_map(scalar).map(|value| (name.clone(), value)));
        }
    }
    let method = fields.text("Method")?;
    Ok(Probe::Http {
        url,
        method: if method.is_empty() {
            "GET".to_owned()
        } else {
            method.to_ascii_uppercase()
        },
        headers,
        body: fields.text("Body")?,
        skip_verify: fields.flag("TLSSkipVerify")?,
    })
}
