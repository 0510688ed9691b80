//! What is refused, and what every answer carries.

use super::{Server, estate};
use crate::admin::AdminServer;

#[tokio::test]
async fn only_get_is_answered_and_every_answer_is_guarded() {
    let server = Server::start(&estate(), None).await;
    for method in ["POST", "DELETE", "PUT", "OPTIONS", "BREW"] {
        let head = format!("{method} /api/v1/config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, head, body) = server.send(&head).await;
        assert_eq!(status, 405, "{method}");
        assert!(
            head.contains("allow: get, head") && body.contains("\"mend\""),
            "{head}\n{body}"
        );
    }
    for path in ["/healthz", "/metrics", "/api/v1/routes", "/nowhere"] {
        let (_, head, _) = server
            .send(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ))
            .await;
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "default-src 'none'",
            "x-frame-options: deny",
        ] {
            assert!(head.contains(header), "{path} lacks {header}: {head}");
        }
    }
    let (status, _, body) = server
        .send("HEAD /api/v1/config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((status, body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_name_that_only_points_to_loopback_is_refused() {
    let server = Server::start(&estate(), None).await;
    for (head, status) in [
        ("GET /api/v1/config HTTP/1.1\r\nhost: evil.example:15000", 403),
        ("GET http://evil.example/api/v1/config HTTP/1.1\r\nhost: localhost", 403),
        ("GET /metrics HTTP/1.1\r\nhost: localhost.evil.example", 403),
        ("GET /metrics HTTP/1.1\r\nhost: [::1]:15000", 200),
        ("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:15000", 200),
    ] {
        let (got, _, body) = server.send(&format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(got, status, "{head}: {body}");
    }
}

#[tokio::test]
async fn a_page_or_parameter_that_does_not_exist_is_refused_with_those_that_do() {
    let server = Server::start(&estate(), None).await;
    let (status, body) = server.get("/api/v1/endpoint").await;
    assert_eq!(status, 404);
    assert!(body["mend"].as_str().unwrap().contains("/api/v1/endpoints"));
    let (status, body) = server.get("/api/v1/services?registri=eureka").await;
    assert_eq!(status, 400);
    assert_eq!(body["mend"], "this page takes registry, name");
    assert_eq!(server.get("/api/v1/services?registry=nacos").await.0, 404);
    assert_eq!(server.get("/api/v1/routes?x=%").await.0, 400);
}

#[tokio::test]
async fn an_address_in_use_fails_the_start_with_its_name() {
    let server = Server::start(&estate(), None).await;
    let error = AdminServer::bind(server.address).await.unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
