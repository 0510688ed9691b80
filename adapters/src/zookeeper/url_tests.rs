use proptest::prelude::*;

use super::*;

#[test]
fn a_znode_name_is_read_whatever_the_case_of_its_hex() {
    let upper = "dubbo%3A%2F%2F10.0.0.5%3A20880%2Forg.x.Svc%3Fgroup%3Dg1%26version%3D1.0.0";
    let lower = "dubbo%3a%2f%2f10.0.0.5%3a20880%2forg.x.Svc%3fgroup%3dg1%26version%3d1.0.0";
    let url = DubboUrl::from_node_name(upper).unwrap();
    assert_eq!(DubboUrl::from_node_name(lower).unwrap(), url);
    assert_eq!(
        (url.protocol.as_str(), url.host.as_str(), url.port),
        ("dubbo", "10.0.0.5", Some(20880))
    );
    assert_eq!(
        (url.path.as_str(), url.get("group"), url.get("version")),
        ("org.x.Svc", Some("g1"), Some("1.0.0"))
    );
    assert_eq!(url.to_node_name(), upper, "written again as Dubbo 3 wants it");
}

#[test]
fn text_is_read_as_dubbo_reads_it() {
    let table: [(&str, &str, Option<u16>, &str, &str); 9] = [
        ("dubbo://h:1/p?a=b;c=d&e", "h", Some(1), "p", "a=b&c=d&e=e"),
        ("dubbo://h:1/p#frag?a=b", "h", Some(1), "p", "a=b"),
        ("dubbo://h/ctx/org.x.Svc", "h", None, "ctx/org.x.Svc", ""),
        ("dubbo://user:p%40ss@h:2", "h", Some(2), "", ""),
        ("tri://[fe80::1]:50051/s", "fe80::1", Some(50051), "s", ""),
        ("tri://fe80::1:50051/s", "fe80::1", Some(50051), "s", ""),
        ("tri://[::1]/s", "::1", None, "s", ""),
        (
            "consumer://10.0.0.1/s?check=false",
            "10.0.0.1",
            None,
            "s",
            "check=false",
        ),
        ("dubbo://h:0/s?empty=&=x&&", "h", None, "s", "empty="),
    ];
    for (text, host, port, path, query) in table {
        let url: DubboUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let written: Vec<String> = url.parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            (
                url.host.as_str(),
                url.port,
                url.path.as_str(),
                written.join("&").as_str()
            ),
            (host, port, path, query),
            "{text}"
        );
        assert!(!url.to_string().contains("ss"), "a password is never kept");
    }
}

#[test]
fn garbage_is_refused_with_a_reason() {
    for (name, why) in [
        ("", InvalidUrl::Protocol),
        ("not a url", InvalidUrl::Protocol),
        ("%3A%2F%2Fh", InvalidUrl::Protocol),
        ("dubbo%3A%2F%2F", InvalidUrl::Host),
        ("dubbo%3A%2F%2F%3A20880", InvalidUrl::Host),
        ("dubbo%3A%2F%2Fh%3A99999%2Fx", InvalidUrl::Port("99999".to_owned())),
        ("dubbo%3A%2F%2Fh%3Aport%2Fx", InvalidUrl::Port("port".to_owned())),
        ("dubbo%3", InvalidUrl::Escape(5)),
        ("dubbo%zz", InvalidUrl::Escape(5)),
        ("%FF%FE", InvalidUrl::Utf8),
    ] {
        assert_eq!(DubboUrl::from_node_name(name), Err(why), "{name}");
    }
}

#[test]
fn a_default_parameter_counts_when_the_plain_one_is_absent() {
    let url: DubboUrl = "dubbo://h:1/s?default.timeout=500&default.weight=7&weight=3&default.=x"
        .parse()
        .unwrap();
    assert_eq!((url.get("timeout"), url.get("weight")), (Some("500"), Some("3")));
    let plain = url.plain();
    assert_eq!((plain.get("timeout"), plain.get("weight")), (Some(&"500"), Some(&"3")));
    assert!(!plain.contains_key("default.timeout"));
}

#[test]
fn unreserved_characters_are_those_of_java() {
    assert_eq!(encode("aZ9.-*_ ~/:?&=%+é"), "aZ9.-*_+%7E%2F%3A%3F%26%3D%25%2B%C3%A9");
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_to_itself(text in "\\PC*") {
        let encoded = encode(&text);
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b".-*_+%".contains(&b)));
        let mut lower = String::new();
        for (at, part) in encoded.split('%').enumerate() {
            let (hex, rest) = if at == 0 { ("", part) } else { part.split_at(2) };
            lower += &format!("{}{}{rest}", if at == 0 { "" } else { "%" }, hex.to_ascii_lowercase());
        }
        prop_assert_eq!(decode(&encoded).unwrap(), text.clone());
        prop_assert_eq!(decode(&lower).unwrap(), text);
    }

    #[test]
    fn a_url_survives_the_way_into_a_znode_name_and_back(
        protocol in "[a-z][a-z0-9+.-]{0,8}",
        host in prop_oneof!["[a-z0-9][a-z0-9.-]{0,20}", Just("fe80::1".to_owned()), Just("10.1.2.3".to_owned())],
        port in proptest::option::of(1u16..),
        path in "[A-Za-z0-9._$-]{0,20}(/[A-Za-z0-9._$-]{1,10})?",
        parameters in proptest::collection::btree_map("[A-Za-z0-9._-]{1,12}", "[^&;]{0,20}", 0..6),
    ) {
        let url = DubboUrl { protocol, host, port, path, parameters };
        prop_assert_eq!(DubboUrl::from_node_name(&url.to_node_name()).unwrap(), url);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".*") {
        let _ = DubboUrl::from_node_name(&text);
        let _ = text.parse::<DubboUrl>().map(|url| url.plain().len());
    }
}

#[test]
fn a_port_written_as_zeros_is_none() {
    for zeros in ["0", "00", "000"] {
        let url = DubboUrl::from_node_name(&format!("dubbo%3A%2F%2F10.0.0.5%3A{zeros}%2Fa.B")).unwrap();
        assert_eq!(url.port, None, "{zeros}");
        assert_eq!(DubboUrl::from_node_name(&url.to_node_name()).unwrap(), url, "{zeros}");
    }
}
