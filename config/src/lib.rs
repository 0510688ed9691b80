//! The one configuration model: documents in the Gateway API's vocabulary, checked, as [`Rules`](landfall_model::Rules).

pub mod duration;
pub mod kinds;
pub mod secret;
