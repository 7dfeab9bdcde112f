// Auth0's own SDK (its ManagementClient). With CONTRACT_PROXY_URL every call goes through a
// proxy that checks both sides against Auth0's own contract.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ManagementClient, ManagementError } from 'auth0';

import { Browser } from './browser.js';
import { callback, clientId, clientSecret, httpsUrl, httpUrl, inject, mia } from './tenant.js';

const proxyUrl = process.env.CONTRACT_PROXY_URL;
const tenantUrl = proxyUrl ? httpUrl : httpsUrl;
/** What the tenant calls itself; the contract takes no loopback address for a URL. */
const issuer = process.env.TENANT_ISSUER ?? `${tenantUrl}/`;
const domain = new URL(issuer).host;
const database = 'Username-Password-Authentication';
const miaId = 'auth0|64b0c0ffee0000000000a001';
const aliceId = 'auth0|64b0c0ffee0000000000a002';
const violations = [];

/** The SDK only speaks https; the proxy and the tenant behind it do not. */
async function through(input, init) {
  const url = String(input?.url ?? input);
  const [https, http] = [`https://${domain}`, tenantUrl];
  const path = url.slice(https.length);
  const target = proxyUrl && path.startsWith('/api/v2/') ? proxyUrl + path : http + path;
  const response = await fetch(target, init);
  const found = response.headers.get('sl-violations');
  // The contract's two shapes of a page are the same where there is no next one.
  const lastPage =
    path.startsWith('/api/v2/connections?') &&
    Object.keys(await response.clone().json()).join() === 'connections';
  if (found && !lastPage) violations.push(`${init?.method} ${path}: ${found}`);
  return response;
}

const options = {
  domain,
  clientId: 'dev-management',
  clientSecret: 'dev-management-secret',
  audience: `${issuer}api/v2/`,
  maxRetries: 0,
  ...(proxyUrl ? { fetch: through } : {}),
};
if (proxyUrl) {
  // Tokens are fetched without the client's own fetch.
  const real = globalThis.fetch;
  globalThis.fetch = (input, init) =>
    String(input?.url ?? input).startsWith(`https://${domain}/oauth/`)
      ? real(String(input?.url ?? input).replace(`https://${domain}`, tenantUrl), input?.url ? input : init)
      : real(input, init);
}
const auth0 = new ManagementClient(options);

/** The SDK reads every refusal as its own error class. */
function refusal(statusCode, errorCode, message) {
  return (thrown) => {
    assert.ok(thrown instanceof ManagementError, `${thrown}`);
    assert.deepEqual([thrown.statusCode, thrown.body.errorCode], [statusCode, errorCode]);
    assert.match(thrown.body.message, message);
    return true;
  };
}

const newUser = (email) => ({ connection: database, email, password: 'Correct-Horse-9' });

async function finished(id) {
  for (let tries = 0; tries < 100; tries += 1) {
    const job = await auth0.jobs.get(id);
    if (job.status !== 'pending') return job;
    await sleep(20);
  }
  throw new Error('the job does not end');
}

