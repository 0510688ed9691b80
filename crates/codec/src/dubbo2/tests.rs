//! Frames as Dubbo's Java writes them, and what holds for all of them.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};

use super::{reply, *};
use crate::hessian2::{Glimpse, Limits, Node, Scalar, Value, encode};

const HEARTBEAT_REQUEST: &str = "dabbe2000000000000000001000000014e";
const HEARTBEAT_RESPONSE: &str = "dabb22140000000000000001000000014e";
const READONLY_EVENT: &str = "dabba2000000000000000002000000020152";
const ECHO_REQUEST: &str = "\
    dabbc2000000000000000003000000b205322e302e3230216f72672e6170616368652e647562626f2e64656d6f2e4465\
    6d6f5365727669636505312e302e3005246563686f124c6a6176612f6c616e672f4f626a6563743b0470696e67480470\
    61746830216f72672e6170616368652e647562626f2e64656d6f2e44656d6f5365727669636509696e74657266616365\
    30216f72672e6170616368652e647562626f2e64656d6f2e44656d6f536572766963650776657273696f6e05312e302e\
    305a";
const NORMAL_REQUEST: &str = "\
    dabbc2000000000000000004000000e005322e302e3230216f72672e6170616368652e647562626f2e64656d6f2e4465\
    6d6f536572766963654e0873617948656c6c6f124c6a6176612f6c616e672f537472696e673b05776f726c6448047061\
    746830216f72672e6170616368652e647562626f2e64656d6f2e44656d6f5365727669636509696e7465726661636530\
    216f72672e6170616368652e647562626f2e64656d6f2e44656d6f536572766963650774696d656f7574043130303012\
    72656d6f74652e6170706c69636174696f6e0d64656d6f2d636f6e73756d657209647562626f2e74616704677261795a";
const ONEWAY_REQUEST: &str = "\
    dabb820000000000000000050000008c05322e302e3230216f72672e6170616368652e647562626f2e64656d6f2e4465\
    6d6f5365727669636505302e302e300470696e670048047061746830216f72672e6170616368652e647562626f2e6465\
    6d6f2e44656d6f5365727669636509696e7465726661636530216f72672e6170616368652e647562626f2e64656d6f2e\
    44656d6f536572766963655a";
const GENERIC_REQUEST: &str = "\
    dabbc20000000000000000060000013105322e302e3230216f72672e6170616368652e647562626f2e64656d6f2e4465\
    6d6f5365727669636505312e302e300724696e766f6b6530384c6a6176612f6c616e672f537472696e673b5b4c6a6176\
    612f6c616e672f537472696e673b5b4c6a6176612f6c616e672f4f626a6563743b047361766571075b737472696e6710\
    636f6d2e6578616d706c652e5573657271075b6f626a6563744805636c61737310636f6d2e6578616d706c652e557365\
    7202696497046e616d6503416e6e5a48047061746830216f72672e6170616368652e647562626f2e64656d6f2e44656d\
    6f5365727669636509696e7465726661636530216f72672e6170616368652e647562626f2e64656d6f2e44656d6f5365\
    72766963650776657273696f6e05312e302e300767656e6572696304747275655a";
const RESPONSE_VALUE: &str = "dabb021400000000000000040000001b940b48656c6c6f20776f726c644805647562626f05322e302e325a";
const RESPONSE_NULL_ATTACHMENTS: &str = "dabb021400000000000000060000000f954805647562626f05322e302e325a";
const RESPONSE_NULL_LEGACY: &str = "dabb021400000000000000060000000192";
const RESPONSE_EXCEPTION: &str = "\
    dabb02140000000000000006000000a29343302e636f6d2e616c69626162612e647562626f2e7270632e736572766963\
    652e47656e65726963457863657074696f6e940e657863657074696f6e436c61737310657863657074696f6e4d657373\
    6167650d64657461696c4d657373616765056361757365601f6a6176612e6c616e672e496c6c6567616c537461746545\
    7863657074696f6e04626f6f6d04626f6f6d51904805647562626f05322e302e325a";
const RESPONSE_STATUS_100: &str = "\
    dabb02640000000000000006000000253023536572766572207369646520746872656164706f6f6c2069732065786861\
    7573746564";
