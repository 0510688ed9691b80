//! Rules that come and go while providers stay.

use landfall_model::{Status, world::Honoured};
use serde_json::json;

use super::{
    super::url::encode,
    follow::{Followed, provider},
    server::{NO_AUTH, Server},
};
use crate::registry::Knowledge;

const RULE: &str = "/dubbo/config/dubbo/org.x.Svc:1.0:.configurators";

fn configurator(parameters: &str) -> String {
    format!(
        "configVersion: v2.7\nscope: service\nkey: org.x.Svc\nenabled: true\nconfigs:\n- side: provider\n  addresses: ['a:20880']\n  parameters: {parameters}\n"
    )
}

fn instances(knowledge: Knowledge) -> Option<Vec<(String, Status, u32)>> {
    let Knowledge::Service { instances, .. } = knowledge else {
        return None;
    };
    let facts = |instance: landfall_model::Instance| (instance.host.to_string(), instance.status, instance.weight);
    Some(instances.into_iter().map(facts).collect())
}

fn rules(knowledge: Knowledge) -> Option<Vec<(String, Honoured)>> {
    let Knowledge::Governance(rules) = knowledge else {
        return None;
    };
    Some(
        rules
            .into_iter()
            .map(|rule| (rule.place.to_string(), rule.honoured))
            .collect(),
    )
}

async fn an_operator_at_work(old: bool) {
    let (server, address) = Server::start().await;
    server.state().old = old;
    server.create(&provider("a"), "");
    server.create(&provider("b"), "");
    server.create(RULE, &configurator("{disabled: true}"));
    let mut followed = Followed::start(&address, json!({}));
    let b = || ("b".to_owned(), Status::Up, 100);
    let off = [("a".to_owned(), Status::Disabled, 100), b()];
    assert_eq!(followed.next(instances).await, off, "from the first report on");
    let place = || RULE.strip_prefix("/dubbo/").unwrap().to_owned();
    assert_eq!(followed.next(rules).await, [(place(), Honoured::Yes)]);
    followed.until("caught up").await;

    server.create(RULE, &configurator("{weight: 5, timeout: 9}"));
    assert_eq!(followed.next(instances).await, [("a".to_owned(), Status::Up, 5), b()]);
    assert_eq!(followed.next(rules).await, [(place(), Honoured::Partly)]);

    server.delete(RULE);
    let restored = [("a".to_owned(), Status::Up, 100), b()];
    assert_eq!(followed.next(instances).await, restored);
    assert_eq!(followed.next(rules).await, []);

    let url = "override://a:20880/org.x.Svc?category=configurators&disabled=true&dynamic=false&version=1.0";
    let folder_rule = format!("/dubbo/org.x.Svc/configurators/{}", encode(url));
    server.create(&folder_rule, "");
    assert_eq!(followed.next(instances).await, off);
    assert_eq!(followed.next(rules).await.len(), 1);
    server.delete(&folder_rule);
    assert_eq!(followed.next(instances).await, restored);
}

#[tokio::test]
async fn rules_that_come_change_and_go_are_followed_by_one_recursive_watch() {
    an_operator_at_work(false).await;
}

#[tokio::test]
async fn rules_that_come_change_and_go_are_followed_by_one_shot_watches() {
    an_operator_at_work(true).await;
}

#[tokio::test]
async fn rules_that_may_not_be_read_are_told_and_providers_live() {
    let (server, address) = Server::start().await;
    server.create(&provider("a"), "");
    server.create(RULE, "");
    server.state().faults.insert("/dubbo/config/dubbo".to_owned(), NO_AUTH);
    let mut followed = Followed::start(&address, json!({}));
    assert_eq!(
        followed.until("caught up").await,
        ["org.x.Svc:1.0: dubbo://a:20880", "1 unreadable"]
    );
}