/** Gives Alice a session, and a refresh token that does not belong to it. */
async function signIn() {
  const url = new URL('/authorize', tenantUrl);
  url.search = new URLSearchParams({
    client_id: clientId,
    response_type: 'code',
    redirect_uri: callback,
    scope: 'openid',
    state: 'x',
  });
  await new Browser().signIn(url, 'alice@example.org', 'Correct-Horse-2');
  const answer = await fetch(`${tenantUrl}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'password',
      client_id: clientId,
      client_secret: clientSecret,
      username: 'alice@example.org',
      password: 'Correct-Horse-2',
      scope: 'openid offline_access',
    }),
  });
  assert.equal(answer.status, 200);
}

let connectionId;
before(async () => {
  const page = await auth0.connections.list({ name: database });
  assert.equal(page.data.length, 1);
  connectionId = page.data[0].id;
  assert.match(connectionId, /^con_[A-Za-z0-9]{16}$/);
});
after(() => assert.deepEqual(violations, []));

test('list: pages, totals, order, fields', async () => {
  const page = await auth0.users.list({ per_page: 2, include_totals: true, sort: 'email:1' });
  assert.equal(page.data.length, 2);
  assert.ok(page.response.total >= 5);
  const emails = [];
  for await (const user of page) emails.push(user.email);
  assert.ok(emails.length >= 5);
  assert.deepEqual(emails, [...emails].sort());
  const cut = await auth0.users.list({ fields: 'user_id', include_totals: true, per_page: 1 });
  assert.deepEqual(Object.keys(cut.data[0]), ['user_id']);
});

test('search', async () => {
  const found = async (q) => {
    const page = await auth0.users.list({ q, search_engine: 'v3', include_totals: true });
    return page.data.map((user) => user.email);
  };
  assert.deepEqual(await found(`email:"${mia.username.toUpperCase()}"`), [mia.username]);
  assert.deepEqual(await found('app_metadata.groups:"admin" AND NOT blocked:true'), [mia.username]);
  assert.deepEqual(await found('name:"no \\"such\\" person"'), []);
  await assert.rejects(found('name:(a'), refusal(400, 'invalid_query_string', /parenthesis/));
});

test('by e-mail and by id', async () => {
  const [user] = await auth0.users.listUsersByEmail({ email: mia.username });
  assert.equal(user.user_id, miaId);
  const same = await auth0.users.get(miaId);
  assert.equal(same.app_metadata.groups[1], 'admin');
  await assert.rejects(
    auth0.users.get('auth0|nobody'),
    refusal(404, 'inexistent_user', /^The user does not exist\.$/),
  );
});

test('create, update, delete', async () => {
  const email = 'management@example.org';
  const made = await auth0.users.create({ ...newUser(email), app_metadata: { plan: 'gold', n: 1 } });
  assert.match(made.user_id, /^auth0\|[0-9a-f]{24}$/);
  await assert.rejects(
    auth0.users.create(newUser(email)),
    refusal(409, 'auth0_idp_error', /^The user already exists\.$/),
  );
  const changed = await auth0.users.update(made.user_id, {
    app_metadata: { n: null },
    nickname: 'manager',
    blocked: true,
  });
  assert.deepEqual(changed.app_metadata, { plan: 'gold' });
  assert.equal(changed.blocked, true);
  await assert.rejects(
    auth0.users.update(made.user_id, { email: 'x@example.org', password: 'Correct-Horse-8' }),
    refusal(400, undefined, /simultaneously/),
  );
  for (let n = 0; n < 2; n += 1) await auth0.users.delete(made.user_id);
  await assert.rejects(auth0.users.get(made.user_id), refusal(404, 'inexistent_user', /exist/));
});

test('import and its errors', async () => {
  const rows = [
    { email: 'imported@example.org', app_metadata: { groups: ['a'] } },
    { email: mia.username, password_hash: `$2b$10$${'a'.repeat(53)}` },
  ];
  const users = new File([JSON.stringify(rows)], 'users.json', { type: 'application/json' });
  const job = await auth0.jobs.usersImports.create({
    users,
    connection_id: connectionId,
    external_id: 'batch',
    send_completion_email: false,
  });
  assert.deepEqual([job.type, job.status, job.connection], ['users_import', 'pending', database]);
  const done = await finished(job.id);
  assert.deepEqual(done.summary, { failed: 1, updated: 0, inserted: 1, total: 2 });
  const [refused] = await auth0.jobs.errors.get(job.id);
  assert.equal(refused.errors[0].code, 'DUPLICATED_USER');
  assert.equal(refused.user.password_hash, '*****');
  await assert.rejects(auth0.jobs.get('job_0000000000000000'), refusal(404, 'inexistent_job', /Job/));
});

test('export', async () => {
  const job = await auth0.jobs.usersExports.create({
    connection_id: connectionId,
    format: 'json',
    fields: [{ name: 'email' }],
  });
  const done = await finished(job.id);
  const lines = (await (await fetch(done.location.replace(issuer, `${tenantUrl}/`))).text()).trim().split('\n');
  assert.ok(lines.map((line) => JSON.parse(line).email).includes(mia.username));
});

test('tickets and the verification mail', async () => {
  const { ticket } = await auth0.tickets.changePassword({ user_id: miaId });
  assert.ok(ticket.startsWith(`${issuer}u/`));
  assert.ok((await auth0.tickets.verifyEmail({ user_id: miaId })).ticket);
  const job = await auth0.jobs.verificationEmail.create({ user_id: miaId });
  assert.equal(job.type, 'verification_email');
});

test('sessions, refresh tokens, blocks', async () => {
  await signIn();
  const [session] = (await auth0.users.sessions.list(aliceId)).data;
  assert.equal(session.user_id, aliceId);
  const [token] = (await auth0.users.refreshToken.list(aliceId)).data;
  assert.equal(token.client_id, clientId);
  await auth0.refreshTokens.get(token.id);
  await auth0.sessions.get(session.id);
  await auth0.sessions.revoke(session.id);
  await assert.rejects(
    auth0.sessions.get(session.id),
    refusal(404, 'inexistent_session', /^The session does not exist\.$/),
  );
  await auth0.refreshTokens.delete(token.id);
  await auth0.users.refreshToken.delete(aliceId);
  await auth0.users.sessions.delete(aliceId);
  await auth0.users.revokeAccess(aliceId, { preserve_refresh_tokens: true });
  assert.deepEqual((await auth0.users.sessions.list(aliceId)).data, []);
  assert.deepEqual((await auth0.userBlocks.list(aliceId)).blocked_for, []);
  await auth0.userBlocks.delete(aliceId);
});

test('connections', async () => {
  const all = await auth0.connections.list({ take: 1 });
  const names = [];
  for await (const connection of all) names.push(connection.name);
  assert.deepEqual(names, [database, 'employees']);
  assert.deepEqual((await auth0.connections.list({ name: 'nowhere' })).data, []);
});

test('a rate limit is 429, and waited out', async () => {
  const limited = { path: '/api/v2/users-by-email', times: 1, kind: { rate_limited: { retry_after: 1 } } };
  const read = (client) => client.users.listUsersByEmail({ email: mia.username });
  await inject(tenantUrl, limited);
  await assert.rejects(read(auth0), refusal(429, 'too_many_requests', /Global limit/));
  await inject(tenantUrl, limited);
  const patient = new ManagementClient({ ...options, maxRetries: 1 });
  assert.equal((await read(patient)).length, 1);
});
