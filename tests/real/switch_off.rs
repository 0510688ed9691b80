//! Spring applications with nothing changed but the URL: by facades in front of real registries, and then without those.

use std::time::SystemTime;

use landfall_tests::{Landfall, Load, estate::Estate, eventually, landfall};
use serde_json::Value;

use super::registry;

/// Both protocols, each a facade of everything.
fn facades(eureka: u16, consul: u16) -> String {
    let facade = |name: &str, port: u16, more: &str| {
        format!(
            "---\napiVersion: landfall.dev/v1\nkind: Facade\nmetadata: {{ name: {name} }}\nspec:\n  \
             address: \"127.0.0.1:{port}\"\n  {more}\n  writes: {{ forward: {name} }}\n"
        )
    };
    facade("eureka", eureka, "path: /mesh\n  eureka: {}") + &facade("consul", consul, "consul: {}")
}

async fn get(landfall: &Landfall, url: &str) -> Result<(u16, Value), String> {
    let request = landfall.client.get(url).header("accept", "application/json");
    let answer = request.send().await.map_err(|error| format!("{url}: {error:?}"))?;
    let status = answer.status().as_u16();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Waits until this URL is answered with that status and a body that fits.
async fn until(landfall: &Landfall, what: &str, url: &str, status: u16, fits: impl Fn(&Value) -> bool) {
    eventually(what, || async {
        let (got, body) = get(landfall, url).await?;
        if got == status && fits(&body) {
            Ok(())
        } else {
            Err(format!("{got} {body}"))
        }
    })
    .await;
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_millis()).expect("not that late")
}

