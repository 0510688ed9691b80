//! Reading: examples, directories, variables, and input that no person would write.

use std::{fmt::Write as _, fs, path::Path};

use landfall_config::{
    Config, LoadError, Problem,
    load::{load_text, load_with},
    parse_services,
};
use landfall_model::rules::{PathMatch, PathRewrite, PolicyTarget};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn refused(result: Result<Config, LoadError>) -> Vec<Problem> {
    match result {
        Err(LoadError::Refused(problems)) => problems.0,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused"),
    }
}

fn text(yaml: impl AsRef<[u8]>) -> Result<Config, LoadError> {
    load_text("landfall.yaml", Path::new(""), yaml)
}

/// A directory with the certificates that `https.yaml` names.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["shop", "wildcard"] {
        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        fs::write(dir.path().join(format!("{name}.crt")), pem("CERTIFICATE")).unwrap();
        fs::write(dir.path().join(format!("{name}.key")), pem("PRIVATE KEY")).unwrap();
    }
    dir
}

#[test]
fn every_example_is_taken_without_a_warning() {
    let certificates = certificates();
    let environment = |name: &str| (name == "CERTIFICATES").then(|| certificates.path().to_str().unwrap().to_owned());
    let mut count = 0;
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let config = load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(config.warnings, [], "{}", path.display());
            // Each does something with its registries: routes to them, writes into them, or answers for them.
            let listens = !config.rules.listeners.is_empty();
            let does = listens || !config.syncs.is_empty() || !config.facades.is_empty();
            assert!(!config.registries.is_empty() && does, "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn three_registries_routes_to_each_of_them() {
    let environment = |name: &str| match name {
        "GATEWAY_PORT" => Some("9090".to_owned()),
        "EUREKA_URL" => Some("http://127.0.0.1:7777/eureka".to_owned()),
        _ => None,
    };
    let config = load_with(examples().join("three-registries.yaml"), &environment).unwrap();
    assert_eq!(config.rules.listeners[0].port, 9090);
    assert_eq!(
        config.registries[0].spec.eureka.as_ref().unwrap().urls,
        ["http://127.0.0.1:7777/eureka"]
    );
    assert_eq!(
        config.registries[2].spec.zookeeper.as_ref().unwrap().address,
        "127.0.0.1:2181"
    );
    let backends: Vec<_> = config
        .rules
        .routes
        .iter()
        .map(|route| {
            let backend = &route.rules[0].backends[0].backend;
            format!("{}.{}", backend.name, backend.namespace.as_deref().unwrap_or_default())
        })
        .collect();
    let greeting = "dev.landfall.estate.GreetingService";
    assert_eq!(
        backends,
        ["orders.eureka", "stock.consul", &format!("{greeting}.zookeeper")]
    );
    let rule = &config.rules.routes[2].rules[0];
    assert_eq!(rule.matches[0].path, PathMatch::Prefix("/greeting".into()));
    let landfall_model::rules::Filter::Rewrite(rewrite) = &rule.filters[0] else {
        panic!("{:?}", rule.filters)
    };
    let expected = PathRewrite::Prefix {
        matched: "/greeting".into(),
        replacement: format!("/{greeting}").into(),
    };
    assert_eq!(rewrite.path, Some(expected));
}

#[test]
fn weights_and_policies_reach_the_rules() {
    let config = load_with(examples().join("weights-and-policies.yaml"), &|_| None).unwrap();
    let rules = &config.rules;
    assert_eq!(
        rules.registries.iter().map(|r| r.as_str()).collect::<Vec<_>>(),
        ["eureka", "consul"]
    );
    assert_eq!(rules.mesh_services[0].members[0].weight, 3);
    let everyone = &rules.routes[0].rules[1];
    assert_eq!(everyone.backends.iter().map(|b| b.weight).collect::<Vec<_>>(), [99, 1]);
    assert_eq!(
        everyone.timeouts.backend_request,
        Some(std::time::Duration::from_secs(3))
    );
    assert_eq!(rules.policies[0].targets, [PolicyTarget::All]);
    assert_eq!(
        rules.policies[0].policy.request_timeout,
        Some(std::time::Duration::from_secs(30))
    );
    assert_eq!(rules.policies[1].targets, [PolicyTarget::Mesh("stock".into())]);
    assert_eq!(rules.policies[1].policy.limits.max_requests_per_endpoint, Some(200));
}

#[test]
fn a_directory_is_one_configuration_and_problems_name_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let registry = |name: &str| {
        format!(
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: {name} }}\nspec: {{ static: {{ services: [] }} }}\n"
        )
    };
    fs::write(dir.path().join("b.yaml"), registry("one")).unwrap();
    fs::write(dir.path().join("a.yml"), registry("two")).unwrap();
    let json = r#"{"apiVersion":"landfall.dev/v1","kind":"Registry","metadata":{"name":"three"},
	"spec":{"static":{"services":[{"name":"s","instances":["h:1"]}]}}}"#;
    fs::write(dir.path().join("c.json"), json).unwrap();
    let config = load_with(dir.path(), &|_| None).unwrap();
    assert_eq!(
        config.registries.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["two", "one", "three"]
    );
    assert_eq!(config.registries[0].base, dir.path());

    fs::write(dir.path().join("d.yaml"), registry("one")).unwrap();
    let problems = refused(load_with(dir.path(), &|_| None));
    assert_eq!(problems.len(), 1);
    assert_eq!(&*problems[0].file, dir.path().join("d.yaml").to_str().unwrap());
    assert!(problems[0].what.contains("b.yaml:1"), "{}", problems[0]);
}

