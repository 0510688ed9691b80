//! A call made of a request, ready to be written for whichever endpoint takes it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use landfall_codec::{
    dubbo2::{Frame, Header, Kind, NewRequest, Serialization},
    hessian2::EncodeError,
    mapping::{ArgumentError, Call, Input, Json, JsonLimits, Options, Problem, Service, generic_call},
};
use landfall_model::{ClusterId, Endpoint};

use super::{
    Transcoder,
    choose::{Ask, Chosen, Refusal},
};

/// A call made of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) call: Call,
    /// Whose classes are meant; `None` in a generic call of which no types are known.
    pub(super) service: Option<Arc<Service>>,
    traces: Vec<(&'static str, String)>,
}

impl Transcoder {
    /// The call that a request means to the service behind a cluster. `body` is all of it.
    pub(crate) fn request(&self, cluster: &ClusterId, ask: Ask<'_>, body: &[u8]) -> Result<Request, Refusal> {
        let chosen = self.chooser.choose(ask)?;
        let body = match body.iter().all(u8::is_ascii_whitespace) {
            true => None,
            false => Some(Json::parse(body, JsonLimits::default()).map_err(|error| Problem::from(&error))?),
        };
        let learnt = self.learnt.load();
        let known = match learnt.get(cluster).map(|learnt| &learnt.known) {
            Some(Err(why)) => {
                let detail = format!("the types of the service cannot be read: {why}");
                return Err(Refusal::new(502, detail));
            }
            Some(Ok(known)) => known.as_ref(),
            None => None,
        };
        let (call, service) = match known {
            Some(known) => {
                let service = known.service(chosen.rule);
                (self.typed(service, &chosen, body.as_ref())?, Some(service.clone()))
            }
            None if self.source.generic => (untyped(&chosen, body)?, None),
            None => {
                let detail = "the types of the service are not known: its registry has no definition of it";
                return Err(Refusal::new(502, detail));
            }
        };
        let trace = |name: &'static str| {
            let value = ask.headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        };
        Ok(Request {
            call,
            service,
            traces: ["traceparent", "tracestate"].into_iter().filter_map(trace).collect(),
        })
    }

    fn typed(&self, service: &Service, chosen: &Chosen<'_>, body: Option<&Json>) -> Result<Call, Refusal> {
        let texts: Vec<(&str, &str)> = chosen
            .texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let input = Input { texts: &texts, body };
        let call = match self.source.generic {
            true => service.call_generic(&chosen.method, input, Options::default()),
            false => service.call(&chosen.method, input, Options::default()),
        };
        Ok(call.map_err(|error: ArgumentError| Problem::from(&error))?)
    }

    /// The interface and method that an endpoint would be asked for.
    pub(crate) fn target(&self, request: &Request, endpoint: &Endpoint) -> (String, String) {
        let signature = &request.call.signature;
        let method = signature.split('(').next().unwrap_or(signature).to_owned();
        (self.source.service(&endpoint.origin.service).interface, method)
    }

    /// The call as a frame for an endpoint: it is who its registry says it is, unless the transcoding says so.
    pub(crate) fn frame(
        &self,
        request: &Request,
        endpoint: &Endpoint,
        left: Option<Duration>,
    ) -> Result<Frame, EncodeError> {
        let identity = self.source.service(&endpoint.origin.service);
        let call = &request.call;
        let version = Some(&*identity.version).filter(|version| !version.is_empty());
        let mut attachments: Vec<(&str, &str)> =
            vec![("path", &identity.interface), ("interface", &identity.interface)];
        attachments.extend(version.map(|version| ("version", version)));
        if !identity.group.is_empty() {
            attachments.push(("group", &identity.group));
        }
        let millis = left.map(|left| left.as_millis().max(1).to_string());
        attachments.extend(millis.as_deref().map(|millis| ("timeout", millis)));
        if call.generic {
            attachments.push(("generic", "true"));
        }
        attachments.extend(request.traces.iter().map(|(name, value)| (*name, value.as_str())));
        let body: Bytes = NewRequest {
            path: &identity.interface,
            version,
            method: &call.method,
            types: &call.types,
            attachments: &attachments,
        }
        .encode(&call.arguments, &call.heap)?;
        let header = Header {
            kind: Kind::Request { two_way: true },
            event: false,
            serialization: Serialization::HESSIAN2,
            id: 0,
            length: 0,
        };
        Ok(Frame::new(header, body))
    }
}

/// A generic call of a method of which only the rule knows something. Types come from the configuration alone.
fn untyped(chosen: &Chosen<'_>, body: Option<Json>) -> Result<Call, Refusal> {
    let (name, types) = match chosen.method.split_once('(') {
        Some((name, types)) => (name, Some(types.trim_end_matches(')'))),
        None => (&*chosen.method, None),
    };
    let java = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if chosen.rule.is_none() && (types.is_some() || !name.chars().all(java)) {
        return Err(Refusal::new(404, "the path does not end in the name of a method"));
    }
    let types: Option<Vec<&str>> = types.map(|types| {
        let types = types.split(',').map(str::trim);
        types.filter(|one| !one.is_empty()).collect()
    });
    let arguments = match chosen.parameters {
        Some(parameters) => {
            let in_body = parameters
                .iter()
                .filter(|of| !chosen.texts.iter().any(|(name, _)| *name == *of.name));
            let single = in_body.count() == 1;
            let mut arguments = Vec::new();
            for parameter in parameters {
                let mut texts = chosen.texts.iter().filter(|(name, _)| *name == *parameter.name);
                let member = body.as_ref().and_then(|body| body.get(&parameter.name));
                arguments.push(match (texts.next(), member, &body) {
                    (Some((_, text)), _, _) if texts.next().is_none() => Json::from(text.as_str()),
                    (Some(_), _, _) => {
                        return Err(Refusal::new(400, format!("`{}` comes several times", parameter.name)));
                    }
                    (None, Some(member), _) => member.clone(),
                    (None, None, Some(body)) if single => body.clone(),
                    (None, None, _) if parameter.optional => Json::Null,
                    (None, None, _) => {
                        return Err(Refusal::new(
                            400,
                            format!("`{}` is missing in the body", parameter.name),
                        ));
                    }
                });
            }
            arguments
        }
        None if !chosen.texts.is_empty() => {
            let detail = "the parameters of the method are not known: send an array of them as the body";
            return Err(Refusal::new(400, detail));
        }
        None => match body {
            None => Vec::new(),
            Some(Json::Array(items)) => items,
            Some(one) => vec![one],
        },
    };
    generic_call(name, types.as_deref(), &arguments).map_err(|error| Problem::from(&error).into())
}
