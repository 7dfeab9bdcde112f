#![doc = include_str!("../README.md")]

mod authorize;
mod backchannel;
mod certificate;
mod clock;
mod credentials;
mod dbconnections;
mod dev_routes;
mod dev_tenant;
mod discovery;
mod expiring;
mod fault;
mod forge;
mod grant;
mod jobs;
mod journal;
mod jwt;
mod keys;
mod limits;
mod login;
mod logout;
mod management;
mod message;
mod pages;
mod params;
mod pkce;
mod profile;
mod refresh;
mod revoke;
mod router;
mod secret;
mod seed;
mod server;
mod sessions;
mod settings;
mod state;
mod tenant;
mod token;
mod urls;
mod userinfo;
mod users;

pub mod search;

pub use self::backchannel::BackchannelDelivery;
pub use self::dev_tenant::{DevTenant, StartError, UnknownUser};
pub use self::fault::{Fault, FaultKind};
pub use self::forge::Forgery;
pub use self::journal::Call;
pub use self::keys::KeyError;
pub use self::secret::Secret;
pub use self::seed::{
    Api, Application, ClientGrant, Connection, MANAGEMENT_API, Seed, SeedError, SeedUser,
    TenantOptions, TokenDialect,
};
pub use self::settings::{Bucket, RateLimits, RefreshTokenSettings, TenantSettings};
