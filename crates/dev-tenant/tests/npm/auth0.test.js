// Auth0's own SDK (its AuthenticationClient, which its newest version calls legacy), which builds https:// URLs only.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AuthApiError, AuthenticationClient, UserInfoClient } from 'auth0/legacy';

import { Browser } from './browser.js';
import { audience, callback, clientId, clientSecret, httpsUrl, inject, mia } from './tenant.js';

const domain = new URL(httpsUrl).host;
const auth0 = new AuthenticationClient({ domain, clientId, clientSecret });
const scope = 'openid profile offline_access read:orders';

/** The SDK reads every refusal as its own error class, with Auth0's code and status. */
function refusal(statusCode, error, description) {
  return (thrown) => {
    assert.ok(thrown instanceof AuthApiError, `${thrown}`);
    assert.deepEqual([thrown.statusCode, thrown.error], [statusCode, error]);
    assert.match(thrown.error_description, description);
    return true;
  };
}

test('password grant: the SDK validates the ID token', async () => {
  const { data, status } = await auth0.oauth.passwordGrant({ ...mia, scope, audience });
  assert.equal(status, 200);
  assert.equal(data.token_type, 'Bearer');
  assert.equal(data.expires_in, 86400);
  assert.ok(data.id_token && data.refresh_token && data.access_token);
});

test('password-realm grant', async () => {
  const bob = { username: 'bob', password: 'Correct-Horse-3', realm: 'employees' };
  const { data } = await auth0.oauth.passwordGrant({ ...bob, scope: 'openid' });
  assert.ok(data.id_token);
});

test('a wrong password is an AuthApiError', async () => {
  await assert.rejects(
    auth0.oauth.passwordGrant({ ...mia, password: 'wrong', scope }),
    refusal(403, 'invalid_grant', /^Wrong email or password\.$/),
  );
});

test('a wrong client secret is 401 access_denied', async () => {
  const wrong = new AuthenticationClient({ domain, clientId, clientSecret: 'wrong' });
  await assert.rejects(
    wrong.oauth.passwordGrant({ ...mia, scope }),
    refusal(401, 'access_denied', /^Unauthorized$/),
  );
});

test('a blocked person and a second factor', async () => {
  await assert.rejects(
    auth0.oauth.passwordGrant({ username: 'blocked@example.org', password: 'Correct-Horse-4' }),
    refusal(403, 'unauthorized', /^user is blocked$/),
  );
  await assert.rejects(
    auth0.oauth.passwordGrant({ username: 'mfa@example.org', password: 'Correct-Horse-5' }),
    (thrown) => {
      assert.equal(thrown.error, 'mfa_required');
      assert.ok(JSON.parse(thrown.body).mfa_token);
      return true;
    },
  );
});

test('refresh rotates, re-use ends the family', async () => {
  const first = (await auth0.oauth.passwordGrant({ ...mia, scope, audience })).data;
  const second = (await auth0.oauth.refreshTokenGrant({ refresh_token: first.refresh_token })).data;
  assert.ok(second.id_token);
  assert.notEqual(second.refresh_token, first.refresh_token);
  for (const dead of [first, second]) {
    await assert.rejects(
      auth0.oauth.refreshTokenGrant({ refresh_token: dead.refresh_token }),
      refusal(403, 'invalid_grant', /^Unknown or invalid refresh token\.$/),
    );
  }
});

test('revoke', async () => {
  const { data } = await auth0.oauth.passwordGrant({ ...mia, scope, audience });
  const { status } = await auth0.oauth.revokeRefreshToken({ token: data.refresh_token });
  assert.equal(status, 200);
  await assert.rejects(
    auth0.oauth.refreshTokenGrant({ refresh_token: data.refresh_token }),
    refusal(403, 'invalid_grant', /Unknown or invalid/),
  );
});

