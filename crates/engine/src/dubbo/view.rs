//! What balancers and tag routing see of a call: its attachments, as headers.

use http::HeaderName;
use landfall_codec::dubbo2::{Attachment, Attachments};

use crate::call::HeaderView;

/// Attachments as headers.
pub(crate) struct View<'a>(pub(crate) Option<&'a Attachments>);

impl View<'_> {
    fn value(&self, name: &HeaderName) -> Option<&Attachment> {
        let all = self.0?.iter().rev();
        let mut named = all.filter(|(key, _)| key.eq_ignore_ascii_case(name.as_str()));
        named.next().map(|(_, value)| value)
    }
}

impl HeaderView for View<'_> {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        match self.value(name)? {
            Attachment::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    fn each(&self, name: &HeaderName, visit: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.first(name) {
            visit(value);
        }
    }
}