#[test]
fn a_list_of_a_cluster_is_read_item_by_item() {
    let yaml = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: landfall.dev/v1\n  kind: Registry\n  metadata: { name: a, uid: 1-2, resourceVersion: \"7\", managedFields: [{ x: 1 }] }\n  spec: { static: {} }\n- apiVersion: landfall.dev/v1\n  kind: Registry\n  metadata: { name: b }\n  spec: { statik: {} }\n  status: { anything: [1] }\n";
    let problems = refused(text(yaml));
    assert_eq!(problems[0].path, "items[1].spec");
    assert_eq!(
        (problems[1].path.as_str(), problems[1].line),
        ("items[1].spec.statik", 11)
    );
}

#[test]
fn a_path_that_is_not_there_is_unreadable_and_an_empty_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = load_with(dir.path().join("none.yaml"), &|_| None);
    assert!(matches!(missing, Err(LoadError::Unreadable { .. })));
    assert!(refused(load_with(dir.path(), &|_| None))[0].what.contains("no *.yaml"));
    for empty in ["", "\n", "# only a comment\n", "---\n---\n", "%YAML 1.2\n---\n"] {
        let problems = refused(text(empty));
        assert_eq!((problems[0].line, problems[0].column), (1, 1), "{empty:?}");
        assert!(problems[0].what.contains("no document"), "{empty:?}: {}", problems[0]);
    }
}

#[test]
fn syntax_errors_of_all_documents_are_reported_with_their_lines() {
    let good = "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: { name: a }\nspec: { static: {} }\n";
    let yaml = format!("a: [1\n---\n{good}---\nb: \"open\n---\nkind: Regsitry\n");
    let problems = refused(text(yaml));
    let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines.len(), 3, "{problems:?}");
    assert!(
        lines[0] <= 2 && (8..=9).contains(&lines[1]) && lines[2] == 10,
        "{problems:?}"
    );
}

#[test]
fn hostile_input_ends_early_with_a_place() {
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (i, name) in ('b'..='j').enumerate() {
        let before = (b'a' + i as u8) as char;
        let items = vec![format!("*{before}"); 10].join(", ");
        writeln!(laughs, "{name}: &{name} [{items}]").unwrap();
    }
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let maps = (0..200).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n");
    let anchors = format!("{}{}", "&a [".repeat(60), "]".repeat(60));
    for (name, yaml, what) in [
        ("billion laughs", laughs.into_bytes(), "aliases blow the file up"),
        ("deep brackets", nested.into_bytes(), "deeper than 64"),
        ("deep maps", maps.into_bytes(), "deeper than 64"),
        ("self reference", b"a: &a [*a]\n".to_vec(), "contains it"),
        (
            "self reference through a map",
            b"a: &a { b: { c: *a } }\n".to_vec(),
            "contains it",
        ),
        ("ten megabytes", vec![b'a'; 10 * 1024 * 1024], "over the limit"),
        ("NUL", b"apiVersion: \0\n".to_vec(), "NUL"),
        ("not UTF-8", b"apiVersion: \xc3\x28\n".to_vec(), "not UTF-8"),
        ("UTF-16", b"\xff\xfea\0:\0".to_vec(), "UTF-16"),
        ("a tab", b"spec:\n\tstatic: {}\n".to_vec(), "tab"),
        ("many anchors", anchors.into_bytes(), "is no document"),
        ("a key that is a list", b"? [a]\n: 1\n".to_vec(), "as a key"),
        ("a binary", b"\x7fELF\x02\x01\x01".to_vec(), ""),
    ] {
        let problems = refused(text(&yaml));
        assert!(problems[0].line >= 1 && problems[0].column >= 1, "{name}");
        assert!(
            problems.iter().any(|p| p.to_string().contains(what)),
            "{name}: {problems:?}"
        );
    }
}

#[test]
fn a_file_of_nothing_but_faults_gives_a_bounded_list() {
    let mut yaml = String::new();
    for i in 0..3000 {
        write!(yaml, "---\nkind: Nonsense{i}\n").unwrap();
    }
    let problems = refused(text(yaml));
    assert_eq!(problems.len(), 1000);
    assert!(problems[999].what.contains("more problems"));
    let wide = format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: a }}\nspec: {{ static: {{ services: [{}] }} }}\n",
        "x,".repeat(5000)
    );
    assert_eq!(refused(text(wide)).len(), 1000);
}

