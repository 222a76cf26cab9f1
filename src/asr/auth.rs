//! How the daemon proves to the service who it is.

use secrecy::SecretString;

/// What the handshake is authenticated with.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Nothing: for a local service that asks for nothing.
    #[default]
    None,
    /// A token that somebody else renews.
    FixedToken(SecretString),
}
