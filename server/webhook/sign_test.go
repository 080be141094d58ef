package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// message is a request as a receiver sees it.
type message struct {
	Header    string            `json:"-"`
	Body      []byte            `json:"body"`
	Signature string            `json:"signature"`
	Secret    string            `json:"secret"`
	Headers   map[string]string `json:"headers"` // what all says, for JavaScript
	Now       int64             `json:"now"`     // the clock of a receiver in JavaScript

	all http.Header
}

// verifyKindly is the function that Kindly documents, word for word.
func verifyKindly(payload []byte, signature string, secret string) bool {
	expectedSig := hmac.New(sha256.New, []byte(secret))
	expectedSig.Write(payload)
	expected := hex.EncodeToString(expectedSig.Sum(nil))
	return hmac.Equal([]byte(expected), []byte(signature))
}

// needsNode installs the package of testdata's lock file, if that is not done yet.
func needsNode(t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(program, "is not there, and CI must have it")
			}
			t.Skip(program, "is not there")
		}
	}
	locked, err := os.ReadFile("testdata/package-lock.json")
	require.NoError(t, err)
	const stamp = "testdata/node_modules/installed.json"
	if done, err := os.ReadFile(stamp); err == nil && bytes.Equal(done, locked) {
		return
	}
	command := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	command.Dir = "testdata"
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.NoError(t, os.WriteFile(stamp, locked, 0o644))
}

// inJavaScript says whether a message was accepted by the function that K-OTP documents, and by the npm package of
// Standard Webhooks.
type inJavaScript struct{ KOTP, Standard bool }

// verifyInJavaScript verifies messages with the function that K-OTP documents, word for word, and with
// standardwebhooks of npm. An exception counts as refused.
func verifyInJavaScript(t *testing.T, messages ...message) (accepted []inJavaScript) {
	t.Helper()
	needsNode(t)
	for i := range messages {
		messages[i].Headers = map[string]string{}
		for name := range messages[i].all {
			messages[i].Headers[name] = messages[i].all.Get(name)
		}
	}
	input, err := json.Marshal(messages)
	require.NoError(t, err)
	command := exec.Command("node", "-e", `
const crypto = require('crypto');
const { Webhook } = require('standardwebhooks');

function verifyWebhookSignature(payload, signature, secret) {
  const expectedSignature = crypto
    .createHmac('sha256', secret)
    .update(payload)
    .digest('hex');

  return crypto.timingSafeEqual(
    Buffer.from(signature, 'hex'),
    Buffer.from(expectedSignature, 'hex')
  );
}

const accepts = verify => { try { return verify(); } catch { return false; } };
const messages = JSON.parse(require('fs').readFileSync(0));
console.log(JSON.stringify(messages.map(m => {
  const body = Buffer.from(m.body ?? '', 'base64');
  Date.now = () => m.now;
  return {
    KOTP: accepts(() => verifyWebhookSignature(body, m.signature, m.secret)),
    Standard: accepts(() => { new Webhook(m.secret).verify(body, m.headers); return true; }),
  };
})));`)
	command.Dir = "testdata"
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	output, err := command.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(output, &accepted))
	require.Len(t, accepted, len(messages))
	return accepted
}

// verifyStandard verifies a message with the Go library of Standard Webhooks.
func verifyStandard(m message) bool {
	verifier, err := standardwebhooks.NewWebhook(m.Secret)
	return err == nil && verifier.Verify(m.Body, m.all) == nil
}

func plain(t *testing.T) *house { return open(t, migrated.SQLite(t), 0) }

// sign returns the message that an endpoint would get on a try, as a receiver with a secret sees it.
func (h *house) sign(t *testing.T, id string, try int, now time.Time, secret string) message {
	t.Helper()
	whk, _ := otp.ParseID(EndpointPrefix, id)
	e, err := h.Store.Webhooks.ByID(ctx, me.Account, whk)
	require.NoError(t, err)
	secrets, err := h.secrets(&e, otp.At(now))
	require.NoError(t, err)
	text := []byte(`{"id":"evt_1","type":"otp.verified","data":{"note":"größer <&> 😀"}}`)
	request, err := signed(&e, "evt_1", text, secrets, try, now)
	require.NoError(t, err)
	body, err := io.ReadAll(request.Body)
	require.NoError(t, err)
	return message{Header: e.SignatureHeader, Body: body, Signature: request.Header.Get(e.SignatureHeader), Secret: secret,
		Now: time.Now().UnixMilli(), all: request.Header}
}

