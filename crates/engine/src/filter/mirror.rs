//! RequestMirror: which calls are copied, and where to.

use landfall_model::rules::{BackendRef, Mirror};

use crate::{moment::scale, route::Where};

/// A backend that gets copies. What it answers is ignored, and that it is missing harms nobody.
#[derive(Debug)]
pub struct MirrorSlot {
    backend: BackendRef,
    to: Where,
    fraction: (u32, u32),
    steps_before: usize,
}

impl MirrorSlot {
    pub(super) fn new(source: &Mirror, to: Where, steps_before: usize) -> Self {
        Self {
            backend: source.backend.clone(),
            to,
            fraction: source.fraction,
            steps_before,
        }
    }

    /// Whether the call that drew this number is copied.
    pub fn wants(&self, random: u64) -> bool {
        let (numerator, denominator) = self.fraction;
        scale(random, u64::from(denominator.max(1))) < u64::from(numerator)
    }

    /// Where the copy goes; [`Runtime::cluster`](crate::runtime::Runtime::cluster) leads on.
    pub fn to(&self) -> &Where {
        &self.to
    }

    /// As the route names it.
    pub fn backend(&self) -> &BackendRef {
        &self.backend
    }

    /// Copies of how many of how many calls.
    pub fn fraction(&self) -> (u32, u32) {
        self.fraction
    }

    pub(super) fn steps_before(&self) -> usize {
        self.steps_before
    }
}