const COMPLEX_ARGS_REQUEST: &str = "\
    dabbc2000000000000000007000000fd05322e302e3230216f72672e6170616368652e647562626f2e64656d6f2e4465\
    6d6f536572766963654e0370757430224c636f6d2f6578616d706c652f557365723b4c6a6176612f7574696c2f4c6973\
    743b4310636f6d2e6578616d706c652e5573657295026964046e616d6504626f726e0573636f72650473656c6660e703\
    41eda0bdedb8804b000000005d055190589260f88001424e5b5190519048047061746830216f72672e6170616368652e\
    647562626f2e64656d6f2e44656d6f5365727669636509696e7465726661636530216f72672e6170616368652e647562\
    626f2e64656d6f2e44656d6f536572766963650567726f75700267315a";
const FASTJSON2_REQUEST: &str = "\
    dabbd700000000000000000800000095000000064e322e302e32000000226a6f72672e6170616368652e647562626f2e\
    64656d6f2e44656d6f53657276696365000000064e312e302e30000000095173617948656c6c6f000000135b4c6a6176\
    612f6c616e672f537472696e673b000000064e776f726c6400000029a64d706174686a6f72672e6170616368652e6475\
    62626f2e64656d6f2e44656d6f53657276696365a5";
const FASTJSON1_REQUEST: &str = "\
    dabbc60000000000000000090000008922322e302e32220a226f72672e6170616368652e647562626f2e64656d6f2e44\
    656d6f53657276696365220a22312e302e30220a2273617948656c6c6f220a224c6a6176612f6c616e672f537472696e\
    673b220a22776f726c64220a7b2270617468223a226f72672e6170616368652e647562626f2e64656d6f2e44656d6f53\
    657276696365227d0a";
const OVERSIZE_HEADER: &str = "dabbc200000000000000000a7fffffff";

