//! What systemd is told, over a socket like its own; and the unit file, as far as it can be judged without systemd
//! as the first process.

use std::{
    net::TcpListener,
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    process::Command,
    time::Duration,
};

use landfall_tests::{Landfall, Origin};
use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What was told next, as lines.
fn next(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("nothing was told in time");
    let text = std::str::from_utf8(&buffer[..length]).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_ports_are_open_when_all_is_well_and_when_it_ends() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let origin = Origin::start("origin").await;
    let variables = [("NOTIFY_SOCKET", path.display().to_string())];
    let landfall = Landfall::up_with(&super::one_origin(origin.address), &variables).await;

    let first = next(&socket);
    assert!(first.contains(&"READY=1".to_owned()), "{first:?}");
    // Whoever was told so can call at once.
    assert_eq!(landfall.get("/").await.unwrap().0, 200);
    assert_eq!(next(&socket), ["STATUS=serving"]);

    landfall.terminate();
    let last = next(&socket);
    assert!(last.contains(&"STOPPING=1".to_owned()), "{last:?}");
    assert!(
        last.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")),
        "{last:?}"
    );
    assert!(landfall.stop().await.success());
}

/// One request on a connection of its own; what was answered.
async fn call(port: u16) -> std::io::Result<String> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_no_connection_when_systemd_keeps_the_socket() {
    // As systemd does: the socket is ours, and a process inherits it.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    fcntl_setfd(&socket, FdFlags::empty()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let variables = [
        ("LISTEN_FDS", "1".to_owned()),
        ("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string()),
    ];
    let origin = Origin::start("origin").await;
    let config = super::one_origin(origin.address).replace("{port}", &port.to_string());
    // Nobody is there yet: this call waits.
    let early = tokio::spawn(call(port));
    let mut landfall = Landfall::up_with(&config, &variables).await;
    let answer = early.await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut calls = 0;
                while !*stopped.borrow() {
                    let answer = call(port).await.unwrap_or_else(|error| panic!("call {calls}: {error}"));
                    assert!(answer.starts_with("HTTP/1.1 200 "), "call {calls}: {answer:?}");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for _ in 0..3 {
        let before = origin.calls();
        assert!(landfall.stop().await.success());
        landfall = Landfall::up_with(&config, &variables).await;
        landfall_tests::eventually("calls go on", || async {
            match origin.calls() > before + 20 {
                true => Ok(()),
                false => Err(format!("{} calls", origin.calls() - before)),
            }
        })
        .await;
    }
    stop.send_replace(true);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert!(landfall.stop().await.success());
}

#[test]
fn the_unit_file_is_one_that_systemd_understands_and_leaves_the_service_little_to_harm() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd/landfall.service");
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(unit).output();
    let Ok(verified) = analyze(&["verify"]) else {
        eprintln!("not judged: systemd-analyze is not installed here");
        return;
    };
    // The one finding it may have: the package is not installed here.
    let findings = String::from_utf8_lossy(&verified.stderr).into_owned();
    for finding in findings.lines() {
        assert!(finding.contains("/usr/bin/landfall is not executable"), "{finding}");
    }
    // 10 is no protection at all, 2 is what systemd calls OK; ours is 1.6.
    let judged = analyze(&["security", "--offline=yes", "--threshold=20"]).unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
