//! Records as odd as registries take them, in three real registries that are written into each other: each is carried,
//! carried under another name, or listed with its reason. docs/sync.md has the same table.

use landfall_tests::{
    Landfall,
    estate::Estate,
    eventually,
    landfall::run,
    natives::{Registry, Row, percent},
};
use serde_json::{Value, json};

use super::{
    registry,
    synced::{is_idle, sync},
};

/// What becomes of a record in one other registry, or in all of them.
enum Fate {
    /// It stands in this target under this name.
    Stands(&'static str, &'static str),
    /// `landfall sync plan -o wide` has a line with these words under this target.
    Planned(&'static str, &'static [&'static str]),
    /// `landfall get conflicts` has a line with these words.
    Conflicts(&'static [&'static str]),
    /// `landfall get registries -o wide` has a line with these words.
    Unreadable(&'static [&'static str]),
}

use Fate::{Conflicts, Planned, Stands, Unreadable};

/// A record, how it got there, and what becomes of it.
struct Odd {
    what: &'static str,
    native: Native,
    /// `host:port`, by which its copies are known.
    address: &'static str,
    fates: &'static [Fate],
}

enum Native {
    /// Application, id, host, port, metadata.
    Eureka(&'static str, &'static str, &'static str, u16, Value),
    /// Name, id, host, port, meta; on a node of its own if one is named.
    Consul(
        &'static str,
        &'static str,
        &'static str,
        u16,
        Value,
        Option<&'static str>,
    ),
    /// Folder of the interface, and the name of the node before it is encoded.
    ZooKeeper(&'static str, String),
}

const NO_DUBBO: &str = "it is no Dubbo service";

fn from_eureka() -> Vec<Odd> {
    use Native::Eureka;
    let odd = |what, native, address, fates| Odd {
        what,
        native,
        address,
        fates,
    };
    vec![
        odd(
            "`_`",
            Eureka("ODD_NAME", "e1", "10.9.1.1", 8001, json!({})),
            "10.9.1.1:8001",
            &[
                Stands("consul", "odd_name"),
                Planned("zookeeper", &["odd_name.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "`:`",
            Eureka("ODD:COLON", "e2", "10.9.1.2", 8002, json!({})),
            "10.9.1.2:8002",
            &[
                Stands("consul", "odd:colon"),
                Planned("zookeeper", &["odd:colon.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "`.`",
            Eureka("ODD.DOT", "e3", "10.9.1.3", 8003, json!({})),
            "10.9.1.3:8003",
            &[
                Stands("consul", "odd.dot"),
                Planned("zookeeper", &["odd.dot.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "a space",
            Eureka("ODD SPACE", "e4", "10.9.1.4", 8004, json!({})),
            "10.9.1.4:8004",
            &[
                Stands("consul", "odd space"),
                Planned("zookeeper", &["odd space.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "an emoji",
            Eureka("ODD🦀", "e5", "10.9.1.5", 8005, json!({})),
            "10.9.1.5:8005",
            &[
                Stands("consul", "odd🦀"),
                Planned("zookeeper", &["odd🦀.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "one of two names that differ by case",
            Eureka("Twin", "e6", "10.9.1.6", 8006, json!({})),
            "10.9.1.6:8006",
            &[
                Stands("consul", "twin"),
                Planned("zookeeper", &["twin.eureka", NO_DUBBO]),
            ],
        ),
        odd(
            "the other one",
            Eureka("TWIN", "e7", "10.9.1.7", 8007, json!({})),
            "10.9.1.7:8007",
            &[Stands("consul", "twin")],
        ),
        odd(
            "a host name",
            Eureka("HOSTED", "e8", "odd-host.example", 8008, json!({})),
            "odd-host.example:8008",
            &[Stands("consul", "hosted")],
        ),
        odd(
            "a host that is none, with a blank",
            Eureka("BLANK", "e9", "no host", 8009, json!({})),
            "no host:8009",
            &[Unreadable(&["e9", "no host", "is no address"])],
        ),
        odd(
            "a host that is none, with a port",
            Eureka("PORTED", "e10", "10.9.1.10:80", 8010, json!({})),
            "10.9.1.10:80:8010",
            &[
                Planned("consul", &["ported.eureka", "is no address"]),
                Planned("zookeeper", &["ported.eureka"]),
            ],
        ),
        odd(
            "64 KiB of metadata in one value",
            Eureka(
                "LARGE",
                "e11",
                "10.9.1.11",
                8011,
                json!({ "blob": "x".repeat(64 << 10) }),
            ),
            "10.9.1.11:8011",
            &[
                Stands("consul", "large"),
                Planned("consul", &["? blob does not survive", "65536 bytes"]),
            ],
        ),
        odd(
            "64 KiB of metadata in 700 values",
            Eureka("MANY", "e12", "10.9.1.12", 8012, many()),
            "10.9.1.12:8012",
            &[
                Stands("consul", "many"),
                Planned("consul", &["? key-", "does not survive", "64 pairs"]),
            ],
        ),
        odd(
            "an unknown protocol",
            Eureka("PIGEON", "e13", "10.9.1.13", 8013, json!({ "protocol": "pigeon" })),
            "10.9.1.13:8013",
            &[
                Stands("consul", "pigeon"),
                Planned("consul", &["? protocol does not survive"]),
            ],
        ),
        odd(
            "one id in two applications",
            Eureka("DUP-A", "dup", "10.9.1.14", 8014, json!({})),
            "10.9.1.14:8014",
            &[Stands("consul", "dup-a")],
        ),
        odd(
            "the other application",
            Eureka("DUP-B", "dup", "10.9.1.15", 8015, json!({})),
            "10.9.1.15:8015",
            &[Stands("consul", "dup-b")],
        ),
        odd(
            "one address under two ids",
            Eureka("SAME", "e16", "10.9.1.16", 8016, json!({})),
            "10.9.1.16:8016",
            &[Stands("consul", "same")],
        ),
        odd(
            "the other id",
            Eureka("SAME", "e17", "10.9.1.16", 8016, json!({})),
            "10.9.1.16:8016",
            &[Planned("consul", &["same.eureka", "has the same address"])],
        ),
    ]
}

fn many() -> Value {
    let pairs = (0..700).map(|at| (format!("key-{at}"), json!("x".repeat(90))));
    Value::Object(pairs.collect())
}

fn from_consul() -> Vec<Odd> {
    use Native::Consul;
    let odd = |what, native, address, fates| Odd {
        what,
        native,
        address,
        fates,
    };
    vec![
        odd(
            "`_`",
            Consul("under_score", "c1", "10.9.2.1", 8001, json!({}), None),
            "10.9.2.1:8001",
            &[
                Stands("eureka", "UNDER_SCORE"),
                Planned("zookeeper", &["under_score.consul", NO_DUBBO]),
            ],
        ),
        odd(
            "`:`",
            Consul("col:on", "c2", "10.9.2.2", 8002, json!({}), None),
            "10.9.2.2:8002",
            &[
                Stands("eureka", "COL:ON"),
                Planned("zookeeper", &["col:on.consul", NO_DUBBO]),
            ],
        ),
        odd(
            "`.`",
            Consul("dot.ted", "c3", "10.9.2.3", 8003, json!({}), None),
            "10.9.2.3:8003",
            &[Stands("eureka", "DOT.TED")],
        ),
        odd(
            "a space",
            Consul("two words", "c4", "10.9.2.4", 8004, json!({}), None),
            "10.9.2.4:8004",
            &[Stands("eureka", "TWO WORDS")],
        ),
        odd(
            "an emoji",
            Consul("crab🦀", "c5", "10.9.2.5", 8005, json!({}), None),
            "10.9.2.5:8005",
            &[Stands("eureka", "CRAB🦀")],
        ),
        odd(
            "`/`",
            Consul("sla/sh", "c6", "10.9.2.6", 8006, json!({}), None),
            "10.9.2.6:8006",
            &[
                Stands("eureka", "SLA_X2F_SH"),
                Planned("eureka", &["? service does not survive", "sla_x2f_sh"]),
            ],
        ),
        odd(
            "one of two names that differ by case",
            Consul("Billing", "c7", "10.9.2.7", 8007, json!({}), None),
            "10.9.2.7:8007",
            &[Stands("eureka", "BILLING")],
        ),
        odd(
            "the other one",
            Consul("billing", "c8", "10.9.2.8", 8008, json!({}), None),
            "10.9.2.8:8008",
            &[
                Conflicts(&["billing", "eureka"]),
                Planned("eureka", &["! billing.consul", "names"]),
            ],
        ),
        odd(
            "a host name",
            Consul("hosted-too", "c9", "odd-host.internal", 8009, json!({}), None),
            "odd-host.internal:8009",
            &[Stands("eureka", "HOSTED-TOO")],
        ),
        odd(
            "a host that is none",
            Consul("blank-too", "c10", "no host", 8010, json!({}), None),
            "no host:8010",
            &[Planned("eureka", &["blank-too.consul", "is no address"])],
        ),
        odd(
            "an unknown protocol",
            Consul(
                "pigeons",
                "c11",
                "10.9.2.11",
                8011,
                json!({ "protocol": "pigeon" }),
                None,
            ),
            "10.9.2.11:8011",
            &[
                Stands("eureka", "PIGEONS"),
                Planned("eureka", &["? protocol does not survive"]),
            ],
        ),
        odd(
            "one id on two nodes",
            Consul("nodes", "dup", "10.9.2.12", 8012, json!({}), Some("odd-one")),
            "10.9.2.12:8012",
            &[Stands("eureka", "NODES")],
        ),
        odd(
            "the other node",
            Consul("nodes", "dup", "10.9.2.13", 8013, json!({}), Some("odd-two")),
            "10.9.2.13:8013",
            &[Stands("eureka", "NODES")],
        ),
        odd(
            "no port",
            Consul("portless", "c14", "10.9.2.14", 0, json!({}), None),
            "10.9.2.14:0",
            &[Stands("eureka", "PORTLESS")],
        ),
    ]
}

/// A provider's URL.
fn provider(scheme: &str, address: &str, interface: &str, more: &str) -> String {
    format!(
        "{scheme}://{address}/{interface}?application=odd&dubbo=2.0.2&interface={interface}&methods=get&side=provider{more}"
    )
}

fn from_zookeeper() -> Vec<Odd> {
    let odd = |what, interface: &'static str, url: String, address, fates| Odd {
        what,
        native: Native::ZooKeeper(interface, url),
        address,
        fates,
    };
    let plain = |address: &str, interface: &str, more: &str| provider("dubbo", address, interface, more);
    vec![
        odd(
            "`_`, `.` and `$`",
            "dev.odd.Under_Score$Inner",
            plain("10.9.3.1:8001", "dev.odd.Under_Score$Inner", ""),
            "10.9.3.1:8001",
            &[
                Stands("consul", "dev.odd.Under_Score$Inner"),
                Stands("eureka", "DEV.ODD.UNDER_SCORE$INNER"),
            ],
        ),
        odd(
            "`/` and `:` of group and version",
            "dev.odd.Grouped",
            plain("10.9.3.2:8002", "dev.odd.Grouped", "&group=g1&version=1.0"),
            "10.9.3.2:8002",
            &[
                Stands("consul", "g1_x2f_dev.odd.Grouped:1.0"),
                Stands("eureka", "G1_X2F_DEV.ODD.GROUPED:1.0"),
            ],
        ),
        odd(
            "an emoji and a space",
            "dev.odd.Crab",
            plain("10.9.3.3:8003", "dev.odd.Crab", "&group=crab 🦀"),
            "10.9.3.3:8003",
            &[
                Stands("consul", "crab 🦀_x2f_dev.odd.Crab"),
                Stands("eureka", "CRAB 🦀_X2F_DEV.ODD.CRAB"),
            ],
        ),
        odd(
            "an unknown protocol",
            "dev.odd.Pigeon",
            provider("pigeon", "10.9.3.4:8004", "dev.odd.Pigeon", ""),
            "10.9.3.4:8004",
            &[Stands("consul", "dev.odd.Pigeon"), Stands("eureka", "DEV.ODD.PIGEON")],
        ),
        odd(
            "a host that is none",
            "dev.odd.Host",
            plain("-bad-:8005", "dev.odd.Host", ""),
            "-bad-:8005",
            &[Unreadable(&["dev.odd.Host", "-bad-", "no host"])],
        ),
        odd(
            "a host name",
            "dev.odd.Named",
            plain("odd-host.local:8006", "dev.odd.Named", ""),
            "odd-host.local:8006",
            &[Stands("consul", "dev.odd.Named"), Stands("eureka", "DEV.ODD.NAMED")],
        ),
        odd(
            "no port",
            "dev.odd.Portless",
            plain("10.9.3.7", "dev.odd.Portless", ""),
            "10.9.3.7",
            &[Unreadable(&["dev.odd.Portless", "it has no port"])],
        ),
        odd(
            "no URL at all",
            "dev.odd.Rubbish",
            "rubbish 🦀".to_owned(),
            "rubbish",
            &[Unreadable(&["dev.odd.Rubbish", "does not begin with"])],
        ),
        odd(
            "64 KiB of metadata",
            "dev.odd.Large",
            plain(
                "10.9.3.9:8009",
                "dev.odd.Large",
                &format!("&blob={}", "x".repeat(64 << 10)),
            ),
            "10.9.3.9:8009",
            &[
                Stands("consul", "dev.odd.Large"),
                Planned("consul", &["? blob does not survive", "65536 bytes"]),
                Stands("eureka", "DEV.ODD.LARGE"),
            ],
        ),
        odd(
            "one of two names that differ by case",
            "dev.odd.TWIN",
            plain("10.9.3.10:8010", "dev.odd.TWIN", ""),
            "10.9.3.10:8010",
            &[Stands("consul", "dev.odd.TWIN"), Stands("eureka", "DEV.ODD.TWIN")],
        ),
        odd(
            "the other one",
            "dev.odd.Twin",
            plain("10.9.3.11:8011", "dev.odd.Twin", ""),
            "10.9.3.11:8011",
            &[
                Conflicts(&["dev.odd.Twin", "consul"]),
                Planned("consul", &["! dev.odd.Twin.zookeeper", "case"]),
                Planned("eureka", &["! dev.odd.Twin.zookeeper", "names"]),
            ],
        ),
        odd(
            "one address twice",
            "dev.odd.Twice",
            plain("10.9.3.12:8012", "dev.odd.Twice", "&pid=1&weight=50"),
            "10.9.3.12:8012",
            &[Stands("consul", "dev.odd.Twice"), Stands("eureka", "DEV.ODD.TWICE")],
        ),
        odd(
            "the other node",
            "dev.odd.Twice",
            plain("10.9.3.12:8012", "dev.odd.Twice", "&pid=2&weight=60"),
            "10.9.3.12:8012",
            &[Stands("consul", "dev.odd.Twice"), Stands("eureka", "DEV.ODD.TWICE")],
        ),
        odd(
            "another interface than its folder's",
            "dev.odd.Folder",
            plain("10.9.3.14:8014", "dev.odd.Other", ""),
            "10.9.3.14:8014",
            &[Unreadable(&["dev.odd.Folder", "its interface is `dev.odd.Other`"])],
        ),
    ]
}

async fn put(native: &Native, estate: &Estate, eureka: &Registry, consul: &Registry) {
    match native {
        Native::Eureka(app, id, host, port, metadata) => {
            let body = json!({ "instance": {
                "instanceId": id, "hostName": host, "app": app, "ipAddr": host, "status": "UP",
                "port": { "$": port, "@enabled": "true" }, "securePort": { "$": 443, "@enabled": "false" },
                "vipAddress": app.to_lowercase(), "metadata": metadata,
                "dataCenterInfo": { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" },
                "leaseInfo": { "renewalIntervalInSecs": 30, "durationInSecs": 3600 },
            }});
            let path = format!("/eureka/apps/{}", percent(app));
            eventually(&path, || eureka.ask("POST", &path, Some(&body))).await;
        }
        Native::Consul(name, id, host, port, meta, None) => {
            let body = json!({ "ID": id, "Name": name, "Address": host, "Port": port, "Meta": meta });
            eventually(name, || consul.ask("PUT", "/v1/agent/service/register", Some(&body))).await;
        }
        Native::Consul(name, id, host, port, meta, Some(node)) => {
            let body = json!({
                "Node": node, "Address": "127.0.0.1",
                "Service": { "ID": id, "Service": name, "Address": host, "Port": port, "Meta": meta },
            });
            eventually(name, || consul.ask("PUT", "/v1/catalog/register", Some(&body))).await;
        }
        Native::ZooKeeper(interface, url) => {
            let path = format!("/dubbo/{interface}/providers/{}", percent(url));
            estate.zk_create(&path, "").await;
        }
    }
}

/// What the command line shows.
struct Pages {
    plan: String,
    conflicts: String,
    registries: String,
}

impl Pages {
    fn of(landfall: &Landfall) -> Self {
        let admin = format!("127.0.0.1:{}", landfall.admin);
        let page = |words: &[&str]| {
            let (code, out, err) = run(&[words, &["--admin", &admin]].concat());
            assert_eq!(code, 0, "{words:?}: {err}");
            out
        };
        Self {
            plan: page(&["sync", "plan", "-o", "wide"]),
            conflicts: page(&["get", "conflicts"]),
            registries: page(&["get", "registries", "-o", "wide"]),
        }
    }

    /// The lines of a target's part of the plan.
    fn written_into(&self, target: &str) -> impl Iterator<Item = &str> {
        let head = format!("into {target}: ");
        let lines = self.plan.lines().skip_while(move |line| !line.starts_with(&head));
        lines.skip(1).take_while(|line| line.starts_with(' '))
    }
}

fn has_words<'a>(mut lines: impl Iterator<Item = &'a str>, words: &[&str]) -> bool {
    lines.any(|line| words.iter().all(|word| line.contains(word)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oddest_records_of_real_registries_are_carried_or_listed_with_their_reason() {
    let estate = Estate::up_alone(&["eureka", "consul", "zookeeper"], &[]).await;
    let addresses = [
        estate.address("eureka").await,
        estate.address("consul").await,
        estate.address("zookeeper").await,
    ];
    let eureka = Registry::eureka(addresses[0].clone());
    let consul = Registry::consul(addresses[1].clone());
    let table: Vec<Odd> = from_eureka()
        .into_iter()
        .chain(from_consul())
        .chain(from_zookeeper())
        .collect();
    for odd in &table {
        put(&odd.native, &estate, &eureka, &consul).await;
    }
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{}/eureka\"], poll: 500ms }}", addresses[0]),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{}\" }}", addresses[1])),
        registry("zookeeper", &format!("zookeeper: {{ address: \"{}\" }}", addresses[2])),
        sync("odd", "between: [eureka, consul, zookeeper]"),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let targets = [("eureka", &eureka), ("consul", &consul)];
    eventually("every record has its fate", || async {
        let pages = Pages::of(&landfall);
        let mut wrong = Vec::new();
        for (name, target) in targets {
            let rows: Vec<Row> = target
                .rows()
                .await?
                .into_iter()
                .filter(|row| row.cluster.is_some())
                .collect();
            for odd in &table {
                let copies: Vec<&str> = rows
                    .iter()
                    .filter(|row| row.address == odd.address)
                    .map(|row| &*row.service)
                    .collect();
                let expected = odd.fates.iter().find_map(|fate| match fate {
                    Stands(target, service) if *target == name => Some(*service),
                    _ => None,
                });
                let other_has_it = table
                    .iter()
                    .any(|other| other.address == odd.address && other.what != odd.what);
                let is_right = match expected {
                    Some(service) => copies == [service],
                    None => copies.is_empty() || other_has_it,
                };
                if !is_right {
                    wrong.push(format!(
                        "{} ({}): in {name} {copies:?}, not {expected:?}",
                        odd.what, odd.address
                    ));
                }
            }
        }
        for odd in &table {
            for fate in odd.fates {
                let is_listed = match fate {
                    Stands(..) => true,
                    Planned(target, words) => has_words(pages.written_into(target), words),
                    Conflicts(words) => has_words(pages.conflicts.lines(), words),
                    Unreadable(words) => has_words(pages.registries.lines(), words),
                };
                if !is_listed {
                    let (Planned(_, words) | Conflicts(words) | Unreadable(words)) = fate else {
                        continue;
                    };
                    wrong.push(format!("{} ({}): {words:?} is not listed", odd.what, odd.address));
                }
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{wrong:#?}\n{}\n{}\n{}",
                pages.plan, pages.conflicts, pages.registries
            )),
        }
    })
    .await;
    eventually("nothing is left to write", || is_idle(&landfall)).await;
}
