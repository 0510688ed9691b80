use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn full() -> Applications {
    read::applications(include_bytes!("../testdata/full.json"), Format::Json).unwrap()
}

#[test]
fn a_modern_servers_answer_is_read_whole() {
    let read = full();
    assert_eq!(read.hash.as_deref(), Some("DOWN_1_OUT_OF_SERVICE_1_UP_2_"));
    assert!(read.unreadable.is_empty());
    let [orders, stock] = read.applications.as_slice() else {
        panic!("two applications")
    };
    let first = &orders.instances[0];
    assert_eq!(
        (orders.name.as_str(), first.instance_id.as_str()),
        ("ORDERS", "h1:orders:8080")
    );
    assert_eq!((first.port.number, first.port.enabled), (8080, true));
    assert_eq!((first.secure_port.number, first.secure_port.enabled), (443, false));
    assert_eq!(first.metadata.get("zone").map(String::as_str), Some("a"));
    assert_eq!(first.last_dirty, Some(1_699_999_999_000));
    assert_eq!(first.lease.duration, 90);
    let second = &orders.instances[1];
    assert_eq!(
        (second.status, second.overridden),
        (Some(Status::OutOfService), Status::OutOfService)
    );
    assert!(second.metadata.is_empty(), "`@class` is no metadata");
    assert_eq!(stock.instances[0].metadata.keys().collect::<Vec<_>>(), ["weight"]);
    let center = stock.instances[0].data_center.as_ref().unwrap();
    assert_eq!(
        center.metadata.get("availability-zone").map(String::as_str),
        Some("us-east-1c")
    );
}

#[test]
fn an_old_servers_single_objects_and_texts_read_the_same() {
    let read = read::applications(include_bytes!("../testdata/old-server.json"), Format::Json).unwrap();
    assert_eq!(
        (read.version.as_deref(), read.hash.as_deref()),
        (Some("7"), Some("UP_1_"))
    );
    let info = &read.applications[0].instances[0];
    assert_eq!(info.instance_id, "h1", "no id: the host's name");
    assert_eq!((info.port.number, info.port.enabled), (8080, true));
    assert!(!info.secure_port.enabled);
    assert_eq!(
        (info.sid.as_deref(), info.vip.as_deref(), info.action),
        (None, None, None)
    );
    assert_eq!(info.lease.renewed, 1_700_000_090_000);
    assert_eq!(info.last_updated, 1_700_000_000_000);
}

#[test]
fn one_broken_record_spoils_nothing_but_itself() {
    let read = read::applications(include_bytes!("../testdata/bad-records.json"), Format::Json).unwrap();
    let orders = &read.applications[0];
    assert_eq!(orders.instances.len(), 4);
    assert_eq!(orders.unreadable.len(), 1);
    assert!(orders.unreadable[0].sample.contains("not an instance"));
    assert_eq!(orders.instances[2].port.number, -1);

    let body = br#"{"applications":{"application":[17, {"name":"A","instance":[{"instanceId":"a"}]}]}}"#;
    let read = read::applications(body, Format::Json).unwrap();
    assert_eq!((read.applications.len(), read.unreadable.len()), (1, 1));
}

#[test]
fn what_is_no_list_of_applications_is_refused_with_a_reason() {
    for body in [
        "",
        "<html></html>",
        "[]",
        "{}",
        "null",
        r#"{"applications":[]}"#,
        r#"{"applications":{"application":["#,
        &format!(
            r#"{{"applications":{{"application":{}1{}}}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        ),
    ] {
        let result = read::applications(body.as_bytes(), Format::Json);
        match result {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(read) => assert!(
                read.applications.is_empty() && !read.unreadable.is_empty(),
                "{body:.40}"
            ),
        }
    }
    for body in [
        "",
        "text",
        "<a>",
        "<html><body/></html>",
        "<applications>",
        "<a>&nothing;</a>",
    ] {
        assert!(read::applications(body.as_bytes(), Format::Xml).is_err(), "{body}");
    }
    let deep = format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000));
    assert!(read::applications(deep.as_bytes(), Format::Xml).is_err());
}

#[test]
fn an_empty_list_is_a_list() {
    for body in [
        r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#,
        r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":null}}"#,
        r#"{"applications":{"versions__delta":"1","apps__hashcode":""}}"#,
    ] {
        let read = read::applications(body.as_bytes(), Format::Json).unwrap();
        assert!(read.applications.is_empty());
        assert_eq!(read.hash.as_deref(), Some(""), "which is a hash");
    }
    for body in [
        "<applications/>",
        "<applications>\n</applications>",
        "<applications><apps__hashcode/></applications>",
    ] {
        let read = read::applications(body.as_bytes(), Format::Xml).unwrap();
        assert!(read.applications.is_empty());
        assert_eq!(read.hash.is_some(), body.contains("hashcode"));
    }
}

