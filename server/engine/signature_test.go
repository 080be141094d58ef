package engine_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// signer makes signed requests with one key.
type signer struct {
	caller *engine.Caller
	secret crypto.Secret
}

func newSigner(t testing.TB, h house, mode otp.Signing) signer {
	t.Helper()
	_, secret, signing, err := h.Keys.Create(background, manage.Operator(),
		manage.NewKey{Account: demoAccount, Signing: mode})
	require.NoError(t, err)
	return signer{v1Caller(t, h, string(secret.Bytes())), signing}
}

func (s signer) request(at time.Time) engine.Signed {
	r := engine.Signed{
		Method: http.MethodPost, Path: "/v1/send?x=%2F", Timestamp: fmt.Sprint(at.Unix()), Nonce: crypto.NewNonce(),
		Body: []byte(`{"to":"+919551492394","method":"sms"}`),
	}
	return s.sign(r)
}

func (s signer) sign(r engine.Signed) engine.Signed {
	r.Signature = crypto.SignedRequest{Method: r.Method, Path: r.Path, Timestamp: r.Timestamp, Nonce: r.Nonce,
		Body: r.Body}.Sign(s.secret)
	return r
}

func TestCheckSignature_TheModeDecidesWhoMustSign(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		unsigned := engine.Signed{Method: http.MethodGet, Path: "/v1/status/otp_1"}
		off := v1Caller(t, h, "ZGVtby1hY2Nlc3Mta2V5MQ==")
		require.NoError(t, h.AcceptSignature(background, off, unsigned))
		nonsense := unsigned
		nonsense.Signature = "nonsense"
		require.NoError(t, h.AcceptSignature(background, off, nonsense))

		optional := newSigner(t, h, otp.SigningOptional)
		require.NoError(t, h.AcceptSignature(background, optional.caller, unsigned))
		require.Equal(t, otp.BadSignature, otp.KindOf(h.AcceptSignature(background, optional.caller, nonsense)))
		require.NoError(t, h.AcceptSignature(background, optional.caller, optional.request(time.Now())))

		required := newSigner(t, h, otp.SigningRequired)
		require.Equal(t, otp.BadSignature, otp.KindOf(h.AcceptSignature(background, required.caller, unsigned)))
		good := required.request(time.Now())
		for missing, remove := range map[string]func(*engine.Signed){
			"X-Timestamp": func(s *engine.Signed) { s.Timestamp = "" },
			"X-Nonce":     func(s *engine.Signed) { s.Nonce = "" },
			"X-Signature": func(s *engine.Signed) { s.Signature = "" },
		} {
			r := good
			remove(&r)
			err := h.AcceptSignature(background, required.caller, r)
			require.Equal(t, otp.BadSignature, otp.KindOf(err), missing)
			require.ErrorContains(t, err, missing)
		}
		require.NoError(t, h.AcceptSignature(background, required.caller, good))
		require.Equal(t, otp.BadSignature, otp.KindOf(h.AcceptSignature(background, optional.caller,
			required.request(time.Now()))), "another key's secret")
	})
}

func TestCheckSignature_FiveMinutesEitherWay(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			s := newSigner(t, h, otp.SigningRequired)
			for seconds, good := range map[int]bool{0: true, 300: true, -300: true, 301: false, -301: false, 86400: false} {
				err := h.AcceptSignature(background, s.caller, s.request(time.Now().Add(time.Duration(seconds)*time.Second)))
				require.Equal(t, good, err == nil, "%d s: %v", seconds, err)
			}
			now := fmt.Sprint(time.Now().Unix())
			for _, text := range []string{"+" + now, "0" + now, now + ".0", " " + now, now + " ", "0x1", "１" + now[1:],
				"18446744073709551616", "now"} {
				r := s.request(time.Now())
				r.Timestamp = text
				err := h.AcceptSignature(background, s.caller, s.sign(r))
				require.Equal(t, otp.BadSignature, otp.KindOf(err), text)
				require.ErrorContains(t, err, "Unix seconds")
			}
			for _, far := range []string{"-" + now, now + "0", now[1:], "9223372036854775807", "-9223372036854775808"} {
				r := s.request(time.Now())
				r.Timestamp = far
				require.Equal(t, otp.BadSignature, otp.KindOf(h.AcceptSignature(background, s.caller, s.sign(r))), far)
			}
		})
	})
}

