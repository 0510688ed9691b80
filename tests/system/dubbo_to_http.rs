//! A Dubbo consumer, played here frame by frame, calls a plain service of HTTP that a DubboRoute maps.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request as HttpRequest, State},
    response::{IntoResponse, Response as HttpResponse},
};
use bytes::BytesMut;
use landfall_codec::{
    dubbo2::{Decoded, Decoder, Event, Frame, Header, Kind, NewRequest, Outcome, Response, Serialization, Status},
    hessian2::{Heap, Limits, Node, Value},
};
use landfall_tests::{Landfall, landfall::free_port, wait::eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Duration, timeout},
};

/// What the service was asked: verb and target, `x-tenant` and `traceparent`, body.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// A service of HTTP that knows nothing of Dubbo.
async fn depot() -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let app = Router::new().fallback(answer).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, asked)
}

async fn answer(State(asked): State<Asked>, request: HttpRequest) -> HttpResponse {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let header = |name| head.headers.get(name).map_or("-", |value| value.to_str().unwrap());
    let body = String::from_utf8(body.to_vec()).unwrap();
    asked.lock().unwrap().push((
        format!("{} {}", head.method, head.uri),
        format!("{} {}", header("x-tenant"), header("traceparent")),
        body.clone(),
    ));
    let json = [("content-type", "application/json")];
    let path = head.uri.path();
    match path {
        "/refills" => (json, body).into_response(),
        "/tags" => (json, r#"["a","b"]"#).into_response(),
        "/ping" => "pong".into_response(),
        "/nothing" => (json, "null").into_response(),
        "/removed" => axum::http::StatusCode::NO_CONTENT.into_response(),
        "/page" => (json, "[1,2]").into_response(),
        "/never" => std::future::pending().await,
        "/gone" => {
            let kind = [("content-type", "application/problem+json")];
            let problem = r#"{"title":"Not Found","status":404,"detail":"no such article"}"#;
            (axum::http::StatusCode::NOT_FOUND, kind, problem).into_response()
        }
        _ => (json, r#"{"article":"a-1","count":9007199254740993,"unknown":true}"#).into_response(),
    }
}

const SPEC: &str = r#"
  methods:
    - method: stock
      path: /depots/{depot}/stock
      httpMethod: GET
      parameters: [{ name: depot }, { name: tags, to: Query, query: tag }, { name: tenant, to: Header, header: X-Tenant }]
    - { method: refill, path: /refills, httpMethod: PUT, parameters: [{ name: refill }] }
    - { method: move, path: /refills, parameters: [{ name: from }, { name: to }] }
    - { method: tags, path: /tags, httpMethod: GET }
    - { method: ping, path: /ping, httpMethod: GET }
    - { method: nothing, path: /nothing, httpMethod: GET }
    - { method: remove, path: /removed, httpMethod: DELETE }
    - { method: page, path: /page, httpMethod: GET }
    - { method: never, path: /never, httpMethod: GET }
    - { method: gone, path: /gone, httpMethod: GET }
  types:
    methods:
      - com.x.Stock stock(java.lang.String depot, java.util.List<java.lang.String> tags, java.lang.String tenant)
      - com.x.Stock refill(com.x.Stock refill)
      - java.util.Map<java.lang.String,java.lang.Object> move(java.lang.String from, java.lang.String to)
      - java.util.List<java.lang.String> tags()
      - java.lang.String ping()
      - com.x.Stock nothing()
      - void remove()
      - com.x.Stock page()
      - void never()
      - void gone()
    classes:
      - { name: com.x.Stock, fields: { article: java.lang.String, count: long } }
"#;

fn config(depot: SocketAddr, calls: u16) -> String {
    let gateway = super::gateway();
    let gateway = gateway.replace(
        "listeners: [",
        &format!("listeners: [{{ name: calls, port: {calls}, protocol: Dubbo }}, "),
    );
    format!(
        "{}\n---\n{gateway}\n---\napiVersion: landfall.dev/v1\nkind: HTTPTranscoding\nmetadata: {{ name: depot }}\nspec:{SPEC}\n---\n\
         apiVersion: landfall.dev/v1\nkind: DubboRoute\nmetadata: {{ name: depot }}\nspec:\n  parentRefs: [{{ name: edge, \
         sectionName: calls }}]\n  rules:\n    - matches: [{{ interface: {{ value: com.x.Depot }} }}]\n      filters:\n        - type: \
         ExtensionRef\n          extensionRef: {{ group: landfall.dev, kind: HTTPTranscoding, name: depot }}\n      \
         backendRefs: [{{ name: depot, namespace: static }}]\n",
        super::static_registry(&[("depot", &[depot])]),
    )
}

/// A consumer with its connection.
struct Consumer {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    id: u64,
}

/// How a call ended.
struct Ended {
    status: Status,
    outcome: Option<Outcome>,
    value: Value,
    heap: Heap,
    bytes: Vec<u8>,
}

impl Ended {
    fn field(&self, name: &str) -> Value {
        let Value::Node(id) = self.value else {
            panic!("{:?} is no object", self.value)
        };
        match self.heap.get(id) {
            Some(Node::Object(object)) => self
                .heap
                .field(object, name)
                .cloned()
                .unwrap_or_else(|| panic!("no {name} in {object:?}")),
            other => panic!("{other:?} is no object"),
        }
    }

    fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.bytes).contains(text)
    }
}