#[test]
fn xml_is_read_with_its_attributes_entities_and_escaped_keys() {
    let read = read::applications(include_bytes!("../testdata/full.xml"), Format::Xml).unwrap();
    assert_eq!(read.hash.as_deref(), Some("UP_1_"));
    let info = &read.applications[0].instances[0];
    assert_eq!((info.port.number, info.port.enabled), (8080, true));
    assert!(!info.secure_port.enabled);
    assert_eq!(info.metadata.get("gRPC_port").map(String::as_str), Some("9090"));
    assert_eq!(info.metadata.get("note").map(String::as_str), Some("a < b & c © <raw>"));
    assert_eq!(
        info.data_center.as_ref().map(|center| center.name.as_str()),
        Some("MyOwn")
    );
    assert_eq!(info.action, Some(Action::Added));
}

#[test]
fn registrations_of_every_client_are_read() {
    let json = |body: &[u8]| read::instance(body, Format::Json).unwrap();
    let spring = json(include_bytes!("../testdata/register-spring.json"));
    assert_eq!(
        (spring.instance_id.as_str(), spring.sid, spring.action),
        ("h1:orders:8080", None, None)
    );
    assert_eq!(spring.last_dirty, Some(1_700_000_000_500));
    let script = json(include_bytes!("../testdata/register-js.json"));
    assert_eq!((script.port.number, script.port.enabled), (3000, true));
    assert_eq!((script.secure_port, script.last_dirty), (PortField::default(), None));
    let python = json(include_bytes!("../testdata/register-py.json"));
    assert_eq!(
        (python.secure_health_check, python.last_dirty),
        (None, Some(1_700_000_000_000))
    );
    let old = read::instance(include_bytes!("../testdata/register.xml"), Format::Xml).unwrap();
    assert_eq!((old.status, old.lease.duration), (Some(Status::Starting), 30));
    assert!(old.metadata.is_empty());
    for body in ["", "{}", "[1]", r#"{"instance":null}"#, r#"{"instance":"x"}"#] {
        assert!(read::instance(body.as_bytes(), Format::Json).is_err(), "{body}");
    }
}

#[test]
fn springs_server_takes_an_id_from_the_metadata() {
    let id = |metadata: &str| {
        let body = json!({"instance": {"hostName": "h1", "metadata": {"instanceId": metadata}}});
        read::instance(body.to_string().as_bytes(), Format::Json)
            .unwrap()
            .instance_id
    };
    assert_eq!(id("x1"), "h1:x1");
    assert_eq!(id("h1:x1"), "h1:x1");
}

#[test]
fn what_is_written_has_the_fields_and_types_that_strict_readers_want() {
    let body = write::applications(&full(), Format::Json, Detail::Full);
    let written: Value = serde_json::from_slice(&body).unwrap();
    let known = [
        "instanceId",
        "hostName",
        "app",
        "appGroupName",
        "ipAddr",
        "sid",
        "status",
        "overriddenStatus",
        "port",
        "securePort",
        "countryId",
        "dataCenterInfo",
        "leaseInfo",
        "metadata",
        "homePageUrl",
        "statusPageUrl",
        "healthCheckUrl",
        "secureHealthCheckUrl",
        "vipAddress",
        "secureVipAddress",
        "asgName",
        "isCoordinatingDiscoveryServer",
        "lastUpdatedTimestamp",
        "lastDirtyTimestamp",
        "actionType",
    ];
    let list = &written["applications"];
    assert_eq!(list["versions__delta"], "1");
    assert_eq!(list["apps__hashcode"], "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
    for application in list["application"].as_array().unwrap() {
        assert_eq!(
            application.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["instance", "name"]
        );
        for instance in application["instance"].as_array().unwrap() {
            for field in instance.as_object().unwrap().keys() {
                assert!(known.contains(&field.as_str()), "{field}");
            }
            assert!(instance["port"]["$"].is_number() && instance["port"]["@enabled"].is_string());
            assert!(
                instance["dataCenterInfo"]["@class"]
                    .as_str()
                    .unwrap()
                    .starts_with("com.netflix.")
            );
            for text in [
                "lastUpdatedTimestamp",
                "lastDirtyTimestamp",
                "isCoordinatingDiscoveryServer",
                "status",
            ] {
                assert!(instance[text].is_string(), "{text}");
            }
            for (_, value) in instance["leaseInfo"].as_object().unwrap() {
                assert!(value.is_number());
            }
        }
    }
    assert_eq!(
        list["application"][1]["instance"][0]["dataCenterInfo"]["metadata"]["instance-id"],
        "i-0001"
    );
    assert!(
        list["application"][1]["instance"][1]["dataCenterInfo"]
            .get("metadata")
            .is_none()
    );
}

#[test]
fn metadata_keys_become_xml_names_and_keys_again() {
    for (key, name) in [
        ("plain", "plain"),
        ("a_b", "a__b"),
        ("a$b", "a_-b"),
        ("management.port", "management.port"),
        ("1st", "_.0031st"),
        ("a b", "a_.0020b"),
        ("é😀", "_.00e9_.d83d_.de00"),
    ] {
        assert_eq!(xml::name_of(key), name);
        assert_eq!(xml::key_of(name), key);
    }
    assert_eq!(xml::key_of("_x_.zz"), "_x_.zz", "what is no escape stays");
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é😀]{0,12}".prop_map(|text| text.trim().to_owned())
}

