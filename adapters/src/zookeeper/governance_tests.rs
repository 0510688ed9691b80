use landfall_model::{Host, Port, Protocol, Status, world::CONFIGURED_BY};

use super::{reading::key_of_node, *};
use crate::publish::mark;

const SVC: &str = "org.x.Svc";

fn instance(host: &str, metadata: &[(&str, &str)]) -> Instance {
    Instance {
        id: format!("dubbo://{host}:20880").into(),
        host: Host::parse(host),
        ports: vec![Port {
            number: 20880,
            protocol: Protocol::Dubbo,
            tls: false,
        }],
        status: Status::Up,
        weight: 100,
        zone: None,
        metadata: metadata
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        changed: None,
    }
}

fn node(name: &str, text: &str) -> Governance {
    Governance::new(&Found {
        nodes: [(name.into(), text.as_bytes().to_vec())].into(),
        ..Found::default()
    })
}

fn url(text: &str) -> Governance {
    Governance::new(&Found {
        folders: [(SVC.to_owned(), [super::super::url::encode(text).into()].into())].into(),
        ..Found::default()
    })
}

/// Weight and status after the rules, and by what.
fn after(rules: &Governance, service: &str, mut instance: Instance) -> (u32, Status, Option<String>) {
    rules.apply(service, Some("demo"), &mut instance);
    let by = instance.metadata.get(CONFIGURED_BY).map(|by| by.to_string());
    (instance.weight, instance.status, by)
}

fn state(rules: &Governance) -> (Honoured, String) {
    assert_eq!(rules.unreadable, []);
    assert_eq!(rules.rules.len(), 1);
    (rules.rules[0].honoured, rules.rules[0].notes.join("; "))
}

const DISABLE: &str = "configVersion: v2.7\nscope: service\nkey: org.x.Svc\nenabled: true\nconfigs:\n- addresses: ['10.0.0.1:20880']\n  enabled: true\n  side: provider\n  parameters: {disabled: true}\n";

#[test]
fn a_configurator_of_a_service_disables_the_provider_it_names_and_no_other() {
    let rules = node("org.x.Svc::.configurators", DISABLE);
    assert_eq!(state(&rules), (Honoured::Yes, String::new()));
    let (_, status, by) = after(&rules, SVC, instance("10.0.0.1", &[]));
    assert_eq!(status, Status::Disabled);
    assert_eq!(
        by.as_deref(),
        Some("disabled by config/dubbo/org.x.Svc::.configurators")
    );
    assert_eq!(after(&rules, SVC, instance("10.0.0.2", &[])), (100, Status::Up, None));
    assert_eq!(
        after(&rules, "org.x.Svc:1.0.0", instance("10.0.0.1", &[])).1,
        Status::Up
    );
    let copy = instance("10.0.0.1", &[(mark::ORIGIN, "orders.eureka")]);
    assert_eq!(after(&rules, SVC, copy), (100, Status::Up, None));
}

#[test]
fn group_and_version_are_read_from_a_nodes_name_in_both_orders() {
    for (name, key) in [
        ("org.x.Svc", "org.x.Svc"),
        ("org.x.Svc::", "org.x.Svc"),
        ("org.x.Svc:1.0.0:", "org.x.Svc:1.0.0"),
        ("org.x.Svc:1.0.0:g", "g/org.x.Svc:1.0.0"),
        ("g*org.x.Svc:1.0.0", "g/org.x.Svc:1.0.0"),
        ("g*org.x.Svc", "g/org.x.Svc"),
    ] {
        assert_eq!(&*key_of_node(name), key, "{name}");
    }
}

#[test]
fn what_a_configurator_says_beyond_weight_and_disabled_is_listed() {
    let text = "scope: application\nkey: demo\nconfigs:\n- {side: provider, addresses: [0.0.0.0], parameters: {weight: 30, timeout: 3000}}\n- {side: consumer, parameters: {retries: 2}}\n";
    let rules = node("demo.configurators", text);
    let (honoured, notes) = state(&rules);
    assert_eq!(honoured, Honoured::Partly);
    assert_eq!(
        notes,
        "configs[0]: parameter `timeout` is not honoured; configs[1]: it is about some consumers only"
    );
    assert_eq!(after(&rules, SVC, instance("10.0.0.1", &[])).0, 30);
    let other = instance("10.0.0.1", &[("application", "other")]);
    assert_eq!(after(&rules, SVC, other).0, 100);
}

