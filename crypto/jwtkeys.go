package crypto

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// JWTKeys are the public keys of one issuer. They do not change once made.
type JWTKeys struct{ keys []jwtKey }

type jwtKey struct {
	id        string // empty: matches any key id in a token
	algorithm string // empty: any that fits the key
	public    any
}

const (
	// maxJWTKeys bounds a set. Issuers have a handful.
	maxJWTKeys = 100
	minRSA     = 2048 // bits; RFC 7518, section 3.3
	maxRSA     = 8192 // longer ones are slow to verify with
)

// jsonKey is a key in the form of RFC 7517.
type jsonKey struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	Private    string   `json:"d"`
}

// ParseKeySet reads a JSON Web Key Set (RFC 7517). As the RFC says, keys for other uses, of unknown kinds, too short
// or broken are left out; a set with no usable key is an error.
func ParseKeySet(text []byte) (*JWTKeys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New(`is not a key set; it must be a JSON object with a list "keys"`)
	}
	if len(set.Keys) > maxJWTKeys {
		return nil, fmt.Errorf("has more than %d keys", maxJWTKeys)
	}
	keys := &JWTKeys{}
	for _, raw := range set.Keys {
		var k jsonKey
		if json.Unmarshal(raw, &k) != nil || k.Private != "" || k.Use != "" && k.Use != "sig" || len(k.ID) > 255 ||
			len(k.Operations) > 0 && !slices.Contains(k.Operations, "verify") {
			continue
		}
		if public := k.public(); public != nil {
			keys.keys = append(keys.keys, jwtKey{k.ID, k.Algorithm, public})
		}
	}
	if len(keys.keys) == 0 {
		return nil, errors.New("has no key for signatures that can be used: RSA from 2048 bits, P-256, P-384, P-521 or " +
			"Ed25519")
	}
	return keys, nil
}

// public returns the key, nil if it is unusable.
func (k *jsonKey) public() any {
	x, y := unbase64(k.X), unbase64(k.Y)
	switch curve := curves[k.Curve]; {
	case k.Type == "RSA":
		return usableRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(unbase64(k.N)), E: exponent(unbase64(k.E))})
	case k.Type == "EC" && curve != nil:
		size := (curve.Params().BitSize + 7) / 8
		if len(x) != size || len(y) != size {
			return nil
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, x, y}, nil))
		if err != nil {
			return nil // not on the curve
		}
		return public
	case k.Type == "OKP" && k.Curve == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x)
	}
	return nil
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// curveOf is the curve that each algorithm requires (RFC 7518, section 3.4).
var curveOf = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

func unbase64(text string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil
	}
	return raw
}

func exponent(raw []byte) int {
	e := new(big.Int).SetBytes(raw)
	if e.BitLen() > 31 {
		return 0
	}
	return int(e.Int64())
}

func usableRSA(key *rsa.PublicKey) any {
	if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA || key.E < 3 || key.E&1 == 0 {
		return nil
	}
	return key
}

// ParsePublicKey reads one public key in PEM ("BEGIN PUBLIC KEY"). The error quotes nothing, because the text may be a
// private key pasted by mistake.
func ParsePublicKey(text string) (*JWTKeys, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	switch {
	case block == nil:
		return nil, errors.New(`is not PEM; it begins with "-----BEGIN PUBLIC KEY-----"`)
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("holds a private key, which must stay with its owner; give the public key, and make a new " +
			"pair")
	case block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New(`must be one block "PUBLIC KEY" and nothing else`)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds a public key that cannot be read")
	}
	switch key := parsed.(type) {
	case *rsa.PublicKey:
		parsed = usableRSA(key)
	case *ecdsa.PublicKey:
		if curves[key.Curve.Params().Name] == nil {
			parsed = nil
		}
	case ed25519.PublicKey:
	default:
		parsed = nil
	}
	if parsed == nil {
		return nil, errors.New("holds a key of another kind than RSA from 2048 bits, P-256, P-384, P-521 or Ed25519")
	}
	return &JWTKeys{keys: []jwtKey{{public: parsed}}}, nil
}

// Takes reports whether one of the keys can check a signature of that algorithm.
func (k *JWTKeys) Takes(algorithm string) bool {
	for i := range k.keys {
		if k.keys[i].fits(algorithm) {
			return true
		}
	}
	return false
}

// Has reports whether the set has a key with this id, or a key without an id.
func (k *JWTKeys) Has(id string) bool {
	for i := range k.keys {
		if k.keys[i].id == id || k.keys[i].id == "" {
			return true
		}
	}
	return false
}

func (k *jwtKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch key := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return curveOf[algorithm] == key.Curve
	case ed25519.PublicKey:
		return algorithm == jwt.SigningMethodEdDSA.Alg()
	}
	return false
}

// find returns the keys that may have signed a token that names this key, or none. A token without a key id is
// accepted only from an issuer with one key.
func (k *JWTKeys) find(id, algorithm string) (any, error) {
	var set jwt.VerificationKeySet
	for i := range k.keys {
		if key := &k.keys[i]; key.fits(algorithm) && (id == "" || key.id == "" || key.id == id) {
			set.Keys = append(set.Keys, key.public)
		}
	}
	if len(set.Keys) == 0 || id == "" && len(k.keys) > 1 {
		return nil, ErrJWTKey
	}
	return set, nil
}
