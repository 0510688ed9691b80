//! Calls of the framework's own: what a service answers besides the methods of its interface.
//!
//! What decides is what a provider goes by: the method in front of the arguments, which no attachment replaces, and who is
//! looked up (`RpcUtils.isGenericCall`, `RpcUtils.isEcho`, `GenericFilter`, `EchoFilter`).

use landfall_model::rules::FrameworkCalls;

use super::Facts;

/// The interfaces that tell what a provider offers.
const METADATA: [&str; 2] = [
    "org.apache.dubbo.metadata.MetadataService",
    "org.apache.dubbo.metadata.MetadataServiceV2",
];

/// Why a rule does not let a call through that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is of that kind.
    #[error("{} are not let through", match .0 {
        FrameworkCalls::Generic => "generic calls",
        FrameworkCalls::Echo => "echo calls",
        FrameworkCalls::Metadata => "calls of Dubbo's MetadataService",
    })]
    Call(FrameworkCalls),
    /// Its body is not opened, so it might be of any kind.
    #[error("calls that cannot be read are not let through")]
    Opaque,
}

/// Why a rule that refuses these kinds does not let the call through, if it does not.
pub(super) fn refused(kinds: &[FrameworkCalls], facts: Option<&Facts<'_>>) -> Option<Refused> {
    if kinds.is_empty() {
        return None;
    }
    let Some(facts) = facts else {
        return Some(Refused::Opaque);
    };
    let kind = kinds.iter().find(|kind| is(**kind, facts));
    kind.map(|kind| Refused::Call(*kind))
}

fn is(kind: FrameworkCalls, facts: &Facts<'_>) -> bool {
    match kind {
        FrameworkCalls::Generic => facts.request.is_generic(),
        FrameworkCalls::Echo => facts.request.method.as_str() == "$echo",
        FrameworkCalls::Metadata => {
            METADATA.contains(&facts.identity.interface) || METADATA.contains(&facts.identity.path)
        }
    }
}
