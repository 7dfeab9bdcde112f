// openid-client: a certified OpenID Connect client that knows nothing of Auth0.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as oidc from 'openid-client';

import { Browser } from './browser.js';
import { audience, callback, clientId, clientSecret, httpUrl, httpsUrl, mia } from './tenant.js';

/** Discovers the tenant; signatures are checked even where TLS would do. */
async function discover(url, authentication) {
  const execute = [oidc.enableNonRepudiationChecks];
  if (url.startsWith('http:')) execute.push(oidc.allowInsecureRequests);
  return oidc.discovery(new URL(url), clientId, clientSecret, authentication, { execute });
}

async function signIn(config, browser) {
  const checks = {
    pkceCodeVerifier: oidc.randomPKCECodeVerifier(),
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
    idTokenExpected: true,
    maxAge: 600,
  };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: callback,
    scope: 'openid profile email offline_access',
    audience,
    code_challenge: await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    max_age: '600',
  });
  const target = await browser.signIn(url, mia.username, mia.password);
  return oidc.authorizationCodeGrant(config, target, checks);
}

for (const [name, url, authentication] of [
  ['http, secret in the body', httpUrl, oidc.ClientSecretPost(clientSecret)],
  ['https, secret as Basic', httpsUrl, oidc.ClientSecretBasic(clientSecret)],
]) {
  test(`the whole life of a session (${name})`, async () => {
    const config = await discover(url, authentication);
    const metadata = config.serverMetadata();
    assert.equal(metadata.issuer, `${url}/`);
    assert.ok(metadata.supportsPKCE());

    const browser = new Browser();
    const tokens = await signIn(config, browser);
    const claims = tokens.claims();
    assert.equal(claims.email, mia.username);
    assert.deepEqual(claims['https://mia-platform.eu/app_metadata'].groups, ['users', 'admin']);
    assert.equal(typeof claims.auth_time, 'number');

    const profile = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
    assert.equal(profile.name, 'Mia Rossi');

    const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(refreshed.refresh_token, tokens.refresh_token);
    assert.equal(refreshed.claims().sub, claims.sub);
    assert.equal(refreshed.claims().sid, claims.sid);
    await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token), {
      error: 'invalid_grant',
      status: 403,
    });

    const end = oidc.buildEndSessionUrl(config, {
      id_token_hint: refreshed.id_token,
      post_logout_redirect_uri: 'http://localhost:8080/',
      state: 'bye',
    });
    assert.equal((await browser.target(end)).href, 'http://localhost:8080/?state=bye');
    const silent = oidc.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      scope: 'openid',
      prompt: 'none',
      state: 'silent',
    });
    await assert.rejects(
      oidc.authorizationCodeGrant(config, await browser.target(silent), {
        expectedState: 'silent',
      }),
      { error: 'login_required' },
    );
  });
}

test('revocation', async () => {
  const config = await discover(httpUrl);
  const tokens = await signIn(config, new Browser());
  await oidc.tokenRevocation(config, tokens.refresh_token);
  await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token), {
    error: 'invalid_grant',
  });
});

test('a machine', async () => {
  const config = await oidc.discovery(
    new URL(httpsUrl),
    'dev-management',
    'dev-management-secret',
  );
  const tokens = await oidc.clientCredentialsGrant(config, { audience });
  assert.equal(tokens.scope, 'read:orders');
});
