//! `crates/engine/src/access_log/json.rs`: any bytes become valid JSON.

use std::time::{Duration, SystemTime};

#[path = "../../../crates/engine/src/access_log/json.rs"]
mod json;

/// One line with these bytes in it.
pub fn write(bytes: &[u8], number: u64) {
    let mut line = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let mut object = json::Object::begin(&mut line);
    let year_9999 = Duration::from_secs(number % 253_402_300_800);
    object.time("time", SystemTime::UNIX_EPOCH + year_9999);
    object.text("text", bytes);
    object.display("shown", &text);
    object.optional("absent", None);
    object.number("number", number);
    object.end();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    let read: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
    assert_eq!(read["text"], *text);
    assert_eq!(read["shown"], *text);
    assert_eq!(read["number"], number);
    assert_eq!(read["time"].as_str().map(str::len), Some(27));
}
