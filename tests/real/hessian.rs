//! Dubbo's own Hessian, of both its lines, against ours: Java writes generated values, we read and write them again, Java
//! compares what it then reads with what it had.

use std::{
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use landfall_codec::hessian2::{Decoder, Encoder, Limits, Skipper};

/// Bodies of one to three values each, for each line of Dubbo.
const BODIES: usize = 6_000;

#[test]
fn values_written_by_dubbos_own_hessian_come_back_equal() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_secs())
        % 1_000_000;
    let mut values = 0;
    for line in ["27", "3"] {
        values += compared(line, seed);
    }
    assert!(values >= 10_000, "{values} values are too few");
}

/// Has one line of Dubbo write, compare, and tell; returns how many values it was.
fn compared(line: &str, seed: u64) -> usize {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("estate/clients/hessian");
    let mut java = Command::new(program)
        .args([line, &seed.to_string(), &BODIES.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/estate/clients/hessian runs");
    let mut from = BufReader::new(java.stdout.take().expect("it is piped"));
    let mut to = BufWriter::new(java.stdin.take().expect("it is piped"));
    let (mut values, mut alike, mut answers) = (0, 0, Vec::new());
    for number in 0..BODIES {
        let mut head = [0; 5];
        from.read_exact(&mut head).expect("Java writes a body");
        let [count, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut body).expect("Java writes a whole body");
        let again =
            round(&body, count).unwrap_or_else(|error| panic!("Dubbo {line}, seed {seed}, body {number}: {error}"));
        values += usize::from(count);
        alike += usize::from(again == body);
        answers.push(again);
    }
    for answer in answers {
        to.write_all(&(answer.len() as u32).to_be_bytes()).expect("Java reads");
        to.write_all(&answer).expect("Java reads");
    }
    drop(
        to.into_inner()
            .map_err(|error| error.to_string())
            .expect("Java reads to the end"),
    );
    let mut verdict = String::new();
    from.read_to_string(&mut verdict).expect("Java tells how it went");
    assert!(java.wait().is_ok_and(|status| status.success()), "{verdict}");
    let summary = format!("compared {BODIES}, differ 0, left out ");
    assert!(verdict.starts_with(&summary), "Dubbo {line}, seed {seed}: {verdict}");
    let left_out = verdict[summary.len()..]
        .split(',')
        .next()
        .and_then(|text| text.parse::<usize>().ok());
    assert!(left_out.is_some_and(|count| count < BODIES / 20), "{verdict}");
    println!(
        "Dubbo {line}, seed {seed}: {values} values in {BODIES} bodies, {alike} of them the same bytes. {verdict}"
    );
    values
}

/// The body read and written by us; the skipper must find the same ends of values as the decoder.
fn round(body: &[u8], count: u8) -> Result<Vec<u8>, String> {
    let (mut skipper, mut decoder) = (
        Skipper::new(body, Limits::default()),
        Decoder::new(body, Limits::default()),
    );
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(decoder.value().map_err(|error| error.to_string())?);
        let skipped = skipper.skip().map_err(|error| format!("the skipper: {error}"))?;
        if skipped.end != decoder.position() {
            return Err(format!(
                "the skipper ends at {}, the decoder at {}",
                skipped.end,
                decoder.position()
            ));
        }
    }
    if !decoder.is_at_end() {
        return Err(format!("bytes are left from {} on", decoder.position()));
    }
    let heap = decoder.into_heap();
    let mut encoder = Encoder::new(&heap);
    values
        .iter()
        .try_for_each(|value| encoder.value(value))
        .map_err(|error| error.to_string())?;
    Ok(encoder.finish())
}