fn bytes(hex: &str) -> BytesMut {
    let digit = |b: u8| (b as char).to_digit(16).expect("a digit") as u8;
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn frame(hex: &str) -> Frame {
    match Decoder::default().decode(&mut bytes(hex)) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

fn request(hex: &str) -> Request {
    let frame = frame(hex);
    Request::read(frame.header.serialization, frame.body, Limits::default()).expect("a good request")
}

fn response(hex: &str) -> Response {
    let frame = frame(hex);
    Response::read(frame.header.serialization, frame.body, Limits::default()).expect("a good response")
}

/// The body again, as a request.
fn read(body: Bytes) -> Result<Request, BodyError> {
    Request::read(Serialization::HESSIAN2, body, Limits::default())
}

#[test]
fn headers_tell_requests_responses_and_events_apart() {
    let header = frame(HEARTBEAT_REQUEST).header;
    assert_eq!(header.kind, Kind::Request { two_way: true });
    assert_eq!((header.event, header.id, header.length), (true, 1, 1));
    assert_eq!(header.serialization, Serialization::HESSIAN2);
    assert!(frame(NORMAL_REQUEST).header.wants_answer());
    assert!(!frame(ONEWAY_REQUEST).header.wants_answer());
    assert_eq!(frame(RESPONSE_STATUS_100).header.kind, Kind::Response(Status::BUSY));
    assert_eq!(frame(FASTJSON2_REQUEST).header.serialization.name(), Some("fastjson2"));
    assert_eq!(frame(FASTJSON1_REQUEST).header.serialization, Serialization::FASTJSON);
    for hex in [
        HEARTBEAT_REQUEST,
        READONLY_EVENT,
        GENERIC_REQUEST,
        ONEWAY_REQUEST,
        RESPONSE_EXCEPTION,
    ] {
        let mut out = BytesMut::new();
        frame(hex).encode(&mut out);
        assert_eq!(out, bytes(hex));
    }
    let mut raw = bytes(NORMAL_REQUEST);
    assert!(rewrite_id(&mut raw, 77) && !rewrite_id(&mut raw[1..], 78));
    assert_eq!(
        Header::decode(raw.first_chunk().expect("16 bytes")).map(|header| header.id),
        Some(77)
    );
}

#[test]
fn events_are_told_from_calls() {
    assert_eq!(Event::of(&frame(HEARTBEAT_REQUEST)), Some(Event::Heartbeat));
    assert_eq!(Event::of(&frame(READONLY_EVENT)), Some(Event::ReadOnly));
    assert_eq!(Event::of(&frame(NORMAL_REQUEST)), None);
    assert_eq!(reply::heartbeat(1), frame(HEARTBEAT_REQUEST));
    assert_eq!(
        reply::heartbeat_answer(&frame(HEARTBEAT_REQUEST).header),
        frame(HEARTBEAT_RESPONSE)
    );
    assert_eq!(reply::read_only(2), frame(READONLY_EVENT));
}

#[test]
fn calls_are_read_as_far_as_routing_needs() {
    let call = request(NORMAL_REQUEST);
    assert_eq!(
        (call.protocol.as_str(), call.method.as_str(), call.version.as_ref()),
        ("2.0.2", "sayHello", None)
    );
    assert_eq!(
        call.identity().map(|id| (id.path, id.version, id.group)),
        Ok(("org.apache.dubbo.demo.DemoService", "", ""))
    );
    assert_eq!(call.attachments.text("timeout"), Some("1000"));
    assert_eq!(call.attachments.text("dubbo.tag"), Some("gray"));
    assert_eq!(call.simple_argument(0), Some(Glimpse::String("world".into())));
    assert_eq!(call.simple_argument(1), None);
    for (hex, arguments, map) in [
        (ECHO_REQUEST, 1, 77),
        (NORMAL_REQUEST, 1, 76),
        (ONEWAY_REQUEST, 0, 53),
        (GENERIC_REQUEST, 3, 191),
        (COMPLEX_ARGS_REQUEST, 2, 157),
    ] {
        let call = request(hex);
        assert_eq!(
            (call.argument_count(), call.attachments.range().start),
            (arguments, map)
        );
        assert_eq!(call.attachments.range().end, call.body().len());
    }
    let generic = request(GENERIC_REQUEST);
    assert_eq!(generic.types.as_str(), GENERIC_TYPES);
    assert_eq!(generic.invoked().as_deref(), Some("save"));
    let complex = request(COMPLEX_ARGS_REQUEST);
    assert_eq!(complex.identity().map(|id| id.group), Ok("g1"));
    assert_eq!(complex.simple_argument(1), Some(Glimpse::Other));
    let length = complex.arguments().len();
    assert_eq!(
        [0, length - 1, length].map(|bytes| complex.arguments_within(bytes)),
        [0, 1, 2]
    );
    assert_eq!(request(ONEWAY_REQUEST).arguments_within(0), 0);
    let (first, _) = complex.decode_first_arguments(1).expect("a good argument");
    assert!(matches!(first[..], [Value::Node(_)]), "{first:?}");
    let (values, heap) = complex.decode_arguments().expect("good arguments");
    assert_eq!(
        complex.decode_first_arguments(9).as_ref().map(|(all, _)| all),
        Ok(&values)
    );
    let [Value::Node(user), Value::Node(list)] = values[..] else {
        panic!("{values:?}")
    };
    let (Some(Node::Object(object)), Some(Node::List(list))) = (heap.get(user), heap.get(list)) else {
        panic!("{heap:?}")
    };
    assert_eq!(heap.field(object, "name"), Some(&Value::from("A😀")));
    assert_eq!(
        list.items.last(),
        Some(&Value::Node(user)),
        "the same user, by reference"
    );
}

#[test]
fn a_body_in_another_serialization_is_not_opened() {
    let frame = frame(FASTJSON1_REQUEST);
    let error = Request::read(frame.header.serialization, frame.body, Limits::default()).err();
    assert_eq!(error, Some(BodyError::Opaque(Serialization::FASTJSON)));
    assert!(Serialization::of(3).is_dangerous() && !Serialization::HESSIAN2.is_dangerous());
    assert_eq!(Serialization::named("fastjson2"), Some(Serialization::FASTJSON2));
}

#[test]
fn a_call_that_names_two_services_is_of_no_one_mind() {
    let path = "org.apache.dubbo.demo.DemoService";
    let made = |version: Option<&'static str>, pairs: &[(&str, &str)]| {
        let new = NewRequest {
            path,
            version,
            method: "m",
            types: "",
            attachments: pairs,
        };
        read(new.encode(&[], &Default::default()).expect("it can be written")).expect("and read")
    };
    let mind = |call: &Request| {
        call.identity()
            .map(|id| format!("{}/{}:{}", id.group, id.path, id.version))
            .ok()
    };
    assert_eq!(
        mind(&made(None, &[])).as_deref(),
        Some("/org.apache.dubbo.demo.DemoService:")
    );
    assert_eq!(
        mind(&made(Some("0.0.0"), &[("version", "1.0"), ("group", "g")])).as_deref(),
        Some("g/org.apache.dubbo.demo.DemoService:1.0")
    );
    assert_eq!(
        mind(&made(None, &[("path", "ctx/x"), ("interface", path)])).as_deref(),
        Some("/ctx/x:")
    );
    assert_eq!(mind(&made(None, &[("path", "other")])), None);
    assert_eq!(mind(&made(Some("1"), &[("version", "2")])), None);
    assert_eq!(mind(&made(None, &[("path", path), ("path", path)])), None);
}

#[test]
fn attachments_change_and_arguments_stay() {
    let call = request(COMPLEX_ARGS_REQUEST);
    let changes = Changes {
        path: Some("demo"),
        version: Some(Some("2.0")),
        set: &[("group", "g2"), ("traceparent", "00-ab"), ("path", "demo")],
        remove: &["interface"],
        ..Changes::default()
    };
    let again = read(call.rewrite(&changes).expect("all of it can be changed")).expect("and read again");
    assert_eq!(again.arguments(), call.arguments());
    let pairs: Vec<_> = again
        .attachments
        .iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.to_text()?)))
        .collect();
    let expected = [("path", "demo"), ("group", "g2"), ("traceparent", "00-ab")];
    assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(again.identity().map(|id| (id.path, id.version)), Ok(("demo", "2.0")));
    assert_eq!(call.rewrite(&Changes::default()).as_ref(), Ok(call.body()));
}

