//! The body of a call or a result: what is read of it, and that changed attachments leave the rest as it was.
#![no_main]

use bytes::Bytes;
use landfall_codec::{
    dubbo2::{BodyError, Changes, Request, Response, Serialization, descriptor},
    hessian2::{self, Limits},
};
use libfuzzer_sys::fuzz_target;

const CHANGES: Changes<'static> = Changes {
    path: Some("other.Service"),
    version: Some(None),
    method: None,
    set: &[("traceparent", "00-1"), ("path", "other.Service")],
    remove: &["interface", "version"],
};

fuzz_target!(|bytes: &[u8]| {
    let body = Bytes::copy_from_slice(bytes);
    let read = |body| Request::read(Serialization::HESSIAN2, body, Limits::default());
    if let Ok(call) = read(body.clone()) {
        let _ = (call.identity(), call.invoked());
        (0..call.argument_count()).for_each(|index| assert!(call.simple_argument(index).is_some()));
        let types = descriptor::parse(&call.types).expect("it was counted");
        assert_eq!(
            (types.len(), descriptor::write(&types)),
            (call.argument_count(), call.types.to_string())
        );
        if let Err(error) = call.decode_arguments() {
            assert!(error.to_string().contains("memory"), "{error}");
        }
        match call.rewrite(&CHANGES) {
            Err(error) => assert!(is_reason(&error), "{error}"),
            Ok(changed) => {
                let again = read(changed).expect("what was rewritten can be read");
                assert_eq!(again.arguments(), call.arguments());
                assert_eq!(again.attachments.text("traceparent"), Some("00-1"));
                assert_eq!(
                    (again.attachments.values("interface").count(), again.path.as_str()),
                    (0, "other.Service")
                );
            }
        }
    }
    if let Ok(result) = Response::read(Serialization::HESSIAN2, body, Limits::default()) {
        let _ = (result.exception_class(), result.decode_value());
        match result.rewrite(&[("a", "b")], &[]) {
            None => {}
            Some(Err(error)) => assert!(is_reason(&error), "{error}"),
            Some(Ok(changed)) => {
                let again = Response::read(Serialization::HESSIAN2, changed, Limits::default());
                assert_eq!(again.expect("what was rewritten can be read").value(), result.value());
            }
        }
    }
});

/// Whether what can be read may be left as it is for that reason: an object cannot be replaced, or there is no room for more.
fn is_reason(error: &BodyError) -> bool {
    matches!(
        error,
        BodyError::Bound(_) | BodyError::Hessian(hessian2::Error::TooMuch { what: "attachments", .. })
    )
}
