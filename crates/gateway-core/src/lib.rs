#![doc = include_str!("../README.md")]

pub mod config;
pub mod connection;
pub mod cookies;
pub mod error;
pub mod gateway;
pub mod http;
pub mod imports;
pub mod profile;
pub mod query;
pub mod redirect;
pub mod refresh;
pub mod sign_in;
pub mod users;

mod adoption;
mod backchannel;
mod client_selection;
mod json;
mod login_state;
mod refusal;
mod revalidation;
mod sign_out;
mod user_sessions;

pub use error::Error;
pub use gateway::{Caller, Gateway, Parts};
