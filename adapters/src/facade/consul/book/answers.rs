//! What readers are answered, in Consul's own shapes: lists and maps are never null, names are Consul's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::{
    super::{
        record::{Health, Node, Owner, Probe, Service},
        time,
    },
    Book, Place, Stamp, Watched,
};

/// What a query waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Names and tags.
    Listing,
    /// The nodes.
    Nodes,
    /// Any check.
    Checks,
    /// One service: its instances and all of their checks.
    Service(String),
    /// Anything at all.
    Any,
    /// One key.
    Key(String),
    /// All keys that begin with something.
    Keys,
    /// What never changes.
    Nothing,
}

/// Which instances of a service are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// With all of these tags, in any case.
    pub tags: Vec<String>,
    /// Without any check that is not passing.
    pub passing: bool,
    /// On nodes with all of this metadata.
    pub node_meta: Vec<(String, String)>,
}

impl Filter {
    fn takes(&self, place: &Place, service: &Service) -> bool {
        let has = |tag: &String| service.tags.iter().any(|one| one.eq_ignore_ascii_case(tag));
        self.tags.iter().all(has) && self.takes_node(&place.node)
    }

    fn takes_node(&self, node: &Node) -> bool {
        self.node_meta
            .iter()
            .all(|(key, value)| node.meta.get(key) == Some(value))
    }
}

impl Book {
    /// The index of what a query shows.
    pub fn index_of(&self, watch: &Watch) -> u64 {
        match watch {
            Watch::Listing => self.marks.listing,
            Watch::Nodes => self.marks.nodes,
            Watch::Checks => self.marks.checks,
            Watch::Service(name) => self.marks.services.get(name).copied().unwrap_or(self.marks.extinct),
            Watch::Any => self.index,
            Watch::Key(key) => self.kv.get(key).map_or(self.marks.kv, |value| value.modified),
            Watch::Keys => self.marks.kv,
            // The least that clients take for an index.
            Watch::Nothing => 1,
        }
    }

    /// `/v1/catalog/services`.
    pub fn listing(&self, filter: &Filter) -> Json {
        if filter.node_meta.is_empty() {
            return json!(self.listing);
        }
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for place in self.nodes.values().filter(|place| filter.takes_node(&place.node)) {
            for (service, _) in place.services.values() {
                let tags = names.entry(&service.name).or_default();
                tags.extend(service.tags.iter().map(String::as_str));
            }
        }
        json!(names)
    }

    /// `/v1/catalog/services` of those rows of `/v1/catalog/service/:name` that are wanted.
    pub fn listing_of(&self, filter: &Filter, wanted: impl Fn(&Json) -> bool) -> Json {
        let mut names: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for name in self.names.keys() {
            let Json::Array(rows) = self.catalog_service(name, filter) else {
                continue;
            };
            for row in rows.iter().filter(|row| wanted(row)) {
                let tags = row["ServiceTags"].as_array().into_iter().flatten();
                let tags = tags.filter_map(|tag| tag.as_str().map(str::to_owned));
                names.entry(name).or_default().extend(tags);
            }
        }
        json!(names)
    }

    /// `/v1/catalog/service/:name`.
    pub fn catalog_service(&self, name: &str, filter: &Filter) -> Json {
        let rows = self.instances(name, filter).map(|(node, place, service, stamp)| {
            let mut row = json!({
                "ID": place.node.id, "Node": node, "Address": place.node.address,
                "Datacenter": self.identity.datacenter, "TaggedAddresses": place.node.tagged,
                "NodeMeta": place.node.meta, "ServiceKind": "", "ServiceID": service.id,
                "ServiceName": service.name, "ServiceTags": service.tags, "ServiceAddress": service.address,
                "ServiceWeights": { "Passing": service.weights.0, "Warning": service.weights.1 },
                "ServiceMeta": service.meta, "ServicePort": service.port, "ServiceSocketPath": "",
                "ServiceEnableTagOverride": service.tag_override,
                "ServiceProxy": { "Mode": "", "MeshGateway": {}, "Expose": {} }, "ServiceConnect": {},
                "CreateIndex": stamp.created, "ModifyIndex": stamp.modified,
            });
            add_tagged(&mut row, "ServiceTaggedAddresses", service);
            row
        });
        Json::Array(rows.collect())
    }

    /// `/v1/catalog/nodes`.
    pub fn catalog_nodes(&self, filter: &Filter) -> Json {
        let places = self.nodes.iter().filter(|(_, place)| filter.takes_node(&place.node));
        Json::Array(places.map(|(name, place)| self.node(name, place)).collect())
    }

    /// `/v1/catalog/node/:node`: services by id. `None` if there is no such node.
    pub fn catalog_node(&self, name: &str) -> Option<Json> {
        let place = self.nodes.get(name)?;
        let services = place.services.values();
        let services: Map<String, Json> = services
            .map(|(service, stamp)| (service.id.clone(), self.service(service, Some(*stamp))))
            .collect();
        Some(json!({ "Node": self.node(name, place), "Services": services }))
    }