fn optional() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text().prop_filter("empty is none", |text| !text.is_empty()))
}

pub(crate) fn statuses() -> impl Strategy<Value = Status> {
    proptest::sample::select(vec![
        Status::Up,
        Status::Down,
        Status::Starting,
        Status::OutOfService,
        Status::Unknown,
    ])
}

prop_compose! {
    fn infos()(
        names in ("[a-z0-9:._-]{1,12}", text(), "[A-Z_-]{1,8}", text()),
        vips in (optional(), optional(), optional(), optional()),
        metadata in proptest::collection::btree_map("[ -?A-~é]{1,8}", text(), 0..4),
        ports in ((0i64..65_536, any::<bool>()), (0i64..65_536, any::<bool>())),
        states in (statuses(), statuses(), any::<bool>()),
        numbers in (0i64..2_000_000_000_000, 0i64..2_000_000_000_000, 0i64..4_000),
        amazon in any::<bool>(),
    ) -> InstanceInfo {
        let (instance_id, host_name, app, ip) = names;
        InstanceInfo {
            instance_id,
            host_name,
            app,
            ip,
            vip: vips.0,
            secure_vip: vips.1,
            home_page: vips.2,
            asg: vips.3,
            data_center: Some(DataCenter {
                name: if amazon { "Amazon" } else { "MyOwn" }.to_owned(),
                metadata: if amazon { metadata.clone() } else { BTreeMap::new() },
            }),
            metadata,
            port: PortField { number: ports.0.0, enabled: ports.0.1 },
            secure_port: PortField { number: ports.1.0, enabled: ports.1.1 },
            status: Some(states.0),
            overridden: states.1,
            coordinating: states.2,
            last_updated: numbers.0,
            last_dirty: Some(numbers.1),
            lease: LeaseInfo { duration: numbers.2, registered: numbers.0, ..LeaseInfo::default() },
            action: Some(Action::Modified),
            ..InstanceInfo::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_the_same_in_both_formats(infos in proptest::collection::vec(infos(), 0..4)) {
        let applications = Applications {
            version: Some("3".to_owned()),
            hash: Some("UP_1_".to_owned()),
            applications: vec![Application { name: "ORDERS".to_owned(), instances: infos, unreadable: Vec::new() }],
            unreadable: Vec::new(),
        };
        for format in [Format::Json, Format::Xml] {
            let body = write::applications(&applications, format, Detail::Full);
            let read = read::applications(&body, format).unwrap();
            prop_assert_eq!(&read, &applications, "{:?} {}", format, String::from_utf8_lossy(&body));
        }
        for info in &applications.applications[0].instances {
            for format in [Format::Json, Format::Xml] {
                let body = write::instance(info, format);
                prop_assert_eq!(&read::instance(&body, format).unwrap(), info);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Json, Format::Xml] {
            let _ = read::applications(&body, format);
            let _ = read::instance(&body, format);
        }
    }

    #[test]
    fn a_good_answer_with_a_hole_in_it_never_panics(at in 0usize..3000, with in any::<u8>()) {
        let mut body = include_bytes!("../testdata/full.json").to_vec();
        let at = at % body.len();
        body[at] = with;
        let _ = read::applications(&body, Format::Json);
    }
}
