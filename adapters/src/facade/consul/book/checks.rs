//! Checks: what clients say, what probes find, what runs out.

use super::{
    super::record::{Check, Health, Owner, Probe},
    Book, Refusal, Watched,
};
use crate::facade::shared::Moment;

/// Consul keeps that much of what a check said.
const OUTPUT: usize = 4096;

/// A probe that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Of which check.
    pub check: String,
    /// What to do.
    pub probe: Probe,
    /// For how long at most, ms.
    pub timeout: u64,
}

impl Book {
    /// Registers a check with the agent: of one of its services, or of the node.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn register_check(&mut self, check: Check, now: Moment) -> Result<(), Refusal> {
        self.limits.check_check(&check)?;
        let node = self.identity.node.clone();
        if !check.service.is_empty() && self.own_service(&check.service).is_none() {
            return Err(Refusal::Unknown(format!(
                "ServiceID \"{}\" does not exist",
                check.service.escape_debug()
            )));
        }
        self.room_for(&node, &check.service, std::slice::from_ref(&check))?;
        self.put_check(&node, check, now);
        Ok(())
    }

    /// Takes a check out.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn deregister_check(&mut self, id: &str) -> Result<(), Refusal> {
        let node = self.identity.node.clone();
        self.own_check(id)?;
        self.take_check(&node, id);
        Ok(())
    }

    /// A client says how its TTL check stands, which renews it; or how one stands that was taken over.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] for one that does not exist, or has no TTL.
    pub fn update_check(&mut self, id: &str, status: Health, output: &str, now: Moment) -> Result<(), Refusal> {
        let watched = self.own_check(id)?;
        let ttl = match watched.check.probe {
            Probe::Ttl(ttl) => Some(ttl),
            Probe::Inherited(_) => None,
            _ => {
                return Err(Refusal::Unknown(format!(
                    "CheckID \"{}\" does not have associated TTL",
                    id.escape_debug()
                )));
            }
        };
        let node = self.identity.node.clone();
        self.conclude(&node, id, status, output, now);
        if let Some(watched) = self.watched(&node, id) {
            match ttl {
                Some(ttl) => watched.next = now.steady + ttl,
                // Its own word counts; a connection undoes only what another one did.
                None => watched.bad = 0,
            }
        }
        Ok(())
    }

    /// The probes that are due; each is under way from now on, until [`found`](Self::found).
    pub fn due(&mut self, now: Moment) -> Vec<Due> {
        let Some(place) = self.nodes.get_mut(&self.identity.node) else {
            return Vec::new();
        };
        let mut due = Vec::new();
        for watched in place.checks.values_mut() {
            let active = match &watched.check.probe {
                Probe::Http { .. } | Probe::Tcp(_) => true,
                Probe::Inherited(address) => !address.is_empty(),
                Probe::Stated | Probe::Ttl(_) => false,
            };
            if active && !watched.running && watched.next <= now.steady {
                watched.running = true;
                watched.next = now.steady + watched.check.interval;
                due.push(Due {
                    check: watched.check.id.clone(),
                    probe: watched.check.probe.clone(),
                    timeout: watched.check.timeout,
                });
            }
        }
        due
    }

    /// What a probe has found. Nothing happens if its check is gone or another one by now.
    pub fn found(&mut self, due: &Due, status: Health, output: &str, now: Moment) {
        let node = self.identity.node.clone();
        let Some(watched) = self.watched(&node, &due.check) else {
            return;
        };
        if watched.check.probe != due.probe {
            return;
        }
        watched.running = false;
        if matches!(due.probe, Probe::Inherited(_)) {
            let was_bad = watched.bad >= watched.check.bad_before;
            watched.bad = match status {
                Health::Critical => watched.bad.saturating_add(1),
                Health::Passing | Health::Warning => 0,
            };
            let is_bad = watched.bad >= watched.check.bad_before;
            if was_bad != is_bad {
                self.conclude(&node, &due.check, status, output, now);
            }
            return;
        }
        let enough = if status == Health::Critical {
            (watched.good, watched.bad) = (0, watched.bad.saturating_add(1));
            watched.bad >= watched.check.bad_before
        } else {
            (watched.good, watched.bad) = (watched.good.saturating_add(1), 0);
            watched.good >= watched.check.good_before
        };
        if enough {
            self.conclude(&node, &due.check, status, output, now);
        }
    }

    /// Ends what has run out: TTLs, and services that have been critical for too long. Returns how many of each.
    pub fn expire(&mut self, now: Moment) -> (usize, usize) {
        let node = self.identity.node.clone();
        let Some(place) = self.nodes.get(&node) else {
            return (0, 0);
        };
        let mut silent = Vec::new();
        let mut hopeless = Vec::new();
        for (id, watched) in &place.checks {
            let ttl = matches!(watched.check.probe, Probe::Ttl(_));
            if ttl && watched.next <= now.steady && watched.check.status != Health::Critical {
                silent.push(id.clone());
            }
            let after = watched.check.deregister_after;
            let since = watched.critical_since.filter(|_| after > 0);
            if since.is_some_and(|since| now.steady.saturating_sub(since) > after) {
                hopeless.push(watched.check.service.clone());
            }
        }
        for id in &silent {
            self.conclude(&node, id, Health::Critical, "TTL expired", now);
        }
        hopeless.sort();
        hopeless.dedup();
        hopeless.retain(|service| !service.is_empty());
        for service in &hopeless {
            self.take_service(&node, service);
        }
        self.evicted += hopeless.len() as u64;
        (silent.len(), hopeless.len())
    }

    fn conclude(&mut self, node: &str, id: &str, status: Health, output: &str, now: Moment) {
        let index = self.index + 1;
        let Some(watched) = self.watched(node, id) else { return };
        watched.check.output = shortened(output);
        if watched.check.status == status {
            return;
        }
        watched.check.status = status;
        watched.stamp.modified = index;
        watched.critical_since = match status {
            Health::Critical => watched.critical_since.or(Some(now.steady)),
            Health::Passing | Health::Warning => None,
        };
        let service = watched.check.service.clone();
        self.index = index;
        self.touch_check(node, &service, index);
    }

    fn watched(&mut self, node: &str, id: &str) -> Option<&mut Watched> {
        self.nodes.get_mut(node)?.checks.get_mut(id)
    }

    /// A check that clients have registered with the agent.
    fn own_check(&self, id: &str) -> Result<&Watched, Refusal> {
        let place = self.nodes.get(&self.identity.node);
        let found = place.and_then(|place| {
            let watched = place.checks.get(id)?;
            let of = &watched.check.service;
            let mirrored = place
                .services
                .get(of)
                .is_some_and(|(service, _)| service.owner == Owner::Mirror);
            (!mirrored && id != "serfHealth").then_some(watched)
        });
        found.ok_or_else(|| {
            Refusal::Unknown(format!(
                "Unknown check ID \"{}\". Ensure that the check ID is passed, not the check name.",
                id.escape_debug()
            ))
        })
    }
}

fn shortened(output: &str) -> String {
    if output.len() <= OUTPUT {
        return output.to_owned();
    }
    let end = (0..=OUTPUT).rev().find(|at| output.is_char_boundary(*at)).unwrap_or(0);
    output[..end].to_owned()
}