impl Consumer {
    async fn connect(port: u16) -> Self {
        Self {
            stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(),
            decoder: Decoder::new(64 << 20),
            input: BytesMut::new(),
            id: 0,
        }
    }

    async fn send(&mut self, two_way: bool, method: &str, types: &str, (arguments, heap): (&[Value], &Heap)) {
        self.id += 1;
        let attachments = [
            ("path", "com.x.Depot"),
            ("interface", "com.x.Depot"),
            ("traceparent", TRACE),
            ("timeout", "2000"),
        ];
        let body = NewRequest {
            path: "com.x.Depot",
            version: None,
            method,
            types,
            attachments: &attachments,
        }
        .encode(arguments, heap)
        .unwrap();
        let header = Header {
            kind: Kind::Request { two_way },
            event: false,
            serialization: Serialization::HESSIAN2,
            id: self.id,
            length: 0,
        };
        let mut out = BytesMut::new();
        Frame::new(header, body).encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn answer(&mut self) -> Ended {
        let frame = timeout(Duration::from_secs(60), async {
            loop {
                match self.decoder.decode(&mut self.input).expect("it is Dubbo") {
                    Decoded::Frame(frame) if Event::of(&frame).is_some() => {}
                    Decoded::Frame(frame) => return frame,
                    Decoded::Oversized(_) => panic!("too large"),
                    Decoded::NeedMore(_) => {
                        assert_ne!(self.stream.read_buf(&mut self.input).await.unwrap(), 0, "it is closed");
                    }
                }
            }
        });
        let frame = frame.await.expect("an answer within a minute");
        assert_eq!(frame.header.id, self.id, "the answer is this call's");
        let Kind::Response(status) = frame.header.kind else {
            panic!("{:?}", frame.header)
        };
        let bytes = frame.body.to_vec();
        if status != Status::OK {
            let (outcome, value, heap) = (None, Value::Null, Heap::new());
            return Ended {
                status,
                outcome,
                value,
                heap,
                bytes,
            };
        }
        let read = Response::read(Serialization::HESSIAN2, frame.body, Limits::default()).unwrap();
        let (value, heap) = read.decode_value().unwrap();
        Ended {
            status,
            outcome: Some(read.outcome),
            value,
            heap,
            bytes,
        }
    }

    async fn call(&mut self, method: &str, types: &str, arguments: (&[Value], &Heap)) -> Ended {
        self.send(true, method, types, arguments).await;
        self.answer().await
    }
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Descriptors of `stock`, and of a text.
const STOCK: &str = "Ljava/lang/String;Ljava/util/List;Ljava/lang/String;";
const TEXT: &str = "Ljava/lang/String;";

#[tokio::test(flavor = "multi_thread")]
async fn arguments_go_where_the_transcoding_says_and_json_comes_back_as_the_methods_own_type() {
    let ((depot, asked), calls) = (depot().await, free_port());
    let _landfall = Landfall::up(&config(depot, calls)).await;
    let mut consumer = Consumer::connect(calls).await;

    let mut heap = Heap::new();
    let tags = heap.list(vec!["a b".into(), "c&d".into()]);
    let arguments = ["../x?y".into(), tags, "ten-1".into()];
    let stock = consumer.call("stock", STOCK, (&arguments, &heap)).await;
    assert_eq!((stock.status, stock.outcome), (Status::OK, Some(Outcome::Value)));
    assert!(stock.says("com.x.Stock"), "it is an object of its class");
    assert_eq!(stock.field("count"), Value::Long(9_007_199_254_740_993));
    let wanted = (
        "GET /depots/..%2Fx%3Fy/stock?tag=a%20b&tag=c%26d".to_owned(),
        format!("ten-1 {TRACE}"),
        String::new(),
    );
    assert_eq!(asked.lock().unwrap().pop(), Some(wanted));

    // Null is left out of query and headers.
    let arguments = ["x".into(), Value::Null, Value::Null];
    consumer.call("stock", STOCK, (&arguments, &Heap::new())).await;
    let wanted = ("GET /depots/x/stock".to_owned(), format!("- {TRACE}"), String::new());
    assert_eq!(asked.lock().unwrap().pop(), Some(wanted));

    // An object there and back; several parameters of a body are its members.
    let mut heap = Heap::new();
    let refill = heap.object("com.x.Stock", vec![("article", "Ä".into()), ("count", Value::Long(7))]);
    let refilled = consumer.call("refill", "Lcom/x/Stock;", (&[refill], &heap)).await;
    assert_eq!(
        (refilled.field("article"), refilled.field("count")),
        ("Ä".into(), Value::Long(7))
    );
    assert_eq!(asked.lock().unwrap().pop().unwrap().2, r#"{"article":"Ä","count":7}"#);
    let two = ["a".into(), Value::Null];
    let types = [TEXT, TEXT].concat();
    consumer.call("move", &types, (&two, &Heap::new())).await;
    assert_eq!(asked.lock().unwrap().pop().unwrap().2, r#"{"from":"a","to":null}"#);

    let none: (&[Value], &Heap) = (&[], &Heap::new());
    let tags = consumer.call("tags", "", none).await;
    let Value::Node(list) = tags.value else {
        panic!("{:?}", tags.value)
    };
    assert!(
        matches!(tags.heap.get(list), Some(Node::List(list)) if list.items == ["a".into(), "b".into()]),
        "{:?}",
        tags.heap
    );
    assert_eq!(consumer.call("ping", "", none).await.value, "pong".into());
    for method in ["nothing", "remove"] {
        let ended = consumer.call(method, "", none).await;
        assert_eq!(
            (ended.status, ended.outcome),
            (Status::OK, Some(Outcome::Null)),
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_an_exception_that_says_what_or_the_status_of_a_timeout() {
    let ((depot, asked), calls) = (depot().await, free_port());
    let landfall = Landfall::up(&config(depot, calls)).await;
    let mut consumer = Consumer::connect(calls).await;
    let none: (&[Value], &Heap) = (&[], &Heap::new());
    for (method, text) in [
        ("gone", "HTTP 404 Not Found: no such article"),
        ("page", "the answer is not what the method returns"),
        (
            "sell",
            "no request of HTTP stands for the method `sell` with 0 arguments",
        ),
    ] {
        let ended = consumer.call(method, "", none).await;
        assert_eq!(
            (ended.status, ended.outcome),
            (Status::OK, Some(Outcome::Exception)),
            "{method}"
        );
        assert!(ended.says(text), "{method}: {}", String::from_utf8_lossy(&ended.bytes));
    }
    let ended = consumer.call("never", "", none).await;
    assert_eq!(ended.status, Status::SERVER_TIMEOUT);

    // What would lead out of its path or its header leads nowhere.
    let asked_before = asked.lock().unwrap().len();
    for (depot, tenant, place) in [("..", "t", "path"), ("", "t", "path"), ("x", "t\r\nhost: y", "header")] {
        let arguments = [depot.into(), Value::Null, tenant.into()];
        let ended = consumer.call("stock", STOCK, (&arguments, &Heap::new())).await;
        assert_eq!(ended.outcome, Some(Outcome::Exception));
        assert!(
            ended.says(&format!("cannot go into the {place}")),
            "{depot:?} {tenant:?}"
        );
    }
    assert_eq!(asked.lock().unwrap().len(), asked_before);

    // Nobody waits for a call that is one way, and the next answer is the next call's.
    consumer.send(false, "remove", "", none).await;
    eventually("the call has come", || async {
        let last = asked.lock().unwrap().last().cloned();
        match last {
            Some((what, ..)) if what == "DELETE /removed" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(consumer.call("ping", "", none).await.value, "pong".into());

    let admin = format!("127.0.0.1:{}", landfall.admin);
    let url = format!("dubbo://localhost:{calls}/com.x.Depot?method=ping");
    let (code, out, err) = landfall_tests::landfall::run(&["explain", "--admin", &admin, &url]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("Dubbo to HTTP: depot") && out.contains(&depot.to_string()),
        "{out}"
    );
}
