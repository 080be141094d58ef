// The guides' calls from JavaScript: keys with least privilege, going over to a new key, CSRF tokens.
const [URL_, ACCOUNT, TOKEN] = process.argv.slice(2);

async function createApiKey(settings) {
  const response = await fetch(`${URL_}/api/keys`, {
    method: 'POST',
    headers: { 'Authorization': `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ account: ACCOUNT, ...settings }), // deviation: the account, because the owner sees several
  });
  return { http: response.status, ...await response.json() };
}

// Deviation: the permissions are named for what there is here.
const devKey = await createApiKey({
  name: "Development - Local Testing",
  permissions: ["send:otp", "verify:otp"],
  ip_whitelist: ["127.0.0.1", "::1"],
  expires_at: new Date(Date.now() + 7 * 24 * 60 * 60 * 1000) // 7 days
});
console.log("dev", devKey.http, devKey.allowed_ips.join(), devKey.permissions.join());

const production = {
  name: "Production - Main Service",
  permissions: ["*"],
  ip_whitelist: ["52.44.123.456", "52.44.123.457"],
  expires_at: new Date(Date.now() + 365 * 24 * 60 * 60 * 1000) // 1 year
};
const refused = await createApiKey(production);
console.log("bad address", refused.http, refused.errors.map(e => `${e.pointer} ${e.detail}`).join());
// Deviation: 456 and 457 are no parts of an address.
const prodKey = await createApiKey({ ...production, ip_whitelist: ["52.44.123.45", "52.44.123.46"] });
console.log("prod", prodKey.http, prodKey.permissions.join());

// Going over from one key to the next.
const primaryKey = "otpb_test_sk_" + "x".repeat(20); // one that has been revoked
const fallbackKey = devKey.key;

async function makeRequest(endpoint, data, key) {
  const response = await fetch(`${URL_}/v1/${endpoint}`, {
    method: 'POST',
    headers: { 'Authorization': `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(data)
  });
  if (!response.ok) throw Object.assign(new Error(), { status: response.status });
  return response.json();
}

async function apiRequest(endpoint, data) {
  try {
    return await makeRequest(endpoint, data, primaryKey);
  } catch (error) {
    if (error.status === 401) {
      return await makeRequest(endpoint, data, fallbackKey);
    }
    throw error;
  }
}
// Deviation: "+1234567890" is no number that anybody can have.
const sent = await apiRequest('send', { to: '+919876501236', method: 'sms', type: 'verification' });
console.log("fallback", sent.status);

// CSRF tokens. What a browser does with cookies, this fetch does too.
let cookie = "";
async function browse(path, options) {
  const headers = { ...options.headers };
  if (cookie) headers.Cookie = cookie;
  const response = await fetch(URL_ + path, { ...options, headers });
  const set = response.headers.getSetCookie()[0];
  if (set) cookie = set.split(';')[0];
  return response;
}

const login = await (await browse('/api/auth/login', {
  method: 'POST', headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ email: "user@example.com", password: "SecureP@ssw0rd!" }),
})).json();
const accessToken = login.access_token;

const response = await browse('/api/csrf-token', {
  credentials: 'include'
});
const { csrf_token } = await response.json();
const data = { account: ACCOUNT, name: "made in a browser" };

for (const [what, headers] of [
  ["token and cookie", { 'Authorization': `Bearer ${accessToken}`, 'X-CSRF-Token': csrf_token }],
  ["cookie", { 'X-CSRF-Token': csrf_token }],
  ["no CSRF token", {}],
  ["wrong CSRF token", { 'X-CSRF-Token': csrf_token.slice(1) }],
]) {
  const result = await browse('/api/keys', {
    method: 'POST',
    headers: {
      ...headers,
      'Content-Type': 'application/json'
    },
    body: JSON.stringify(data),
    credentials: 'include'
  });
  console.log(what, result.status, (await result.json()).code ?? "");
}
