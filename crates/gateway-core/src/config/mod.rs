//! Configuration: the environment and `config.json`, read once, with every fault reported at once.

mod client;
mod settings;

pub use client::{
    ApiKey, Client, Clients, LogoutMethod, ManagementClient, ManagementConnections,
    SessionCookieValue,
};
pub use settings::{ManagementAccess, RedisMode, RedisSettings, Settings, StoreKind};
