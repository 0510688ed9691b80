//! `cargo xtask deb`: a Debian package of the release binary with unit, settings, example configuration and papers.
//!
//! ```text
//! cargo build --release ─▶ tree (usr/bin, lib/systemd, etc, DEBIAN) ─▶ dpkg-deb ─▶ target/deb/landfall_VERSION_ARCH.deb
//! ```

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Where each file of the repository goes, and with which rights.
const FILES: [(&str, &str, u32); 9] = [
    (
        "deploy/systemd/landfall.service",
        "lib/systemd/system/landfall.service",
        0o644,
    ),
    (
        "deploy/systemd/landfall.socket",
        "lib/systemd/system/landfall.socket",
        0o644,
    ),
    ("deploy/landfall.default", "etc/default/landfall", 0o644),
    ("deploy/landfall.yaml", "etc/landfall/landfall.yaml", 0o644),
    ("LICENSE", "usr/share/doc/landfall/copyright", 0o644),
    ("README.md", "usr/share/doc/landfall/README.md", 0o644),
    ("deploy/debian/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/debian/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Builds the package and prints its path. With a binary given, that one is packed instead of a fresh release build.
pub fn build(binary: Option<&str>) -> ExitCode {
    match package(binary) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("deb: {why}");
            ExitCode::FAILURE
        }
    }
}

fn package(binary: Option<&str>) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let binary = match binary {
        Some(path) => PathBuf::from(path),
        None => {
            run(Command::new(env!("CARGO")).args(["build", "--release", "--locked", "--package", "landfall"]))?;
            target.join("release/landfall")
        }
    };
    let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let version = env!("CARGO_PKG_VERSION");
    let output = target.join("deb");
    let tree = output.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| at(&tree, &error))?;
    }
    put(&binary, &tree.join("usr/bin/landfall"), 0o755)?;
    // What the file was linked with has to be there; symbols for debuggers need not.
    run(Command::new("strip")
        .arg("--strip-debug")
        .arg(tree.join("usr/bin/landfall")))?;
    for (from, to, mode) in FILES {
        put(Path::new(from), &tree.join(to), mode)?;
    }
    for example in fs::read_dir("examples").map_err(|error| at(Path::new("examples"), &error))? {
        let path = example.map_err(|error| at(Path::new("examples"), &error))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            put(&path, &tree.join("usr/share/doc/landfall/examples").join(name), 0o644)?;
        }
    }
    let bytes = fs::read(tree.join("usr/bin/landfall")).map_err(|error| at(&binary, &error))?;
    let glibc = newest_glibc(&bytes).ok_or("the binary names no version of glibc")?;
    let control = format!(
        "Package: landfall\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Landfall maintainers \
         <maintainers@landfall.invalid>\nDepends: libc6 (>= {glibc}), libgcc-s1\nRecommends: ca-certificates\nSection: net\n\
         Priority: optional\nHomepage: {}\nDescription: gateway and mesh bridge for services in registries\n Brings \
         services of Eureka, Consul, Nacos and Dubbo registries behind one gateway,\n on virtual machines and bare \
         metal, with no Kubernetes and no change to their code.\n",
        env!("CARGO_PKG_REPOSITORY")
    );
    write(&tree.join("DEBIAN/control"), &control)?;
    write(
        &tree.join("DEBIAN/conffiles"),
        "/etc/default/landfall\n/etc/landfall/landfall.yaml\n",
    )?;
    let path = output.join(format!("landfall_{version}_{architecture}.deb"));
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&tree)
        .arg(&path))?;
    Ok(path)
}

/// The newest `GLIBC_a.b` that the file asks for.
fn newest_glibc(binary: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_";
    let versions = binary.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK);
    let number = |at: usize| {
        let text = binary.get(at + MARK.len()..)?;
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let (major, minor) = std::str::from_utf8(&text[..end]).ok()?.split_once('.')?;
        // Some are of three parts: what they add is in every later release.
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let (major, minor) = versions.filter_map(|(at, _)| number(at)).max()?;
    Some(format!("{major}.{minor}"))
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let parent = to.parent().ok_or("a path without a directory")?;
    fs::create_dir_all(parent).map_err(|error| at(parent, &error))?;
    fs::copy(from, to).map_err(|error| at(from, &error))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|error| at(to, &error))
}

fn write(to: &Path, text: &str) -> Result<(), String> {
    fs::write(to, text).map_err(|error| at(to, &error))
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Runs it to its end and gives back what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number_and_not_by_letters() {
        let binary = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.4\0";
        assert_eq!(newest_glibc(binary).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc(b"static"), None);
    }
}
