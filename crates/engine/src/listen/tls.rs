//! TLS on listeners: which certificate answers which name, and files that are read again when they change.
//!
//! ```text
//!  ClientHello(sni) ─▶ Names: the listener whose host name fits best ─▶ its certificate that fits best
//!                        ▲ swapped whole                                  ▲ Certificate, swapped when files change
//! ```
//!
//! One rustls configuration per port lives as long as the port: new names and new certificates are looked up by
//! its resolver, so neither the socket nor open connections nor session tickets notice the change. A pair that
//! cannot be used (unreadable, not PEM, key of another certificate) is refused, the one before stays in use, and
//! [`Store::problems`] says so.

use std::{
    collections::HashMap,
    fmt,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use landfall_model::rules::{CertificateFiles, HostPattern};
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::CryptoProvider,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than what is asked for.
    #[error("{path}: {what}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The two do not belong together.
    #[error("key {key} and certificate {certificate} cannot be used together: {why}")]
    Mismatch {
        /// The certificate file.
        certificate: String,
        /// The key file.
        key: String,
        /// What rustls says.
        why: String,
    },
}

/// A certificate that follows its files.
pub(crate) struct Certificate {
    files: CertificateFiles,
    current: ArcSwapOption<CertifiedKey>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of both files, at the last look.
    stamps: Option<[Stamp; 2]>,
    problem: Option<String>,
}

/// What tells a changed file from an unchanged one: a symlink swap changes device or inode, a rewrite the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

impl Certificate {
    /// Reads the files if they changed since the last look.
    fn refresh(&self, provider: &CryptoProvider) {
        let stamps = match (Stamp::of(&self.files.certificate), Stamp::of(&self.files.key)) {
            (Some(certificate), Some(key)) => Some([certificate, key]),
            _ => None,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps.is_some() && stamps == seen.stamps {
            return;
        }
        // Files that vanish for a moment (a rename in two steps) are looked at again next time.
        seen.stamps = stamps;
        match load(&self.files, provider) {
            Ok(pair) => {
                if self.current.swap(Some(Arc::new(pair))).is_some() {
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                }
                seen.problem = None;
            }
            Err(error) => {
                let problem = error.to_string();
                if seen.problem.as_ref() != Some(&problem) {
                    tracing::error!("certificate refused, the one before stays in use: {problem}");
                }
                seen.problem = Some(problem);
            }
        }
    }

    fn problem(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// How well it fits a name: 2 exactly, 1 by a wildcard, 0 not.
    fn fits(&self, name: &str) -> u8 {
        let pair = self.current.load();
        let Some(leaf) = pair.as_ref().and_then(|pair| pair.cert.first()) else {
            return 0;
        };
        let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
            return 0;
        };
        let valid =
            |name: String| ServerName::try_from(name).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok());
        if !valid(name.to_owned()) {
            return 0;
        }
        // A certificate that also fits a sibling nobody has fits by a wildcard.
        match name.split_once('.') {
            Some((_, parent)) if valid(format!("no-such-sibling.{parent}")) => 1,
            _ => 2,
        }
    }
}

fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let show = |path: &Path| path.display().to_string();
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| CertificateError::Unreadable {
            path: show(path),
            source,
        })
    };
    let malformed = |path: &Path, what: &str| CertificateError::Malformed {
        path: show(path),
        what: what.to_owned(),
    };
    let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| malformed(&files.certificate, "not a PEM certificate chain"))?;
    if chain.is_empty() {
        return Err(malformed(&files.certificate, "no CERTIFICATE block inside"));
    }
    // The parser's own error may quote the key's bytes.
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|_| malformed(&files.key, "no PEM private key inside"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| CertificateError::Mismatch {
        certificate: show(&files.certificate),
        key: show(&files.key),
        why: error.to_string(),
    })
}

/// Every certificate in use, each read once however many listeners name it.
pub(crate) struct Store {
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn rustls::server::ProducesTickets>,
    certificates: Mutex<HashMap<CertificateFiles, Weak<Certificate>>>,
}

impl Store {
    /// Empty. Session tickets are sealed with a key of this store that changes every six hours.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            ticketer: rustls::crypto::ring::Ticketer::new()?,
            certificates: Mutex::default(),
        })
    }

    /// The certificate of these files, read now if nobody uses it yet.
    pub(crate) fn certificate(&self, files: &CertificateFiles) -> Arc<Certificate> {
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = certificates.get(files).and_then(Weak::upgrade) {
            return known;
        }
        let certificate = Arc::new(Certificate {
            files: files.clone(),
            current: ArcSwapOption::empty(),
            seen: Mutex::default(),
        });
        certificate.refresh(&self.provider);
        certificates.insert(files.clone(), Arc::downgrade(&certificate));
        certificate
    }

    /// Looks at every file in use and reads those that changed.
    pub(crate) fn refresh(&self) {
        let in_use: Vec<_> = {
            let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
            certificates.retain(|_, certificate| certificate.strong_count() > 0);
            certificates.values().filter_map(Weak::upgrade).collect()
        };
        for certificate in in_use {
            certificate.refresh(&self.provider);
        }
    }

    /// The configuration of a port: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, tickets.
    pub(crate) fn config(&self, names: Arc<ArcSwap<Names>>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(names)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = self.ticketer.clone();
        Ok(Arc::new(config))
    }
}

