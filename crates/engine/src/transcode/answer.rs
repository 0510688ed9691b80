//! A provider's reply as an answer of HTTP: JSON, or a problem.

use landfall_codec::{
    dubbo2::{Frame, Outcome, Response, Status},
    hessian2::Limits,
    mapping::{Classes, ExceptionStatuses, Problem, ResultOptions, Type, json_of, problem::CONTENT_TYPE},
};
use landfall_model::rules::ResultForm;

use super::{Transcoder, request::Request};
use crate::dubbo::status_of;

/// An answer of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body and its type; `None` for 204.
    pub(crate) body: Option<(String, &'static str)>,
}

impl From<&Problem> for Answered {
    fn from(problem: &Problem) -> Self {
        Self {
            status: problem.status,
            body: Some((problem.to_json().to_string(), CONTENT_TYPE)),
        }
    }
}

/// The answer to a request that was called.
pub(crate) fn answer(transcoder: &Transcoder, request: &Request, reply: Frame) -> Answered {
    match result(&transcoder.statuses, transcoder.source.results, request, reply) {
        Ok(answered) => answered,
        Err(problem) => Answered::from(&problem),
    }
}

fn result(
    statuses: &ExceptionStatuses,
    form: ResultForm,
    request: &Request,
    reply: Frame,
) -> Result<Answered, Problem> {
    let status = status_of(&reply.header);
    if status != Status::OK {
        return Err(Problem::of_status(status));
    }
    let unreadable = |why: String| {
        tracing::debug!("an answer of Dubbo cannot be read: {why}");
        Problem::new(502, "the service's answer cannot be read")
    };
    let read = Response::read(reply.header.serialization, reply.body, Limits::default());
    let response = read.map_err(|error| unreadable(error.to_string()))?;
    let (value, heap) = response.decode_value().map_err(|error| unreadable(error.to_string()))?;
    if response.outcome == Outcome::Exception {
        return Err(Problem::of_exception(&value, &heap, statuses));
    }
    let call = &request.call;
    if call.returns == Type::Void {
        return Ok(Answered {
            status: 204,
            body: None,
        });
    }
    let options = ResultOptions {
        class_names: form.class_names,
        millis: form.millis,
        big_numbers_as_text: form.big_numbers_as_text,
        cut_cycles: form.cut_cycles,
        ..ResultOptions::default()
    };
    let none = Classes::default();
    let classes = request.service.as_ref().map_or(&none, |service| &service.classes);
    let json =
        json_of(&value, &heap, &call.returns, classes, call.generic, options).map_err(|error| Problem::from(&error))?;
    Ok(Answered {
        status: 200,
        body: Some((json.to_string(), "application/json")),
    })
}
