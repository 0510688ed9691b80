//! Exceptions and errors as problems.

use crate::{
    dubbo2::Status,
    hessian2::{Heap, Value},
    mapping::{ExceptionStatuses, Problem},
};

fn of(class: &str, fields: Vec<(&str, Value)>, statuses: &ExceptionStatuses) -> Problem {
    let mut heap = Heap::new();
    let thrown = heap.object(class, fields);
    Problem::of_exception(&thrown, &heap, statuses)
}

#[test]
fn an_exception_says_its_class_and_its_message() {
    let problem = of(
        "com.x.Shop$NoSuchOrder",
        vec![("detailMessage", "order 7".into())],
        &ExceptionStatuses::default(),
    );
    assert_eq!(
        problem.to_json().to_string(),
        r#"{"type":"urn:dubbo:exception:com.x.Shop$NoSuchOrder","title":"NoSuchOrder","status":500,"detail":"order 7","exception":"com.x.Shop$NoSuchOrder"}"#
    );
    let generic = of(
        "org.apache.dubbo.rpc.service.GenericException",
        vec![
            ("detailMessage", "wrapped".into()),
            ("exceptionClass", "com.x.NoSuchOrder".into()),
            ("exceptionMessage", "order 7".into()),
        ],
        &ExceptionStatuses::default(),
    );
    assert_eq!(generic.exception.as_deref(), Some("com.x.NoSuchOrder"));
    assert_eq!(generic.detail.as_deref(), Some("order 7"));
}

#[test]
fn a_stack_in_a_message_stays_inside_and_its_class_comes_out() {
    let text = "com.x.NoSuchOrder: order 7\n\tat com.x.Shop.find(Shop.java:3)\n\tat java.base/x";
    let problem = of(
        "java.lang.RuntimeException",
        vec![("detailMessage", text.into())],
        &ExceptionStatuses::default(),
    );
    assert_eq!(problem.exception.as_deref(), Some("com.x.NoSuchOrder"));
    assert_eq!(problem.detail.as_deref(), Some("order 7"));
    assert!(!problem.to_json().to_string().contains("Shop.java"));
    let bare = "com.x.NoSuchOrder\n\tat com.x.Shop.find(Shop.java:3)";
    let problem = of(
        "java.lang.RuntimeException",
        vec![("detailMessage", bare.into())],
        &ExceptionStatuses::default(),
    );
    assert_eq!(
        (problem.exception.as_deref(), problem.detail),
        (Some("com.x.NoSuchOrder"), None)
    );
}

#[test]
fn statuses_are_set_by_class_and_by_package() {
    let statuses = ExceptionStatuses::new([("com.x.NoSuchOrder".to_owned(), 404), ("com.x.*".to_owned(), 422)]);
    for (class, status) in [("com.x.NoSuchOrder", 404), ("com.x.Other", 422), ("com.y.Other", 500)] {
        assert_eq!(of(class, vec![], &statuses).status, status, "{class}");
    }
    let mut heap = Heap::new();
    let text = Problem::of_exception(&"it failed".into(), &heap, &statuses);
    assert_eq!((text.status, text.detail.as_deref()), (500, Some("it failed")));
    let list = heap.list(vec![]);
    assert_eq!(Problem::of_exception(&list, &heap, &statuses).status, 500);
}

#[test]
fn what_dubbo_says_of_itself_has_no_addresses() {
    let text = "Failed to invoke com.x.Shop from 10.0.0.1 to 10.0.0.2:20880";
    let fields = vec![("detailMessage", text.into()), ("code", Value::Int(2))];
    let problem = of(
        "org.apache.dubbo.rpc.RpcException",
        fields,
        &ExceptionStatuses::default(),
    );
    assert_eq!(problem.status, 504);
    assert!(!problem.to_json().to_string().contains("10.0.0"));
    assert_eq!(
        Problem::of_status(Status::BUSY).to_json().to_string(),
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"the service has too many calls at once","dubboStatus":100}"#
    );
}
