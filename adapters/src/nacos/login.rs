//! The token that goes with every question, renewed in time.
//!
//! ```text
//! v3/auth/user/login (Nacos 3) ──404──▶ v1/auth/login (Nacos 1 and 2) ──▶ {"accessToken", "tokenTtl"}
//! ```
//! The password is read again for each login, so a rotated one is taken without a restart.

use std::{fmt, sync::Arc, time::Duration};

use landfall_config::secret::SecretRef;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    fault::{Fault, chain},
    servers::{Server, Servers},
};

const PATHS: [&str; 2] = ["v3/auth/user/login", "v1/auth/login"];
/// Of a login's answer.
const BODY_LIMIT: usize = 64 << 10;
/// No token is taken to live longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A token younger than this that is refused is not tried again: it is the user who lacks the right.
const YOUNG: Duration = Duration::from_secs(2);

/// A token. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<str>);

impl Token {
    /// The token itself, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Gets tokens from one server.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) http: reqwest::Client,
    server: Server,
    user: Option<(String, SecretRef)>,
    current: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: Token,
    since: Instant,
    /// Half of its life is over.
    renew: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_ttl: u64,
}

#[derive(Deserialize)]
struct Enveloped {
    data: Answer,
}

impl Access {
    /// Nothing is asked yet.
    pub(crate) fn new(servers: &Servers, server: &Server) -> Self {
        Self {
            http: servers.http.clone(),
            server: server.clone(),
            user: servers.user.clone(),
            current: Mutex::default(),
        }
    }

    /// The token to send; `None` if no user is configured. Logs in when it must.
    pub(crate) async fn token(&self) -> Result<Option<Token>, Fault> {
        let Some((user, password)) = &self.user else {
            return Ok(None);
        };
        let mut current = self.current.lock().await;
        if let Some(held) = current.as_ref()
            && Instant::now() < held.renew
        {
            return Ok(Some(held.token.clone()));
        }
        let (token, life) = self.login(user, password).await?;
        let since = Instant::now();
        *current = Some(Held {
            token: token.clone(),
            since,
            renew: since + life / 2,
        });
        Ok(Some(token))
    }

    /// A question that began at `asked` was refused. Whether it is worth asking again with another token: its own was not
    /// fresh, or another question has changed it meanwhile.
    pub(crate) async fn refused(&self, asked: Instant) -> bool {
        if self.user.is_none() {
            return false;
        }
        let mut current = self.current.lock().await;
        match current.as_ref() {
            Some(held) if held.since > asked => true,
            Some(held) if held.since.elapsed() <= YOUNG => false,
            Some(_) => {
                *current = None;
                true
            }
            None => true,
        }
    }

    async fn login(&self, user: &str, password: &SecretRef) -> Result<(Token, Duration), Fault> {
        let secret = password.read().map_err(|error| Fault::Denied(chain(&error)))?;
        let mut absent = None;
        for path in PATHS {
            // In the body and never in the URL: URLs are logged.
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("username", user)
                .append_pair("password", secret.expose())
                .finish();
            let request = self
                .http
                .post(self.server.url(path))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
            let response = request
                .send()
                .await
                .map_err(|error| Fault::Lost(chain(&error.without_url())))?;
            let status = response.status().as_u16();
            let body = super::web::body(response, BODY_LIMIT).await?;
            match status {
                200 => {
                    let answer = serde_json::from_slice::<Answer>(&body)
                        .or_else(|_| serde_json::from_slice::<Enveloped>(&body).map(|enveloped| enveloped.data))
                        .map_err(|_| Fault::garbled("the answer to the login has no accessToken", &body))?;
                    let life = Duration::from_secs(answer.token_ttl).clamp(Duration::from_secs(2), LONGEST);
                    return Ok((Token(answer.access_token.into()), life));
                }
                401 | 403 => {
                    let said = super::fault::quoted(&body);
                    return Err(Fault::Denied(format!("the login of `{user}`: {said}")));
                }
                404 | 405 | 410 | 501 => {
                    absent = Some(Fault::of_code(i64::from(status), "no login here".to_owned(), &body))
                }
                status => return Err(Fault::of_code(i64::from(status), "the login".to_owned(), &body)),
            }
        }
        Err(absent.unwrap_or_else(|| Fault::NotReady("no login is known".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(fields: &str) -> Access {
        let spec = format!(r#"{{ "addresses": ["127.0.0.1:1"]{fields} }}"#);
        let spec = serde_json::from_str(&spec).unwrap();
        let servers = Servers::new(&spec).unwrap();
        Access::new(&servers, &servers.list[0])
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_questions_whose_token_has_expired_each_is_asked_again() {
        let password = tempfile::NamedTempFile::new().unwrap();
        let file = password.path().display();
        let access = access(&format!(r#", "username": "nacos", "password": "file:{file}""#));
        let held = || {
            let since = Instant::now();
            Some(Held {
                token: Token("t".into()),
                since,
                renew: since + Duration::from_secs(9),
            })
        };
        *access.current.lock().await = held();
        tokio::time::advance(YOUNG + Duration::from_secs(1)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(access.refused(asked).await, "the first one puts the token away");
        assert!(access.current.lock().await.is_none());
        assert!(access.refused(asked).await, "before the login of the first one");
        *access.current.lock().await = held();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(access.refused(asked).await, "after it");
        assert!(access.current.lock().await.is_some(), "the new token stays");
        assert!(
            !access.refused(Instant::now()).await,
            "a fresh token is refused: the user lacks the right"
        );
    }

    #[tokio::test]
    async fn without_a_user_there_is_no_other_token() {
        assert!(!access("").refused(Instant::now()).await);
    }
}
