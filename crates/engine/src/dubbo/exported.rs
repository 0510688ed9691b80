//! A call under the version and group that its endpoint exports.
//!
//! ```text
//!  org.x.Greeter:1.0.0 ─▶ org.x.Greeter:1.0.0    the bytes that came
//!                      ─▶ b/org.x.Greeter:2.0.0  version and group replaced, in front and among the attachments
//!                      ─▶ nobody knows what      the bytes that came: a static address, a serialization that is not opened
//! ```
//!
//! A provider looks a call up by path, version and group together and refuses one that it does not export
//! (`DubboProtocol.java`, `getInvoker`); a consumer that finds it in the registry takes both from there
//! (`ClusterUtils.java`). So a rule that leads calls to another version or group is honoured only if they say so.
//! The interface is never replaced: another interface has other methods. Arguments are copied as they are.

use landfall_codec::dubbo2::{Changes, Frame, Identity, Request};
use landfall_model::{Endpoint, rules::DubboService};

use super::fault::Fault;

/// A call as its reader understood it.
#[derive(Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) frame: &'a Frame,
    /// `None` if its serialization is not opened.
    pub(super) request: Option<(&'a Request, Identity<'a>)>,
}

impl Called<'_> {
    /// The frame for that endpoint.
    ///
    /// # Errors
    /// [`Fault::Unreadable`] if version or group cannot be replaced.
    pub(super) fn at(&self, endpoint: &Endpoint) -> Result<Frame, Fault> {
        let (Some((request, identity)), Some(exported)) = (self.request, &endpoint.exported) else {
            return Ok(self.frame.clone());
        };
        if exported.interface != identity.interface || is_named_so(&identity, exported) {
            return Ok(self.frame.clone());
        }
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for (key, value) in [("version", &*exported.version), ("group", &*exported.group)] {
            match value.is_empty() {
                true => remove.push(key),
                false => set.push((key, value)),
            }
        }
        let changes = Changes {
            version: Some(Some(&*exported.version).filter(|version| !version.is_empty())),
            set: &set,
            remove: &remove,
            ..Changes::default()
        };
        let body = request.rewrite(&changes).map_err(Fault::Unreadable)?;
        Ok(Frame::new(self.frame.header, body))
    }
}

fn is_named_so(identity: &Identity<'_>, exported: &DubboService) -> bool {
    exported.version == identity.version && exported.group == identity.group
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use landfall_codec::{
        dubbo2::{Header, Kind, NewRequest, Serialization},
        hessian2::{Heap, Limits, Value},
    };

    use super::*;
    use crate::fixture;

    fn endpoint(exported: Option<(&str, &str, &str)>) -> Endpoint {
        let exported = exported.map(|(group, interface, version)| {
            Arc::new(DubboService {
                interface: interface.to_owned(),
                group: group.to_owned(),
                version: version.to_owned(),
            })
        });
        Endpoint {
            exported,
            ..Endpoint::clone(&fixture::endpoint(20880, 100))
        }
    }

    /// A call of `org.x.Greeter:1.0.0` with one argument.
    fn call() -> Bytes {
        NewRequest {
            path: "org.x.Greeter",
            version: Some("1.0.0"),
            method: "greet",
            types: "Ljava/lang/String;",
            attachments: &[
                ("path", "org.x.Greeter"),
                ("interface", "org.x.Greeter"),
                ("version", "1.0.0"),
                ("timeout", "3000"),
            ],
        }
        .encode(&[Value::String("you".into())], &Heap::default())
        .unwrap()
    }

    fn at(endpoint: &Endpoint, serialization: Serialization) -> Bytes {
        let body = call();
        let header = Header {
            kind: Kind::Request { two_way: true },
            event: false,
            serialization,
            id: 7,
            length: body.len() as u32,
        };
        let frame = Frame::new(header, body.clone());
        let request = Request::read(serialization, body, Limits::default()).ok();
        let request = request.as_ref().map(|request| (request, request.identity().unwrap()));
        let called = Called { frame: &frame, request };
        let sent = called.at(endpoint).unwrap();
        assert_eq!((sent.header.id, sent.header.length as usize), (7, sent.body.len()));
        sent.body
    }

    #[test]
    fn an_endpoint_gets_its_own_version_and_group_and_the_rest_as_it_came() {
        for (group, version) in [("", "2.0.0"), ("b", "2.0.0"), ("b", ""), ("", "")] {
            let body = at(
                &endpoint(Some((group, "org.x.Greeter", version))),
                Serialization::HESSIAN2,
            );
            let request = Request::read(Serialization::HESSIAN2, body, Limits::default()).unwrap();
            let identity = request.identity().unwrap();
            assert_eq!(
                (identity.path, identity.interface, identity.version, identity.group),
                ("org.x.Greeter", "org.x.Greeter", version, group)
            );
            assert_eq!(request.version.as_deref().unwrap_or_default(), version);
            assert_eq!(
                (&*request.method, request.attachments.text("timeout")),
                ("greet", Some("3000"))
            );
            let original = Request::read(Serialization::HESSIAN2, call(), Limits::default()).unwrap();
            assert_eq!(request.arguments(), original.arguments());
        }
    }

    #[test]
    fn what_is_named_right_or_of_an_unknown_name_or_cannot_be_opened_goes_as_it_came() {
        let named_so = endpoint(Some(("", "org.x.Greeter", "1.0.0")));
        let unknown = endpoint(None);
        let another = endpoint(Some(("", "org.x.Other", "2.0.0")));
        for endpoint in [&named_so, &unknown, &another] {
            assert_eq!(at(endpoint, Serialization::HESSIAN2), call());
        }
        let next = endpoint(Some(("", "org.x.Greeter", "2.0.0")));
        assert_eq!(at(&next, Serialization::FASTJSON2), call());
    }
}
