'use strict';

// Sends codes over the JSON API as a careful backend does: with a second key for the day the first
// one is revoked, which it tries on 401 and on nothing else, and waiting out a limit until the moment
// that X-RateLimit-Reset names. Run with `node api_client.js` (Node 18 or later); the settings are the
// environment variables listed in the README beside this folder. It stops at the first answer that is
// not the one expected.

const { setTimeout: pause } = require('node:timers/promises');

const REQUEST_TIMEOUT_MS = 20_000;
const LONGEST_WAIT_MS = 30_000;

class Refused extends Error {
  constructor(response, problem) {
    super(`${response.status} ${problem.code}`);
    this.status = response.status;
    this.code = problem.code;
    this.headers = response.headers;
  }
}

const target = (process.env.TARGET ?? 'http://127.0.0.1:8080').replace(/\/+$/, '');
const to = '+' + process.env.MOBILE;

async function makeRequest(endpoint, data, key) {
  const response = await fetch(target + endpoint, {
    method: data === undefined ? 'GET' : 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: data === undefined ? undefined : JSON.stringify(data),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  const body = await response.json();
  if (!response.ok) throw new Refused(response, body);
  return body;
}

// Both keys are asked for at every call, so that a key can be exchanged while this runs.
async function apiRequest(endpoint, data, keys = [process.env.PRIMARY_KEY, process.env.FALLBACK_KEY]) {
  try {
    return await makeRequest(endpoint, data, keys[0]);
  } catch (error) {
    if (error.status === 401) return makeRequest(endpoint, data, keys[1]);
    throw error;
  }
}

async function patiently(call) {
  let waits = 0;
  for (;;) {
    try {
      return { waits, answer: await call() };
    } catch (error) {
      if (error.status !== 429) throw error;
      const wait = Number(error.headers.get('X-RateLimit-Reset')) * 1000 - Date.now();
      if (!(wait < LONGEST_WAIT_MS)) throw error;
      waits += 1;
      await pause(Math.max(wait, 0));
    }
  }
}

function expect(step, condition, got) {
  if (!condition) throw new Error(`${step}: ${JSON.stringify(got)}`);
  console.log(`ok ${step}`);
}

async function main() {
  const order = { to, method: 'sms', type: 'verification' };
  const sent = await apiRequest('/v1/send', order);
  expect('send with the fallback key', sent.status === 'queued', sent);

  const inbox = await fetch(`${target}/sandbox/messages?limit=1&to=${encodeURIComponent(to)}`);
  const [{ code }] = (await inbox.json()).data;
  const verified = await apiRequest('/v1/verify', { to, code });
  expect('verify', verified.valid === true && verified.id === sent.id, verified);

  const refused = await apiRequest('/v1/send', { ...order, method: 'fax' }).catch((error) => error);
  expect('no fallback but on 401', refused.status === 400 && refused.code === 'INVALID_REQUEST', refused);

  // The key allows a few requests at once; the rest have to wait, and none is refused twice.
  const few = [process.env.LIMITED_KEY];
  let waited = 0;
  for (let i = 0; i < 4; i++) {
    const { waits, answer } = await patiently(() => apiRequest(`/v1/status/${sent.id}`, undefined, few));
    expect(`status ${i + 1}`, answer.status === 'verified' && waits <= 1, { waits, answer });
    waited += waits;
  }
  expect('waited for the limit', waited >= 1, waited);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
