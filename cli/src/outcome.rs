//! How a command ends: the exit code, and the words on standard error.

use std::{fmt, process::ExitCode};

/// Why a command did not do what it was asked. One variant an exit code.
#[derive(Debug)]
pub enum Failure {
    /// 1: it was done, and the answer is no.
    No(String),
    /// 2: it was asked wrongly.
    Usage(String),
    /// 3: something it needs could not be reached.
    Unreachable(String),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
        }
    }
}

/// An error with everything that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
