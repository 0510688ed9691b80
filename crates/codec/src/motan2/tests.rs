//! Motan2 frames by the bytes, and what holds for all of them.

use proptest::{collection::vec, prelude::*};

use super::*;

fn call() -> Frame {
    let header = Header {
        id: 7,
        serialization: 6,
        ..Header::default()
    };
    let metadata = [("M_p", "com.x.Greeting"), ("M_m", "hello"), ("M_g", "default")];
    let metadata = metadata
        .map(|(key, value)| (key.to_owned().into(), value.to_owned().into()))
        .into();
    Frame {
        header,
        metadata,
        body: Bytes::from_static(b"\x01\0\0\0\x01x"),
    }
}

fn written(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out
}

#[test]
fn a_frame_is_written_as_drawn() {
    let bytes = written(&call());
    assert_eq!(&bytes[..17], b"\xf1\xf1\0\x08\x30\0\0\0\0\0\0\0\x07\0\0\0\x28");
    assert_eq!(&bytes[17..57], b"M_p\ncom.x.Greeting\nM_m\nhello\nM_g\ndefault");
    assert_eq!(&bytes[57..], b"\0\0\0\x06\x01\0\0\0\x01x");
    let Ok(Decoded::Frame(frame)) = Decoder::default().decode(&mut bytes.clone()) else {
        panic!("a whole frame")
    };
    assert_eq!(
        (frame.interface(), frame.method(), frame.group(), frame.version()),
        (Some("com.x.Greeting"), Some("hello"), Some("default"), None)
    );
}

#[test]
fn a_line_end_cannot_make_a_pair_of_its_own() {
    let mut frame = call();
    assert!(!frame.set("trace", "a\nM_g\nadmin") && !frame.set("a\nb", "c"));
    assert!(frame.set("trace", "ab") && frame.set("M_g", "other"));
    assert_eq!((frame.group(), frame.metadata.len()), (Some("other"), 4));
}

#[test]
fn what_cannot_be_a_frame_ends_the_connection() {
    let decode = |bytes: &[u8]| Decoder::new(100).decode(&mut BytesMut::from(bytes));
    assert_eq!(decode(b"GET"), Err(FrameError::NotMotan(b'G', b'E')));
    assert_eq!(decode(b"\xf1\xf1\0\0"), Err(FrameError::Version(0)));
    let head = b"\xf1\xf1\0\x08\0\0\0\0\0\0\0\0\x01";
    assert_eq!(
        decode(&[&head[..], b"\xff\xff\xff\xff"].concat()),
        Err(FrameError::TooLong {
            id: 1,
            length: 0xffff_ffff,
            most: 100
        })
    );
    assert_eq!(
        decode(&[&head[..], b"\0\0\0\0\x7f\xff\xff\xff"].concat()),
        Err(FrameError::TooLong {
            id: 1,
            length: 0x7fff_ffff,
            most: 100
        })
    );
    assert_eq!(
        decode(&[&head[..], b"\0\0\0\x03a\nb\0\0\0\0"].concat()).map(|_| ()),
        Ok(())
    );
    for metadata in [b"abc", b"\xff\nb", b"a\n\xff"] {
        assert_eq!(
            decode(&[&head[..], b"\0\0\0\x03", metadata, b"\0\0\0\0"].concat()),
            Err(FrameError::Metadata { id: 1 })
        );
    }
}

#[test]
fn answers_are_made_for_who_waits_for_one() {
    let heartbeat = Header {
        heartbeat: true,
        id: 3,
        ..Header::default()
    };
    assert!(heartbeat_answer(&heartbeat).header.response);
    assert_eq!(
        error(
            &Header {
                one_way: true,
                ..Header::default()
            },
            503,
            ""
        ),
        None
    );
    let refusal = error(&call().header, 503, "no \"one\"\nhere").expect("it is waited for");
    assert_eq!(
        refusal.get("M_e"),
        Some(r#"{"errcode":503,"errmsg":"no \"one\" here","errtype":1}"#)
    );
    assert_eq!((refusal.header.status, refusal.header.id), (1, 7));
}

proptest! {
    #[test]
    fn frames_are_the_same_wherever_the_stream_is_split(
        pairs in vec(("[a-zA-Z_]{1,9}", "[^\n]{0,20}"), 0..5), body in vec(any::<u8>(), 0..60), bits: u8, id: u64, cut in 1usize..40,
    ) {
        let bit = |n: u8| bits >> n & 1 == 1;
        let header = Header {
            heartbeat: bit(0), gzip: bit(1), one_way: bit(2), proxy: bit(3), response: bit(4), status: bits >> 5, serialization: bits >> 3, id,
        };
        let metadata = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let frame = Frame { header, metadata, body: body.into() };
        let mut whole = written(&frame);
        frame.encode(&mut whole);
        let (mut input, mut found) = (BytesMut::new(), Vec::new());
        for piece in whole.chunks(cut) {
            input.put_slice(piece);
            while let Decoded::Frame(frame) = Decoder::default().decode(&mut input).expect("good frames") {
                found.push(frame);
            }
        }
        prop_assert_eq!(found, vec![frame.clone(), frame]);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn any_bytes_are_borne(noise in vec(any::<u8>(), 0..80)) {
        let _ = Decoder::default().decode(&mut BytesMut::from(&noise[..]));
        let _ = Decoder::default().decode(&mut BytesMut::from(&[&b"\xf1\xf1\0\x08"[..], &noise].concat()[..]));
    }
}
