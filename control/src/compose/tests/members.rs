//! How the members of a MeshService share its calls.

use std::collections::BTreeMap;

use super::{addresses, weights};
use crate::compose::why::Verdict;
use crate::testing::Stage;

#[test]
fn members_of_a_mesh_service_share_by_member_weight_and_not_by_instance_count() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        .service("consul", "orders", &["10.1.0.1:80"])
        .service("consul", "empty", &[])
        .mesh(
            "shop",
            &[("eureka", "orders", 1), ("consul", "orders", 1), ("consul", "empty", 7)],
        )
        .routes(&["shop"]);
    let composed = stage.compose(None);
    let expected = [
        ("10.0.0.1:80", 100),
        ("10.0.0.2:80", 100),
        ("10.0.0.3:80", 100),
        ("10.1.0.1:80", 300),
    ];
    assert_eq!(
        weights(&composed.snapshot, "shop"),
        expected.map(|(address, weight)| (address.to_owned(), weight)).into()
    );
}

#[test]
fn an_address_found_in_two_members_gets_both_shares_and_weight_0_gets_none() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80"])
        .service("consul", "orders", &["10.0.0.1:80"])
        .service("consul", "stock", &["10.0.0.2:80"])
        .mesh(
            "shop",
            &[("eureka", "orders", 1), ("consul", "orders", 2), ("consul", "stock", 0)],
        )
        .routes(&["shop"]);
    let composed = stage.compose(None);
    assert_eq!(
        weights(&composed.snapshot, "shop"),
        BTreeMap::from([("10.0.0.1:80".to_owned(), 300)])
    );
    assert_eq!(
        stage.why(&composed, "stock", "consul")[0].uses[0].1,
        Verdict::MemberWithoutWeight
    );
}

#[test]
fn a_missing_member_is_told_and_the_others_carry_its_share() {
    let stage = Stage::new()
        .service("eureka", "ORDERS", &["10.0.0.1:80"])
        .mesh("shop", &[("eureka", "orders", 1), ("eureka", "gone", 1)])
        .routes(&["shop"]);
    let composed = stage.compose(None);
    assert_eq!(addresses(&composed.snapshot, "shop"), ["10.0.0.1:80"]);
    assert_eq!(
        composed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["member `gone.eureka` of MeshService `shop` is not there: registry `eureka` has no service `gone`"]
    );
}