#[test]
fn an_override_url_of_dubbo_2_6_is_honoured_and_absent_leaves_what_is_said() {
    let rules = url("override://10.0.0.1:20880/org.x.Svc?category=configurators&dynamic=false&enabled=true&weight=50");
    assert_eq!(state(&rules), (Honoured::Yes, String::new()));
    assert_eq!(after(&rules, SVC, instance("10.0.0.1", &[])).0, 50);
    assert_eq!(after(&rules, SVC, instance("10.0.0.2", &[])).0, 100);
    let absent = url("absent://0.0.0.0/org.x.Svc?category=configurators&dynamic=false&weight=50");
    assert_eq!(after(&absent, SVC, instance("10.0.0.1", &[])).0, 50);
    assert_eq!(after(&absent, SVC, instance("10.0.0.1", &[("weight", "100")])).0, 100);
    let consumer = url("override://10.0.0.9/org.x.Svc?category=configurators&dynamic=false&weight=50");
    assert_eq!(state(&consumer).0, Honoured::No);
    assert_eq!(after(&consumer, SVC, instance("10.0.0.9", &[])).0, 100);
}

#[test]
fn a_service_has_the_last_word_before_its_application() {
    let one = |scope: &str, weight: u32| {
        format!("scope: {scope}\nconfigs: [{{side: provider, addresses: [0.0.0.0], parameters: {{weight: {weight}}}}}]")
            .into_bytes()
    };
    let rules = Governance::new(&Found {
        nodes: [
            ("demo.configurators".into(), one("application", 10)),
            ("org.x.Svc::.configurators".into(), one("service", 20)),
        ]
        .into(),
        ..Found::default()
    });
    assert_eq!(after(&rules, SVC, instance("10.0.0.1", &[])).0, 20);
    assert_eq!(after(&rules, "org.x.Other", instance("10.0.0.1", &[])).0, 10);
}

#[test]
fn a_rule_that_is_switched_off_or_empty_changes_nothing() {
    let off = node(
        "org.x.Svc::.configurators",
        &DISABLE.replacen("enabled: true", "enabled: false", 1),
    );
    assert_eq!(state(&off), (Honoured::Yes, "it is switched off".to_owned()));
    assert_eq!(after(&off, SVC, instance("10.0.0.1", &[])).1, Status::Up);
    assert_eq!(node("org.x.Svc::.configurators", " \n"), Governance::default());
}

#[test]
fn routers_are_listed_as_not_honoured() {
    let tag =
        "force: false\nruntime: true\nenabled: true\nkey: demo\ntags:\n- name: gray\n  addresses: ['10.0.0.1:20880']\n";
    let condition = "scope: service\nforce: true\nkey: org.x.Svc\nconditions:\n- method=get* => host != 10.0.0.1\n";
    for (rules, kind) in [
        (node("demo.tag-router", tag), "tag"),
        (node("org.x.Svc::.condition-router", condition), "condition"),
        (
            url("condition://0.0.0.0/org.x.Svc?category=routers&rule=+%3D%3E+host+%21%3D+10.0.0.1"),
            "condition",
        ),
    ] {
        assert_eq!(state(&rules).0, Honoured::No);
        assert_eq!(rules.rules[0].kind, kind);
    }
}

#[test]
fn what_cannot_be_read_is_set_aside_with_its_place() {
    for name in ["org.x.Svc::.configurators", "demo.tag-router"] {
        let rules = node(name, "enabled: [");
        assert_eq!((rules.rules.len(), rules.unreadable.len()), (0, 1));
        assert_eq!(rules.unreadable[0].record, format!("config/dubbo/{name}"));
    }
    assert_eq!(url("nonsense").unreadable.len(), 1);
}

/// A node of the service with these entries.
fn entries(text: &str) -> Governance {
    node(
        "org.x.Svc::.configurators",
        &format!("scope: service\nkey: org.x.Svc\nconfigs:\n{text}"),
    )
}

#[test]
fn without_a_side_a_configurator_is_nobodys() {
    let rules = entries("- {parameters: {weight: 5}}\n");
    let (honoured, notes) = state(&rules);
    assert_eq!(honoured, Honoured::No);
    assert!(notes.contains("`side`"), "{notes}");
    assert_eq!(after(&rules, SVC, instance("10.0.0.1", &[])).0, 100);
}

#[test]
fn an_entrys_own_switch_counts_only_if_it_has_a_type() {
    let entry = |more: &str| format!("- {{side: provider, parameters: {{weight: 5}}, {more}}}\n");
    for (more, document, weight) in [
        ("enabled: false", "true", 5),
        ("enabled: true", "false", 100),
        ("type: general, enabled: false", "true", 5),
        ("type: weight, enabled: false", "true", 100),
        ("type: weight, enabled: true", "false", 5),
        ("type: weight", "true", 100),
        ("enabled: true", "'TRUE'", 5),
    ] {
        let text = format!("enabled: {document}\nconfigs:\n{}", entry(more));
        let rules = node("org.x.Svc::.configurators", &text);
        assert_eq!(
            after(&rules, SVC, instance("10.0.0.1", &[])).0,
            weight,
            "{more}, {document}"
        );
    }
}

