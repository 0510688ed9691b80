//! What can be wrong with a body.

use crate::hessian2;

use super::Serialization;

/// Why a body cannot be read, or not be changed. Framing is not concerned: the connection goes on in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A serialization that we do not open. The call can be passed on untouched where that is allowed; its caller cannot be answered.
    #[error("bodies in {0} are not opened")]
    Opaque(Serialization),
    /// The bytes are not what their serialization says. Answered with BAD_REQUEST.
    #[error(transparent)]
    Hessian(#[from] hessian2::Error),
    /// Good values that make no call or no result. Answered with BAD_REQUEST.
    #[error("{0}")]
    Malformed(&'static str),
    /// It says two things about who is called, so who authorises one could be made to let through the other. Answered with BAD_REQUEST.
    #[error("the call names two {0}: one in front of its arguments, one in its attachments")]
    TwoMinds(&'static str),
    /// An attachment that later bytes depend on cannot be taken away. Our own wish cannot be fulfilled; the body is as good as before.
    #[error("the attachment `{0}` holds an object and cannot be replaced")]
    Bound(String),
}
