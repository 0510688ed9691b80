//! The text of a configuration: one file, or every YAML or JSON file of a directory.
//!
//! Limits are kept before anything is parsed. Next on the path: `yaml`.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::problem::Problem;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 8 * 1024 * 1024;
/// The most files that a directory may hold.
pub const MAX_FILES: usize = 1000;

/// A file of the configuration as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As people name it: the path that was given, joined with the file's name.
    pub name: Arc<str>,
    /// Where relative paths inside it start.
    pub base: Arc<Path>,
    /// Its bytes; `Err` is the size of a file over [`MAX_FILE`].
    pub bytes: Result<Arc<[u8]>, u64>,
}

impl Source {
    /// A text under a name, for what does not come from a file.
    pub fn text(name: &str, base: &Path, text: impl AsRef<[u8]>) -> Self {
        let bytes = text.as_ref();
        Self {
            name: name.into(),
            base: base.into(),
            bytes: if bytes.len() as u64 > MAX_FILE {
                Err(bytes.len() as u64)
            } else {
                Ok(bytes.into())
            },
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        // A device says that it is empty and never ends.
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        let read = bytes.len() as u64;
        Ok(Self {
            name: path.display().to_string().into(),
            base: path.parent().unwrap_or(Path::new("")).into(),
            bytes: if read > MAX_FILE {
                Err(size.max(read))
            } else {
                Ok(bytes.into())
            },
        })
    }

    /// The text, or why it is none.
    pub(crate) fn decode(&self) -> Result<&str, Problem> {
        let refuse = |line, column, what: String, mend: &str| Problem {
            file: self.name.clone(),
            line,
            column,
            path: String::new(),
            what,
            mend: mend.to_owned(),
        };
        let bytes = self.bytes.as_ref().map_err(|size| {
            let what = format!("the file has {size} bytes, which is over the limit of {MAX_FILE}");
            refuse(1, 1, what, "split it into several files of one directory")
        })?;
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(refuse(1, 1, "the file is UTF-16".to_owned(), "save it as UTF-8"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let (line, column) = place(&bytes[..error.valid_up_to()]);
            refuse(
                line,
                column,
                "the bytes here are not UTF-8".to_owned(),
                "save the file as UTF-8",
            )
        })?;
        if let Some(at) = bytes.iter().position(|b| *b == 0) {
            let (line, column) = place(&bytes[..at]);
            return Err(refuse(line, column, "a NUL byte".to_owned(), "remove it; YAML is text"));
        }
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

/// Line and column, from 1, of what follows `before`.
fn place(before: &[u8]) -> (u32, u32) {
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    (line as u32, column as u32)
}

/// Reads a file, or the `*.yaml`, `*.yml` and `*.json` files of a directory in order of their names:
/// not those of directories inside it, and not hidden ones.
pub fn read(path: &Path) -> io::Result<Vec<Source>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![Source::read(path)?]);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let wanted = file.extension().is_some_and(|e| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| e.eq_ignore_ascii_case(known))
        });
        if wanted && !hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.len() > MAX_FILES {
        let what = format!("{} files in one directory, the limit is {MAX_FILES}", files.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    files.sort();
    files.iter().map(|file| Source::read(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_yaml_files_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.json", ".hidden.yaml", "notes.txt"] {
            fs::write(dir.path().join(name), "x: 1\n").unwrap();
        }
        fs::create_dir(dir.path().join("sub.yaml")).unwrap();
        let names: Vec<_> = read(dir.path()).unwrap().into_iter().map(|s| s.name).collect();
        let expected = ["a.yaml", "b.yml", "c.json"].map(|n| dir.path().join(n).display().to_string());
        assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let at = |bytes: &[u8]| {
            let problem = Source::text("f", Path::new(""), bytes).decode().unwrap_err();
            (problem.line, problem.column, problem.what)
        };
        assert_eq!(
            at(b"a: 1\nb\xc3\xa9: \xff\n"),
            (2, 5, "the bytes here are not UTF-8".to_owned())
        );
        assert_eq!(at(b"a: \0"), (1, 4, "a NUL byte".to_owned()));
        assert_eq!(at(b"\xff\xfea\0"), (1, 1, "the file is UTF-16".to_owned()));
        assert!(at(&vec![b'#'; MAX_FILE as usize + 1]).2.contains("over the limit"));
    }
}