#[test]
fn addresses_are_hosts_with_or_without_port_and_provider_addresses_narrow_them() {
    for (addresses, host, meant) in [
        ("addresses: ['10.0.0.1:20880']", "10.0.0.1", true),
        ("addresses: ['10.0.0.1:20881']", "10.0.0.1", false),
        ("addresses: [10.0.0.1]", "10.0.0.1", true),
        ("addresses: ['0.0.0.0:*']", "10.0.0.1", true),
        ("addresses: ['0.0.0.0:20881']", "10.0.0.1", false),
        ("addresses: [10.0.0.2, 10.0.0.1]", "10.0.0.1", true),
        (
            "addresses: [0.0.0.0], providerAddresses: ['10.0.0.1:20880']",
            "10.0.0.1",
            true,
        ),
        (
            "addresses: [0.0.0.0], providerAddresses: ['10.0.0.1:20880']",
            "10.0.0.2",
            false,
        ),
        ("addresses: ['*']", "10.0.0.1", false),
    ] {
        let rules = entries(&format!(
            "- {{side: provider, {addresses}, parameters: {{weight: 5}}}}\n"
        ));
        let (weight, _, _) = after(&rules, SVC, instance(host, &[]));
        assert_eq!(weight == 5, meant, "{addresses} and {host}");
    }
}

#[test]
fn of_configurators_of_one_place_the_host_then_the_priority_decides() {
    let entry = |host: &str, parameters: &str| {
        format!("- {{side: provider, addresses: ['{host}'], parameters: {{{parameters}}}}}\n")
    };
    let one_after_any = [
        entry("10.0.0.1", "weight: 1"),
        entry("0.0.0.0", "weight: 2, priority: 9"),
    ]
    .concat();
    assert_eq!(after(&entries(&one_after_any), SVC, instance("10.0.0.1", &[])).0, 1);
    assert_eq!(after(&entries(&one_after_any), SVC, instance("10.0.0.2", &[])).0, 2);
    let by_priority = [
        entry("0.0.0.0", "weight: 1, priority: 9"),
        entry("0.0.0.0", "weight: 2"),
    ]
    .concat();
    assert_eq!(after(&entries(&by_priority), SVC, instance("10.0.0.1", &[])).0, 1);
    let by_turn = [entry("0.0.0.0", "weight: 1"), entry("0.0.0.0", "weight: 2")].concat();
    assert_eq!(after(&entries(&by_turn), SVC, instance("10.0.0.1", &[])).0, 2);
}

#[test]
fn a_consumers_side_comes_after_a_providers_and_folders_first_on_it() {
    let found = |folder: &str, side: &str| {
        Governance::new(&Found {
            nodes: [(
                "org.x.Svc::.configurators".into(),
                format!("configs: [{{side: {side}, parameters: {{weight: 5}}}}]").into_bytes(),
            )]
            .into(),
            folders: [(SVC.to_owned(), [super::super::url::encode(folder).into()].into())].into(),
            ..Found::default()
        })
    };
    let any = "override://0.0.0.0/org.x.Svc?weight=7";
    for (folder, side, weight) in [
        (any.to_owned(), "provider", 7),
        (any.to_owned(), "consumer", 5),
        (format!("{any}&side=provider"), "provider", 5),
        (any.replace("override", "absent"), "provider", 5),
    ] {
        let rules = found(&folder, side);
        assert_eq!(
            after(&rules, SVC, instance("10.0.0.1", &[])).0,
            weight,
            "{folder}, {side}"
        );
    }
}

#[test]
fn an_application_names_services_by_their_whole_keys() {
    let text = "scope: application\nkey: demo\nconfigs: [{side: provider, services: ['g/org.x.Svc:1.0'], applications: [nobody], parameters: {weight: 5}}]\n";
    let rules = node("demo.configurators", text);
    assert_eq!(after(&rules, "g/org.x.Svc:1.0", instance("10.0.0.1", &[])).0, 5);
    assert_eq!(after(&rules, "org.x.Svc", instance("10.0.0.1", &[])).0, 100);
}

#[test]
fn what_dubbo_admin_writes_for_old_consumers_beside_a_node_is_not_taken_twice() {
    let rules = url("override://10.0.0.1:20880/org.x.Svc?category=configurators&compatible_config=true&weight=50");
    assert_eq!(state(&rules).0, Honoured::Yes);
    assert_eq!(after(&rules, SVC, instance("10.0.0.1", &[])).0, 100);
}
