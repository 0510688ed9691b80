//! What goes wrong with a call here, and the reply that tells its caller.
//!
//! | fault | status | Java's consumer makes of it |
//! |---|---|---|
//! | no rule takes it | 60 SERVICE_NOT_FOUND | failure of this address: its cluster may try another |
//! | its backend does not exist | 70 SERVICE_ERROR | the same |
//! | no endpoint, none could be reached, the connection broke | 80 SERVER_ERROR | the same |
//! | over a limit | 100 SERVER_THREADPOOL_EXHAUSTED | the same |
//! | out of time | 31 SERVER_TIMEOUT | a timeout |
//! | not readable, too large, a serialization that is not let in | 40 BAD_REQUEST | failure of this address |
//! | the answer is too large | 50 BAD_RESPONSE | the same |
//! | a rule's Fault filter ends it | as the filter says | the same |
//! | its rule refuses calls of its kind | 20 with an exception | what it would see from the method: not tried again |
//! | a policy of the service denies it | 20 with an exception | what it would see from the method: not tried again |
//! | its HTTPTranscoding has no request for it, or the answer is no result | 20 with an exception | what it would see from the method: not tried again |
//! | it wants to be called back | 20 with an exception | what it would see from the method: not tried again |
//!
//! Texts name no address of ours. Source of the statuses: `Response.java`, `DefaultFuture.java`.

use landfall_codec::{
    dubbo2::{BodyError, Frame, Header, Serialization, Status, reply},
    hessian2::EncodeError,
    mapping::ReceiveError,
};

use crate::{
    cluster::{Failure, NoEndpoint},
    route::dubbo::Refused,
    transcode::Unmapped,
};

/// Why a call gets an answer of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Its body makes no call.
    #[error("the call cannot be read: {0}")]
    Unreadable(BodyError),
    /// Its serialization runs foreign code in who reads it carelessly.
    #[error("calls in {0} are not let in")]
    Dangerous(Serialization),
    /// The provider would call the consumer, whose connection it does not have.
    #[error("callbacks and stub events do not work through a gateway: call the provider directly")]
    Callback,
    /// Longer than allowed.
    #[error("the call is larger than {0} bytes")]
    TooLarge(u32),
    /// No rule takes it.
    #[error("no route takes this call")]
    NoRoute,
    /// Its rule leads nowhere.
    #[error("its route has no backend that exists")]
    NoBackend,
    /// Its rule takes it and does not let it through.
    #[error("{0}")]
    Refused(Refused),
    /// A policy of the service does not let it through.
    #[error("RBAC: access denied")]
    Denied,
    /// Its rule ends it on purpose.
    #[error("a fault on purpose")]
    OnPurpose(Status),
    /// Nobody can take it.
    #[error("{0}")]
    NoEndpoint(#[from] NoEndpoint),
    /// Too many of this connection's calls are in flight.
    #[error("too many calls of this connection are in flight")]
    TooMany,
    /// A try failed, and there was no other.
    #[error("{}", match .0 {
        Failure::Connect => "no connection to a provider",
        Failure::Reset => "the connection to the provider broke",
        Failure::Timeout => "no answer in time",
    })]
    Failed(Failure),
    /// What was made of JSON cannot be written.
    #[error("the call cannot be written: {0}")]
    Unwritable(EncodeError),
    /// It cannot be JSON, as its rule wants it.
    #[error("the call cannot be a request of HTTP: {0}")]
    Unreceived(ReceiveError),
    /// Only calls in Hessian are made into requests of HTTP.
    #[error("calls in {0} cannot be requests of HTTP; use hessian2")]
    Foreign(Serialization),
    /// Its rule has no request for it.
    #[error("{0}")]
    Unmapped(Unmapped),
    /// What a service of HTTP has answered is not what the method returns.
    #[error("{0}")]
    NoResult(String),
    /// The provider's answer is longer than allowed.
    #[error("the provider's answer is larger than {0} bytes")]
    AnswerTooLarge(u32),
}