test('code with PKCE: the SDK compares the nonce', async () => {
  const code = async () => {
    const url = new URL('/authorize', httpsUrl);
    url.search = new URLSearchParams({
      client_id: clientId,
      response_type: 'code',
      redirect_uri: callback,
      scope,
      nonce: 'the-nonce',
      max_age: '600',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
    });
    const target = await new Browser().signIn(url, mia.username, mia.password);
    return {
      code: target.searchParams.get('code'),
      redirect_uri: callback,
      code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
    };
  };
  const exchange = async (body, nonce) =>
    auth0.oauth.authorizationCodeGrantWithPKCE(body, {
      idTokenValidateOptions: { nonce, maxAge: 600 },
    });
  const good = await code();
  assert.ok((await exchange(good, 'the-nonce')).data.id_token);
  await assert.rejects(
    exchange(good, 'the-nonce'),
    refusal(403, 'invalid_grant', /^Invalid authorization code$/),
  );
  await assert.rejects(exchange(await code(), 'another'), /Nonce \(nonce\) claim mismatch/);
  await assert.rejects(
    exchange({ ...(await code()), code_verifier: 'x'.repeat(43) }, 'the-nonce'),
    refusal(403, 'invalid_grant', /^Failed to verify code verifier$/),
  );
});

test('client credentials for the Management API', async () => {
  const machine = new AuthenticationClient({
    domain,
    clientId: 'dev-management',
    clientSecret: 'dev-management-secret',
  });
  const { data } = await machine.oauth.clientCredentialsGrant({ audience: `${httpsUrl}/api/v2/` });
  assert.match(data.scope, /read:users/);
  await assert.rejects(
    machine.oauth.clientCredentialsGrant({ audience: 'urn:nothing' }),
    refusal(403, 'access_denied', /^Service not found: urn:nothing$/),
  );
});

test('change password answers in text', async () => {
  const { data } = await auth0.database.changePassword({
    email: mia.username,
    connection: 'Username-Password-Authentication',
  });
  assert.equal(data, "We've just sent you an email to reset your password.");
});

test('sign-up', async () => {
  const person = {
    email: 'sdk@example.org',
    password: 'Correct-Horse-6',
    connection: 'Username-Password-Authentication',
  };
  const { data } = await auth0.database.signUp(person);
  assert.equal(data.email, person.email);
  assert.ok(data.id, 'the SDK turns _id into id');
  await assert.rejects(auth0.database.signUp(person), refusal(400, 'invalid_signup', /sign up/));
});

test('user information, and its 401 in plain text', async () => {
  const { data } = await auth0.oauth.passwordGrant({ ...mia, scope: 'openid profile' });
  const information = new UserInfoClient({ domain });
  const profile = (await information.getUserInfo(data.access_token)).data;
  assert.equal(profile.sub, 'auth0|64b0c0ffee0000000000a001');
  assert.equal(typeof profile.updated_at, 'string');
  await assert.rejects(information.getUserInfo('garbage'), (thrown) => {
    assert.equal(thrown.statusCode, 401);
    return true;
  });
});

test('the SDK waits out a rate limit', async () => {
  const limited = { path: '/oauth/token', times: 1, kind: { rate_limited: {} } };
  await inject(httpsUrl, limited);
  await assert.rejects(
    auth0.oauth.passwordGrant({ ...mia, scope }),
    refusal(429, 'too_many_requests', /limit/),
  );
  await inject(httpsUrl, limited);
  const patient = new AuthenticationClient({
    domain,
    clientId,
    clientSecret,
    retry: { enabled: true, maxRetries: 1 },
  });
  assert.equal((await patient.oauth.passwordGrant({ ...mia, scope })).status, 200);
});

test('a forged ID token is noticed by the SDK', async () => {
  for (const [forge, message] of [
    ['wrong_signature', /signature verification failed/],
    ['wrong_issuer', /Issuer \(iss\) claim mismatch/],
    ['wrong_audience', /Audience \(aud\) claim mismatch/],
    ['expired', /Expiration Time \(exp\) claim error/],
    [{ time_as_string: 'exp' }, /must be a number/],
    ['alg_none', /"none" is not supported/],
    ['hs256_with_public_key', /.+/],
    ['unknown_kid', /no applicable key/],
  ]) {
    await inject(httpsUrl, { path: '/oauth/token', times: 1, kind: { forge } });
    await assert.rejects(auth0.oauth.passwordGrant({ ...mia, scope }), message);
  }
});
