//! What a call costs in the codec: reading its frame and head, changing an attachment, and skipping or decoding a large argument:
//! `cargo bench -p landfall-codec`.
//!
//! Prints figures and judges nothing: what is quick depends on the machine.

use std::{hint::black_box, time::Instant};

use bytes::{Bytes, BytesMut};
use landfall_codec::{
    dubbo2::{Changes, Decoded, Decoder, Frame, Header, Kind, NewRequest, Request, Serialization},
    hessian2::{self, Heap, Limits, Skipper, Value},
};

fn body(arguments: &[Value], heap: &Heap) -> Bytes {
    let path = "org.apache.dubbo.demo.DemoService";
    let attachments = [
        ("path", path),
        ("interface", path),
        ("version", "1.0.0"),
        ("timeout", "1000"),
        ("remote.application", "shop"),
    ];
    let types = "Ljava/lang/Object;".repeat(arguments.len());
    let call = NewRequest {
        path,
        version: Some("1.0.0"),
        method: "sayHello",
        types: &types,
        attachments: &attachments,
    };
    call.encode(arguments, heap).expect("it can be written")
}

fn measure(what: &str, bytes: usize, mut work: impl FnMut()) {
    let mut rounds = 0u32;
    let start = Instant::now();
    while start.elapsed().as_millis() < 500 {
        work();
        rounds += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(rounds);
    println!(
        "{what:<44} {:>12.2} µs {:>8.0} MB/s",
        each * 1e6,
        bytes as f64 / each / 1e6
    );
}

fn main() {
    let small = body(&[Value::from("world")], &Heap::new());
    let header = Header {
        kind: Kind::Request { two_way: true },
        event: false,
        serialization: Serialization::HESSIAN2,
        id: 7,
        length: 0,
    };
    let mut bytes = BytesMut::new();
    Frame::new(header, small.clone()).encode(&mut bytes);
    let limits = Limits::default();
    measure("a small call: frame, head and identity", bytes.len(), || {
        let Ok(Decoded::Frame(frame)) = Decoder::default().decode(&mut bytes.clone()) else {
            return;
        };
        let call = Request::read(frame.header.serialization, frame.body, limits).expect("a good call");
        black_box(call.identity().expect("of one mind"));
    });
    let call = Request::read(Serialization::HESSIAN2, small.clone(), limits).expect("a good call");
    let changes = Changes {
        set: &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
        ..Changes::default()
    };
    measure("a small call: one more attachment", small.len(), || {
        black_box(call.rewrite(&changes).expect("it can be added"));
    });

    let mut heap = Heap::new();
    let users = (0..20_000)
        .map(|n| {
            let fields = vec![
                ("id", Value::Long(n * 1_000_003)),
                ("name", Value::from("Ann Müller")),
                ("age", Value::Int(n as i32)),
            ];
            heap.object("com.example.User", fields)
        })
        .collect();
    let list = heap.list(users);
    let large = body(&[list], &heap);
    measure("20,000 objects: skipped", large.len(), || {
        black_box(Request::read(Serialization::HESSIAN2, large.clone(), limits).expect("a good call"));
    });
    let arguments = Request::read(Serialization::HESSIAN2, large, limits)
        .expect("a good call")
        .arguments();
    measure("20,000 objects: decoded", arguments.len(), || {
        black_box(hessian2::decode(&arguments, limits).expect("a good value"));
    });
    let mut text = Vec::new();
    hessian2::encode::string(&mut text, &"x".repeat(4 << 20));
    measure("4 MiB of text: skipped", text.len(), || {
        black_box(Skipper::new(&text, limits).skip().expect("a good string"));
    });
}
