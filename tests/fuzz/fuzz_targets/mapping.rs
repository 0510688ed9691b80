//! JSON and Dubbo: a service definition, then a NUL, then a body, which is JSON or Hessian2. Nothing panics, what became a call can be
//! written and read, and what came back as JSON is JSON.
#![no_main]

use landfall_codec::{
    hessian2::{Decoder, Encoder, Limits},
    mapping::{
        ExceptionStatuses, Input, Json, JsonLimits, Options, Problem, ResultOptions, Service, Type, json_of,
        openapi::{Exposed, document},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (definition, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let service = Service::parse(definition).unwrap_or_default();
    let exposed: Vec<Exposed<'_>> = service
        .methods
        .iter()
        .map(|method| Exposed {
            service: &service,
            method,
            verb: "POST",
            path: "/any",
            places: &[],
        })
        .collect();
    document("any", "1", &exposed);
    if let Ok(json) = Json::parse(body, JsonLimits::default()) {
        let text = json.to_string();
        assert_eq!(Json::parse(text.as_bytes(), JsonLimits::default()).as_ref(), Ok(&json));
        for method in service.methods.iter().take(8) {
            ask(&service, &method.signature(), &json);
        }
    }
    let mut decoder = Decoder::new(body, Limits::default());
    if let Ok(value) = decoder.value() {
        let heap = decoder.into_heap();
        let of = service.methods.first().map_or(&Type::Object, |method| &method.returns);
        let options = ResultOptions {
            size: 1 << 20,
            ..ResultOptions::default()
        };
        if let Ok(json) = json_of(&value, &heap, of, &service.classes, false, options) {
            let deep = JsonLimits {
                depth: 256,
                ..JsonLimits::default()
            };
            assert_eq!(Json::parse(json.to_string().as_bytes(), deep), Ok(json));
        }
        Problem::of_exception(&value, &heap, &ExceptionStatuses::default()).to_json();
    }
});

/// What fits goes over the wire and comes back; sent once more it is the same JSON.
fn ask(service: &Service, method: &str, body: &Json) {
    let input = Input {
        texts: &[],
        body: Some(body),
    };
    let _ = service.call_generic(method, input, Options::default());
    let Ok(call) = service.call(method, input, Options::default()) else {
        return;
    };
    let mut encoder = Encoder::new(&call.heap);
    for argument in &call.arguments {
        encoder.value(argument).expect("what was made can be written");
    }
    let written = encoder.finish();
    let mut decoder = Decoder::new(&written, Limits::default());
    let values: Vec<_> = call
        .arguments
        .iter()
        .map(|_| decoder.value().expect("what was written can be read"))
        .collect();
    let heap = decoder.into_heap();
    for value in values {
        json_of(
            &value,
            &heap,
            &Type::Object,
            &service.classes,
            false,
            ResultOptions::default(),
        )
        .expect("what came from JSON is JSON");
    }
}