    /// `/v1/catalog/node-services/:node`: services as a list.
    pub fn catalog_node_services(&self, name: &str) -> Option<Json> {
        let place = self.nodes.get(name)?;
        let services = place.services.values();
        let services: Vec<Json> = services
            .map(|(service, stamp)| self.service(service, Some(*stamp)))
            .collect();
        Some(json!({ "Node": self.node(name, place), "Services": services }))
    }

    /// `/v1/health/service/:name`.
    pub fn health_service(&self, name: &str, filter: &Filter) -> Json {
        let rows = self.instances(name, filter).filter(|(_, place, service, _)| {
            !filter.passing || place.about(&service.id).all(|one| one.check.status == Health::Passing)
        });
        let rows = rows.map(|(node, place, service, stamp)| self.entry(node, place, service, stamp));
        Json::Array(rows.collect())
    }

    /// As [`health_service`](Self::health_service), without what is mirrored; `None` if nobody has registered it here.
    pub fn native_service(&self, name: &str) -> Option<Json> {
        let all = Filter::default();
        let rows = self
            .instances(name, &all)
            .filter(|(_, _, service, _)| service.owner != Owner::Mirror);
        let rows: Vec<Json> = rows
            .map(|(node, place, service, stamp)| self.entry(node, place, service, stamp))
            .collect();
        (!rows.is_empty()).then_some(Json::Array(rows))
    }

    /// Names that clients have registered here.
    pub fn native_names(&self) -> BTreeSet<String> {
        let native = |(node, id): &(String, String)| {
            let found = self.nodes.get(node).and_then(|place| place.services.get(id));
            found.is_some_and(|(service, _)| service.owner != Owner::Mirror)
        };
        let names = self.names.iter().filter(|(_, instances)| instances.iter().any(native));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Names that have changed after that index and still have instances.
    pub fn changed_since(&self, index: u64) -> impl Iterator<Item = &str> {
        let changed = self.marks.services.iter().filter(move |(_, mark)| **mark > index);
        changed.map(|(name, _)| name.as_str())
    }

    /// `/v1/health/checks/:name`.
    pub fn health_checks(&self, name: &str) -> Json {
        let all = Filter::default();
        let mut rows = Vec::new();
        for (node, place, service, _) in self.instances(name, &all) {
            rows.extend(place.checks_under(&service.id).map(|one| place.check(node, one)));
        }
        Json::Array(rows)
    }

    /// `/v1/health/node/:node`.
    pub fn health_node(&self, name: &str) -> Json {
        let place = self.nodes.get(name).into_iter();
        Json::Array(
            place
                .flat_map(|place| place.checks.values().map(|one| place.check(name, one)))
                .collect(),
        )
    }

    /// `/v1/health/state/:state`; without one, all.
    pub fn health_state(&self, state: Option<Health>) -> Json {
        let mut rows = Vec::new();
        for (name, place) in &self.nodes {
            let wanted = place
                .checks
                .values()
                .filter(|one| state.is_none_or(|state| one.check.status == state));
            rows.extend(wanted.map(|one| place.check(name, one)));
        }
        Json::Array(rows)
    }

    /// `/v1/agent/services`.
    pub fn agent_services(&self) -> Json {
        let own = self.nodes.get(&self.identity.node).into_iter();
        let services = own.flat_map(|place| place.services.values());
        let services = services.map(|(service, _)| (service.id.clone(), self.agent_service_of(service)));
        Json::Object(services.collect())
    }

    /// `/v1/agent/service/:id`.
    pub fn agent_service(&self, id: &str) -> Option<Json> {
        let (service, _) = self.nodes.get(&self.identity.node)?.services.get(id)?;
        Some(self.agent_service_of(service))
    }

    /// `/v1/agent/checks`.
    pub fn agent_checks(&self) -> Json {
        let node = &self.identity.node;
        let own = self.nodes.get(node).into_iter();
        let checks = own.flat_map(|place| {
            place
                .checks
                .values()
                .map(|one| (one.check.id.clone(), place.check(node, one)))
        });
        Json::Object(checks.filter(|(id, _)| id != "serfHealth").collect())
    }

    /// `/v1/agent/health/service/id/:id`: the worst status of the service and of its node, with everything.
    pub fn agent_health(&self, id: &str) -> Option<(Health, bool, Json)> {
        let node = &self.identity.node;
        let place = self.nodes.get(node)?;
        let (service, _) = place.services.get(id)?;
        // Gossip's check is of no interest to who asks the agent itself.
        let about = || place.about(id).filter(|one| one.check.id != "serfHealth");
        let worst = about().map(|one| one.check.status).max().unwrap_or(Health::Passing);
        let maintained = about().any(|one| is_maintenance(&one.check.id));
        let checks: Vec<Json> = about().map(|one| place.check(node, one)).collect();
        let word = if maintained { "maintenance" } else { worst.as_str() };
        let body = json!({ "AggregatedStatus": word, "Service": self.agent_service_of(service), "Checks": checks });
        Some((worst, maintained, body))
    }

    /// Ids of the agent's instances of a service.
    pub fn own_ids(&self, name: &str) -> Vec<String> {
        let instances = self.names.get(name).into_iter().flatten();
        instances
            .filter(|(node, _)| *node == self.identity.node)
            .map(|(_, id)| id.clone())
            .collect()
    }

    fn instances<'a>(
        &'a self,
        name: &str,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (&'a str, &'a Place, &'a Service, Stamp)> {
        let named = self.names.get(name).into_iter().flatten();
        let found = named.filter_map(|(node, id)| {
            let place = self.nodes.get(node)?;
            let (service, stamp) = place.services.get(id)?;
            Some((node.as_str(), place, service, *stamp))
        });
        found.filter(|(_, place, service, _)| filter.takes(place, service))
    }

    fn entry(&self, node: &str, place: &Place, service: &Service, stamp: Stamp) -> Json {
        let checks: Vec<Json> = place.about(&service.id).map(|one| place.check(node, one)).collect();
        json!({ "Node": self.node(node, place), "Service": self.service(service, Some(stamp)), "Checks": checks })
    }

    fn node(&self, name: &str, place: &Place) -> Json {
        json!({
            "ID": place.node.id, "Node": name, "Address": place.node.address,
            "Datacenter": self.identity.datacenter, "TaggedAddresses": place.node.tagged, "Meta": place.node.meta,
            "CreateIndex": place.stamp.created, "ModifyIndex": place.stamp.modified,
        })
    }

    fn service(&self, service: &Service, stamp: Option<Stamp>) -> Json {
        let mut body = json!({
            "ID": service.id, "Service": service.name, "Tags": service.tags, "Address": service.address,
            "Meta": service.meta, "Port": service.port,
            "Weights": { "Passing": service.weights.0, "Warning": service.weights.1 },
            "EnableTagOverride": service.tag_override,
        });
        add_tagged(&mut body, "TaggedAddresses", service);
        if let (Some(fields), Some(stamp)) = (body.as_object_mut(), stamp) {
            fields.insert(
                "Proxy".to_owned(),
                json!({ "Mode": "", "MeshGateway": {}, "Expose": {} }),
            );
            fields.insert("Connect".to_owned(), json!({}));
            fields.insert("CreateIndex".to_owned(), json!(stamp.created));
            fields.insert("ModifyIndex".to_owned(), json!(stamp.modified));
        }
        body
    }

    fn agent_service_of(&self, service: &Service) -> Json {
        let mut body = self.service(service, None);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("Datacenter".to_owned(), json!(self.identity.datacenter));
        }
        body
    }
}

