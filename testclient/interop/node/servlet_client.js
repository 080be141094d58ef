'use strict';

// Walks one code through the OTP servlets the way a Node integration does, and stops at the first
// answer that differs by a single byte. Run with `node servlet_client.js` (Node 18 or later); the
// settings are the environment variables listed in the README beside this folder.

const crypto = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');

const IP_ADDRESS = '203.0.113.20';
const REQUEST_TIMEOUT_MS = 20_000;
const INBOX_PATIENCE_MS = 10_000;

class Mismatch extends Error {}
class BadSetting extends Error {}

function readSettings(env) {
  const setting = (name, fallback) => {
    const value = env[name] ?? fallback;
    if (value === undefined) throw new BadSetting(`${name} is not set`);
    return value;
  };
  // The first of the two words is the default.
  const oneOf = (name, first, second) => {
    const value = setting(name, first);
    if (value !== first && value !== second) throw new BadSetting(`${name} must be ${first} or ${second}`);
    return value;
  };
  const target = setting('TARGET', 'http://127.0.0.1:8080').replace(/\/+$/, '');
  return {
    target,
    servlets: target + setting('CONTEXT_PATH', '/otpauthapi').replace(/\/+$/, ''),
    accessKey: setting('ACCESS_KEY'),
    cipherKey: Buffer.from(setting('CIPHER_KEY'), 'base64'),
    cipherIv: Buffer.from(setting('CIPHER_IV'), 'base64'),
    mobile: setting('MOBILE'),
    live: oneOf('PROFILE', 'documented', 'live') === 'live',
    encoding: oneOf('PARAM_ENCODING', 'base64', 'hex'),
  };
}

async function run(settings) {
  const { servlets, accessKey, mobile, live } = settings;
  const headers = { access_key: accessKey };
  const subject = { ipaddress: IP_ADDRESS, mobile };
  const query = new URLSearchParams(subject);

  // URLSearchParams as a body sets the form content type and encodes the plus of base64.
  const validate = (code) =>
    request(`${servlets}/otpvalidationservlet`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ ...subject, otp: encrypt(code, settings) }),
    });

  const expect = (step, text, came) => {
    const expected = { status: 200, body: Buffer.from(live ? text + '\r\n' : text, 'latin1') };
    same(step, shown(expected), shown(came), came.status === 200 && came.body.equals(expected.body));
  };

  expect('generate', 'OTP Generated Successfully',
    await request(`${servlets}/otpgenservlet?${query}`, { headers }));

  // Integrations POST with everything in the query string and nothing in the body.
  expect('regenerate', 'OTP Generated Successfully',
    await request(`${servlets}/otpregenservlet?${query}`, { method: 'POST', headers }));

  const code = await codeSentTwice(settings);
  expect('wrong code',
    live ? 'Wrong PIN . No of Retries remaining # 2' : 'Wrong PIN. No of Retries remaining #2',
    await validate(differingFrom(code)));
  expect('right code', 'Verified successfully', await validate(code));
  expect('used code', 'OTPEXPIRED', await validate(code));
}

function encrypt(code, { cipherKey, cipherIv, encoding }) {
  const cipher = crypto.createCipheriv(`aes-${cipherKey.length * 8}-cbc`, cipherKey, cipherIv);
  return Buffer.concat([cipher.update(code, 'ascii'), cipher.final()]).toString(encoding);
}

// The code of the two newest messages, which must be the same: regenerate sends it again.
async function codeSentTwice({ target, mobile }) {
  const inbox = `${target}/sandbox/messages?${new URLSearchParams({ to: mobile })}`;
  const giveUp = Date.now() + INBOX_PATIENCE_MS;
  for (;;) {
    const answer = await request(inbox);
    const messages = messagesIn(answer);
    if (messages.length >= 2) {
      const [newest, before] = messages.map((message) => message.code);
      same('inbox', `the same code twice, ${before}`, `newest ${newest}`,
        newest === before && /^[0-9]{4,10}$/.test(newest));
      return newest;
    }
    if (Date.now() >= giveUp) same('inbox', 'two messages', shown(answer), false);
    await pause(200);
  }
}

function messagesIn(answer) {
  try {
    return JSON.parse(answer.body.toString('utf8')).data ?? [];
  } catch {
    return []; // Reported by the caller, with the answer.
  }
}

// The same code with another last digit.
function differingFrom(code) {
  return code.slice(0, -1) + ((Number(code.at(-1)) + 1) % 10);
}

async function request(url, options = {}) {
  const response = await fetch(url, { ...options, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

function shown({ status, body }) {
  return `HTTP ${status} ${JSON.stringify(body.toString('latin1'))}`;
}

function same(step, expected, came, equal) {
  if (!equal) throw new Mismatch(`FAILED ${step}\n  expected ${expected}\n  came     ${came}`);
  console.log(`ok ${step}`);
}

async function main() {
  try {
    await run(readSettings(process.env));
  } catch (error) {
    const explained = error instanceof Mismatch || error instanceof BadSetting;
    console.error(explained ? error.message : `FAILED ${error} ${error.cause ?? ''}`);
    process.exitCode = error instanceof BadSetting ? 2 : 1;
  }
}

main();
