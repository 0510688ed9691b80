//! Sidecars from outside: calls between applications under mutual TLS, with and without a sidecar on either side.

use std::{net::SocketAddr, path::Path};

use landfall_tests::{
    Landfall, Origin,
    landfall::{free_port, run},
    wait::eventually,
};
use serde_json::Value;
use tempfile::TempDir;

/// Two services of a file; that of `orders` says which port its sidecar has.
fn config(orders: SocketAddr, sidecar: u16, more: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: vms }}\nspec:\n  static:\n    services:\n      \
         - {{ name: orders, instances: [{{ address: \"{orders}\", metadata: {{ landfall-sidecar: \"{sidecar}\" }} }}] }}\n      \
         - {{ name: shop, instances: [] }}\n{more}"
    )
}

fn issue(dir: &Path, authority: &str, service: &str) -> String {
    let (authority, out) = (dir.join(authority), dir.join(service));
    let _ = std::fs::remove_dir_all(&out);
    let (code, text, error) = run(&[
        "identity",
        "issue",
        "--authority",
        authority.to_str().unwrap(),
        "--service",
        service,
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{text}{error}");
    let (name, registry) = service.split_once('.').unwrap();
    let id = format!("spiffe://landfall.internal/ns/{registry}/sa/{name}");
    assert!(text.starts_with(&id) && text.contains(", good until "), "{text}");
    out.to_str().unwrap().to_owned()
}

/// The sidecar of `orders`, on that port.
async fn inbound(config: &str, application: SocketAddr, port: u16, identity: &str, mode: &str) -> Landfall {
    let (application, inbound) = (application.to_string(), format!("127.0.0.1:{port}"));
    let words = [
        "--service",
        "orders.vms",
        "--application",
        &application,
        "--inbound",
        &inbound,
    ];
    Landfall::sidecar(
        config,
        &[&words[..], &["--identity", identity, "--mutual-tls", mode]].concat(),
    )
    .await
}

/// The sidecar of `shop`, which calls `orders`.
async fn outbound(config: &str, identity: Option<&str>) -> Landfall {
    let inbound = format!("127.0.0.1:{}", free_port());
    let words = [
        "--service",
        "shop.vms",
        "--application",
        "127.0.0.1:9",
        "--inbound",
        &inbound,
        "--call",
        "orders.vms",
    ];
    let identity = identity.map(|identity| ["--identity", identity]);
    Landfall::sidecar(
        config,
        &[&words[..], identity.as_ref().map_or(&[], |words| &words[..])].concat(),
    )
    .await
}

/// A call as the application makes it.
async fn call(sidecar: &Landfall, host: &str) -> (u16, String) {
    let request = sidecar.client.get(sidecar.url("/o/1")).header("host", host);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn peers(sidecar: &Landfall) -> Vec<Option<String>> {
    let log = std::fs::read_to_string(sidecar.dir.path().join("access.log")).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["peer"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_combinations_of_sidecars_work_while_plain_calls_are_allowed() {
    let (orders, port, dir) = (Origin::start("orders").await, free_port(), TempDir::new().unwrap());
    let config = config(orders.address, port, "");
    let (of_orders, of_shop) = (
        issue(dir.path(), "ca", "orders.vms"),
        issue(dir.path(), "ca", "shop.vms"),
    );
    let callee = inbound(&config, orders.address, port, &of_orders, "permissive").await;
    let (meshed, plain) = (outbound(&config, Some(&of_shop)).await, outbound(&config, None).await);

    // Both sides have one. By the whole name, the short one, and as an HTTP proxy does it.
    for host in ["orders.vms", "orders", "ORDERS.vms:80"] {
        let (status, text) = call(&meshed, host).await;
        assert_eq!(status, 200, "{host}: {text}");
    }
    let proxied = reqwest::Client::builder()
        .proxy(reqwest::Proxy::http(format!("http://127.0.0.1:{}", meshed.port)).unwrap())
        .build()
        .unwrap();
    let answer = proxied.get("http://orders.vms/o/1?a=b").send().await.unwrap();
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(
        (seen["origin"].as_str(), seen["uri"].as_str()),
        (Some("orders"), Some("/o/1?a=b"))
    );
    let shop = Some("spiffe://landfall.internal/ns/vms/sa/shop".to_owned());
    eventually("the calls are logged with their caller", || async {
        let peers = peers(&callee);
        if peers == vec![shop.clone(); 4] {
            Ok(())
        } else {
            Err(format!("{peers:?}"))
        }
    })
    .await;

    // The caller has no identity: past the sidecar. Nobody has one: straight. A plain caller of the sidecar.
    assert_eq!(call(&plain, "orders.vms").await.0, 200);
    let client = &plain.client;
    assert_eq!(
        client
            .get(format!("http://{}/", orders.address))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        client
            .get(format!("http://127.0.0.1:{port}/"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    eventually("the plain call is logged without one", || async {
        let peers = peers(&callee);
        if peers.last() == Some(&None) && peers.len() == 5 {
            Ok(())
        } else {
            Err(format!("{peers:?}"))
        }
    })
    .await;
    assert_eq!(
        call(&meshed, "nobody.vms").await.0,
        404,
        "what the application does not call has no route"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_takes_named_callers_alone_and_policies_choose_among_them() {
    const SHOP_ALONE: &str = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: shop-alone }\nspec:\n  \
                              targetRefs: [{ kind: Service, name: orders, namespace: vms }]\n  rules: [{ from: [{ source: { principals: \
                              [\"landfall.internal/ns/vms/sa/shop\"] } }] }]\n";
    let (orders, port, dir) = (Origin::start("orders").await, free_port(), TempDir::new().unwrap());
    let config = config(orders.address, port, SHOP_ALONE);
    let of_orders = issue(dir.path(), "ca", "orders.vms");
    let callee = inbound(&config, orders.address, port, &of_orders, "strict").await;
    let plain = callee
        .client
        .get(format!("http://127.0.0.1:{port}/"))
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 403);
    let text = plain.text().await.unwrap();
    assert!(text.contains("under mutual TLS alone"), "{text}");

    let shop = outbound(&config, Some(&issue(dir.path(), "ca", "shop.vms"))).await;
    assert_eq!(call(&shop, "orders").await.0, 200);
    let thief = outbound(&config, Some(&issue(dir.path(), "ca", "thief.vms"))).await;
    assert_eq!(call(&thief, "orders").await, (403, "RBAC: access denied\n".to_owned()));
    let stranger = outbound(&config, Some(&issue(dir.path(), "another-ca", "shop.vms"))).await;
    assert_eq!(call(&stranger, "orders").await.0, 502);
    assert_eq!(orders.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_authentication_closes_and_opens_the_inbound_side_while_it_runs() {
    let (orders, port, dir) = (Origin::start("orders").await, free_port(), TempDir::new().unwrap());
    let mode = |mode: &str| {
        let document = format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: orders }}\nspec:\n  \
             targetRefs: [{{ kind: Service, name: orders, namespace: vms }}]\n  mtls: {{ mode: {mode} }}\n"
        );
        config(orders.address, port, &document)
    };
    let of_orders = issue(dir.path(), "ca", "orders.vms");
    let callee = inbound(&mode("STRICT"), orders.address, port, &of_orders, "permissive").await;
    for (now, status) in [("STRICT", 403), ("PERMISSIVE", 200), ("STRICT", 403), ("DISABLE", 200)] {
        callee.reconfigure(&mode(now));
        eventually(&format!("{now} counts"), || async {
            // A connection of its own: one that stands is not asked again.
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client.get(format!("http://127.0.0.1:{port}/")).send().await;
            let found = answer.map_err(|error| error.to_string())?.status().as_u16();
            if found == status {
                Ok(())
            } else {
                Err(format!("{found}"))
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_an_identity_calls_sidecars_and_one_without_calls_past_them() {
    let (orders, port, dir) = (Origin::start("orders").await, free_port(), TempDir::new().unwrap());
    let edge = format!(
        "---\n{}\n---\n{}",
        super::gateway(),
        super::route("orders", "/", &[("orders", "vms", 1)])
    );
    let (beside, config) = (config(orders.address, port, ""), config(orders.address, port, &edge));
    let of_orders = issue(dir.path(), "ca", "orders.vms");
    let callee = inbound(&beside, orders.address, port, &of_orders, "strict").await;
    let plain = Landfall::up(&config).await;
    assert_eq!(plain.get("/").await.map(|answer| answer.0), Ok(200));
    assert_eq!(peers(&callee), []);
    let identity = issue(dir.path(), "ca", "edge.vms");
    let meshed = Landfall::up_with(&config, &[("LANDFALL_IDENTITY", identity)]).await;
    assert_eq!(meshed.get("/").await.map(|answer| answer.0), Ok(200));
    let edge = Some("spiffe://landfall.internal/ns/vms/sa/edge".to_owned());
    eventually("the call is logged with the gateway's name", || async {
        let peers = peers(&callee);
        if peers == [edge.clone()] {
            Ok(())
        } else {
            Err(format!("{peers:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_put_in_is_used_without_a_restart() {
    let (orders, port, dir) = (Origin::start("orders").await, free_port(), TempDir::new().unwrap());
    let config = config(orders.address, port, "");
    let of_orders = issue(dir.path(), "ca", "orders.vms");
    let callee = inbound(&config, orders.address, port, &of_orders, "strict").await;
    let of_shop = issue(dir.path(), "another-ca", "shop.vms");
    let shop = outbound(&config, Some(&of_shop)).await;
    assert_eq!(
        call(&shop, "orders").await.0,
        502,
        "the authorities do not know each other"
    );
    let better = TempDir::new().unwrap();
    std::fs::create_dir(better.path().join("ca")).unwrap();
    for file in std::fs::read_dir(dir.path().join("ca")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), better.path().join("ca").join(file.file_name())).unwrap();
    }
    std::fs::set_permissions(
        better.path().join("ca"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let new = issue(better.path(), "ca", "shop.vms");
    std::fs::rename(
        Path::new(&new).join("identity.json"),
        Path::new(&of_shop).join("identity.json"),
    )
    .unwrap();
    eventually("the new identity is shown", || async {
        match call(&shop, "orders").await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(shop.log().contains("identity read again"), "{}", shop.log());
    drop(callee);
}

#[test]
fn what_cannot_be_a_sidecar_says_why() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, config("127.0.0.1:1".parse().unwrap(), 2, "")).unwrap();
    let file = file.to_str().unwrap();
    let empty = dir.path().join("empty");
    let empty = empty.to_str().unwrap();
    let start = |words: &[&str]| {
        let all = [
            "sidecar",
            "--config",
            file,
            "--application",
            "127.0.0.1:9",
            "--admin",
            "127.0.0.1:0",
        ];
        let (code, _, error) = run(&[&all[..], words].concat());
        assert_ne!(code, 0, "{words:?}");
        error
    };
    for (words, why) in [
        (
            &["--service", "orders"][..],
            "`orders` is no service of a registry: write for example orders.eureka",
        ),
        (&["--service", "orders.eureka"], "there is no registry eureka"),
        (
            &["--service", "orders.vms", "--call", "a.consul"],
            "a.consul: there is no registry consul",
        ),
        (
            &["--service", "orders.vms", "--mutual-tls", "strict"],
            "name one with --identity",
        ),
        (
            &["--service", "orders.vms", "--identity", empty],
            "make one with `landfall identity issue`",
        ),
        (&["--service", "orders.vms", "--trust-domain", "a b"], "--trust-domain"),
    ] {
        let error = start(words);
        assert!(error.contains(why), "{words:?}: {error}");
    }
}
