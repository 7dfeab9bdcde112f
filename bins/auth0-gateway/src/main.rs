//! The gateway as a server: settings, listeners and signals. All that decides anything is in
//! `gateway-core`.

mod certificates;
#[cfg(feature = "dev")]
mod dev;
#[cfg(feature = "dev")]
mod dev_page;
mod environment;
mod logging;
mod metrics;
mod paced;
mod serve;
mod server;
mod store;
mod users_import;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// mimalloc serves the many small allocations of HTTP better than the platform's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signs people in with Auth0, keeps their tokens out of the page, and answers who they are.
#[derive(Debug, Parser)]
#[command(name = "auth0-gateway", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Runs the server from the environment and config.json (as without any command).
    Serve,
    /// Reads the environment and config.json, reports every fault, and exits with 0 or 2.
    CheckConfig,
    /// Works on the tenant's users through a running gateway.
    #[command(subcommand)]
    Users(UsersCommand),
    /// Runs everything with nothing set: a development tenant with people in it, and the gateway in
    /// front of it.
    #[cfg(feature = "dev")]
    Dev,
    /// Runs the development tenant alone.
    #[cfg(feature = "dev")]
    DevTenant(dev::TenantArguments),
}

#[derive(Clone, Debug, Subcommand)]
enum UsersCommand {
    /// Imports a file of users, shows the progress, and writes the rows that failed to a file.
    Import(users_import::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(),
        Command::CheckConfig => serve::check_config(),
        Command::Users(UsersCommand::Import(arguments)) => users_import::import(&arguments),
        #[cfg(feature = "dev")]
        Command::Dev => dev::dev(),
        #[cfg(feature = "dev")]
        Command::DevTenant(arguments) => dev::tenant(&arguments),
    }
}