#[test]
#[cfg(unix)]
fn a_device_that_never_ends_is_refused() {
    assert!(
        refused(load_with("/dev/zero", &|_| None))[0]
            .what
            .contains("over the limit")
    );
}

#[test]
fn no_problem_shows_a_secret() {
    let yaml = "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: { name: a }\nspec:\n  eureka:\n    urls: [\"ftp://me:hunter2@h/eureka\", \"http://me:hunter2@h:x/\", \"hunter2 :\"]\n    username: u\n    password: hunter2\n---\napiVersion: landfall.dev/v1\nkind: Registry\nmetadata: { name: b }\nspec: { consul: { address: \"${SECRET}\", token: \"${SECRET}\" } }\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    fs::write(&path, yaml).unwrap();
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let problems = refused(load_with(&path, &environment));
    assert!(problems.len() >= 5);
    for problem in problems {
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn warnings_are_told_but_do_not_refuse() {
    let yaml = format!(
        "{}---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: landfall }}\nspec: {{ controllerName: x/y }}\n---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: HTTPRoute\nmetadata: {{ name: dead, uid: x, generation: 3 }}\nspec:\n  parentRefs: [{{ name: edge }}]\n  rules: [{{ backendRefs: [{{ name: a, weight: 0 }}] }}, {{ matches: [{{ headers: [{{ name: a, value: b }}, {{ name: A, value: c }}] }}] }}]\nstatus: {{}}\n",
        fs::read_to_string(examples().join("minimal.yaml")).unwrap()
    );
    let config = text(yaml).unwrap();
    let paths: Vec<_> = config.warnings.iter().map(|w| w.path.as_str()).collect();
    let expected = [
        "kind",
        "spec.rules[0].backendRefs",
        "spec.rules[1]",
        "spec.rules[1].matches[0].headers[1]",
    ];
    assert_eq!(paths, expected);
    let headers = &config.rules.routes[1].rules[1].matches[0].headers;
    assert_eq!(headers.len(), 1, "a second condition on one header is ignored");
}

#[test]
fn a_services_file_is_read_and_its_faults_are_placed() {
    let spec = parse_services(
        "services:\n- name: a\n  instances: [\"h:1\", { address: \"h:2\", weight: 3 }]\n",
        "s.yaml",
    );
    assert_eq!(spec.unwrap().services[0].instances.len(), 2);
    assert_eq!(parse_services("", "s.yaml").unwrap().services, []);
    let problems = parse_services(
        "services:\n- name: a\n  instances: [\"h\"]\n- name: a\n  instance: []\n",
        "s.yaml",
    );
    let shown: Vec<_> = problems
        .unwrap_err()
        .iter()
        .map(|p| format!("{}:{}:{} {}", p.file, p.line, p.column, p.path))
        .collect();
    let expected = [
        "s.yaml:3:15 services[0].instances[0]",
        "s.yaml:4:3 services[1]",
        "s.yaml:4:9 services[1].name",
        "s.yaml:5:3 services[1].instance",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn two_thousand_routes_are_read() {
    let mut yaml = fs::read_to_string(examples().join("minimal.yaml")).unwrap();
    for i in 0..2000 {
        write!(yaml, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r{i} }}\nspec:\n  parentRefs: [{{ name: edge }}]\n  rules:\n    - matches: [{{ path: {{ value: /r{i} }} }}]\n      backendRefs: [{{ name: hello, namespace: here }}]\n").unwrap();
    }
    assert_eq!(text(yaml).unwrap().rules.routes.len(), 2001);
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    fn corpus() -> Vec<String> {
        let mut texts = vec![include_str!("broken/base.yaml").to_owned()];
        for entry in fs::read_dir(examples()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
        texts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = text(&bytes);
            let _ = parse_services(&bytes, "s");
        }

        #[test]
        fn random_yaml_like_text_never_panics(yaml in "[-a{}\\[\\]:,&*!|>'\"%@`#\\n\\t $0.~<?]{0,200}") {
            let _ = text(&yaml);
        }

        #[test]
        fn mutated_configurations_never_panic_and_problems_lie_inside_the_text(
            which in any::<prop::sample::Index>(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..30, "[-a1{}\\[\\]:,&*\"\\n #${]{0,8}"), 1..4),
        ) {
            let corpus = corpus();
            let mut yaml = corpus[which.index(corpus.len())].clone();
            for (at, cut, put) in edits {
                let chars: Vec<char> = yaml.chars().collect();
                let start = at.index(chars.len() + 1);
                let end = (start + cut).min(chars.len());
                yaml = chars[..start].iter().chain(put.chars().collect::<Vec<_>>().iter()).chain(&chars[end..]).collect();
            }
            if let Err(LoadError::Refused(problems)) = text(&yaml) {
                let lines = yaml.lines().count() as u32 + 1;
                for problem in problems.0 {
                    prop_assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{}", problem);
                }
            }
        }
    }
}
