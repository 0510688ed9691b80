//! The content of a `file:` registry: the same as a `static` block.
//!
//! ```yaml
//! services:
//!   - name: orders
//!     instances: ["10.0.0.7:8080", { address: "10.0.0.8:8080", weight: 50, metadata: { version: "2" } }]
//! ```

use std::path::Path;

use crate::{
    document,
    kinds::registry::StaticSpec,
    problem::{Problem, Problems},
    rules::{Report, services},
    source::Source,
};

/// Reads the services of such a file. `file_name` is what problems call it.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn parse_services(text: impl AsRef<[u8]>, file_name: &str) -> Result<StaticSpec, Vec<Problem>> {
    read(text, file_name, services)
}

/// As [`parse_services`], but an entry whose form is right is let through whatever it says: who follows
/// the file quarantines the one that cannot be used, and its siblings live.
///
/// # Errors
/// What is wrong with the form, with its place.
pub fn read_services(text: impl AsRef<[u8]>, file_name: &str) -> Result<StaticSpec, Vec<Problem>> {
    read(text, file_name, |_, _| {})
}

fn read(
    text: impl AsRef<[u8]>,
    file_name: &str,
    check: impl Fn(&document::At<'_>, &mut Report),
) -> Result<StaticSpec, Vec<Problem>> {
    let source = Source::text(file_name, Path::new(""), text);
    let mut report = Report::default();
    let documents = document::read_services(&source, &|name| std::env::var(name).ok(), &mut report.problems);
    let mut spec = StaticSpec::default();
    for document in &documents {
        check(&document.root(), &mut report);
        if let Some(mut one) = document.root().read::<StaticSpec>() {
            spec.services.append(&mut one.services);
        }
    }
    if documents.len() > 1 {
        let what = "a second document";
        let problem = documents[1]
            .root()
            .problem("", what, "keep all services in one document");
        report.problems.push(problem);
    }
    let Problems(problems) = Problems(report.problems).sorted().capped();
    if problems.is_empty() { Ok(spec) } else { Err(problems) }
}