func TestCheckSignature_ANonceIsGoodOnceUntilItsTimestampIsNot(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			servers := two(t, at)
			s, other := newSigner(t, servers[0], otp.SigningRequired), newSigner(t, servers[0], otp.SigningRequired)
			r := s.request(time.Now().Add(300 * time.Second))

			forged := r
			forged.Body = []byte(`{"to":"+15005550006"}`)
			require.Equal(t, otp.BadSignature, otp.KindOf(servers[0].AcceptSignature(background, s.caller, forged)))
			late := s.sign(engine.Signed{Method: r.Method, Path: r.Path, Timestamp: fmt.Sprint(time.Now().Unix() - 301),
				Nonce: r.Nonce, Body: r.Body})
			require.Equal(t, otp.BadSignature, otp.KindOf(servers[0].AcceptSignature(background, s.caller, late)))
			require.NoError(t, servers[0].AcceptSignature(background, s.caller, r), "neither has used up the nonce")

			replayed := func(h house, r engine.Signed) {
				err := h.AcceptSignature(background, s.caller, r)
				require.Equal(t, otp.BadSignature, otp.KindOf(err))
				require.ErrorContains(t, err, "X-Nonce was used before")
			}
			replayed(servers[0], r)
			replayed(servers[1], r)
			capitals := r
			capitals.Nonce = strings.ToUpper(r.Nonce)
			replayed(servers[1], s.sign(capitals))
			require.NoError(t, servers[1].AcceptSignature(background, other.caller, other.sign(r)),
				"another key has nonces of its own")

			time.Sleep(600*time.Second + 999*time.Millisecond)
			servers[0].sweep(t)
			replayed(servers[0], r)
			time.Sleep(time.Millisecond)
			require.ErrorContains(t, servers[0].AcceptSignature(background, s.caller, r), "X-Timestamp",
				"too old to be looked up")
			require.Equal(t, 2, nonces(t, at))
			time.Sleep(2 * time.Minute)
			servers[0].sweep(t)
			require.Zero(t, nonces(t, at))
		})
	})
}

func nonces(t testing.TB, at place) (n int) {
	t.Helper()
	require.NoError(t, byHand(t, at).QueryRow(`SELECT COUNT(*) FROM nonces`).Scan(&n))
	return n
}

func TestCheckSignature_NoncesAre32HexadecimalCharacters(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	s := newSigner(t, h, otp.SigningRequired)
	for _, nonce := range []string{"1", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("0", 64),
		strings.Repeat("g", 32), strings.Repeat("é", 16)} {
		r := s.request(time.Now())
		r.Nonce = nonce
		err := h.AcceptSignature(background, s.caller, s.sign(r))
		require.Equal(t, otp.BadSignature, otp.KindOf(err), nonce)
		require.ErrorContains(t, err, "X-Nonce")
	}
}

func TestCheckSignatureRace_OneOfManyReplaysIsTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		servers := two(t, at)
		s := newSigner(t, servers[0], otp.SigningRequired)
		for range 10 {
			r := s.request(time.Now())
			taken := 0
			for _, err := range atOnce(64, func(i int) error { return servers[i%2].AcceptSignature(background, s.caller, r) }) {
				if err == nil {
					taken++
					continue
				}
				require.Equal(t, otp.BadSignature, otp.KindOf(err), "%v", err)
			}
			require.Equal(t, 1, taken)
		}
	})
}
