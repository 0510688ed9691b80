//! A ledger played through: what it is told, and what it publishes. The cases stand in the files beside, by subject.

use std::collections::BTreeMap;

use landfall_model::{Freshness, Host, Port, Protocol, ServiceId, Status};

use super::*;

mod holds;
mod property;
mod quarantine;
mod sessions;

/// A ledger, its clock, and what was published last.
pub(super) struct Play {
    pub(super) ledger: Ledger,
    pub(super) now: Moment,
    pub(super) view: Arc<RegistryView>,
    /// What every probe finds.
    pub(super) probes: Probed,
}

pub(super) const START: u64 = 1_000_000;

pub(super) fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START + seconds)
}

pub(super) fn registry() -> RegistryName {
    RegistryName::new("eureka").unwrap()
}

pub(super) const BRAKE: Brake = Brake {
    service_percent: 50,
    registry_percent: 25,
    hold: Duration::from_secs(30),
};

/// The number at the end of an id is its port, so that no two have the same address.
pub(super) fn instance(id: &str) -> Instance {
    let number = id
        .bytes()
        .fold(1u16, |sum, b| sum.wrapping_mul(31).wrapping_add(u16::from(b)))
        .max(1);
    Instance {
        id: id.into(),
        host: Host::parse("10.0.0.1"),
        ports: vec![Port {
            number,
            protocol: Protocol::Unknown,
            tls: false,
        }],
        status: Status::Up,
        weight: 100,
        zone: None,
        metadata: Default::default(),
        changed: None,
    }
}

pub(super) fn service(name: &str, ids: &[&str]) -> Knowledge {
    Knowledge::Service {
        name: name.into(),
        instances: ids.iter().map(|id| instance(id)).collect(),
        quarantined: Vec::new(),
        changed: None,
    }
}

fn gone(name: &str) -> Knowledge {
    Knowledge::Gone { name: name.into() }
}

impl Play {
    pub(super) fn new() -> Self {
        let now = Moment {
            wall: wall(0),
            mono: Duration::ZERO,
        };
        let mut ledger = Ledger::new(registry(), "eureka", "one:8761".into(), BRAKE, now);
        let view = ledger.publish(now).expect("the first view").view;
        Self {
            ledger,
            now,
            view,
            probes: Probed::Unknown,
        }
    }

    /// One that has caught up with these services.
    fn live(services: &[Knowledge]) -> Self {
        let mut play = Self::new();
        play.session(services);
        play
    }

    pub(super) fn event(&mut self, event: Event) {
        self.ledger.apply(self.now, event);
        self.look();
    }

    pub(super) fn say(&mut self, knowledge: Knowledge) {
        self.event(Event::Said(knowledge));
    }

    /// A new session that says this and has caught up.
    fn session(&mut self, services: &[Knowledge]) {
        self.event(Event::Opened);
        services.iter().cloned().for_each(|knowledge| self.say(knowledge));
        self.say(Knowledge::CaughtUp);
    }

    pub(super) fn end(&mut self, why: &str) {
        self.event(Event::Ended {
            why: why.to_owned(),
            retry_at: self.now.wall + Duration::from_secs(1),
        });
    }

    /// Time passes; whatever the ledger wants to be woken for happens on time, and probes are answered.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..100_000 {
            for target in self.ledger.probes(self.now) {
                let (service, instance, found) = (target.service, target.instance.id.clone(), self.probes);
                self.ledger.apply(
                    self.now,
                    Event::Probed {
                        service,
                        instance,
                        found,
                    },
                );
            }
            self.look();
            let next = self.ledger.wake_at(self.now).map_or(end, |at| at.min(end));
            self.now = Moment {
                wall: self.now.wall_at(next),
                mono: next,
            };
            self.ledger.tick(self.now);
            self.look();
            if next == end {
                return;
            }
        }
        panic!("the ledger wants to be woken again and again at {:?}", self.now);
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn look(&mut self) {
        if let Some(published) = self.ledger.publish(self.now) {
            self.view = published.view;
        }
    }

    pub(super) fn seen(&self) -> BTreeMap<String, Vec<String>> {
        let ids = |view: &ServiceView| view.service.instances.iter().map(|i| i.id.to_string()).collect();
        self.view
            .services
            .iter()
            .map(|(name, view)| (name.to_string(), ids(view)))
            .collect()
    }

    #[track_caller]
    fn assert_seen(&self, expected: &[(&str, &[&str])]) {
        let expected: BTreeMap<String, Vec<String>> = expected
            .iter()
            .map(|(name, ids)| ((*name).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect()))
            .collect();
        assert_eq!(self.seen(), expected);
    }

    fn freshness(&self, service: &str) -> &Freshness {
        &self.view.services[service].freshness
    }
}
