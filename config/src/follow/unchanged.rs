//! What a new version of the rules shares with the one before.

use std::{collections::HashMap, sync::Arc};

use landfall_model::Rules;

/// Parts that did not change stay the same objects, so that whoever compares by pointer sees it.
pub(super) fn keep_unchanged(old: &Rules, new: &mut Rules) {
    fn keep<T: PartialEq>(old: &[Arc<T>], new: &mut [Arc<T>]) {
        // Most changes move nothing: the same place first, then anywhere in a short list.
        for (i, item) in new.iter_mut().enumerate() {
            let same_place = old.get(i).filter(|one| *one == item);
            let elsewhere = || old.iter().take(64).find(|one| *one == item);
            if let Some(one) = same_place.or_else(elsewhere) {
                *item = one.clone();
            }
        }
    }
    keep(&old.listeners, &mut new.listeners);
    keep(&old.mesh_services, &mut new.mesh_services);
    keep(&old.policies, &mut new.policies);
    let by_id: HashMap<_, _> = old.routes.iter().map(|route| (&route.id, route)).collect();
    for route in &mut new.routes {
        if let Some(one) = by_id.get(&route.id).filter(|one| **one == route) {
            *route = Arc::clone(one);
        }
    }
}
