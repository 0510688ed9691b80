//! The pages that answer a question: why, and what would become of a call.

use serde_json::{Value, json};

use super::{Server, Told, estate};

#[tokio::test]
async fn why_tells_where_an_endpoint_came_from_or_why_it_is_missing() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let reason = |body: &Value, index: usize| body["services"][0]["instances"][0]["reasons"][index].clone();

    let orders = server
        .ok("/api/v1/why?service=orders.eureka&endpoint=10.0.0.1:80")
        .await;
    assert_eq!(
        orders["services"][0]["clusters"],
        json!([{ "cluster": "orders.eureka" }, { "cluster": "shop", "memberWeight": 3 }])
    );
    assert_eq!(reason(&orders, 0)["inDataPath"], true);
    let text = "gets calls at 10.0.0.1:80; left out for another 9.0 s because calls to 10.0.0.1:80 failed";
    assert_eq!(reason(&orders, 0)["text"], text);

    let stock = server.ok("/api/v1/why?service=stock").await;
    assert_eq!(reason(&stock, 0)["text"], "its status is DOWN");
    assert_eq!(
        stock["services"][0]["holds"][0]["reason"],
        "all of its instances at once"
    );
    assert_eq!(stock["services"][0]["quarantined"][0]["record"], "stock/broken");

    let spare = server.ok("/api/v1/why?service=spare").await;
    assert_eq!(reason(&spare, 0)["text"], "no route refers to its service");
    let shop = server.ok("/api/v1/why?service=shop").await;
    assert_eq!(shop["services"].as_array().unwrap().len(), 2);
    let both = server.ok("/api/v1/why?service=orders").await;
    assert_eq!(both["services"].as_array().unwrap().len(), 2);

    for (path, status) in [
        ("/api/v1/why?service=nobody", 404),
        ("/api/v1/why?service=orders&endpoint=10.7.7.7:80", 404),
        ("/api/v1/why", 400),
    ] {
        let (got, body) = server.get(path).await;
        assert_eq!(got, status, "{path}");
        assert!(body["error"].is_string() && body["mend"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn explain_asks_the_data_path() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let path = "/api/v1/explain?method=post&url=http%3A%2F%2Fshop%2Forders%3Fa%3Db&header=x-user:%207&header=a:b:c";
    let expected =
        json!({ "method": "POST", "url": "http://shop/orders?a=b", "headers": [["x-user", "7"], ["a", "b:c"]] });
    assert_eq!(server.ok(path).await, expected);
    for (path, status) in [
        ("/api/v1/explain", 400),
        ("/api/v1/explain?url=shop", 400),
        ("/api/v1/explain?url=http://shop&header=none", 400),
    ] {
        assert_eq!(server.get(path).await.0, status, "{path}");
    }
    let without = Server::start(&estate(), None).await;
    assert_eq!(without.get("/api/v1/explain?url=http://shop/").await.0, 503);
}
