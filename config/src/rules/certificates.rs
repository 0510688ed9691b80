//! Certificates: files that are there and look like PEM.

use std::{collections::BTreeMap, fs, io::Read, path::Path, sync::Arc};

use landfall_model::rules::CertificateFiles;

use super::Report;
use crate::{
    document::{At, Document},
    kinds::{Kind, certificate::CertificateSpec},
    secret::SecretRef,
};

/// More than any chain has; a wrong path may lead anywhere.
const MAX_PEM: u64 = 1024 * 1024;

/// The sound certificates by name.
pub(super) fn translate<'a>(documents: &'a [Document], report: &mut Report) -> BTreeMap<&'a str, CertificateFiles> {
    let mut certificates = BTreeMap::new();
    for document in documents.iter().filter(|d| d.kind == Kind::Certificate) {
        let Some((at, spec)) = document
            .spec()
            .and_then(|at| Some((at.clone(), at.read::<CertificateSpec>()?)))
        else {
            continue;
        };
        let certificate = pem_file(&at, "certificate", &spec.certificate, "CERTIFICATE", report);
        let key = pem_file(&at, "key", &spec.key, "PRIVATE KEY", report);
        if let (Some(certificate), Some(key)) = (certificate, key) {
            certificates.insert(&*document.name, CertificateFiles { certificate, key });
        }
    }
    certificates
}

/// The path of a PEM file that exists and holds a section of the given kind.
pub(super) fn pem_file(
    at: &At<'_>,
    field: &str,
    reference: &SecretRef,
    section: &str,
    report: &mut Report,
) -> Option<Arc<Path>> {
    let SecretRef::File(path) = reference else {
        let what = "it is followed as a file, a variable cannot be";
        report
            .problems
            .push(at.problem(field, what, "write `file:` and the path of a PEM file"));
        return None;
    };
    let path = at.document().base.join(path);
    let mut text = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut text));
    if let Err(error) = read {
        let what = format!("cannot read {}: {error}", path.display());
        let mend = "write the path of a PEM file, relative to the configuration file";
        report.problems.push(at.problem(field, what, mend));
        return None;
    }
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{section}-----"));
    if !String::from_utf8_lossy(&text).lines().any(begins) {
        let what = format!("{} holds no `-----BEGIN … {section}-----`", path.display());
        report.problems.push(at.problem(field, what, "name a file in PEM form"));
        return None;
    }
    Some(path.into())
}
