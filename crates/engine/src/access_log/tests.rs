use std::{
    sync::{Condvar, Mutex},
    time::UNIX_EPOCH,
};

use landfall_model::snapshot::ClusterTarget;
use proptest::prelude::*;

use super::*;

fn record() -> Record<'static> {
    Record {
        time: UNIX_EPOCH + Duration::from_micros(1_795_000_000_000_042),
        client: "[::1]:4000".parse().unwrap(),
        peer: None,
        method: "GET",
        scheme: "http",
        host: b"example.org",
        path: b"/orders",
        query: None,
        protocol: "HTTP/1.1",
        status: 200,
        received: 0,
        sent: 12,
        took: Duration::from_micros(1500),
        upstream_took: Some(Duration::from_micros(900)),
        route: Some(("default/orders", 0)),
        cluster: None,
        endpoint: Some("10.0.0.1:8080".parse().unwrap()),
        tries: 1,
        error: None,
        request_id: None,
        trace: None,
        user_agent: Some(b"curl/8"),
    }
}

#[test]
fn a_call_is_one_line_of_stable_fields() {
    let mut line = Vec::new();
    let cluster = ClusterId {
        target: ClusterTarget::Mesh("orders".into()),
        port: Some(8080),
        family: Default::default(),
    };
    Record {
        cluster: Some(&cluster),
        ..record()
    }
    .write(&mut line);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        concat!(
            r#"{"time":"2026-11-18T11:06:40.000042Z","client":"[::1]:4000","method":"GET","scheme":"http","#,
            r#""host":"example.org","path":"/orders","protocol":"HTTP/1.1","status":200,"received":0,"sent":12,"#,
            r#""tookMicros":1500,"upstreamMicros":900,"route":"default/orders","rule":0,"cluster":"orders:8080","#,
            r#""endpoint":"10.0.0.1:8080","tries":1,"userAgent":"curl/8"}"#,
            "\n"
        )
    );
}

proptest! {
    #[test]
    fn any_bytes_make_one_line_of_valid_json(
        host: Vec<u8>, path: Vec<u8>, query: Option<Vec<u8>>, agent: Vec<u8>, cluster: String, error: Option<String>,
        numbers: (u64, u64, u16), seconds in 0_u64..250_000_000_000,
    ) {
        let mut line = Vec::new();
        let id = ClusterId { target: ClusterTarget::Mesh((&*cluster).into()), port: None, family: Default::default() };
        Record {
            time: UNIX_EPOCH + Duration::from_secs(seconds),
            host: &host,
            path: &path,
            query: query.as_deref(),
            user_agent: Some(&agent),
            cluster: Some(&id),
            error: error.as_deref(),
            received: numbers.0,
            sent: numbers.1,
            status: numbers.2,
            ..record()
        }
        .write(&mut line);
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(value["path"].as_str().unwrap(), &*String::from_utf8_lossy(&path));
        prop_assert_eq!(value["cluster"].as_str().unwrap(), &*cluster);
        prop_assert_eq!(value["received"].as_u64(), Some(numbers.0));
    }
}

/// A sink that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<Behind>, Condvar)>);

#[derive(Default)]
struct Behind {
    open: bool,
    text: Vec<u8>,
}

impl Door {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn lines(&self) -> usize {
        let behind = self.0.0.lock().unwrap();
        behind.text.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl Write for Door {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let behind = self.0.0.lock().unwrap();
        let mut behind = self.0.1.wait_while(behind, |behind| !behind.open).unwrap();
        behind.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_sink_costs_lines_but_no_time_and_the_loss_is_counted() {
    let door = Door::default();
    let dropped = Arc::new(Counter::default());
    let log = AccessLog::start(door.clone(), 4, dropped.clone()).unwrap();
    for _ in 0..5000 {
        log.log(&record());
    }
    // One batch may be in the writer's hands, four lines are queued; the rest found no room.
    assert!(dropped.get() > 4000, "{}", dropped.get());
    door.open();
    drop(log);
    assert_eq!(door.lines() as u64 + dropped.get(), 5000);
}

#[test]
fn dropping_the_log_writes_what_is_queued() {
    let door = Door::default();
    door.open();
    let log = AccessLog::start(door.clone(), 1000, Arc::default()).unwrap();
    for _ in 0..100 {
        log.log(&record());
    }
    drop(log);
    assert_eq!(door.lines(), 100);
}
