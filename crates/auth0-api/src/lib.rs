#![doc = include_str!("../README.md")]

mod answer;
pub mod application;
pub mod authorize;
pub mod client;
pub mod error;
pub mod governor;
pub mod grant;
pub mod keys;
pub mod management;
pub mod pkce;
pub mod port;
pub mod search;
pub mod secret;
pub mod tenant;
pub mod token;
pub mod verifier;
mod wire;

pub use application::Application;
pub use authorize::{AuthorizeRequest, LogoutRequest};
pub use client::{Auth0Client, ClientSettings};
pub use error::{Error, ErrorCode, Refusal};
pub use governor::Governor;
pub use grant::Grant;
pub use management::{ManagementApi, ManagementClient};
pub use pkce::{CodeChallenge, random_urlsafe};
pub use port::{AuthenticationApi, ChangePassword};
pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, IdToken, LogoutToken, MfaToken,
    Password, RefreshToken,
};
pub use tenant::{Tenant, TenantError};
pub use token::TokenSet;
pub use verifier::{
    AccessTokenClaims, IdTokenClaims, IdTokenExpectations, LogoutClaims, SigningAlgorithm,
    TokenFault, TokenVerifier, VerifyError, unverified_claims,
};
