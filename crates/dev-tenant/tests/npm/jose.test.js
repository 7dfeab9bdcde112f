// jose: access tokens and logout tokens, as an API and a receiver would check them.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';

import { createRemoteJWKSet, jwtVerify } from 'jose';

import { Browser } from './browser.js';
import {
  audience, callback, clientId, clientSecret, httpUrl, mia, receiverPort,
} from './tenant.js';

const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', httpUrl));
const issuer = `${httpUrl}/`;

test('an access token of RFC 9068', async () => {
  const response = await fetch(`${httpUrl}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'password',
      client_id: clientId,
      client_secret: clientSecret,
      ...mia,
      scope: 'openid read:orders',
      audience,
    }),
  });
  const { access_token } = await response.json();
  const { payload } = await jwtVerify(access_token, keys, {
    issuer,
    audience,
    typ: 'at+jwt',
    requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
  });
  assert.deepEqual(payload.permissions, ['read:orders', 'write:orders']);
});

test('a logout token reaches the application of the session', async () => {
  const received = deferred();
  const server = createServer(async (request, response) => {
    received.resolve({ type: request.headers['content-type'], body: await text(request) });
    response.writeHead(200, { 'cache-control': 'no-store' }).end();
  });
  server.listen(receiverPort, '127.0.0.1');
  await once(server, 'listening');
  try {
    const browser = new Browser();
    const url = new URL('/authorize', httpUrl);
    url.search = new URLSearchParams({
      client_id: clientId,
      response_type: 'code',
      redirect_uri: callback,
      scope: 'openid',
    });
    await browser.signIn(url, mia.username, mia.password);
    await browser.target(`${httpUrl}/v2/logout?client_id=${clientId}`);

    const { type, body } = await received.promise;
    assert.match(type, /^application\/x-www-form-urlencoded/);
    const { payload } = await jwtVerify(new URLSearchParams(body).get('logout_token'), keys, {
      issuer,
      audience: clientId,
      typ: 'JWT',
      maxTokenAge: '2m',
      requiredClaims: ['sub', 'sid', 'jti', 'exp', 'events'],
    });
    assert.deepEqual(payload.events, {
      'http://schemas.openid.net/event/backchannel-logout': {},
    });
    assert.equal(payload.nonce, undefined);
  } finally {
    server.close();
  }
});

function deferred() {
  let resolve;
  const promise = new Promise((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