impl Place {
    /// The checks of a service and of its node.
    fn about<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Watched> {
        self.checks_under("").chain(self.checks_under(service))
    }

    fn checks_under<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Watched> {
        let ids = self.of.get(service).into_iter().flatten();
        ids.filter_map(|id| self.checks.get(id))
    }

    fn check(&self, node: &str, watched: &Watched) -> Json {
        let check = &watched.check;
        let service = self.services.get(&check.service).map(|(service, _)| service);
        let active = !matches!(check.probe, Probe::Stated | Probe::Ttl(_) | Probe::Inherited(_));
        let shown = |ms: u64| {
            if active && ms > 0 {
                time::text(ms)
            } else {
                String::new()
            }
        };
        json!({
            "Node": node, "CheckID": check.id, "Name": check.name, "Status": check.status.as_str(),
            "Notes": check.notes, "Output": check.output, "ServiceID": check.service,
            "ServiceName": service.map_or("", |service| &service.name),
            "ServiceTags": service.map_or(&[][..], |service| &service.tags),
            "Type": if is_maintenance(&check.id) { "maintenance" } else { check.probe.kind() }, "Interval": shown(check.interval), "Timeout": shown(check.timeout),
            "ExposedPort": 0, "Definition": {},
            "CreateIndex": watched.stamp.created, "ModifyIndex": watched.stamp.modified,
        })
    }
}

/// As Consul's, left out if there is none.
fn add_tagged(body: &mut Json, name: &str, service: &Service) {
    let addresses = service.tagged.iter();
    let addresses: Map<String, Json> = addresses
        .map(|(tag, (address, port))| (tag.clone(), json!({ "Address": address, "Port": port })))
        .collect();
    if let Some(fields) = body.as_object_mut().filter(|_| !addresses.is_empty()) {
        fields.insert(name.to_owned(), Json::Object(addresses));
    }
}

fn is_maintenance(id: &str) -> bool {
    id == "_node_maintenance" || id.starts_with("_service_maintenance:")
}
