//! Configuration: the environment and `config.json`, read once, with every fault reported at once.

mod client;
mod fault;
mod object;
mod read_clients;
mod read_settings;
mod settings;
mod variables;

pub use client::{
    ApiKey, Client, Clients, LogoutMethod, ManagementClient, ManagementConnections,
    SessionCookieValue,
};
pub use fault::{Fault, Faults, Warning};
pub use settings::{ManagementAccess, RedisMode, RedisSettings, Settings, StoreKind};
pub use variables::Environment;

use fault::Report;

/// A configuration that holds together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The environment's part.
    pub settings: Settings,
    /// The part of `config.json`.
    pub clients: Clients,
    /// What works and is worth a word in the start log.
    pub warnings: Vec<Warning>,
}

/// Reads the environment and the `config.json` it names.
///
/// # Errors
/// [`Faults`]: everything that is wrong with both.
pub fn load(environment: &dyn Environment) -> Result<Loaded, Faults> {
    let mut report = Report::default();
    let settings = read_settings::read(environment, &mut report);
    let clients = match environment.read_file(&settings.config_file) {
        Ok(json) => read_document(&json, environment, &mut report),
        Err(error) => {
            report.fault(
                "SERVICE_CONFIG_PATH",
                format!("{} cannot be read ({})", settings.config_file.display(), error.kind()),
                "set SERVICE_CONFIG_PATH to its folder and SERVICE_CONFIG_FILE_NAME to its name without .json",
            );
            None
        }
    };
    match clients {
        Some(clients) if report.faults.is_empty() => Ok(Loaded {
            settings,
            clients,
            warnings: report.warnings,
        }),
        _ => Err(report.into_faults()),
    }
}

/// Reads the text of a `config.json`, with its variables from the environment.
///
/// # Errors
/// [`Faults`]: everything that is wrong with it.
pub fn parse_clients(
    json: &str,
    environment: &dyn Environment,
) -> Result<(Clients, Vec<Warning>), Faults> {
    let mut report = Report::default();
    match read_document(json, environment, &mut report) {
        Some(clients) if report.faults.is_empty() => Ok((clients, report.warnings)),
        _ => Err(report.into_faults()),
    }
}

fn read_document(
    json: &str,
    environment: &dyn Environment,
    report: &mut Report,
) -> Option<Clients> {
    let mut document = read_clients::parse(json, report)?;
    let mut lookup =
        |name: &str, report: &mut Report| variables::variable(environment, name, report);
    variables::substitute(&mut document, "", &mut lookup, report);
    // What stands in for a variable that is not set has faults of its own.
    report.settle();
    read_clients::read(&document, report)
}
