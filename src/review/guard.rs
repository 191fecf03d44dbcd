//! Which requests are served: those with the right host, origin and token.
//!
//! The token is in the printed link. The page keeps it in the browser's storage for its own origin and sends it in a
//! header; a cookie, which the browser would also send to other ports of this computer, holds only a hash of it and opens
//! nothing but the empty page.

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusal::Refusal;
use crate::digest::{hex, sha256};

/// Rules for browsers, in every response.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The page without data.
    Shell,
    /// Data, or a change.
    Data,
}

/// The rules of one server.
pub struct Guard {
    token: String,
    port: u16,
    /// Values of `Host` that are served, in lower case.
    hosts: Vec<String>,
}

impl Guard {
    /// Rules for a server that browsers reach under these names, with a new random token.
    pub fn new(names: &[String], port: u16) -> Guard {
        let token = hex(&rand::random::<[u8; 32]>());
        let with_port = |name: &String| format!("{}:{port}", name.to_ascii_lowercase());
        let mut hosts: Vec<String> = names.iter().map(with_port).collect();
        if port == 80 {
            hosts.extend(names.iter().map(|name| name.to_ascii_lowercase()));
        }
        Guard { token, port, hosts }
    }

    /// The token of the link.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn cookie_name(&self) -> String {
        format!("carpus-review-{}", self.port)
    }

    fn cookie_value(&self) -> String {
        sha256(format!("page {}", self.token).as_bytes())
    }

    /// The cookie that lets the browser load the page again.
    pub fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.cookie_value())
    }

    /// Checks a request. `query_token` is the token in its address.
    ///
    /// # Errors
    /// 421 for another host, 403 for another origin, 401 without the token.
    pub fn check(&self, headers: &HeaderMap, query_token: Option<&str>, access: Access) -> Result<(), Refusal> {
        let refuse = |status, message: &str| Err(Refusal::forbidden(status, message));
        let host = single(headers, HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.hosts.contains(&host) {
            return refuse(StatusCode::MISDIRECTED_REQUEST, "this server is not served under this host name");
        }
        let is_own =
            |origin: &str| origin.strip_prefix("http://").is_some_and(|host| self.hosts.iter().any(|h| h == host));
        if headers.contains_key(ORIGIN) && !single(headers, ORIGIN).is_some_and(|o| is_own(&o.to_ascii_lowercase())) {
            return refuse(StatusCode::FORBIDDEN, "the request comes from another page");
        }
        // Sent by browsers; a link from another page is `cross-site`, but opens the page only with its token.
        let site = single(headers, HeaderName::from_static("sec-fetch-site")).unwrap_or("none");
        if access == Access::Data && !matches!(site, "same-origin" | "none") {
            return refuse(StatusCode::FORBIDDEN, "the request comes from another page");
        }
        let bearer = single(headers, AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let has_token = [bearer, query_token].into_iter().flatten().any(|given| is_equal(given, &self.token));
        if has_token || access == Access::Shell && self.has_cookie(headers) {
            return Ok(());
        }
        refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong: open the link that `carpus review` printed")
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let (name, value) = (self.cookie_name(), self.cookie_value());
        let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|l| l.split(';'));
        let mut pairs = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        pairs.any(|(given, found)| given == name && is_equal(found, &value))
    }
}

/// Sets the headers that restrict what the browser does with a response.
pub fn restrict(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The value of a header that occurs once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok()).flatten()
}

/// Whether two texts are equal, in a time that does not depend on where they differ.
fn is_equal(given: &str, expected: &str) -> bool {
    // Hashes have one length, and their bytes cannot be guessed one after another.
    let (given, expected) = (sha256(given.as_bytes()), sha256(expected.as_bytes()));
    let differences = given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_right_host_origin_and_token_are_served() {
        let guard = Guard::new(&["127.0.0.1".into(), "localhost".into()], 8123);
        let token = guard.token().to_owned();
        let bearer = format!("Bearer {token}");
        let status = |pairs: &[(&'static str, &str)], query: Option<&str>, access| {
            guard.check(&headers(pairs), query, access).is_ok()
        };
        let host = ("host", "127.0.0.1:8123");
        assert!(status(&[host], Some(&token), Access::Data));
        assert!(status(&[("host", "LOCALHOST:8123"), ("authorization", &bearer)], None, Access::Data));
        assert!(status(&[host, ("authorization", &bearer), ("origin", "http://127.0.0.1:8123")], None, Access::Data));
        for (name, value) in [
            ("origin", "http://127.0.0.1:81"),
            ("origin", "https://127.0.0.1:8123"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!status(&[host, ("authorization", &bearer), (name, value)], None, Access::Data), "{name}: {value}");
        }
        for host in ["evil.example:8123", "127.0.0.1", "127.0.0.1:8124", ""] {
            assert!(!status(&[("host", host), ("authorization", &bearer)], None, Access::Data), "{host}");
        }
        assert!(!status(&[host], None, Access::Shell));
        assert!(!status(&[host], Some(&token[..63]), Access::Shell));
        assert!(!status(&[host, ("authorization", &token)], None, Access::Data), "without the scheme");
        let cookie = guard.cookie();
        let cookie = cookie.split(';').next().unwrap();
        assert!(status(&[host, ("cookie", cookie)], None, Access::Shell));
        assert!(!status(&[host, ("cookie", cookie)], None, Access::Data), "the cookie opens no data");
        assert!(!cookie.contains(&token));
    }

    #[test]
    fn a_header_that_occurs_twice_is_not_read() {
        let mut twice = headers(&[("host", "127.0.0.1:8123")]);
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        let guard = Guard::new(&["127.0.0.1".into()], 8123);
        assert!(guard.check(&twice, Some(guard.token()), Access::Data).is_err());
    }
}