func TestSigned_TheReferencesVerifiersAcceptItAndNothingElse(t *testing.T) {
	h := plain(t)
	for _, header := range signatureHeaders {
		e, _ := h.listen(t, "hooks.example.com", Wish{SignatureHeader: &header})
		require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, e.Secret)
		good := h.sign(t, e.ID, 0, time.Now(), e.Secret)
		require.Len(t, good.all.Values(header), 1)

		var hexes []message
		var standard []message
		for _, harm := range []func(m *message){
			func(m *message) { m.Body = append(bytes.Clone(m.Body), ' ') },
			func(m *message) { m.Body = bytes.Replace(m.Body, []byte("verified"), []byte("canceled"), 1) },
			func(m *message) { m.Body = nil },
			func(m *message) { m.Secret = newSecret() },
			func(m *message) {
				m.Signature = m.Signature[:len(m.Signature)-2]
				m.all.Set("webhook-signature", m.all.Get("webhook-signature")[:40])
			},
			func(m *message) { m.Signature = ""; m.all.Del("webhook-signature") },
			func(m *message) { // another's signature
				other := newSecret()
				mac := hmac.New(sha256.New, []byte(other))
				mac.Write(m.Body)
				m.Signature = hex.EncodeToString(mac.Sum(nil))
				m.all.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
			},
		} {
			bad := good
			bad.all = good.all.Clone()
			harm(&bad)
			hexes, standard = append(hexes, bad), append(standard, bad)
		}
		// Only Standard Webhooks also signs the id and the time.
		for _, harm := range []func(http.Header){
			func(h http.Header) { h.Set("webhook-id", "evt_2") },
			func(h http.Header) { h.Del("webhook-id") },
			func(h http.Header) { h.Set("webhook-timestamp", strconv.FormatInt(time.Now().Unix()+1, 10)) },
			func(h http.Header) { h.Set("webhook-timestamp", "soon") },
		} {
			bad := good
			bad.all = good.all.Clone()
			harm(bad.all)
			standard = append(standard, bad)
		}
		standard = append(standard, h.sign(t, e.ID, 0, time.Now().Add(-6*time.Minute), e.Secret),
			h.sign(t, e.ID, 0, time.Now().Add(6*time.Minute), e.Secret))

		require.True(t, verifyStandard(good))
		require.True(t, verifyKindly(good.Body, good.Signature, good.Secret))
		for i, bad := range standard {
			require.False(t, verifyStandard(bad), "standard %d", i)
		}
		for i, bad := range hexes {
			require.False(t, verifyKindly(bad.Body, bad.Signature, bad.Secret), "hex %d", i)
		}
		accepted := verifyInJavaScript(t, slices.Concat([]message{good}, hexes, standard)...)
		require.Equal(t, inJavaScript{KOTP: true, Standard: true}, accepted[0])
		for i, by := range accepted[1:] {
			require.False(t, by.Standard, "standard %d", i)
			require.False(t, by.KOTP && i < len(hexes), "hex %d", i)
		}
	}
}

