//! From a path to a [`Config`], or to everything that is wrong with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use landfall_model::{RegistryName, Rules};

use crate::{
    document,
    kinds::{facade::FacadeSpec, registry::RegistrySpec, registry_sync::RegistrySyncSpec},
    problem::{LoadError, Problem, Problems},
    rules,
    source::{self, Source},
    yaml::Environment,
};

/// A configuration without a problem.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registries to follow, in document order.
    pub registries: Vec<RegistryConfig>,
    /// What is written from registry to registry, in document order.
    pub syncs: Vec<SyncConfig>,
    /// The facades to show, in document order.
    pub facades: Vec<FacadeConfig>,
    /// What it says about traffic. `version` is 1 after [`load`]; [`follow`](crate::follow::follow) counts on.
    pub rules: Rules,
    /// What is allowed but odd.
    pub warnings: Vec<Problem>,
    /// A hash of names and content of all files: equal for equal files.
    pub fingerprint: String,
    /// The files it was made from, variables not filled in.
    pub sources: Arc<[Source]>,
}

/// A registry to follow.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// `metadata.name`, which is also the namespace of its services.
    pub name: RegistryName,
    /// How to reach it.
    pub spec: RegistrySpec,
    /// Where relative paths inside it start: the directory of its file.
    pub base: PathBuf,
}

/// A RegistrySync document.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncConfig {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// What it says.
    pub spec: RegistrySyncSpec,
}

/// A facade to show.
#[derive(Clone, Debug, PartialEq)]
pub struct FacadeConfig {
    /// `metadata.name`.
    pub name: String,
    /// What it shows, and where.
    pub spec: FacadeSpec,
}

/// Reads a file, or all `*.yaml`, `*.yml` and `*.json` files of a directory.
///
/// # Errors
/// [`LoadError::Unreadable`] when the path cannot be read, else [`LoadError::Refused`] with all problems.
pub fn load(path: impl AsRef<Path>) -> Result<Config, LoadError> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// As [`load`], with variables for `${NAME}` from elsewhere than the process's environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: impl AsRef<Path>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, LoadError> {
    let path = path.as_ref();
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let sources = source::read(path).map_err(unreadable)?;
    interpret(path, sources, environment)
}

/// As [`load`], from a text: `name` stands for the file in problems, `base` is where relative paths start.
///
/// # Errors
/// [`LoadError::Refused`] with all problems.
pub fn load_text(name: &str, base: &Path, text: impl AsRef<[u8]>) -> Result<Config, LoadError> {
    let sources = vec![Source::text(name, base, text)];
    interpret(Path::new(name), sources, &|name| std::env::var(name).ok())
}

/// What the files say. `path` is what was given, for the problem of having no document at all.
pub(crate) fn interpret(path: &Path, sources: Vec<Source>, environment: &Environment<'_>) -> Result<Config, LoadError> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for source in &sources {
        documents.extend(document::read(source, environment, &mut problems));
    }
    if documents.is_empty() && problems.is_empty() {
        let file = sources
            .first()
            .map_or_else(|| path.display().to_string().into(), |s| s.name.clone());
        let what = if sources.is_empty() {
            "the directory holds no *.yaml, *.yml or *.json file".to_owned()
        } else {
            "there is no document".to_owned()
        };
        let mend = "write at least one document with apiVersion, kind, metadata and spec".to_owned();
        problems.push(Problem {
            file,
            line: 1,
            column: 1,
            path: String::new(),
            what,
            mend,
        });
    }
    let mut report = rules::Report {
        problems,
        warnings: Vec::new(),
    };
    let translated = rules::translate(&documents, &mut report);
    // By file in the order of reading, then by place: as one reads.
    let order = |file: &Arc<str>| sources.iter().position(|s| s.name == *file);
    let sort = |list: &mut Vec<Problem>| {
        list.sort_by_cached_key(|p| (order(&p.file), p.line, p.column, p.path.clone(), p.what.clone()));
        list.dedup();
    };
    sort(&mut report.problems);
    sort(&mut report.warnings);
    if !report.problems.is_empty() {
        return Err(LoadError::Refused(Problems(report.problems).capped()));
    }
    Ok(Config {
        registries: translated.registries,
        syncs: translated.syncs,
        facades: translated.facades,
        rules: Rules {
            version: 1,
            ..translated.rules
        },
        warnings: report.warnings,
        fingerprint: fingerprint(&sources),
        sources: sources.into(),
    })
}

/// FNV-1a over names and contents: tells versions apart, it is no protection against forgery.
pub(crate) fn fingerprint(sources: &[Source]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |bytes: &[u8]| {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for source in sources {
        let file = Path::new(&*source.name).file_name().unwrap_or_default();
        take(file.to_string_lossy().as_bytes());
        match &source.bytes {
            Ok(bytes) => take(bytes),
            Err(size) => take(&size.to_le_bytes()),
        }
    }
    format!("{hash:016x}")
}
