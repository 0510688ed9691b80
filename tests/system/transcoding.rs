//! HTTP with JSON to a service of Dubbo, whose provider is played here frame by frame.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use landfall_codec::{
    dubbo2::{Decoded, Decoder, Event, Frame, Outcome, Request, Status, encode_response, reply},
    hessian2::{Heap, Limits, Value},
};
use landfall_tests::Landfall;
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A provider that writes down what it is asked.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that are cut in the middle of a call before one is served.
    to_cut: Arc<AtomicUsize>,
}

/// A call as it came.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    method: String,
    types: String,
    arguments: Vec<Value>,
    /// `path version group interface generic`, each or nothing.
    identity: String,
    timeout: Option<u64>,
    trace: Option<String>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            to_cut: Arc::default(),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        provider
    }

    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a call has come")
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn serve(self, mut stream: TcpStream) {
        let (mut decoder, mut input) = (Decoder::new(64 << 20), BytesMut::new());
        loop {
            let frame = match decoder.decode(&mut input).expect("it is Dubbo") {
                Decoded::Frame(frame) => frame,
                Decoded::Oversized(_) => return,
                Decoded::NeedMore(_) => match stream.read_buf(&mut input).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                },
            };
            if Event::of(&frame).is_some() {
                continue;
            }
            let cut = self
                .to_cut
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            let answer = self.answer(&frame);
            if cut.is_ok() {
                return;
            }
            if let Some(answer) = answer {
                let mut out = BytesMut::new();
                answer.encode(&mut out);
                if stream.write_all(&out).await.is_err() {
                    return;
                }
            }
        }
    }

    /// `None` for a call that is never answered.
    fn answer(&self, frame: &Frame) -> Option<Frame> {
        let request = Request::read(frame.header.serialization, frame.body.clone(), Limits::default()).unwrap();
        let (arguments, heap) = request.decode_arguments().unwrap();
        let text = |key: &str| request.attachments.get(key).and_then(|value| value.to_text());
        let identity = request.identity().unwrap();
        let method = request.method.to_string();
        self.seen.lock().unwrap().push(Seen {
            method: method.clone(),
            types: request.types.to_string(),
            identity: format!(
                "{} {} {} {} {}",
                identity.path,
                identity.version,
                identity.group,
                identity.interface,
                text("generic").unwrap_or_default()
            ),
            timeout: text("timeout").map(|millis| millis.parse().unwrap()),
            trace: text("traceparent"),
            arguments: arguments.clone(),
        });
        let mut out = Heap::new();
        let result = match &*method {
            "never" => return None,
            "busy" => return reply::error(&frame.header, Status::BUSY, "10.0.0.9: threads"),
            "fails" => {
                let thrown = out.object("com.x.NoSuchOrder", vec![("detailMessage", "no order 7".into())]);
                let body = encode_response(Outcome::Exception, &thrown, &out, "2.0.2", &[]).unwrap();
                return Some(Frame::new(frame.header.answer(Status::OK, 0), body));
            }
            "remove" => Value::Null,
            "find" => {
                let id = arguments[0].clone();
                let name = "Ä order".into();
                out.object("com.x.Order", vec![("id", id), ("name", name), ("total", Value::Null)])
            }
            // What came goes back as it is, and so the whole of both mappings is on the way.
            _ => {
                out = heap;
                arguments.first().cloned().unwrap_or(Value::Null)
            }
        };
        let outcome = if result == Value::Null {
            Outcome::Null
        } else {
            Outcome::Value
        };
        let body = encode_response(outcome, &result, &out, "2.0.2", &[]).unwrap();
        Some(Frame::new(frame.header.answer(Status::OK, 0), body))
    }
}

const TYPES: &str = r#"
  types:
    methods:
      - com.x.Order find(long id)
      - void remove(long id)
      - com.x.Order change(com.x.Order order)
      - long count(java.lang.String of, java.util.List<java.lang.String> tags?)
      - java.lang.String tenant(java.lang.String tenant, int page)
      - void fails()
      - void never()
      - void busy()
    classes:
      - name: com.x.Order
        fields: { id: long, name: java.lang.String, total: java.math.BigDecimal, at: java.util.Date, color: com.x.Color }
      - { name: com.x.Color, constants: [RED, GREEN] }
"#;

