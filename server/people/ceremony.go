package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// ceremony is a Question as it is stored.
type ceremony struct {
	Purpose string               `json:"purpose"`
	Name    string               `json:"name,omitempty"` // of the new passkey
	Session webauthn.SessionData `json:"session"`
}

// begun stores a question and returns it.
func begun(c ceremony, options any, person otp.ID, at otp.Millis, store func(sql.Ceremony) error) (Question, error) {
	shown, err := json.Marshal(options)
	if err != nil {
		return Question{}, fmt.Errorf("encode a question: %w", err)
	}
	kept, err := json.Marshal(c)
	if err != nil {
		return Question{}, fmt.Errorf("encode a question: %w", err)
	}
	row := sql.Ceremony{ID: sql.NewID(), Person: person, Data: kept, ExpiresAt: at + ceremonyLife}
	return Question{ID: row.ID.Text(CeremonyPrefix), Options: shown}, store(row)
}

// open returns a question that has not been answered yet. Refusal: NotFound.
func (k *Passkeys) open(ctx context.Context, id, purpose string, person otp.ID, at otp.Millis) (sql.Ceremony, ceremony,
	error) {
	var c ceremony
	parsed, _ := otp.ParseID(CeremonyPrefix, id)
	row, err := k.p.rows.Ceremony(ctx, parsed, at)
	if errors.Is(err, sql.ErrNotFound) {
		return row, c, noQuestion()
	}
	if err != nil {
		return row, c, err
	}
	if err := json.Unmarshal(row.Data, &c); err != nil {
		return row, c, fmt.Errorf("read question %s: %w", id, err)
	}
	if c.Purpose != purpose || row.Person != person {
		return row, c, noQuestion()
	}
	return row, c, nil
}

func noQuestion() error {
	return otp.Refuse(otp.NotFound, "there is no such question that waits for an answer; begin again")
}

// answered marks a question as answered. Refusal: NotFound if it already was.
func (k *Passkeys) answered(tx *sql.Tx, c sql.Ceremony, at otp.Millis) error {
	used, err := k.p.Store.Passkeys.UseCeremony(tx, c.ID, at)
	if err == nil && !used {
		err = noQuestion()
	}
	return err
}

// newParty returns the server's relying party for browsers. Its id is the host of the server's URL. It returns nil for
// an IP address, which cannot be an id, except that a sandbox on loopback uses the name localhost.
func newParty(issuer string, sandbox bool) *webauthn.WebAuthn {
	at, err := url.Parse(issuer)
	if err != nil || at.Hostname() == "" {
		return nil
	}
	host := at.Hostname()
	if address, err := netip.ParseAddr(host); err == nil {
		if !sandbox || !address.IsLoopback() {
			return nil
		}
		host = "localhost"
	}
	origin := at.Scheme + "://" + host
	if port := at.Port(); port != "" && at.Scheme+port != "https443" && at.Scheme+port != "http80" {
		origin += ":" + port // browsers omit the default port
	}
	resident := true
	party, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "OTPBridge", RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: &resident,
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Timeout: ceremonyLife.Duration()},
			Registration: webauthn.TimeoutConfig{Timeout: ceremonyLife.Duration()},
		},
	})
	if err != nil {
		return nil
	}
	return party
}

// holder is a person with their passkeys, as the library needs them.
type holder struct {
	person      sql.Person
	factors     []sql.Factor // of every kind
	credentials []webauthn.Credential
}

// WebAuthnID implements webauthn.User. Authenticators store the id, so it is not the e-mail address.
func (h *holder) WebAuthnID() []byte { return h.person.ID[:] }

// WebAuthnName implements webauthn.User.
func (h *holder) WebAuthnName() string { return h.person.Email }

// WebAuthnDisplayName implements webauthn.User.
func (h *holder) WebAuthnDisplayName() string { return h.person.Name }

// WebAuthnCredentials implements webauthn.User.
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

func (k *Passkeys) holder(ctx context.Context, id otp.ID) (*holder, error) {
	person, err := k.p.self(ctx, id)
	if err != nil {
		return nil, err
	}
	h := &holder{person: person}
	if h.factors, err = k.p.rows.Factors(ctx, id); err != nil {
		return nil, err
	}
	for _, f := range h.factors {
		if f.Kind != PasskeyFactor {
			continue
		}
		var c webauthn.Credential
		if err := json.Unmarshal(f.Credential, &c); err != nil {
			return nil, fmt.Errorf("read the passkey of factor %s: %w", f.ID.Text(FactorPrefix), err)
		}
		c.Authenticator.SignCount = uint32(f.LastStep)
		h.credentials = append(h.credentials, c)
	}
	return h, nil
}