// For a day both secrets are valid: in every request for Standard Webhooks, and in turns in a header with one
// signature.
func TestRotate_BothSecretsAreGoodForADay(t *testing.T) {
	h := plain(t)
	e, _ := h.listen(t, "hooks.example.com", Wish{})
	rotated, err := h.Rotate(ctx, me, e.ID, func(version int64) error {
		require.EqualValues(t, 1, version)
		return nil
	})
	require.NoError(t, err)
	require.NotEqual(t, e.Secret, rotated.Secret)
	require.NotNil(t, rotated.OldSecretUntil)
	var messages []message
	var expected []inJavaScript
	for try, secrets := range [][2]string{{rotated.Secret, e.Secret}, {e.Secret, rotated.Secret}} {
		for i, secret := range secrets {
			m := h.sign(t, e.ID, try, time.Now(), secret)
			require.True(t, verifyStandard(m))
			require.Equal(t, i == 0, verifyKindly(m.Body, m.Signature, m.Secret))
			messages, expected = append(messages, m), append(expected, inJavaScript{KOTP: i == 0, Standard: true})
		}
	}
	later := time.Now().Add(overlap.Duration() + time.Second)
	for try := range 2 {
		old := h.sign(t, e.ID, try, later, e.Secret)
		require.False(t, verifyKindly(old.Body, old.Signature, old.Secret))
		verifier, err := standardwebhooks.NewWebhook(e.Secret)
		require.NoError(t, err)
		require.Error(t, verifier.VerifyIgnoringTimestamp(old.Body, old.all))
		fresh := h.sign(t, e.ID, try, later, rotated.Secret)
		require.True(t, verifyKindly(fresh.Body, fresh.Signature, fresh.Secret))
		old.Now, fresh.Now = later.UnixMilli(), later.UnixMilli()
		messages, expected = append(messages, old, fresh), append(expected, inJavaScript{}, inJavaScript{true, true})
	}
	require.Equal(t, expected, verifyInJavaScript(t, messages...))
}

// privateURLs returns spellings of addresses that no request may reach, most of them of this machine.
func privateURLs(port string) (urls []string) {
	for _, text := range []string{"127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.0.1",
		"172.16.0.1", "100.64.0.1"} {
		a := netip.MustParseAddr(text).As4()
		n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
		for _, host := range []string{
			text, text + ".", strconv.FormatUint(uint64(n), 10), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n),
			fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", a[0], a[1], a[2], a[3]), fmt.Sprintf("0%o.%d.%d.%d", a[0], a[1], a[2], a[3]),
			fmt.Sprintf("%d.%d", a[0], n&0xffffff), "[::ffff:" + text + "]", "[64:ff9b::" + text + "]",
			fmt.Sprintf("[2002:%x:%x::1]", n>>16, n&0xffff), "hooks.example.com@" + text,
		} {
			urls = append(urls, "https://"+host+":"+port+"/")
		}
	}
	return append(urls, "http://127.0.0.1:"+port+"/", "https://[::1]:"+port+"/", "https://[::]:"+port+"/",
		"https://[fe80::1%25lo]:"+port+"/", "https://localhost:"+port+"/", "file:///etc/passwd")
}

// A URL of this machine is refused when it is set. If it got into the database another way, or a name resolves to it,
// no connection is made.
func TestEndpoint_NoSpellingOfAPrivateAddressIsReached(t *testing.T) {
	h := plain(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var reached atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	urls := privateURLs(port)
	require.Greater(t, len(urls), 60)
	client := (&deliver.Guard{}).Client(time.Second)
	for _, url := range urls {
		_, err := h.Create(ctx, me, otp.ID{}, Wish{URL: &url})
		if url != "https://localhost:"+port+"/" { // a name, which is judged when it is dialled
			refusal, _ := err.(*otp.Error)
			require.NotNil(t, refusal, url)
			require.Equal(t, "url", refusal.Field)
		}
		e := sql.Endpoint{ID: sql.NewID(), Account: me.Account, URL: url, SignatureHeader: signatureHeaders[0]}
		e.Secret = h.Vault.Keyring.Seal(vault.WebhookSecret(e.ID), []byte(newSecret()))
		n := sql.Notice{Endpoint: e.ID, ID: sql.NewID(), Event: sql.NewID(), State: sql.NoticePending, DueAt: 1}
		n.Request = h.Vault.Keyring.Seal(vault.WebhookText(e.ID, n.ID), []byte("{}"))
		if h.attempt(ctx, client, &e, &n, sql.Text{}) == nil {
			require.Equal(t, sql.NoticePending, n.State, url)
			require.NotEmpty(t, n.Reason, url)
			require.NotContains(t, n.Reason, port, "a reason quotes no address")
		}
	}
	require.Zero(t, reached.Load())
}
