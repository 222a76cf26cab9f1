//! How the daemon proves to the service who it is.

pub mod iam;
pub mod signature;
pub mod token;

use std::path::PathBuf;

use secrecy::SecretString;

use self::iam::IamUser;
use self::signature::AccessKey;

/// What the handshake is authenticated with.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Nothing: for a local service that asks for nothing.
    #[default]
    None,
    /// A token for `X-Auth-Token`, as it stands in the configuration.
    FixedToken(SecretString),
    /// A file with such a token, kept fresh by somebody else; read again while it is used.
    TokenFile(PathBuf),
    /// A user of the identity service, for whom tokens are fetched.
    Password(IamUser),
    /// An access key, which signs each handshake.
    AccessKey(AccessKey),
}

impl Credentials {
    /// What there is, for people.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::None => "none is configured",
            Self::FixedToken(_) => "there is a token in the configuration (asr.token)",
            Self::TokenFile(_) => "there is a token in asr.token-file",
            Self::Password(_) => "there is a token of the identity service",
            Self::AccessKey(_) => "there is an access key (asr.access-key)",
        }
    }
}
