//! `crates/engine/src/listen`: the head of an HTTP/1 request and the framing of its body.

#[path = "../../../crates/engine/src/listen/framing.rs"]
mod framing;
#[path = "../../../crates/engine/src/listen/head.rs"]
mod head;
#[path = "../../../crates/engine/src/listen/refusal.rs"]
mod refusal;

/// A request, read in pieces of `step` bytes and at once: both must agree, and whatever is accepted must be a
/// request to another reader too.
pub fn read(bytes: &[u8], step: usize) {
    let whole = head::find_end(bytes, 0);
    let mut pieces = Ok(None);
    let mut seen = 0;
    while seen < bytes.len() && pieces == Ok(None) {
        let next = (seen + step.max(1)).min(bytes.len());
        pieces = head::find_end(&bytes[..next], seen);
        seen = next;
    }
    if bytes.len() <= head::MAX_HEAD {
        assert_eq!(whole, pieces, "the pieces a head comes in make no difference");
    }
    let Ok(Some(end)) = whole else { return };
    let Ok(head) = head::check(&bytes[..end]) else { return };
    assert_eq!(head.length, end);
    agrees(&bytes[..end], &head);

    let rest = &bytes[end..];
    let mut once = head.body;
    let at_once = once.scan(rest);
    let mut body = head.body;
    let mut taken = 0;
    let in_pieces = loop {
        if taken >= rest.len() || body.is_done() {
            break Ok(taken);
        }
        let piece = &rest[taken..(taken + step.max(1)).min(rest.len())];
        match body.scan(piece) {
            Ok(more) => taken += more,
            Err(refusal) => break Err(refusal),
        }
    };
    assert_eq!(at_once, in_pieces, "the pieces a body comes in make no difference");
    if at_once.is_ok() {
        assert_eq!(once, body);
    }
}

fn agrees(bytes: &[u8], head: &head::Head) {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).expect("what is accepted is HTTP/1");
    assert_eq!(parsed, httparse::Status::Complete(bytes.len()));
    let values = |name: &str| -> Vec<&[u8]> {
        let same = request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "one way to tell the length");
    assert!(values("host").len() <= 1);
    if let [length] = lengths[..] {
        let length = std::str::from_utf8(length)
            .expect("digits")
            .trim()
            .parse()
            .expect("a number");
        assert_eq!(head.body, framing::Framing::length(length));
    }
    if let Some(cut) = &head.cut {
        let target = request.path.unwrap_or_default();
        let left = [&bytes[..cut.start], &bytes[cut.end..]].concat();
        assert!(target.starts_with("http") || target.starts_with("HTTP") || !target.starts_with('/'));
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut origin = httparse::Request::new(&mut fields);
        assert!(origin.parse(&left).is_ok_and(|status| status.is_complete()));
        assert!(
            origin.path.is_some_and(|path| path.starts_with('/')),
            "what is left is the origin form"
        );
    }
}