impl Fault {
    /// What the caller is told in one number.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Unreadable(_) | Self::Unwritable(_) | Self::Dangerous(_) | Self::TooLarge(_) => Status::BAD_REQUEST,
            Self::Unreceived(_) | Self::Foreign(_) => Status::BAD_REQUEST,
            Self::Unmapped(_) | Self::NoResult(_) => Status::OK,
            Self::Refused(Refused::Opaque) => Status::BAD_REQUEST,
            Self::Denied | Self::Callback | Self::Refused(Refused::Call(_)) => Status::OK,
            Self::OnPurpose(status) => *status,
            Self::NoRoute => Status::SERVICE_NOT_FOUND,
            Self::NoBackend => Status::SERVICE_ERROR,
            Self::NoEndpoint(NoEndpoint::Overloaded) | Self::TooMany => Status::BUSY,
            Self::NoEndpoint(_) | Self::Failed(Failure::Connect | Failure::Reset) => Status::SERVER_ERROR,
            Self::Failed(Failure::Timeout) => Status::SERVER_TIMEOUT,
            Self::AnswerTooLarge(_) => Status::BAD_RESPONSE,
        }
    }

    /// What the fault is counted as.
    pub(super) fn class(&self) -> u16 {
        match self {
            Self::Callback | Self::Unmapped(Unmapped::Argument { .. }) => 400,
            Self::Unmapped(Unmapped::Method(_)) => 404,
            Self::NoResult(_) => 502,
            Self::Refused(_) | Self::Denied => 403,
            Self::NoBackend => 500,
            Self::NoRoute => 404,
            fault => class(fault.status()),
        }
    }

    /// The reply; `None` if none is wanted.
    pub(super) fn reply(&self, request: &Header) -> Option<Frame> {
        let text = format!("gateway: {self}");
        if self.status() == Status::OK
            && let Some(thrown) = reply::exception(request, "2.0.2", &text)
        {
            return Some(thrown);
        }
        let status = match self.status() {
            Status::OK => Status::BAD_REQUEST,
            status => status,
        };
        reply::error(request, status, &text).or_else(|| {
            // A consumer that insists on its own serialization cannot read the text, but its call fails at once all the
            // same instead of waiting for its time to run out.
            let readable = Header {
                serialization: Serialization::HESSIAN2,
                ..*request
            };
            reply::error(&readable, status, &text)
        })
    }
}

/// The status of an answer in HTTP's classes, by which metrics count, outliers are judged and retries decided.
pub(super) fn class(status: Status) -> u16 {
    match status {
        Status::OK => 200,
        Status::BAD_REQUEST => 400,
        Status::BUSY | Status::SERVICE_ERROR | Status::SERVER_ERROR => 503,
        Status::CLIENT_TIMEOUT | Status::SERVER_TIMEOUT => 504,
        Status::BAD_RESPONSE | Status::CHANNEL_INACTIVE => 502,
        Status::SERVICE_NOT_FOUND => 404,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use landfall_codec::{
        dubbo2::{Kind, Outcome, Response},
        hessian2::Limits,
    };

    use super::*;

    fn request(serialization: Serialization, two_way: bool) -> Header {
        Header {
            kind: Kind::Request { two_way },
            event: false,
            serialization,
            id: 7,
            length: 0,
        }
    }

    #[test]
    fn a_fault_is_told_under_the_callers_id_in_a_serialization_we_can_write() {
        for serialization in [Serialization::HESSIAN2, Serialization::FASTJSON2, Serialization::KRYO] {
            let reply = Fault::NoRoute.reply(&request(serialization, true)).unwrap();
            assert_eq!(
                (reply.header.id, reply.header.kind),
                (7, Kind::Response(Status::SERVICE_NOT_FOUND))
            );
            let written = match serialization {
                Serialization::KRYO => Serialization::HESSIAN2,
                other => other,
            };
            assert_eq!(reply.header.serialization, written);
        }
    }

    #[test]
    fn nobody_is_told_about_a_call_that_is_one_way() {
        assert_eq!(Fault::NoRoute.reply(&request(Serialization::HESSIAN2, false)), None);
        assert_eq!(Fault::Callback.reply(&request(Serialization::HESSIAN2, false)), None);
    }

    #[test]
    fn a_refused_callback_is_an_exception_that_no_consumer_tries_again() {
        let reply = Fault::Callback.reply(&request(Serialization::HESSIAN2, true)).unwrap();
        assert_eq!(reply.header.kind, Kind::Response(Status::OK));
        let read = Response::read(Serialization::HESSIAN2, reply.body, Limits::default()).unwrap();
        assert_eq!(read.outcome, Outcome::Exception);
    }
}
