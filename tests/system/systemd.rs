//! What systemd is told, over a socket like its own; and the unit file, as far as it can be judged without systemd
//! as the first process.

use std::{os::unix::net::UnixDatagram, process::Command, time::Duration};

use landfall_tests::{Landfall, Origin};
use tempfile::TempDir;

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
