'use strict';

const { createCipheriv } = require('node:crypto');

/** Sends and verifies one-time codes through the OTP servlets. */
class OtpClient {
  constructor({ url, accessKey, key, iv }) {
    Object.assign(this, { url, accessKey, key, iv });
  }

  /** Has a new code sent; one that was sent before stops being valid. */
  send(mobile, ipaddress) {
    return this.#call('otpgenservlet', { mobile, ipaddress });
  }

  /** Has the same code sent again. */
  resend(mobile, ipaddress) {
    return this.#call('otpregenservlet', { mobile, ipaddress });
  }

  /** Answers "verified" for the right code, once, and nothing like it for anything else. */
  verify(mobile, ipaddress, code) {
    const cipher = createCipheriv(`aes-${this.key.length * 8}-cbc`, this.key, this.iv);
    const otp = Buffer.concat([cipher.update(code, 'utf8'), cipher.final()]).toString('base64');
    return this.#call('otpvalidationservlet', { mobile, ipaddress, otp });
  }

  async #call(servlet, parameters) {
    const response = await fetch(`${this.url}/${servlet}`, {
      method: 'POST',
      headers: { access_key: this.accessKey },
      body: new URLSearchParams(parameters),
      signal: AbortSignal.timeout(10_000),
    });
    return outcome((await response.text()).trim());
  }
}

function outcome(answer) {
  const wrong = /^Wrong PIN ?\. No of Retries remaining # ?(\d+)$/.exec(answer);
  if (wrong) return `wrong ${wrong[1]}`;
  if (answer.startsWith('Max no of tries for this pin')) return 'exhausted';
  switch (answer) {
    case 'OTP Generated Successfully': return 'sent';
    case 'Verified successfully': return 'verified';
    case 'OTPEXPIRED': return 'expired';
    default: return 'failed';
  }
}

module.exports = { OtpClient };

async function main([command, ...rest]) {
  const { OTP_URL, OTP_ACCESS_KEY, OTP_CIPHER_KEY, OTP_CIPHER_IV } = process.env;
  const client = new OtpClient({
    url: OTP_URL,
    accessKey: OTP_ACCESS_KEY,
    key: Buffer.from(OTP_CIPHER_KEY, 'base64'),
    iv: Buffer.from(OTP_CIPHER_IV, 'base64'),
  });
  if (!['send', 'resend', 'verify'].includes(command)) throw new Error('send, resend or verify');
  const result = await client[command](...rest);
  console.log(result);
  process.exitCode = ['sent', 'verified'].includes(result) ? 0 : 1;
}

if (require.main === module) main(process.argv.slice(2));
