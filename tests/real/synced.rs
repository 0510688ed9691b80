//! What the tests of syncing share: the documents, Landfall's own counts of writes, and whether every record stands
//! where it is to stand, by the registries' own word.

use std::collections::BTreeMap;

use landfall_tests::{
    Landfall,
    natives::{Native, Registry, Row},
};
use serde_json::Value;

/// `kind: RegistrySync` documents that change as soon as they may.
pub fn sync(name: &str, edges: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: {{ name: {name} }}\n\
         spec: {{ {edges}, limits: {{ settle: 300ms, writesPerSecond: 200 }} }}\n"
    )
}

/// What Landfall has sent to one registry, by its own metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub writes: u64,
    pub removals: u64,
    pub restores: u64,
    pub renewals: u64,
}

impl Sent {
    /// Everything that changes something.
    pub fn changes(self) -> u64 {
        self.writes + self.removals + self.restores
    }
}

/// By registry.
pub async fn sent(landfall: &Landfall) -> Result<BTreeMap<String, Sent>, String> {
    let mut all = BTreeMap::<String, Sent>::new();
    for line in landfall.metrics().await?.lines() {
        let Some((name, value)) = line
            .strip_prefix("landfall_sync_")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let Some((name, label)) = name.split_once("_total{registry=\"") else {
            continue;
        };
        let sent = all.entry(label.trim_end_matches("\"}").to_owned()).or_default();
        let value: u64 = value.parse().map_err(|_| line.to_owned())?;
        match name {
            "writes" => sent.writes = value,
            "removals" => sent.removals = value,
            "restores" => sent.restores = value,
            "renewals" => sent.renewals = value,
            _ => {}
        }
    }
    Ok(all)
}

/// Nothing is left to write, and nothing is held or has just been written and not been seen.
pub async fn is_idle(landfall: &Landfall) -> Result<(), String> {
    let status = landfall.admin("/api/v1/sync").await?;
    let targets = status["targets"].as_array().ok_or_else(|| status.to_string())?;
    let is_idle = |target: &Value| target["state"] == "idle" && target["toWrite"] == 0 && target["held"] == 0;
    match !targets.is_empty() && targets.iter().all(is_idle) {
        true => Ok(()),
        false => Err(status.to_string()),
    }
}

/// A registry with its name and its natives.
pub struct Site {
    pub name: &'static str,
    pub registry: Registry,
    pub natives: Vec<Native>,
    /// Whether the others' records are written into it.
    pub is_target: bool,
}

impl Site {
    /// With natives of services that no other site has: two of one service, one of another one.
    pub async fn new(name: &'static str, registry: Registry) -> Self {
        Self::with(name, registry, &["twin", "twin", "single"]).await
    }

    /// With natives of these services.
    pub async fn with(name: &'static str, registry: Registry, services: &[&str]) -> Self {
        let mut site = Self {
            name,
            registry,
            natives: Vec::new(),
            is_target: true,
        };
        for service in services {
            site.add(service).await;
        }
        site
    }

    /// One more native.
    pub async fn add(&mut self, service: &str) {
        let native = Native::living(&format!("{}-{service}", self.name));
        self.registry.register(&native).await;
        self.natives.push(native);
    }

    /// The last native ends, and says so.
    pub async fn end_last(&mut self) -> Native {
        let mut native = self.natives.pop().expect("a native");
        self.registry.deregister(&native).await;
        native.die();
        native
    }
}

/// Every native record stands once in its own registry, once as a copy in every other target, and nothing else of ours
/// stands anywhere.
pub async fn each_once(sites: &[Site]) -> Result<(), String> {
    for site in sites {
        let rows = site.registry.rows().await?;
        for owner in sites {
            for native in &owner.natives {
                let address = native.address.to_string();
                let found: Vec<&Row> = rows.iter().filter(|row| row.address == address).collect();
                let is_own = owner.name == site.name;
                let is_right = match found[..] {
                    [row] => row.cluster.is_none() == is_own,
                    [] => !is_own && !site.is_target,
                    _ => false,
                };
                if !is_right {
                    return Err(format!("{} of {} in {}: {found:?}", native.id(), owner.name, site.name));
                }
            }
        }
        let others = sites.iter().filter(|owner| owner.name != site.name);
        let expected: usize = others.map(|owner| owner.natives.len()).sum();
        let ours = rows.iter().filter(|row| row.cluster.is_some()).count();
        if site.is_target && ours != expected {
            return Err(format!("{ours} copies in {}, not {expected}", site.name));
        }
    }
    Ok(())
}

/// The same, with what Landfall says to it where it is not so.
pub async fn converged(landfall: &Landfall, sites: &[Site]) -> Result<(), String> {
    match each_once(sites).await {
        Ok(()) => Ok(()),
        Err(why) => Err(format!(
            "{why}\n{}\n{}",
            landfall.admin("/api/v1/sync").await?,
            landfall.admin("/api/v1/sync/plan").await?
        )),
    }
}

/// What each registry notes of the last write of every record, native or not.
pub async fn evidence(sites: &[Site]) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for site in sites {
        for row in site.registry.rows().await? {
            let key = format!("{} {} {} {:?}", site.name, row.service, row.id, row.cluster);
            if let Some(twice) = all.insert(key, row.evidence) {
                return Err(format!("{} {} stands twice: {twice}", site.name, row.id));
            }
        }
    }
    Ok(all)
}

/// No registry has a record of this address any more.
pub async fn is_gone(sites: &[Site], native: &Native) -> Result<(), String> {
    let address = native.address.to_string();
    for site in sites {
        if let Some(row) = site.registry.rows().await?.iter().find(|row| row.address == address) {
            return Err(format!("{}: {row:?}", site.name));
        }
    }
    Ok(())
}
