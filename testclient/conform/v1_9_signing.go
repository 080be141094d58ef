package conform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// signed is a request of which any part can be wrong.
type signed struct {
	method, path, body string
	over               string // what is signed as body, if not body
	at                 time.Time
	nonce              string
	secret             string
}

// sign returns a correctly signed send.
func (s *Story) sign() signed {
	if s.account.SigningSecret == "" {
		panic(skipped{"It needs an API key that signs requests (--api-key and --signing-secret), and this target shows " +
			"none."})
	}
	return signed{
		method: http.MethodPost, path: "/v1/send", at: time.Now(), nonce: randomHex(32), secret: s.account.SigningSecret,
		body: `{"type":"verification","to":"` + s.To() + `","method":"sms"}`,
	}
}

// sendSigned sends the request with its signature.
func (s *Story) sendSigned(g signed, opts ...Option) Reply {
	over := g.over
	if over == "" {
		over = g.body
	}
	at := strconv.FormatInt(g.at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(g.secret))
	mac.Write([]byte(g.method + g.path + at + g.nonce + over))
	opts = append([]Option{
		NoKey, Header("X-API-Key", s.account.APIKey), Header("X-Timestamp", at), Header("X-Nonce", g.nonce),
		Header("X-Signature", hex.EncodeToString(mac.Sum(nil))),
	}, opts...)
	return s.V1.Call(g.method, g.path, g.body, opts...)
}

func v1Signing() []Case {
	return []Case{
		{
			Requirement: "A signature over method, path, timestamp, nonce and the body as it is sent is good.",
			Source:      Client,
			Run:         func(s *Story) { s.sendSigned(s.sign()).ExpectCreated() },
		},
		{
			Requirement: "A signature over the canonical form is good, whatever the order in which the members are sent.",
			Source:      Client,
			Run: func(s *Story) {
				g := s.sign()
				g.body = `{"type":"verification","to":"` + s.To() + `","method":"sms","metadata":{"n":1.50,"a":"é"}}`
				g.over = `{"metadata": {"a": "\u00e9", "n": 1.50}, "method": "sms", "to": "` + s.To() + `", "type": "verification"}`
				s.sendSigned(g).ExpectCreated()
			},
		},
		{
			Requirement: "A signature by another secret, or over another body, method or path, is refused with 401.",
			Run: func(s *Story) {
				for _, spoil := range []func(*signed){
					func(g *signed) { g.secret += "x" },
					func(g *signed) { g.over = g.body + " " },
				} {
					g := s.sign()
					spoil(&g)
					s.sendSigned(g).ExpectProblem(http.StatusUnauthorized, "")
				}
				g := s.sign()
				g.path = "/v1/status/otp_unknown"
				s.sendSigned(g, Path("/v1/send")).ExpectProblem(http.StatusUnauthorized, "")
			},
		},
		{
			Requirement: "A timestamp more than 300 seconds away is refused with 401.",
			Run: func(s *Story) {
				for _, away := range []time.Duration{-310 * time.Second, 310 * time.Second} {
					g := s.sign()
					g.at = g.at.Add(away)
					s.sendSigned(g).ExpectProblem(http.StatusUnauthorized, "")
				}
				g := s.sign()
				g.at = g.at.Add(-280 * time.Second)
				s.sendSigned(g).ExpectCreated()
			},
		},
		{
			Requirement: "A nonce is good once.",
			Run: func(s *Story) {
				g := s.sign()
				s.sendSigned(g).ExpectCreated()
				s.sendSigned(g).ExpectProblem(http.StatusUnauthorized, "")
			},
		},
		{
			Requirement: "A nonce that is not 32 hex digits is refused with 401.",
			Run: func(s *Story) {
				g := s.sign()
				g.nonce = "short"
				s.sendSigned(g).ExpectProblem(http.StatusUnauthorized, "")
			},
		},
	}
}
