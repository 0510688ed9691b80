use http::Method;

use super::*;

fn asked(method: &str, path: &str) -> Result<Operation, StatusCode> {
    operation(&Method::from_bytes(method.as_bytes()).unwrap(), path)
}

#[test]
fn both_bases_and_a_slash_at_the_end_mean_the_same() {
    for base in ["/eureka", "/eureka/v2", "/eureka/V2"] {
        for slash in ["", "/"] {
            let ask = |method: &str, path: &str| asked(method, &format!("{base}{path}{slash}")).unwrap();
            let one = || ("ORDERS".to_owned(), "h1:orders:8080".to_owned());
            assert_eq!(ask("GET", "/apps"), Operation::All);
            assert_eq!(ask("GET", "/apps/delta"), Operation::Delta);
            assert_eq!(ask("GET", "/apps/ORDERS"), Operation::Application("ORDERS".to_owned()));
            assert_eq!(ask("POST", "/apps/ORDERS"), Operation::Register("ORDERS".to_owned()));
            let (app, id) = one();
            assert_eq!(ask("PUT", "/apps/ORDERS/h1:orders:8080"), Operation::Renew(app, id));
            let (app, id) = one();
            assert_eq!(
                ask("DELETE", "/apps/ORDERS/h1%3Aorders%3A8080"),
                Operation::Cancel(app, id)
            );
            let (app, id) = one();
            assert_eq!(
                ask("PUT", "/apps/ORDERS/h1:orders:8080/status"),
                Operation::SetStatus(app, id)
            );
            let (app, id) = one();
            assert_eq!(
                ask("DELETE", "/apps/ORDERS/h1:orders:8080/status"),
                Operation::RemoveStatus(app, id)
            );
            let (app, id) = one();
            assert_eq!(
                ask("PUT", "/apps/ORDERS/h1:orders:8080/metadata"),
                Operation::Metadata(app, id)
            );
            assert_eq!(ask("GET", "/instances/x%2Fy"), Operation::ById("x/y".to_owned()));
            let vip = |name: &str, secure| Operation::Vip {
                name: name.to_owned(),
                secure,
            };
            assert_eq!(ask("GET", "/vips/orders"), vip("orders", false));
            assert_eq!(ask("GET", "/svips/orders"), vip("orders", true));
        }
    }
}

#[test]
fn what_is_no_operation_is_not_found_or_not_allowed() {
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/apps", 404),
        ("GET", "/eureka/peerreplication/batch/", 404),
        ("GET", "/eureka/apps/A/i/status/more", 405),
        ("PATCH", "/eureka/apps/A/i", 405),
        ("POST", "/eureka/apps", 405),
        ("DELETE", "/eureka/vips/x", 405),
    ] {
        assert_eq!(asked(method, path).unwrap_err().as_u16(), status, "{method} {path}");
    }
}

#[test]
fn json_is_answered_only_to_who_asks_for_it() {
    let reply = |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, http::HeaderValue::from_static(value));
        Reply::of(&headers)
    };
    assert_eq!(
        reply("accept", "application/json, application/*+json").format,
        Format::Json
    );
    assert_eq!(reply("accept", "*/*").format, Format::Xml);
    assert_eq!(reply("user-agent", "python").format, Format::Xml);
    assert!(reply("accept-encoding", "deflate, gzip").gzip);
    assert!(!reply("accept", "application/json").gzip);
}

#[test]
fn of_a_metadata_key_that_comes_twice_the_first_value_counts() {
    let pairs: std::collections::BTreeMap<_, _> = Query::of(Some("a=1&b=x%20y&a=2")).first_of_each().collect();
    assert_eq!(pairs.get("a").map(String::as_str), Some("1"));
    assert_eq!(pairs.get("b").map(String::as_str), Some("x y"));
}
