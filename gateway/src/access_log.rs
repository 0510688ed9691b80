//! Where the access log goes: a file that may be rotated, standard output, or nowhere.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

/// How often it is looked whether the file is still the one under its name.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone, Debug, Default)]
pub enum AccessLogTarget {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    StandardOutput,
    /// A file, appended to. When it is renamed or removed, another is begun under its name: no signal is needed to
    /// rotate it. A new file may be read by its owner and group.
    File(PathBuf),
    /// To somebody in this process, in chunks of whole lines.
    Channel(Sender<Vec<u8>>),
}

/// The access log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {path}: {source}")]
pub struct OpenError {
    /// Which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl AccessLogTarget {
    /// From the command line: `-` is standard output, `off` nothing, anything else a file.
    pub fn parse(text: &str) -> Self {
        match text {
            "-" => Self::StandardOutput,
            "off" => Self::Off,
            path => Self::File(path.into()),
        }
    }

    /// Opens it for an engine's writer.
    ///
    /// # Errors
    /// The file cannot be opened or begun.
    pub fn open(self) -> Result<Option<Box<dyn Write + Send>>, OpenError> {
        Ok(match self {
            Self::Off => None,
            Self::StandardOutput => Some(Box::new(io::stdout())),
            Self::File(path) => match RotatedFile::open(path.clone()) {
                Ok(file) => Some(Box::new(file)),
                Err(source) => return Err(OpenError { path, source }),
            },
            Self::Channel(sender) => Some(Box::new(Lines {
                sender,
                pending: Vec::new(),
            })),
        })
    }
}

/// A file that is opened again when another stands under its name.
struct RotatedFile {
    path: PathBuf,
    file: File,
    inode: u64,
    looked: Instant,
}

impl RotatedFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        let inode = file.metadata()?.ino();
        Ok(Self {
            path,
            file,
            inode,
            looked: Instant::now(),
        })
    }

    /// Stays with the old file if the new one cannot be opened: a line in the wrong file is better than none.
    fn follow_rotation(&mut self) {
        if self.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        self.looked = Instant::now();
        if std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            return;
        }
        match Self::open(self.path.clone()) {
            Ok(new) => *self = new,
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the access log cannot be opened again"),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o640).open(path)
}

impl Write for RotatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.follow_rotation();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Hands on whole lines.
struct Lines {
    sender: Sender<Vec<u8>>,
    pending: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.pending);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the access log any more");
        if lines.is_empty() {
            Ok(())
        } else {
            self.sender.send(lines).map_err(gone)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_followed_and_no_line_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut log = RotatedFile::open(path.clone()).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("access.log.1")).unwrap();
        log.looked -= LOOK_AGAIN;
        log.write_all(b"two\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("access.log.1")).unwrap(),
            "one\n"
        );
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }

    #[test]
    fn a_channel_gets_whole_lines() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut lines = AccessLogTarget::Channel(sender).open().unwrap().unwrap();
        lines.write_all(b"{\"a\":1}").unwrap();
        assert!(receiver.try_recv().is_err());
        lines.write_all(b"\n").unwrap();
        assert_eq!(receiver.try_recv().unwrap(), b"{\"a\":1}\n");
    }

    #[test]
    fn a_directory_is_no_access_log_and_the_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let refused = AccessLogTarget::File(dir.path().to_owned()).open().err().unwrap();
        assert!(
            refused.to_string().contains(&dir.path().display().to_string()),
            "{refused}"
        );
    }
}
