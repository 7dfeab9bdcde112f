// What the Rust test that starts this says about the tenant.

function variable(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run these tests with cargo test`);
  return value;
}

export const httpUrl = variable('TENANT_HTTP_URL');
export const httpsUrl = variable('TENANT_HTTPS_URL');
/** Where the tenant sends the logout tokens of dev-website. */
export const receiverPort = Number(variable('RECEIVER_PORT'));

export const clientId = 'dev-website';
export const clientSecret = 'dev-website-secret';
export const audience = 'https://api.example.org/';
export const callback = 'http://localhost:8080/web-login/callback';
export const mia = { username: 'mia@example.org', password: 'Correct-Horse-1' };

/** Injects one fault. */
export async function inject(url, fault) {
  const response = await fetch(`${url}/_dev/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(fault),
  });
  if (response.status !== 201) throw new Error(await response.text());
}
