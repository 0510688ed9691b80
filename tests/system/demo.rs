//! `landfall demo`: everything at once, with nothing to install.

use std::{
    io::{BufRead, BufReader},
    process::{ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use landfall_tests::{eventually, landfall};
use serde_json::Value;

#[tokio::test]
async fn the_demo_answers_from_an_instance_of_its_registry_and_ctrl_c_ends_it_clean() {
    landfall::install_crypto();
    let (port, registry, admin) = (landfall::free_port(), landfall::free_port(), landfall::free_port());
    let mut demo = Command::new(landfall::binary())
        .args([
            "demo",
            "--port",
            &port.to_string(),
            "--registry-port",
            &registry.to_string(),
        ])
        .args(["--admin", &format!("127.0.0.1:{admin}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let screen = read_along(demo.stdout.take().unwrap(), Arc::clone(&said));
    // The screen comes when all that it says to try works.
    eventually("the demo says what to try", || async {
        let said = said.lock().unwrap();
        match said.matches("curl ").count() {
            4 => Ok(()),
            count => Err(format!("{count} lines to try: {said}")),
        }
    })
    .await;
    let orders = client
        .get(format!("http://127.0.0.1:{port}/orders"))
        .send()
        .await
        .unwrap();
    assert!(orders.status().is_success(), "{}", orders.status());
    let orders: Value = orders.json().await.unwrap();
    let known = client
        .get(format!("http://127.0.0.1:{registry}/eureka/apps/ORDERS"))
        .header("accept", "application/json");
    let known = known.send().await.unwrap().text().await.unwrap();
    let instance = orders["instance"].as_str().unwrap();
    assert!(
        known.contains(instance),
        "{instance} answered; the registry has {known}"
    );

    let stock = client
        .get(format!("http://127.0.0.1:{port}/stock"))
        .send()
        .await
        .unwrap();
    assert!(stock.status().is_success(), "{}", stock.status());

    landfall::signal(demo.id(), "INT");
    let status = eventually("the demo ends after Ctrl-C", || {
        let state = demo.try_wait();
        async move {
            state
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it still runs".to_owned())
        }
    })
    .await;
    screen.join().unwrap();
    let out = said.lock().unwrap().clone();
    let output = demo.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status.code(), Some(0), "{out}{err}");
    assert_eq!(out.matches("curl ").count(), 4, "{out}");
    assert!(!err.contains("panicked") && !err.contains("ERROR"), "{err}");
    for port in [port, registry, admin] {
        assert!(
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(),
            "port {port} is free again"
        );
    }
}

/// Reads to the end in a thread, so that what was said can be looked at meanwhile.
fn read_along(stdout: ChildStdout, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            said.lock().unwrap().push_str(&format!("{line}\n"));
        }
    })
}

#[test]
fn a_demo_whose_port_is_taken_says_so_and_how_to_choose_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let registry = landfall::free_port().to_string();
    let admin = format!("127.0.0.1:{}", landfall::free_port());
    let (code, out, err) = landfall::run(&["demo", "--port", &port, "--registry-port", &registry, "--admin", &admin]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains(&port) && err.contains("--port"), "{err}");
}
