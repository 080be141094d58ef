// Goes through a challenge's life with a client whose types a generator made of the OpenAPI document. It prints a
// line for each step that went as documented, and ends at the first that did not.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string | undefined> };

const target = process.env["TARGET"] ?? "";
const mobile = process.env["MOBILE"] ?? "";
const unknown = "otp_00000000000000000000000000"; // no challenge has it

type Schemas = components["schemas"];

const api = createClient<paths>({ baseUrl: target, headers: { "X-API-Key": process.env["API_KEY"] ?? "" } });
const stranger = createClient<paths>({ baseUrl: target });

function expect(holds: boolean, what: string, answer: unknown): asserts holds {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(answer)}`);
}

// Every field of a refusal has a type of its own; a client needs no cast.
function expectProblem(p: Schemas["Problem"] | undefined, status: number, code: string) {
  expect(p !== undefined && p.type === "about:blank" && p.status === status && p.code === code && p.title !== "" &&
    p.detail !== "" && p.message === p.detail && p.request_id !== "", `want ${status} ${code}`, p);
}

function expectFault(p: Schemas["InvalidProblem"] | undefined, pointer: string) {
  expectProblem(p, 400, "INVALID_REQUEST");
  expect(p !== undefined && p.errors.length === 1 && p.errors[0]?.pointer === pointer && p.errors[0].detail !== "",
    `want a fault at ${pointer}`, p);
}

// What an operation may refuse with is a union of its problems; a request that cannot be read names its faults.
function isInvalid(p: Schemas["Problem"] | undefined): p is Schemas["InvalidProblem"] {
  return p?.errors !== undefined;
}

async function send(): Promise<Schemas["Challenge"]> {
  const { data, error } = await api.POST("/v1/send", { body: { to: mobile, method: "sms", type: "verification" } });
  expect(data !== undefined && data.status === "queued" && data.expires_at > data.created_at, "send", error ?? data);
  return data;
}

async function received(): Promise<string> {
  const response = await fetch(`${target}/sandbox/messages?to=${encodeURIComponent(mobile)}`);
  const list = (await response.json()) as { data: { code: string }[] };
  const newest = list.data[0];
  expect(newest !== undefined, "no message", list);
  return newest.code;
}

async function verified() {
  const { id } = await send();
  const code = await received();
  const wrong = await api.POST("/v1/verify", { body: { id, code: `0000${code}` } });
  expect(wrong.data?.valid === false && wrong.data.reason === "MISMATCH" && wrong.data.attempts_remaining > 0,
    "a wrong code", wrong.error ?? wrong.data);
  const right = await api.POST("/v1/verify", { body: { id, code } });
  expect(right.data?.valid === true && right.data.attempts === 1 && right.data.receipt !== "",
    "the code", right.error ?? right.data);
  const { data, error } = await api.GET("/v1/status/{id}", { params: { path: { id } } });
  expect(data?.status === "verified" && data.sends.length === 1, "status", error ?? data);
}

async function canceled() {
  const { id, expires_at } = await send();
  const again = await api.POST("/v1/resend", { body: { id } });
  expect(again.data?.expires_at === expires_at, "resend", again.error ?? again.data);
  const over = await api.POST("/v1/cancel", { body: { to: mobile } });
  expect(over.data?.status === "canceled", "cancel", over.error ?? over.data);
}

async function sendRefused() {
  const { error } = await api.POST("/v1/send", { body: { to: mobile, method: "sms", type: "verification", ttl: 1 } });
  expectFault(isInvalid(error) ? error : undefined, "/ttl");
}

async function verifyRefused() {
  const { error } = await api.POST("/v1/verify", { body: { to: mobile, code: "letters" } });
  expectFault(isInvalid(error) ? error : undefined, "/code");
}

async function statusRefused() {
  const { error } = await api.GET("/v1/status/{id}", { params: { path: { id: unknown } } });
  expectProblem(error, 404, "NOT_FOUND");
}

async function resendRefused() {
  const { error } = await api.POST("/v1/resend", { body: { to: mobile } });
  expectProblem(error, 409, "CANCELED");
}

async function cancelRefused() {
  const { error } = await api.POST("/v1/cancel", { body: { id: unknown } });
  expectProblem(error, 404, "NOT_FOUND");
}

async function strangerRefused() {
  const { error, response } = await stranger.GET("/v1/status/{id}", { params: { path: { id: unknown } } });
  expect(response.headers.get("WWW-Authenticate") !== null, "no WWW-Authenticate", response.status);
  expectProblem(error, 401, "AUTH_003");
}

const steps: [string, () => Promise<void>][] = [
  ["send, verify, status", verified],
  ["resend, cancel", canceled],
  ["send refused", sendRefused],
  ["verify refused", verifyRefused],
  ["status refused", statusRefused],
  ["resend refused", resendRefused],
  ["cancel refused", cancelRefused],
  ["no key", strangerRefused],
];
for (const [name, step] of steps) {
  await step();
  console.log(`ok ${name}`);
}
