//! Where the recogniser is.

use tokio_tungstenite::tungstenite::http::Uri;

/// The address of a short-stream service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Endpoint {
    /// The service at `base`, as in `wss://sis-ext.cn-north-4.myhuaweicloud.com`, for a project.
    ///
    /// # Errors
    /// When `base` is no such address, or the project id has a character other than letters,
    /// digits, `-` and `_`.
    pub fn new(base: &str, project_id: &str) -> Result<Self, EndpointError> {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if project_id.is_empty() || !project_id.chars().all(is_id) {
            return Err(EndpointError::ProjectId(project_id.into()));
        }
        let path = format!("/v1/{project_id}/rasr/short-stream");
        Self::parse(base, ["wss", "ws"], path).ok_or_else(|| EndpointError::Address(base.into()))
    }

    /// A web service at `base`, as in `https://iam.cn-north-4.myhuaweicloud.com`.
    ///
    /// # Errors
    /// When `base` is no such address.
    pub fn web(base: &str, path: &str) -> Result<Self, EndpointError> {
        Self::parse(base, ["https", "http"], path.into())
            .ok_or_else(|| EndpointError::WebAddress(base.into()))
    }

    /// A scheme of a pair (the first one is over TLS), a host and perhaps a port; nothing more.
    fn parse(base: &str, schemes: [&str; 2], path: String) -> Option<Self> {
        let uri: Uri = base.parse().ok()?;
        let scheme = schemes.iter().position(|&s| uri.scheme_str() == Some(s))?;
        let tls = scheme == 0;
        let plain_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|a| !a.as_str().contains('@'))?;
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let has_port_if_any = authority.port_u16().is_some() || authority.as_str() == host;
        (plain_path && has_port_if_any && !host.is_empty()).then(|| Self {
            tls,
            host: host.trim_matches(['[', ']']).into(),
            port,
            authority: match (tls, port) {
                (true, 443) | (false, 80) => host.into(),
                _ => format!("{host}:{port}"),
            },
            path,
        })
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The name or address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path of the request.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a WebSocket address.
    #[error("endpoint {0:?} is not like \"wss://HOST\" or \"ws://HOST:PORT\", without a path")]
    Address(String),
    /// Not a web address.
    #[error("address {0:?} is not like \"https://HOST\" or \"http://HOST:PORT\", without a path")]
    WebAddress(String),
    /// Not a project id.
    #[error("project id {0:?} must be letters, digits, '-' and '_'")]
    ProjectId(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_address_has_the_schemes_port_and_a_bare_host_header() {
        let endpoint = Endpoint::new("wss://sis-ext.cn-north-4.myhuaweicloud.com", "p1").unwrap();
        assert!(endpoint.is_tls());
        assert_eq!(endpoint.port(), 443);
        assert_eq!(endpoint.authority(), "sis-ext.cn-north-4.myhuaweicloud.com");
        assert_eq!(endpoint.path(), "/v1/p1/rasr/short-stream");
    }

    #[test]
    fn local_address_keeps_its_port_in_the_host_header() {
        let endpoint = Endpoint::new("ws://[::1]:8701/", "p").unwrap();
        assert!(!endpoint.is_tls());
        assert_eq!((endpoint.host(), endpoint.port()), ("::1", 8701));
        assert_eq!(endpoint.authority(), "[::1]:8701");
    }

    #[test]
    fn the_schemes_own_port_is_left_out_of_the_host_header() {
        let endpoint = Endpoint::new("wss://example.org:443", "p").unwrap();
        assert_eq!(endpoint.authority(), "example.org");
    }

    #[test]
    fn anything_else_is_refused() {
        for base in [
            "",
            "example.org",
            "https://h",
            "wss://",
            "ws://h/v1",
            "ws://u:p@h",
            "ws://h:99999",
        ] {
            assert!(Endpoint::new(base, "p").is_err(), "{base:?}");
        }
        for project in ["", "a/b", "a b", "é"] {
            assert!(Endpoint::new("ws://h", project).is_err(), "{project:?}");
        }
    }
}