#[tokio::test(flavor = "multi_thread")]
async fn spring_applications_use_facades_and_notice_nothing_when_the_registries_behind_are_switched_off() {
    let [eureka_facade, consul_facade, eureka_own, consul_own] = [(); 4].map(|()| landfall::free_port());
    let estate = Estate::up_alone(&["eureka", "consul"], &[]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let in_front = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
    ];
    let config = in_front.join("---\n") + &facades(eureka_facade, consul_facade);
    let mut landfall = Landfall::up(&config).await;

    // Nothing but the URL: the registered names, checks and calls are the applications' own.
    let url = format!("EUREKA_URL=http://127.0.0.1:{eureka_facade}/mesh/eureka/");
    let settings = [
        format!("orders:{url}"),
        format!("shop:{url}"),
        format!("market:CONSUL_URL=http://127.0.0.1:{consul_facade}"),
        "market:CONSUL_HOST=127.0.0.1".to_owned(),
        format!("market:CONSUL_PORT={consul_facade}"),
        // A second one is the provider, asked over HTTP as Spring has it unless told otherwise.
        "market-2:SERVICE=stock".to_owned(),
        "market-2:SPRING_CLOUD_CONSUL_DISCOVERY_HEARTBEAT_ENABLED=false".to_owned(),
        "market-2:SPRING_CLOUD_CONSUL_DISCOVERY_HEALTHCHECKPATH=/market/ready".to_owned(),
        "market-2:SPRING_CLOUD_CONSUL_DISCOVERY_HEALTHCHECKINTERVAL=1s".to_owned(),
    ];
    estate
        .add_alone(&["orders", "shop", "market", "market-2"], &settings)
        .await;
    let (shop, market) = (estate.address("shop").await, estate.address("market").await);
    let (shop, market) = (
        format!("http://{shop}/shop/orders"),
        format!("http://{market}/market/orders"),
    );
    until(&landfall, "shop calls orders", &shop, 200, |body| {
        body["service"] == "orders"
    })
    .await;
    until(&landfall, "market calls stock", &market, 200, |body| {
        body["instance"] == "market-2"
    })
    .await;
    let really = |app: &str| format!("http://{eureka}/eureka/apps/{app}");
    until(&landfall, "the real Eureka has shop", &really("SHOP"), 200, |_| true).await;
    let stock = format!("http://{consul}/v1/health/service/stock?passing");
    until(&landfall, "the real Consul has stock", &stock, 200, |body| {
        body[0]["Service"]["Port"].is_u64()
    })
    .await;
    estate.stop("orders").await;
    until(&landfall, "its good-bye came through", &really("ORDERS"), 404, |_| true).await;
    estate.start("orders").await;
    until(&landfall, "shop calls orders again", &shop, 200, |_| true).await;

    // The registries are switched off: the same names are registries of our own from now on.
    let calls_of_shop = Load::start(shop.clone(), 2);
    let calls_of_market = Load::start(market.clone(), 2);
    calls_of_shop.at_least(50).await;
    calls_of_market.at_least(50).await;
    let switched = milliseconds();
    let instead = [
        registry(
            "eureka",
            &format!("embedded: {{ eureka: {{ address: \"127.0.0.1:{eureka_own}\" }}, takeOver: eureka }}"),
        ),
        registry(
            "consul",
            &format!("embedded: {{ consul: {{ address: \"127.0.0.1:{consul_own}\" }}, takeOver: consul }}"),
        ),
    ];
    landfall.reconfigure(&(instead.join("---\n") + &facades(eureka_facade, consul_facade)));
    eventually("both are registries of our own", || async {
        let registries = landfall.admin("/api/v1/registries").await?;
        let all = registries["registries"].as_array().cloned().unwrap_or_default();
        let good = all
            .iter()
            .all(|one| one["kind"] == "embedded" && one["session"]["state"] == "live" && one["instances"] == 2);
        if good && all.len() == 2 {
            Ok(())
        } else {
            Err(registries.to_string())
        }
    })
    .await;
    estate.kill("eureka").await;
    estate.kill("consul").await;

    // Eureka's clients have registered again with leases of their own, which their heartbeats keep.
    let renewed_after = |moment: u64| {
        move |body: &Value| {
            let lease = &body["application"]["instance"][0]["leaseInfo"];
            lease["durationInSecs"] == 3 && lease["lastRenewalTimestamp"].as_u64() > Some(moment)
        }
    };
    let application = |app: &str| format!("http://127.0.0.1:{eureka_own}/eureka/apps/{app}");
    for app in ["ORDERS", "SHOP"] {
        until(
            &landfall,
            "its lease is its own and renewed",
            &application(app),
            200,
            renewed_after(switched),
        )
        .await;
    }
    // Consul's go on saying that they are well, or are asked whether they are there.
    let passing = |name: &str| format!("http://127.0.0.1:{consul_own}/v1/health/service/{name}?passing");
    for name in ["market", "stock"] {
        until(&landfall, "it is passing", &passing(name), 200, |body| {
            body[0]["Service"]["Port"].is_u64()
        })
        .await;
    }
    let ttl = format!("http://127.0.0.1:{consul_own}/v1/agent/checks?filter=ServiceName==market");
    until(&landfall, "its word is taken", &ttl, 200, |body| {
        body.as_object()
            .and_then(|checks| checks.values().next())
            .is_some_and(|check| check["Status"] == "passing" && check["Output"].as_str() == Some(""))
    })
    .await;

    // Spring's Consul client asks its agent before a call, every second here: without any answer it calls nobody. So its
    // calls stop before the crash that follows.
    calls_of_market.at_least(50).await;
    calls_of_market.stop_without_failure().await;

    // And through a crash of Landfall, for longer than any of the leases.
    landfall.crash_and_restart().await;
    landfall.ready().await;
    let later = milliseconds() + 7_000;
    for app in ["ORDERS", "SHOP"] {
        until(
            &landfall,
            "its lease is still kept",
            &application(app),
            200,
            renewed_after(later + 3_000),
        )
        .await;
    }
    for name in ["market", "stock"] {
        until(&landfall, "it is still passing", &passing(name), 200, |body| {
            body[0]["Service"]["Port"].is_u64()
        })
        .await;
    }
    calls_of_shop.at_least(50).await;
    calls_of_shop.stop_without_failure().await;
    until(&landfall, "market still calls stock", &market, 200, |body| {
        body["instance"] == "market-2"
    })
    .await;

    // What is new registers here, what ends says good-bye here.
    estate.stop("market-2").await;
    until(&landfall, "stock is gone", &passing("stock"), 200, |body| {
        body.as_array().is_some_and(Vec::is_empty)
    })
    .await;
    estate.stop("orders").await;
    until(&landfall, "orders is gone", &application("ORDERS"), 404, |_| true).await;
    estate.start("market-2").await;
    until(&landfall, "market calls the new stock", &market, 200, |body| {
        body["instance"] == "market-2"
    })
    .await;
    let check = format!("http://127.0.0.1:{consul_own}/v1/agent/checks?filter=ServiceName==stock");
    until(&landfall, "its HTTP check is run here", &check, 200, |body| {
        body.as_object()
            .and_then(|checks| checks.values().next())
            .is_some_and(|check| check["Type"] == "http" && check["Status"] == "passing")
    })
    .await;
}