/// The names and certificates of the listeners on one port.
#[derive(Default)]
pub(crate) struct Names {
    /// In document order.
    listeners: Vec<(HostPattern, Vec<Arc<Certificate>>)>,
}

impl Names {
    pub(crate) fn new(listeners: Vec<(HostPattern, Vec<Arc<Certificate>>)>) -> Self {
        Self { listeners }
    }

    /// What is wrong with the files, in the order of the listeners.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.listeners
            .iter()
            .flat_map(|(_, certificates)| certificates)
            .filter_map(|certificate| certificate.problem())
            .collect()
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let fitting = name.and_then(|name| {
            self.listeners
                .iter()
                .filter(|(pattern, _)| pattern.matches(name))
                // max_by_key takes the last of equals, and the first in the document wins.
                .rev()
                .max_by_key(|(pattern, _)| pattern.specificity())
        });
        // A client without SNI, or with a name of nobody, gets an answer all the same: the request is judged by
        // its host name later, and an error over HTTP tells more than a broken handshake.
        let any = || {
            self.listeners
                .iter()
                .find(|(pattern, _)| *pattern == HostPattern::Any)
                .or(self.listeners.first())
        };
        let (_, certificates) = fitting.or_else(any)?;
        let best = match (name, &certificates[..]) {
            (_, [only]) => Some(only),
            (Some(name), many) => many
                .iter()
                .rev()
                .max_by_key(|certificate| certificate.fits(name))
                .filter(|certificate| certificate.fits(name) > 0)
                .or(many.first()),
            (None, many) => many.first(),
        };
        best?.current.load_full()
    }
}

struct Resolver(Arc<ArcSwap<Names>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = self.0.load();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        names.choose(name.as_deref())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn write(dir: &Path, file: &str, names: &[&str]) -> CertificateFiles {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        let [certificate, key]: [PathBuf; 2] = [dir.join(format!("{file}.crt")), dir.join(format!("{file}.key"))];
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    fn leaf(pair: &CertifiedKey) -> Vec<u8> {
        pair.cert[0].to_vec()
    }

    #[test]
    fn the_certificate_that_fits_the_name_best_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new().unwrap();
        let [first, wild, exact, other] = [
            ("first", "first.test"),
            ("wild", "*.shop.test"),
            ("exact", "a.shop.test"),
            ("other", "other.test"),
        ]
        .map(|(file, name)| store.certificate(&write(dir.path(), file, &[name])));
        let names = Names::new(vec![
            (
                HostPattern::parse("*.shop.test"),
                vec![first.clone(), wild.clone(), exact.clone()],
            ),
            (HostPattern::parse("other.test"), vec![other.clone()]),
        ]);
        let chosen = |name| leaf(&names.choose(name).unwrap());
        let of = |certificate: &Certificate| leaf(&certificate.current.load_full().unwrap());
        assert_eq!(chosen(Some("a.shop.test")), of(&exact));
        assert_eq!(chosen(Some("b.shop.test")), of(&wild));
        assert_eq!(chosen(Some("a.b.shop.test")), of(&first));
        assert_eq!(chosen(Some("other.test")), of(&other));
        assert_eq!(chosen(Some("nobody.test")), of(&first));
        assert_eq!(chosen(None), of(&first));
    }

    #[test]
    fn a_changed_pair_is_taken_and_a_bad_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new().unwrap();
        let files = write(dir.path(), "a", &["a.test"]);
        let certificate = store.certificate(&files);
        let before = leaf(&certificate.current.load_full().unwrap());
        write(dir.path(), "a", &["b.test"]);
        store.refresh();
        let after = leaf(&certificate.current.load_full().unwrap());
        assert_ne!(before, after);
        assert_eq!(certificate.problem(), None);

        let stranger = write(dir.path(), "stranger", &["c.test"]);
        std::fs::copy(&stranger.key, &files.key).unwrap();
        store.refresh();
        assert_eq!(leaf(&certificate.current.load_full().unwrap()), after);
        assert!(certificate.problem().unwrap().contains("cannot be used together"));

        std::fs::remove_file(&files.key).unwrap();
        store.refresh();
        assert!(certificate.problem().unwrap().contains("cannot read"));
        write(dir.path(), "a", &["d.test"]);
        store.refresh();
        assert_eq!(certificate.problem(), None);
    }
}
