//! Signs a person in with `auth0-api` alone, against a development tenant.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use auth0_api::{
    Application, Auth0Client, AuthenticationApi as _, ClientSecret, ClientSettings, Grant,
    Password, Tenant,
};
use dev_tenant::{DevTenant, Seed, TenantSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = DevTenant::start(TenantSettings::default(), Seed::example()).await?;
    let application = Application {
        tenant: Tenant::parse(tenant.url())?,
        client_id: "dev-website".to_owned(),
        client_secret: ClientSecret::new("dev-website-secret"),
    };
    let grant = Grant::Password {
        username: "mia@example.org".to_owned(),
        password: Password::new("Correct-Horse-1"),
        realm: Some("Username-Password-Authentication".to_owned()),
        scope: "openid profile email".to_owned(),
        audience: None,
        forwarded_for: None,
    };
    let client = Auth0Client::new(ClientSettings::default())?;
    let tokens = client.token(&application, &grant).await?;
    let person = client
        .user_info(&application.tenant, &tokens.access_token)
        .await?;
    println!(
        "signed in as {}, for {:?}",
        person["email"], tokens.expires_in
    );
    tenant.shutdown().await;
    Ok(())
}