/// Everything under `/shop` goes to that provider, by a transcoding with this in its spec.
fn config(provider: &Provider, transcoding: &str, more: &str) -> String {
    let service = "g/com.x.Shop:1.0.0";
    format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: static }}\nspec:\n  static:\n    services:\n      - name: \
         {service}\n        instances: [{{ address: \"{}\", protocol: dubbo }}]\n---\n{}\n---\n\
         apiVersion: landfall.dev/v1\nkind: DubboTranscoding\nmetadata: {{ name: shop }}\nspec:{transcoding}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: shop }}\nspec:\n  \
         parentRefs: [{{ name: edge }}]\n  rules:\n    - matches: [{{ path: {{ type: PathPrefix, value: /shop }} }}]\n      \
         filters:\n        - type: ExtensionRef\n          extensionRef: {{ group: landfall.dev, kind: DubboTranscoding, name: shop }}\n      \
         backendRefs: [{{ name: \"{service}\", namespace: static }}]\n{more}",
        provider.address,
        super::gateway(),
    )
}

struct Answer {
    status: u16,
    kind: String,
    text: String,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

async fn ask(landfall: &Landfall, verb: Method, path: &str, body: Option<&str>, headers: &[(&str, &str)]) -> Answer {
    let mut request = landfall.client.request(verb, landfall.url(path));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        kind: answer
            .headers()
            .get("content-type")
            .map_or("", |kind| kind.to_str().unwrap())
            .to_owned(),
        headers: answer.headers().clone(),
        text: answer.text().await.unwrap(),
    }
}

async fn post(landfall: &Landfall, path: &str, body: &str) -> Answer {
    ask(landfall, Method::POST, path, Some(body), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_calls_the_method_that_its_path_ends_in_and_the_result_is_json_without_java() {
    let provider = Provider::start().await;
    let landfall = Landfall::up(&config(&provider, TYPES, "      timeouts: { request: 9s }\n")).await;

    let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let found = ask(
        &landfall,
        Method::POST,
        "/shop/find",
        Some("9007199254740993"),
        &headers,
    )
    .await;
    assert_eq!(
        (found.status, &*found.kind),
        (200, "application/json"),
        "{}",
        found.text
    );
    assert_eq!(found.text, r#"{"id":9007199254740993,"name":"Ä order","total":null}"#);
    let seen = provider.last();
    assert_eq!(
        (&*seen.method, &*seen.types, &*seen.identity),
        ("find", "J", "com.x.Shop 1.0.0 g com.x.Shop ")
    );
    assert_eq!(seen.arguments, [Value::Long(9_007_199_254_740_993)]);
    assert!(
        seen.timeout.is_some_and(|millis| (1..=9000).contains(&millis)),
        "{seen:?}"
    );
    assert_eq!(seen.trace.as_deref(), Some(headers[0].1));

    // There and back, not a digit is lost.
    let order = r#"{"at":"2024-05-06T07:08:09.123Z","color":"GREEN","id":7,"name":"x","total":1.50}"#;
    let changed = post(&landfall, "/shop/change", order).await;
    assert_eq!((changed.status, &*changed.text), (200, order));

    let removed = post(&landfall, "/shop/any/where/remove", "[7]").await;
    assert_eq!((removed.status, &*removed.text), (204, ""));
    let counted = ask(&landfall, Method::POST, "/shop/count?of=a%20b", None, &[]).await;
    assert_eq!((counted.status, &*counted.text), (200, "\"a b\""));
    assert_eq!(provider.last().arguments, ["a b".into(), Value::Null]);
    // Many clients' calls at once on the same connections.
    let calls = (0..64).map(|number| {
        let landfall = &landfall;
        async move {
            let answer = post(landfall, "/shop/find", &number.to_string()).await;
            assert_eq!((answer.status, answer.json()["id"].as_u64()), (200, Some(number)));
        }
    });
    futures_util::future::join_all(calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_told_as_a_problem_and_never_reaches_the_provider() {
    let provider = Provider::start().await;
    let landfall = Landfall::up(&config(&provider, TYPES, "")).await;
    let long = format!("\"{}\"", "x".repeat(9 << 20));
    for (verb, path, body, status, part) in [
        (Method::GET, "/shop/find", None, 405, "use POST"),
        (Method::POST, "/shop/find", Some("\"x\""), 400, "find(long)"),
        (Method::POST, "/shop/find", Some("[1,2]"), 400, "an array is no long"),
        (Method::POST, "/shop/find", Some("{\"id\":1"), 400, "no JSON"),
        (Method::POST, "/shop/find", None, 400, "missing"),
        (Method::POST, "/shop/find?no=1", Some("1"), 400, "no such parameter"),
        (
            Method::POST,
            "/shop/change",
            Some("{\"class\":\"java.net.URL\"}"),
            400,
            "names no class of this service",
        ),
        (Method::POST, "/shop/nothing", Some("1"), 404, "no method `nothing`"),
        (
            Method::POST,
            "/shop/$invoke",
            Some("[\"exit\",[],[]]"),
            404,
            "no method",
        ),
        (Method::POST, "/shop/", Some("1"), 404, "does not end in"),
        (Method::POST, "/shop/%ff", Some("1"), 400, "UTF-8"),
        (Method::POST, "/shop/change", Some(&*long), 413, "longer than"),
    ] {
        let answer = ask(&landfall, verb.clone(), path, body, &[]).await;
        let what = format!("{verb} {path}: {}", answer.text);
        assert_eq!(
            (answer.status, &*answer.kind),
            (status, "application/problem+json"),
            "{what}"
        );
        assert_eq!(answer.json()["status"], json!(status), "{what}");
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(part), "{what}");
        if status == 405 {
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
    let plain = landfall
        .client
        .post(landfall.url("/shop/find"))
        .body("7")
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 415, "what a page of another origin can send");
    assert_eq!(provider.count(), 0);
    assert_eq!(
        post(&landfall, "/shop/find", "7").await.status,
        200,
        "and the gateway goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_errors_and_lost_time_have_their_statuses_and_show_no_address() {
    let provider = Provider::start().await;
    let types = format!("{TYPES}  exceptions: [{{ class: com.x.NoSuchOrder, status: 404 }}]\n");
    let landfall = Landfall::up(&config(&provider, &types, "      timeouts: { request: 500ms }\n")).await;

    let failed = post(&landfall, "/shop/fails", "").await;
    assert_eq!((failed.status, &*failed.kind), (404, "application/problem+json"));
    assert_eq!(
        failed.json(),
        json!({ "type": "urn:dubbo:exception:com.x.NoSuchOrder", "title": "NoSuchOrder", "status": 404, "detail": "no order 7",
                "exception": "com.x.NoSuchOrder" })
    );
    let busy = post(&landfall, "/shop/busy", "").await;
    assert_eq!((busy.status, &busy.json()["dubboStatus"]), (503, &json!(100)));
    assert!(!busy.text.contains("10.0.0.9"), "{}", busy.text);
    let late = post(&landfall, "/shop/never", "").await;
    assert_eq!(
        (late.status, &late.headers["x-landfall-error"]),
        (504, &"timed out".parse().unwrap())
    );
    assert_eq!(late.json()["detail"], "no answer in time");

    landfall.reconfigure(
        &config(&provider, &types, "      timeouts: { request: 500ms }\n")
            .replace(&provider.address.to_string(), "127.0.0.1:1"),
    );
    let gone = landfall_tests::eventually("the endpoint is another", || async {
        let answer = post(&landfall, "/shop/find", "7").await;
        match answer.status {
            200 => Err("still the old one".to_owned()),
            _ => Ok(answer),
        }
    })
    .await;
    assert!(matches!(gone.status, 502 | 503), "{}", gone.text);
    assert_eq!(gone.kind, "application/problem+json");
    assert!(!gone.text.contains("127.0.0.1"), "{}", gone.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_take_arguments_from_path_query_header_and_body_and_from_nowhere_else() {
    let provider = Provider::start().await;
    let rules = r#"
  methods:
    - { method: find, path: "/shop/orders/{id}", httpMethods: [GET], parameters: [{ name: id }] }
    - { method: remove, path: "/shop/orders/{id}", httpMethods: [DELETE] }
    - method: tenant
      path: /shop/tenant
      parameters:
        - { name: tenant, from: Header, header: X-Tenant }
        - { name: page, from: Query, query: p, default: "1" }
    - { method: change }"#;
    let landfall = Landfall::up(&config(&provider, &format!("{rules}{TYPES}"), "")).await;

    let found = ask(&landfall, Method::GET, "/shop/orders/7", None, &[]).await;
    assert_eq!(
        (found.status, found.json()["id"].as_u64()),
        (200, Some(7)),
        "{}",
        found.text
    );
    let removed = ask(&landfall, Method::DELETE, "/shop/orders/8", None, &[]).await;
    assert_eq!((removed.status, provider.last().arguments), (204, vec![Value::Long(8)]));
    let tenant = [("x-tenant", "blue")];
    let named = ask(&landfall, Method::POST, "/shop/tenant?p=3", None, &tenant).await;
    assert_eq!((named.status, &*named.text), (200, "\"blue\""));
    assert_eq!(provider.last().arguments, ["blue".into(), Value::Int(3)]);
    ask(&landfall, Method::POST, "/shop/tenant", None, &tenant).await;
    assert_eq!(provider.last().arguments[1], Value::Int(1), "the default");
    assert_eq!(post(&landfall, "/shop/change", "{\"id\":1}").await.text, "{\"id\":1}");

    let document = landfall.admin("/api/v1/openapi.json").await.unwrap();
    let paths = &document["paths"];
    let place = |path: &str, verb: &str| {
        let parameter = |of: &Json| format!("{} {}", of["in"].as_str().unwrap(), of["name"].as_str().unwrap());
        let all = paths[path][verb]["parameters"].as_array().into_iter().flatten();
        all.map(parameter).collect::<Vec<_>>()
    };
    assert_eq!(place("/shop/orders/{id}", "get"), ["path id"]);
    assert_eq!(place("/shop/tenant", "post"), ["header x-tenant", "query p"]);
    let body = &paths["/shop/change"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/com.x.Order", "{document}");

    let calls = provider.count();
    for (verb, path, body, status, part) in [
        (
            Method::POST,
            "/shop/tenant",
            Some("{\"tenant\":\"red\"}"),
            400,
            "header `x-tenant` is missing",
        ),
        (
            Method::POST,
            "/shop/tenant",
            Some("[\"red\"]"),
            400,
            "header `x-tenant` is missing",
        ),
        (Method::PUT, "/shop/orders/7", None, 405, "DELETE, GET"),
        (Method::GET, "/shop/orders/x", None, 400, "find(long)"),
        (Method::GET, "/shop/orders/7?id=8", None, 400, "not known here"),
        (
            Method::POST,
            "/shop/find",
            Some("7"),
            404,
            "no method of the service has this path",
        ),
    ] {
        let answer = ask(&landfall, verb, path, body, &[]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(part), "{path}: {}", answer.text);
    }
    assert_eq!(provider.count(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_tried_again_for_a_get_and_not_for_a_post() {
    let provider = Provider::start().await;
    let rules = r#"
  methods:
    - { method: find, path: "/shop/orders/{id}", httpMethods: [GET] }
    - { method: find, path: "/shop/find" }"#;
    let landfall = Landfall::up(&config(&provider, &format!("{rules}{TYPES}"), "")).await;
    assert_eq!(
        ask(&landfall, Method::GET, "/shop/orders/1", None, &[]).await.status,
        200
    );

    provider.to_cut.store(1, Ordering::SeqCst);
    let again = ask(&landfall, Method::GET, "/shop/orders/2", None, &[]).await;
    assert_eq!((again.status, provider.count()), (200, 3), "{}", again.text);
    provider.to_cut.store(1, Ordering::SeqCst);
    let broken = post(&landfall, "/shop/find", "3").await;
    assert_eq!((broken.status, provider.count()), (502, 4), "{}", broken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generic_call_needs_no_types_and_without_both_the_answer_says_what_is_missing() {
    let provider = Provider::start().await;
    let landfall = Landfall::up(&config(&provider, " { generic: true, version: \"\", group: h }", "")).await;
    let answer = post(&landfall, "/shop/find", "[{\"id\":1.10}]").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json(), "find", "the first argument of $invoke is the method");
    let seen = provider.last();
    assert_eq!(
        (&*seen.method, &*seen.identity),
        ("$invoke", "com.x.Shop  h com.x.Shop true")
    );
    let invoked = post(&landfall, "/shop/$invoke", "[]").await;
    assert_eq!((invoked.status, provider.count()), (404, 1), "{}", invoked.text);

    landfall.reconfigure(&config(&provider, " {}", ""));
    landfall_tests::eventually("nothing is known of the service any more", || async {
        let answer = post(&landfall, "/shop/find", "[1]").await;
        match (
            answer.status,
            answer.text.contains("types of the service are not known"),
        ) {
            (502, true) => Ok(()),
            _ => Err(format!("{} {}", answer.status, answer.text)),
        }
    })
    .await;
}