#[test]
fn no_more_attachments_are_written_than_are_read() {
    let with = |count: u32| {
        let mut body = request(ONEWAY_REQUEST).body()[..53].to_vec();
        body.push(b'H');
        for number in 0..count {
            encode::string(&mut body, &format!("key-{number}"));
            encode::string(&mut body, "");
        }
        body.push(b'Z');
        read(body.into())
    };
    let (full, set) = (with(1024).expect("as many as there may be"), [("traceparent", "00-ab")]);
    let put = |remove: &[&str]| {
        full.rewrite(&Changes {
            set: &set,
            remove,
            ..Changes::default()
        })
    };
    let too_many = |result: Result<(), BodyError>| {
        let error = result.expect_err("one too many").to_string();
        assert!(error.starts_with("more than 1024 attachments"), "{error}");
    };
    too_many(with(1025).map(drop));
    too_many(put(&[]).map(drop));
    let changed = read(put(&["key-7"]).expect("one goes, one comes")).expect("and read again");
    assert_eq!(changed.attachments.iter().count(), 1024);
}

#[test]
fn attachments_that_hold_objects_are_passed_on_and_cannot_be_taken_away() {
    let mut body = request(ONEWAY_REQUEST).body()[..53].to_vec();
    // "user" → an object of a new class, "n" → 7, "again" → a reference to the object, 3 → "x"; and dubbo-go's null behind.
    let map = "48 0475736572 43 0141 91 0162 60 93 016e 97 05616761696e 51 91 93 0178 5a 4e";
    body.extend(bytes(&map.replace(' ', "")));
    let call = read(body.into()).expect("a good request");
    assert_eq!(call.attachments.get("user"), Some(&Attachment::Other));
    assert_eq!(call.attachments.get("n"), Some(&Attachment::Scalar(Scalar::Int(7))));
    let remove = |keys: &[&str]| {
        call.rewrite(&Changes {
            remove: keys,
            ..Changes::default()
        })
    };
    assert_eq!(remove(&["user"]), Err(BodyError::Bound("user".to_owned())));
    let again = remove(&["n", "again"]).expect("these are free");
    assert!(again.ends_with(b"Z\x4e"));
    assert_eq!(read(again).map(|call| call.attachments.iter().count()), Ok(1));
    let set = call
        .rewrite(&Changes {
            set: &[("n", "8")],
            ..Changes::default()
        })
        .expect("a number is free");
    assert_eq!(
        read(set).map(|call| call.attachments.text("n").map(str::to_owned)),
        Ok(Some("8".to_owned()))
    );
}

