use axum::body::Body;

use super::*;

fn place(board: &Board) -> Arc<Place> {
    let description = Description {
        of: Of::Facade,
        name: "mesh".to_owned(),
        protocol: "eureka",
        address: "127.0.0.1:8762".to_owned(),
        path: String::new(),
        view: "mesh".to_owned(),
        writes: "refuse".to_owned(),
    };
    Place::new(board, description, None)
}

async fn ask(place: &Place, method: Method, path: &str, agent: &str, status: StatusCode) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(USER_AGENT, agent)
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(Peer(IpAddr::from([127, 0, 0, 1])));
    place
        .answer(request, |_| async move {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response.extensions_mut().insert(Why("because".into()));
            response
        })
        .await;
}

#[tokio::test]
async fn requests_are_counted_by_kind_and_status_and_clients_by_who_they_are() {
    let board = Board::default();
    let place = place(&board);
    ask(&place, Method::GET, "/eureka/apps/", "Java", StatusCode::OK).await;
    ask(&place, Method::PUT, "/eureka/apps/A/1", "Java", StatusCode::NOT_FOUND).await;
    assert_eq!(
        place.figures().last_error,
        None,
        "a client is told to register by a 404"
    );
    ask(
        &place,
        Method::PUT,
        "/eureka/apps/A/1",
        "python",
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
    ask(&place, Method::PUT, "/eureka/apps/A/1", "python", StatusCode::OK).await;
    let figures = place.figures();
    let counted: Vec<_> = figures
        .requests
        .iter()
        .map(|((kind, status), n)| (*kind, *status, *n))
        .collect();
    assert_eq!(
        counted,
        [("all", 200, 1), ("renew", 200, 1), ("renew", 404, 1), ("renew", 503, 1)]
    );
    let mut clients: Vec<_> = figures.clients.iter().map(|one| (&*one.agent, one.requests)).collect();
    clients.sort_unstable();
    assert_eq!(clients, [("Java", 2), ("python", 2)]);
    assert_eq!(figures.last_error.unwrap().1, "renew was answered 503: because");
    let mut metrics = String::new();
    board.render(&mut metrics);
    for line in [
        "landfall_facade_requests_total{of=\"facade\",name=\"mesh\",protocol=\"eureka\",kind=\"renew\",status=\"503\"} 1\n",
        "landfall_facade_clients{of=\"facade\",name=\"mesh\",protocol=\"eureka\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    drop(place);
    assert!(board.places().is_empty());
}

#[tokio::test]
async fn of_very_many_clients_the_oldest_are_forgotten() {
    let board = Board::default();
    let place = place(&board);
    for number in 0..CLIENTS + 10 {
        ask(
            &place,
            Method::GET,
            "/eureka/apps",
            &format!("client {number}"),
            StatusCode::OK,
        )
        .await;
    }
    assert_eq!(place.figures().clients.len(), CLIENTS);
}

#[test]
fn requests_of_consul_have_the_kinds_that_an_operator_asks_for() {
    for (method, path, kind) in [
        (Method::PUT, "/v1/agent/service/register", "register"),
        (Method::PUT, "/v1/agent/service/deregister/a", "deregister"),
        (Method::PUT, "/v1/agent/check/pass/service:a", "renew"),
        (Method::PUT, "/v1/agent/check/register", "check"),
        (Method::PUT, "/v1/agent/service/maintenance/a", "status"),
        (Method::GET, "/v1/agent/self", "agent"),
        (Method::GET, "/v1/health/service/a", "health"),
        (Method::GET, "/v1/catalog/services", "catalog"),
        (Method::PUT, "/v1/catalog/register", "register"),
        (Method::GET, "/v1/kv/a", "key"),
        (Method::PUT, "/v1/kv/a", "keyWrite"),
        (Method::GET, "/v1/status/leader", "leader"),
        (Method::PUT, "/v1/txn", "transaction"),
        (Method::GET, "/ui", "other"),
    ] {
        assert_eq!(consul_kind(&method, path), kind, "{path}");
    }
}
