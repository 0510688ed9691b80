//! Files that hold keys: 0600, whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Makes a directory that nobody else can look into; refuses one that others can.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    private(path)
}

/// Fails if others than the owner may use `path`.
pub(crate) fn private(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        let mend = format!("others may use it (mode {:o}); run chmod go= on it", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, mend));
    }
    Ok(())
}

/// Replaces a file: the old content or the new one is there after a crash, never a part. `tempfile` makes it 0600.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(parent)?.sync_all()
}