#[test]
fn a_map_that_is_null_becomes_one_and_a_map_that_is_none_is_refused() {
    let body = request(ONEWAY_REQUEST).body()[..53].to_vec();
    let with = |tail: &str| read([&body[..], &bytes(tail)].concat().into());
    let call = with("4e").expect("null is no attachments");
    let set = call
        .rewrite(&Changes {
            set: &[("a", "b")],
            ..Changes::default()
        })
        .expect("it becomes a map");
    assert_eq!(&set[53..], &bytes("48016101625a")[..]);
    assert_eq!(
        with("4d0161016101625a").map(|call| call.attachments.text("a").map(str::to_owned)),
        Ok(Some("b".to_owned()))
    );
    assert!(with("5190").is_err() && with("90").is_err() && with("").is_err() && with("48016101").is_err());
    assert_eq!(
        with("4801610162 0161 01635a".replace(' ', "").as_str()).map(|call| call.attachments.values("a").count()),
        Ok(2)
    );
}

#[test]
fn what_is_no_call_is_refused() {
    for hex in [
        "",
        "90",
        "4e",
        "05322e302e32 0161 4e 016d 024c78 485a",
        "05322e302e32 4e 4e 016d 00 485a",
        "05322e302e32 0161 97 016d 00 485a",
    ] {
        let body = bytes(&hex.replace(' ', ""));
        assert!(read(body.freeze()).is_err(), "{hex}");
    }
}

#[test]
fn results_are_read_in_all_six_forms() {
    let value = response(RESPONSE_VALUE);
    assert_eq!(
        (value.outcome, &value.value()[..]),
        (Outcome::Value, &b"\x0bHello world"[..])
    );
    assert_eq!(
        value.decode_value().map(|(value, _)| value),
        Ok(Value::from("Hello world"))
    );
    assert_eq!(response(RESPONSE_NULL_ATTACHMENTS).outcome, Outcome::Null);
    assert!(response(RESPONSE_NULL_LEGACY).attachments.is_none());
    let exception = response(RESPONSE_EXCEPTION);
    assert_eq!(
        exception.exception_class(),
        Some("com.alibaba.dubbo.rpc.service.GenericException".into())
    );
    let body = value
        .rewrite(&[("traceparent", "00")], &[])
        .expect("it has attachments")
        .expect("which are free");
    let again = Response::read(Serialization::HESSIAN2, body, Limits::default()).expect("a good response");
    assert_eq!(
        again
            .attachments
            .and_then(|all| all.text("traceparent").map(str::to_owned))
            .as_deref(),
        Some("00")
    );
    let made = encode_response(
        Outcome::Value,
        &Value::from("Hello world"),
        &Default::default(),
        "2.0.2",
        &[],
    );
    assert_eq!(made, Ok(frame(RESPONSE_VALUE).body));
    assert!(
        knows_attachments("2.0.2")
            && !knows_attachments("2.6.2")
            && !knows_attachments("")
            && !knows_attachments("2.0.1")
    );
}

#[test]
fn refusals_are_written_for_who_can_read_them() {
    let call = frame(NORMAL_REQUEST).header;
    let busy = reply::error(&call, Status::BUSY, "Server side threadpool is exhausted").expect("hessian2");
    assert_eq!((&busy.body, busy.header.id), (&frame(RESPONSE_STATUS_100).body, 4));
    assert_eq!(reply::error(&frame(ONEWAY_REQUEST).header, Status::BUSY, ""), None);
    assert_eq!(reply::error(&frame(FASTJSON1_REQUEST).header, Status::BUSY, ""), None);
    let other = reply::error(&frame(FASTJSON2_REQUEST).header, Status::BUSY, "no").expect("fastjson2");
    assert_eq!(
        (&other.body[..], other.header.serialization),
        (&[0, 0, 0, 3, 0x4b, b'n', b'o'][..], Serialization::FASTJSON2)
    );
    let thrown = reply::exception(&call, "2.0.2", "refused").expect("hessian2");
    let thrown = Response::read(Serialization::HESSIAN2, thrown.body, Limits::default()).expect("a good response");
    assert_eq!(
        (thrown.outcome, thrown.exception_class()),
        (Outcome::Exception, Some("java.lang.RuntimeException".into()))
    );
}

