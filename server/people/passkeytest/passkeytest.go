// Package passkeytest is an authenticator in software, for tests: it makes passkeys and signs with them. It does as it
// is told, wrongly too.
package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// The flags of authenticator data (WebAuthn Level 3, section 6.1).
const (
	Present  = 0x01 // somebody touched it
	Verified = 0x04 // and proved who they are
	BackedUp = 0x18 // the passkey can be copied, and was
	attested = 0x40 // a new passkey follows
)

// Passkey is one passkey, with how it answers. A test may change any field between two answers.
type Passkey struct {
	ID      []byte
	User    []byte // whom it says it is of
	Origin  string // of the page that asked
	RPID    string
	Flags   byte
	Counter uint32

	Type      string // of what is signed; empty for what was asked for
	Challenge string // empty for the one that was asked
	Cross     bool   // the page is a frame of another site's
	key       *ecdsa.PrivateKey
}

// New returns a passkey that answers rightly, for a site. It has no counter, as those have that are copied between
// devices.
func New(origin, rpID string) *Passkey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	id := make([]byte, 32)
	rand.Read(id)
	return &Passkey{ID: id, Origin: origin, RPID: rpID, Flags: Present | Verified, key: key}
}

// Clone returns a copy with the same key.
func (p *Passkey) Clone() *Passkey {
	copied := *p
	return &copied
}

// Rekeyed returns a copy with another key: what somebody has who knows only the id.
func (p *Passkey) Rekeyed() *Passkey {
	copied := p.Clone()
	copied.key = New("", "").key
	return copied
}

// asked is what the server hands to the browser, of which this reads what it needs.
type asked struct {
	PublicKey struct {
		Challenge string `json:"challenge"`
		User      struct {
			ID string `json:"id"`
		} `json:"user"`
	} `json:"publicKey"`
}

func read(options []byte) (a asked) {
	if err := json.Unmarshal(options, &a); err != nil {
		panic(err)
	}
	return a
}

var text = base64.RawURLEncoding

// Create answers a server that adds a passkey.
func (p *Passkey) Create(options []byte) []byte {
	a := read(options)
	if p.User == nil {
		p.User, _ = text.DecodeString(a.PublicKey.User.ID)
	}
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	public := encode(webauthncose.EC2PublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{KeyType: 2, Algorithm: -7}, // ES256
		Curve:         1, XCoord: point[1:33], YCoord: point[33:],
	})
	data := p.data(attested)
	data = append(data, make([]byte, 16)...) // of no known model
	data = binary.BigEndian.AppendUint16(data, uint16(len(p.ID)))
	data = append(append(data, p.ID...), public...)
	object := encode(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	return p.answer(map[string]any{
		"clientDataJSON":    text.EncodeToString(p.client("webauthn.create", a)),
		"attestationObject": text.EncodeToString(object),
	})
}

// Sign answers a server that asks who somebody is.
func (p *Passkey) Sign(options []byte) []byte {
	client, data := p.client("webauthn.get", read(options)), p.data(0)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, p.key, digest[:])
	if err != nil {
		panic(err)
	}
	return p.answer(map[string]any{
		"clientDataJSON":    text.EncodeToString(client),
		"authenticatorData": text.EncodeToString(data),
		"signature":         text.EncodeToString(signature),
		"userHandle":        text.EncodeToString(p.User),
	})
}

func (p *Passkey) client(kind string, a asked) []byte {
	if p.Type != "" {
		kind = p.Type
	}
	challenge := a.PublicKey.Challenge
	if p.Challenge != "" {
		challenge = p.Challenge
	}
	client, err := json.Marshal(map[string]any{
		"type": kind, "challenge": challenge, "origin": p.Origin, "crossOrigin": p.Cross,
	})
	if err != nil {
		panic(err)
	}
	return client
}

func (p *Passkey) data(flags byte) []byte {
	site := sha256.Sum256([]byte(p.RPID))
	return binary.BigEndian.AppendUint32(append(site[:], p.Flags|flags), p.Counter)
}

func (p *Passkey) answer(response map[string]any) []byte {
	answer, err := json.Marshal(map[string]any{
		"id": text.EncodeToString(p.ID), "rawId": text.EncodeToString(p.ID), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{},
	})
	if err != nil {
		panic(err)
	}
	return answer
}

func encode(value any) []byte {
	encoded, err := webauthncbor.Marshal(value)
	if err != nil {
		panic(err)
	}
	return encoded
}
