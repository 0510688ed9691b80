//! Join tokens: how a host gets its first certificate.
//!
//! ```text
//! lft1.<id, 16 hex digits>.<secret, 40 hex digits>
//! ```
//!
//! A token is shown once; `tokens.json` (0600) has a hash of the secret only. It is for one identity and one use. The use is on
//! disk before the certificate is handed out. If that answer is lost, the same key is answered again for ten minutes: whoever
//! overhears the token lacks the key. Next on the path: [`mod@crate::request`] is what a host asks with.

use std::fmt::Write;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ca::{Ca, CaError, random};
use crate::files;
use crate::id::SpiffeId;
use crate::request;
use crate::verify::unix;

/// The longest life of a token.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a lost answer can be asked for again, in seconds.
const AGAIN: u64 = 10 * 60;
/// How long an expired token is remembered, so that it is called expired and not unknown, in seconds.
const REMEMBERED: u64 = 7 * 24 * 3600;
/// The most tokens at once.
const COUNT: usize = 10_000;
/// The largest file that is read.
const FILE: u64 = 16 * 1024 * 1024;

/// Why a host is not let in, or a token not made.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not a token.
    #[error("this is no join token; it begins with lft1 and is copied whole")]
    Form,
    /// No such token, or not its secret.
    #[error("the join token is unknown here; was it made by another control plane?")]
    Unknown,
    /// Too late.
    #[error("join token {0} has expired; make a new one")]
    Expired(String),
    /// Somebody has used it with another key: perhaps it was stolen.
    #[error("join token {0} was used before, with another key; if that was not this host, it was stolen")]
    Used(String),
    /// The life that was asked for is out of range, or there are too many.
    #[error("{0}")]
    Limit(&'static str),
    /// The file of tokens cannot be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The request is refused. The token is not used up.
    #[error(transparent)]
    Ca(#[from] CaError),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    id: String,
    hash: [u8; 32],
    identity: String,
    expiry: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Use>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Use {
    key: [u8; 32],
    at: u64,
}

/// The tokens of an authority.
pub struct Tokens {
    path: PathBuf,
    tokens: Vec<Token>,
}

impl Tokens {
    /// Opens the tokens in `directory`, which is that of the authority.
    pub fn open(directory: &Path) -> Result<Self, JoinError> {
        let path = directory.join("tokens.json");
        let tokens = read(&path).map_err(|source| JoinError::Disk {
            path: path.clone(),
            source,
        })?;
        Ok(Self { path, tokens })
    }

    /// Makes a token for `identity`. The text is the secret: show it once, log it never.
    pub fn create(&mut self, identity: &SpiffeId, life: Duration, now: SystemTime) -> Result<String, JoinError> {
        if life.is_zero() || life > LONGEST {
            return Err(JoinError::Limit("a join token lives for at most 7 days"));
        }
        let mut tokens = self.tokens.clone();
        let seconds = unix(now).as_secs();
        tokens.retain(|token| token.expiry + REMEMBERED > seconds);
        if tokens.len() >= COUNT {
            return Err(JoinError::Limit(
                "there are 10,000 join tokens; wait until some have expired",
            ));
        }
        let (id, secret) = (hex(&random::<8>()?), hex(&random::<20>()?));
        tokens.push(Token {
            hash: Sha256::digest(&secret).into(),
            identity: identity.to_string(),
            expiry: seconds + life.as_secs(),
            used: None,
            id: id.clone(),
        });
        self.store(tokens)?;
        Ok(format!("lft1.{id}.{secret}"))
    }

    /// Uses a token: a certificate for its identity and the key of the request.
    pub fn redeem(
        &mut self,
        text: &str,
        csr: &[u8],
        ca: &Ca,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, JoinError> {
        let (id, secret) = parse(text).ok_or(JoinError::Form)?;
        let hash: [u8; 32] = Sha256::digest(secret).into();
        // Hashes are compared: how long that takes tells nothing of a secret.
        let found = self
            .tokens
            .iter()
            .position(|token| token.id == id && token.hash == hash);
        let at = found.ok_or(JoinError::Unknown)?;
        let (token, seconds) = (&self.tokens[at], unix(now).as_secs());
        if token.used.is_none() && seconds >= token.expiry {
            return Err(JoinError::Expired(id.to_owned()));
        }
        let identity = SpiffeId::parse(&token.identity).map_err(|_| JoinError::Unknown)?;
        // First the certificate, so that a bad request does not burn the token; it leaves here after the use is on disk.
        let certificate = ca.issue(&identity, csr, now)?;
        let key: [u8; 32] = Sha256::digest(request::public_key(&certificate).unwrap_or_default()).into();
        match &token.used {
            Some(used) if used.key == key && seconds < used.at + AGAIN => {}
            Some(_) => return Err(JoinError::Used(id.to_owned())),
            None => {
                let mut tokens = self.tokens.clone();
                tokens[at].used = Some(Use { key, at: seconds });
                self.store(tokens)?;
            }
        }
        Ok(certificate)
    }

    fn store(&mut self, tokens: Vec<Token>) -> Result<(), JoinError> {
        let written = serde_json::to_vec(&tokens).map_err(io::Error::from);
        let written = written.and_then(|bytes| files::write(&self.path, &bytes));
        written.map_err(|source| JoinError::Disk {
            path: self.path.clone(),
            source,
        })?;
        self.tokens = tokens;
        Ok(())
    }
}

fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("lft1.")?.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (id.len() == 16 && secret.len() == 40 && digits(id) && digits(secret)).then_some((id, secret))
}

fn read(path: &Path) -> io::Result<Vec<Token>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    files::private(path)?;
    let mut bytes = Vec::new();
    file.take(FILE).read_to_end(&mut bytes)?;
    let damaged = "the file is cut or damaged; move it away, and make new tokens for hosts that have not joined";
    serde_json::from_slice(&bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, damaged))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostKey, RequestError, TrustDomain, leaf};

    const HOUR: Duration = Duration::from_secs(3600);

    struct Control {
        directory: tempfile::TempDir,
        ca: Ca,
        tokens: Tokens,
        orders: SpiffeId,
        now: SystemTime,
    }

    fn control() -> Control {
        let (directory, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let domain = TrustDomain::new("mesh").unwrap();
        let ca = Ca::open(&directory.path().join("ca"), domain.clone(), HOUR, now).unwrap();
        Control {
            tokens: Tokens::open(&directory.path().join("ca")).unwrap(),
            orders: SpiffeId::new(&domain, "eureka", "orders").unwrap(),
            directory,
            ca,
            now,
        }
    }

    #[test]
    fn a_token_is_used_once_and_a_lost_answer_is_given_again_to_the_same_key_after_a_restart() {
        let mut on = control();
        let text = on.tokens.create(&on.orders, HOUR, on.now).unwrap();
        let (host, thief) = (HostKey::generate().unwrap(), HostKey::generate().unwrap());
        let (csr, stolen) = (host.request(&on.orders).unwrap(), thief.request(&on.orders).unwrap());
        let certificate = on.tokens.redeem(&text, &csr, &on.ca, on.now).unwrap();
        assert_eq!(leaf::read(&certificate).unwrap().id, on.orders);

        let file = on.directory.path().join("ca/tokens.json");
        let secret = text.rsplit('.').next().unwrap();
        assert!(!std::fs::read_to_string(&file).unwrap().contains(secret));

        let mut tokens = Tokens::open(file.parent().unwrap()).unwrap();
        tokens
            .redeem(&text, &csr, &on.ca, on.now + Duration::from_secs(599))
            .unwrap();
        let used = |result| matches!(result, Err(JoinError::Used(_)));
        assert!(used(tokens.redeem(&text, &stolen, &on.ca, on.now)));
        assert!(used(tokens.redeem(
            &text,
            &csr,
            &on.ca,
            on.now + Duration::from_secs(600)
        )));
    }

    #[test]
    fn expired_unknown_and_mangled_tokens_are_told_apart() {
        let mut on = control();
        let text = on.tokens.create(&on.orders, HOUR, on.now).unwrap();
        let csr = HostKey::generate().unwrap().request(&on.orders).unwrap();
        let late = on.tokens.redeem(&text, &csr, &on.ca, on.now + HOUR);
        assert!(matches!(late, Err(JoinError::Expired(_))));
        let other = format!("lft1.{}.{}", "0".repeat(16), "0".repeat(40));
        assert!(matches!(
            on.tokens.redeem(&other, &csr, &on.ca, on.now),
            Err(JoinError::Unknown)
        ));
        let guessed = format!("{}.{}", &text[..21], "0".repeat(40));
        assert!(matches!(
            on.tokens.redeem(&guessed, &csr, &on.ca, on.now),
            Err(JoinError::Unknown)
        ));
        for cut in 0..text.len() {
            assert!(matches!(
                on.tokens.redeem(&text[..cut], &csr, &on.ca, on.now),
                Err(JoinError::Form)
            ));
        }
        assert!(
            on.tokens
                .create(&on.orders, Duration::from_secs(8 * 24 * 3600), on.now)
                .is_err()
        );
    }

    #[test]
    fn a_request_for_another_name_does_not_use_the_token_up() {
        let mut on = control();
        let text = on.tokens.create(&on.orders, HOUR, on.now).unwrap();
        let key = HostKey::generate().unwrap();
        let prices = SpiffeId::new(on.orders.trust_domain(), "eureka", "prices").unwrap();
        let refused = on.tokens.redeem(&text, &key.request(&prices).unwrap(), &on.ca, on.now);
        assert!(matches!(
            refused,
            Err(JoinError::Ca(CaError::Request(RequestError::Name { .. })))
        ));
        on.tokens
            .redeem(&text, &key.request(&on.orders).unwrap(), &on.ca, on.now)
            .unwrap();
    }
}