#[test]
fn an_oversized_body_is_passed_over_and_the_next_frame_is_read() {
    let mut decoder = Decoder::new(100);
    let mut input = bytes(NORMAL_REQUEST);
    input.put(bytes(HEARTBEAT_REQUEST));
    let Ok(Decoded::Oversized(header)) = decoder.decode(&mut input) else {
        panic!("240 bytes are too many")
    };
    assert_eq!((header.id, decoder.is_between_frames()), (4, false));
    assert_eq!(decoder.decode(&mut input), Ok(Decoded::Frame(frame(HEARTBEAT_REQUEST))));
    assert!(decoder.is_between_frames() && input.is_empty());
    let mut huge = bytes(OVERSIZE_HEADER);
    assert!(
        matches!(Decoder::default().decode(&mut huge), Ok(Decoded::Oversized(header)) if header.length == 0x7fff_ffff)
    );
}

#[test]
fn what_is_no_frame_is_told_by_its_first_byte() {
    assert_eq!(
        Decoder::default().decode(&mut BytesMut::from("GET")),
        Err(NotDubbo {
            first: b'G',
            second: b'E'
        })
    );
    assert_eq!(
        Decoder::default().decode(&mut BytesMut::from(&b"\xda"[..])),
        Ok(Decoded::NeedMore(15))
    );
    assert!(
        Decoder::default()
            .decode(&mut BytesMut::from(&b"\xda\xbc"[..]))
            .is_err()
    );
}

proptest! {
    #[test]
    fn frames_are_the_same_wherever_the_stream_is_split(cuts in vec(1usize..120, 1..40), payload in 50u32..400) {
        let all = [HEARTBEAT_REQUEST, COMPLEX_ARGS_REQUEST, RESPONSE_VALUE, GENERIC_REQUEST, READONLY_EVENT].concat();
        let gather = |pieces: Vec<Bytes>| {
            let (mut decoder, mut input, mut found) = (Decoder::new(payload), BytesMut::new(), Vec::new());
            for piece in pieces {
                input.put(piece);
                loop {
                    match decoder.decode(&mut input).expect("only good frames") {
                        Decoded::NeedMore(more) => {
                            assert!(more > 0);
                            break;
                        }
                        other => found.push(other),
                    }
                }
            }
            assert!(decoder.is_between_frames() && input.is_empty());
            found
        };
        let whole = bytes(&all).freeze();
        let mut rest = whole.clone();
        let mut pieces = Vec::new();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.push(rest.split_to(cut.min(rest.len())));
        }
        prop_assert_eq!(gather(pieces), gather(vec![whole]));
    }

    #[test]
    fn any_bytes_are_borne(noise in vec(any::<u8>(), 0..300), place in any::<prop::sample::Index>(), byte: u8) {
        let _ = Decoder::default().decode(&mut BytesMut::from(&noise[..]));
        let _ = read(noise.clone().into());
        let _ = Response::read(Serialization::HESSIAN2, noise.into(), Limits::default());
        let mut body = request(COMPLEX_ARGS_REQUEST).body().to_vec();
        let place = place.index(body.len());
        body[place] = byte;
        if let Ok(call) = read(body.into()) {
            let _ = call.identity();
            let (arguments, changed) = (call.arguments(), call.rewrite(&Changes { set: &[("a", "b")], ..Changes::default() }));
            if let Ok(changed) = changed {
                let again = read(changed).expect("what was rewritten can be read");
                prop_assert_eq!(again.arguments(), arguments);
                prop_assert_eq!(again.attachments.text("a"), Some("b"));
            }
        }
    }

    #[test]
    fn any_header_comes_back(id: u64, length: u32, flags: u8, status: u8) {
        let mut raw = [0; HEADER];
        raw[..2].copy_from_slice(&MAGIC);
        raw[2] = flags;
        raw[3] = status;
        raw[4..12].copy_from_slice(&id.to_be_bytes());
        raw[12..].copy_from_slice(&length.to_be_bytes());
        let header = Header::decode(&raw).expect("the magic is right");
        prop_assert_eq!(Header::decode(&header.encode()), Some(header));
        prop_assert_eq!((header.id, header.length, header.event), (id, length, flags & 0x20 != 0));
    }
}
