//! A real Nacos: followed by its pushes, polled over HTTP, with a login, stopped, and emptied.

use std::time::{Duration, Instant};

use landfall_tests::{Landfall, Load, estate::Estate, eventually};

use super::{answers, endpoint, gateway, is_endpoint, registry};

/// From an application's own act to the data path.
const SOON: Duration = Duration::from_secs(2);

fn config(nacos: &str, more: &str, routes: &[(&str, &str, &str, &str)]) -> String {
    [
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"]{more} }}")),
        gateway(routes),
    ]
    .join("---\n")
}

const PARTS: (&str, &str, &str, &str) = ("parts", "/parts", "parts", "nacos");

/// Waits until an address is, or is no longer, among the endpoints, and says how long that took since `since`.
async fn took(landfall: &Landfall, address: &str, expected: bool, since: Instant) -> Duration {
    while is_endpoint(landfall, address).await != Ok(expected) {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "{address}: {expected} was never seen"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    since.elapsed()
}

/// Has an application register or deregister. Its client may find that its login has just run out and refuse; then it is
/// asked again, as an application would.
async fn put(address: &str, path: &str) {
    eventually(&format!("{address} has done {path}"), || async {
        let ask = reqwest::Client::new().put(format!("http://{address}{path}")).send();
        let answer = ask.await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let said = answer.text().await.map_err(|e| e.to_string())?;
        if status == 200 {
            Ok(())
        } else {
            Err(format!("{status}: {said}"))
        }
    })
    .await;
}

/// Has an application register until it is an endpoint. Nacos' own client repeats a deregistration now and then, which
/// takes back a registration that followed too soon.
async fn comes_back(landfall: &Landfall, address: &str) {
    eventually(&format!("{address} is an endpoint"), || async {
        if is_endpoint(landfall, address).await? {
            return Ok(());
        }
        put(address, "/register").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err("registered, and not seen yet".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nacos_registrations_goodbyes_and_deaths_are_followed_within_two_seconds() {
    let estate = Estate::up(&["nacos", "parts", "parts-2", "parts-3"]).await;
    let nacos = estate.address("nacos").await;
    let landfall = Landfall::up(&config(&nacos, "", &[PARTS])).await;
    let body = answers(&landfall, "/parts/7").await;
    assert!(body.contains("\"path\":\"/parts/7\""), "{body}");
    let second = estate.address("parts-2").await;
    let third = estate.address("parts-3").await;
    endpoint(&landfall, &second, true).await;
    endpoint(&landfall, &third, true).await;

    let since = Instant::now();
    put(&second, "/deregister").await;
    let gone = took(&landfall, &second, false, since).await;
    // Nacos' own client repeats a deregistration now and then; one that follows too soon is taken back by it.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let since = Instant::now();
    put(&second, "/register").await;
    let back = took(&landfall, &second, true, since).await;
    let since = Instant::now();
    estate.kill("parts-3").await;
    let dead = took(&landfall, &third, false, since).await;
    println!("gone {gone:?}, back {back:?}, dead {dead:?}");
    assert!(gone < SOON && back < SOON && dead < SOON, "{gone:?} {back:?} {dead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nacos_that_stops_or_comes_back_empty_costs_no_request() {
    let estate = Estate::up(&["nacos", "parts", "parts-2"]).await;
    let nacos = estate.address("nacos").await;
    let landfall = Landfall::up(&config(&nacos, "", &[PARTS])).await;
    answers(&landfall, "/parts").await;
    let second = estate.address("parts-2").await;
    endpoint(&landfall, &second, true).await;
    let load = Load::start(landfall.url("/parts"), 2);
    load.at_least(50).await;

    estate.stop("nacos").await;
    super::shown(&landfall, "stale").await;
    load.at_least(200).await;
    assert_eq!(is_endpoint(&landfall, &second).await, Ok(true));
    estate.start_empty("nacos").await;
    super::shown(&landfall, "live").await;
    // Who was registered registers again by itself; until then the brake holds what was known.
    load.at_least(500).await;
    assert_eq!(is_endpoint(&landfall, &second).await, Ok(true));
    load.stop_without_failure().await;

    // The session that came back is a real one: what leaves now, leaves.
    eventually("parts-2 has registered again", || async {
        let list = format!("http://{nacos}/nacos/v1/ns/instance/list?serviceName=parts");
        let body = reqwest::get(list)
            .await
            .map_err(|e| e.to_string())?
            .text()
            .await
            .map_err(|e| e.to_string())?;
        let port = second.rsplit(':').next().unwrap_or_default();
        if body.contains(&format!("\"port\":{port}")) {
            Ok(())
        } else {
            Err(body)
        }
    })
    .await;
    put(&second, "/deregister").await;
    endpoint(&landfall, &second, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_clusters_weights_and_a_login_are_understood_by_both_transports() {
    let settings = [
        "nacos:AUTH=true",
        "nacos:TOKEN_SECONDS=5",
        "parts:NACOS_USER=nacos",
        "parts:NACOS_PASSWORD=nacos",
        "parts-2:GROUP=blue",
        "parts-2:CLUSTER=east",
        "parts-2:WEIGHT=0.5",
        "parts-2:METADATA=version=2",
        "parts-3:SERVICE=stored",
    ]
    .map(str::to_owned);
    let estate = Estate::up_alone(&["nacos"], &settings[..2]).await;
    let nacos = estate.address("nacos").await;
    let settings: Vec<_> = settings[2..].to_vec();
    estate.add_alone(&["parts", "parts-2", "parts-3"], &settings).await;
    let addresses = [
        estate.address("parts").await,
        estate.address("parts-2").await,
        estate.address("parts-3").await,
    ];
    for transport in ["grpc", "http"] {
        let login = format!(
            ", groups: [DEFAULT_GROUP, blue], username: nacos, password: \"env:NACOS_TEST_PASSWORD\", transport: {transport}"
        );
        let routes = [
            PARTS,
            ("blue", "/blue", "blue@@parts", "nacos"),
            ("stored", "/stored", "stored", "nacos"),
        ];
        let landfall = Landfall::up_with(
            &config(&nacos, &login, &routes),
            &[("NACOS_TEST_PASSWORD", "nacos".to_owned())],
        )
        .await;
        answers(&landfall, "/blue").await;
        answers(&landfall, "/stored").await;
        for address in &addresses {
            comes_back(&landfall, address).await;
        }
        let services = landfall.admin("/api/v1/services").await.expect("services").to_string();
        for word in ["blue@@parts", "\"weight\":50", "\"zone\":\"east\"", "\"version\":\"2\""] {
            assert!(services.contains(word), "{transport}: {word} is not in {services}");
        }
        // Longer than the token lives, and still told of what happens.
        let since = Instant::now();
        tokio::time::sleep(Duration::from_secs(6)).await;
        put(&addresses[1], "/deregister").await;
        took(&landfall, &addresses[1], false, since).await;
        comes_back(&landfall, &addresses[1]).await;
    }
}
