package people

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// ServicePrefix is the prefix of a service account's id, which is also its client_id.
const ServicePrefix = "svc"

// servicePrefix is the prefix of a service account's secret.
const servicePrefix = "otps_"

// TokenPath is where service accounts get their access tokens (RFC 6749, section 3.2).
const TokenPath = "/oauth/token"

// assertionLife is how long an assertion that a service account signs may be valid (RFC 7523).
const assertionLife = time.Minute

// Services creates and ends service accounts, and issues their access tokens. A service account may do what a person
// with its role may do, limited to its permissions. It authenticates with its own key or with a secret.
type Services struct {
	store   *sql.Store
	keyring *crypto.Keyring
	issuer  string
}

// NewServices returns the service accounts of a store. issuer is the server's public URL: it is the issuer of access
// tokens. The audience of assertions is this URL or TokenPath on it.
func NewServices(store *sql.Store, keyring *crypto.Keyring, issuer string) *Services {
	return &Services{store, keyring, issuer}
}

// How a service account authenticates, by the names in RFC 7591.
const (
	ByKey    = "private_key_jwt"
	BySecret = "client_secret_post"
)

// NewService describes a service account to create.
type NewService struct {
	Name        string // 1 to 200 characters
	Description string // at most 1,000
	Grant       Grant  // without a role: the smallest role with the permissions
	Method      string // ByKey or BySecret; empty: ByKey
	PublicKey   string // PEM, Ed25519 or P-256; empty: Create makes a key pair and returns the private key
}

// Service is a service account as others may see it.
type Service struct {
	ID          string
	Name        string
	Description string
	Grant       Grant
	Permissions []string // the effective ones
	Method      string
	CreatedAt   otp.Millis
	UsedAt      otp.Millis // to a minute; 0: never
	RevokedAt   otp.Millis // 0: not revoked
}

func service(s sql.ServiceAccount) Service {
	method := ByKey
	if s.PublicKey == "" {
		method = BySecret
	}
	grant := serviceGrant(s)
	return Service{
		ID: s.ID.Text(ServicePrefix), Name: s.Name, Description: s.Description, Grant: grant,
		Permissions: grant.permissions(), Method: method, CreatedAt: s.CreatedAt, UsedAt: s.UsedAt, RevokedAt: s.RevokedAt,
	}
}

func serviceGrant(s sql.ServiceAccount) Grant {
	return Grant{Role: Role(s.Role), Accounts: s.Accounts, Permissions: s.Permissions}
}

// Create makes a service account. The secret is its private key in PEM or its client secret. It is not stored, so it
// is shown only once; it is zero if n has a public key. Refusals: Forbidden, Invalid, ReauthenticationRequired.
func (s *Services) Create(ctx context.Context, who Principal, n NewService) (Service, crypto.Secret, error) {
	at := now()
	if err := s.mayWrite(who, at); err != nil {
		return Service{}, crypto.Secret{}, err
	}
	if err := n.check(who); err != nil {
		return Service{}, crypto.Secret{}, err
	}
	if err := exist(ctx, s.store, n.Grant.Accounts); err != nil {
		return Service{}, crypto.Secret{}, err
	}
	row := sql.ServiceAccount{
		ID: sql.NewID(), Name: n.Name, Description: n.Description, Role: string(n.Grant.Role), Accounts: n.Grant.Accounts,
		Permissions: n.Grant.Permissions, PublicKey: n.PublicKey, CreatedBy: who.ID, CreatedAt: at,
	}
	var secret crypto.Secret
	switch {
	case n.Method == BySecret:
		text := crypto.NewToken(servicePrefix)
		secret, row.SecretHash = crypto.NewSecret([]byte(text)), crypto.HashToken(text)
	case n.PublicKey == "":
		var err error
		if secret, row.PublicKey, err = crypto.NewKeyPair(); err != nil {
			return Service{}, crypto.Secret{}, err
		}
	}
	err := s.store.Change(ctx, func(tx *sql.Tx) error {
		if err := s.store.Services.Insert(tx, row); err != nil {
			return err
		}
		return record(tx, otp.ServiceCreated, who.Actor(), otp.ID{}, at, "service", row.ID.Text(ServicePrefix),
			"name", row.Name, "role", row.Role, "accounts", listed(row.Accounts), "permissions", listed(row.Permissions))
	})
	if err != nil {
		return Service{}, crypto.Secret{}, err
	}
	return service(row), secret, nil
}

// mayWrite refuses callers who may not create or end service accounts. Service accounts may not: otherwise whoever
// has a leaked key could make further accounts, and revoking the key would not stop them.
func (s *Services) mayWrite(who Principal, at otp.Millis) error {
	if err := who.May(WriteServices); err != nil {
		return err
	}
	if who.Kind != PersonKind && who.Kind != OperatorKind {
		return otp.Refuse(otp.Forbidden, "only a person can make or end service accounts; log in")
	}
	return who.ProvedRecently(at)
}

func (n *NewService) check(who Principal) error {
	if n.Name == "" {
		return otp.RefuseField("name", "must not be empty")
	}
	if err := otp.CheckName(n.Name); err != nil {
		return otp.RefuseField("name", err.Error())
	}
	if len([]rune(n.Description)) > 1000 {
		return otp.RefuseField("description", "must be at most 1000 characters")
	}
	if err := otp.CheckText(n.Description); err != nil {
		return otp.RefuseField("description", err.Error())
	}
	if n.Grant.Role == "" && len(n.Grant.Permissions) > 0 {
		n.Grant.Role = leastRole(n.Grant.Permissions)
	}
	switch {
	case n.Method != "" && n.Method != ByKey && n.Method != BySecret:
		return otp.RefuseField("token_endpoint_auth_method", "must be "+ByKey+" or "+BySecret)
	case n.Method == BySecret && n.PublicKey != "":
		return otp.RefuseField("public_key_pem", "is for "+ByKey+"; leave it out, or choose that")
	case n.Grant.Role == Owner:
		return otp.RefuseField("role", "must not be owner; choose admin or less")
	}
	if n.PublicKey != "" {
		keys, err := crypto.ParsePublicKey(n.PublicKey)
		if err != nil {
			return otp.RefuseField("public_key_pem", err.Error())
		}
		if len(algorithms(keys)) == 0 || len(n.PublicKey) > 1000 {
			return otp.RefuseField("public_key_pem", "must hold an Ed25519 or P-256 key")
		}
	}
	if err := n.Grant.Check(); err != nil {
		return err
	}
	if !n.Grant.within(who.Grant) {
		return otp.Refuse(otp.Forbidden, "nobody can give more than they hold; ask somebody who holds all of it")
	}
	return nil
}

// algorithms returns the algorithms that a service account's key may sign with.
func algorithms(keys *crypto.JWTKeys) (list []string) {
	for _, algorithm := range []string{"EdDSA", "ES256"} {
		if keys.Takes(algorithm) {
			list = append(list, algorithm)
		}
	}
	return list
}

// List returns the service accounts that who may see, also revoked ones. Refusal: Forbidden.
func (s *Services) List(ctx context.Context, who Principal) ([]Service, error) {
	if err := who.May(ReadServices); err != nil {
		return nil, err
	}
	rows, err := s.store.Services.List(ctx)
	var all []Service
	for _, row := range rows {
		if visible(who, row.Accounts) {
			all = append(all, service(row))
		}
	}
	return all, err
}

// Revoke ends a service account and its access tokens for good. Refusals: NotFound, Forbidden,
// ReauthenticationRequired.
func (s *Services) Revoke(ctx context.Context, who Principal, id string) error {
	at := now()
	if err := s.mayWrite(who, at); err != nil {
		return err
	}
	row, err := s.row(ctx, id)
	if err != nil {
		return err
	}
	if row.ID.IsZero() || row.RevokedAt != 0 || !visible(who, row.Accounts) {
		return otp.Refuse(otp.NotFound, "there is no such service account")
	}
	if !serviceGrant(row).within(who.Grant) {
		return otp.Refuse(otp.Forbidden, "this service account holds more than you; ask somebody who holds all of it")
	}
	return s.store.Change(ctx, func(tx *sql.Tx) error {
		revoked, err := s.store.Services.Revoke(tx, row.ID, at)
		if err == nil && !revoked {
			err = otp.Refuse(otp.NotFound, "there is no such service account")
		}
		if err == nil {
			err = s.store.People.EndTicketsBy(tx, row.ID, at)
		}
		if err != nil {
			return err
		}
		return record(tx, otp.ServiceRevoked, who.Actor(), otp.ID{}, at, "service", id, "name", row.Name)
	})
}

// row reads a service account by its id; it returns the zero row if there is none.
func (s *Services) row(ctx context.Context, id string) (sql.ServiceAccount, error) {
	parsed, ok := otp.ParseID(ServicePrefix, id)
	if !ok || parsed.Text(ServicePrefix) != id {
		return sql.ServiceAccount{}, nil
	}
	row, err := s.store.Services.ByID(ctx, parsed)
	if errors.Is(err, sql.ErrNotFound) {
		return sql.ServiceAccount{}, nil
	}
	return row, err
}

// Proof is what a service account sends for an access token: its secret, or an assertion that it signed.
type Proof struct {
	Client    string // its id; may be empty with an Assertion, which has it
	Secret    string
	Assertion string // a JWT, RFC 7523, section 2.2
}

// Token is an access token and how long it is valid.
type Token struct {
	Text     string
	Lifetime time.Duration
}

// Token returns an access token for a proof. An assertion's audience is the URL of the server or of the token
// endpoint; its jti is valid once. Refusal: UnknownCredential, which does not say what is wrong; only its Reason, for
// the log, does.
func (s *Services) Token(ctx context.Context, proof Proof) (Token, error) {
	at := now()
	client := proof.Client
	if proof.Assertion != "" {
		head, ok := crypto.ReadJWTHead(proof.Assertion)
		if !ok || client != "" && client != head.Issuer {
			return Token{}, noService("the assertion is no JSON Web Token, or its iss is not client_id")
		}
		client = head.Issuer
	}
	row, err := s.row(ctx, client)
	if err != nil {
		return Token{}, err
	}
	if proof.Assertion != "" {
		err = s.takeAssertion(ctx, row, proof.Assertion, at)
	} else {
		err = checkSecret(row, proof.Secret)
	}
	if err != nil {
		return Token{}, err
	}
	text, err := s.keyring.SignAccessToken(s.issuer, audience, crypto.AccessClaims{
		Type: crypto.ServiceToken, Subject: client, Name: row.Name, ID: sql.NewID().Text("jti"),
	}, at.Time())
	if err != nil {
		return Token{}, err
	}
	return Token{text, crypto.TokenLifetime}, s.store.Services.Used(ctx, row.ID, at)
}

func noService(reason string) error {
	return otp.Refuse(otp.UnknownCredential,
		"the service account is unknown or revoked, or did not prove who it is").Because(reason)
}

// checkSecret compares the hashes. It does so also for an account that does not exist, so that both take the same
// time.
func checkSecret(row sql.ServiceAccount, secret string) error {
	hash := crypto.HashToken(secret)
	equal := subtle.ConstantTimeCompare(hash[:], row.SecretHash[:]) == 1
	switch {
	case row.ID.IsZero() || row.RevokedAt != 0:
		return noService("no such service account, or revoked")
	case row.SecretHash == [32]byte{} || !equal:
		return noService("the secret is wrong, or the account has a key in place of one")
	}
	return nil
}

// takeAssertion verifies an assertion and uses it up.
func (s *Services) takeAssertion(ctx context.Context, row sql.ServiceAccount, text string, at otp.Millis) error {
	if row.ID.IsZero() || row.RevokedAt != 0 || row.PublicKey == "" {
		return noService("no such service account, or revoked, or it has a secret in place of a key")
	}
	keys, err := crypto.ParsePublicKey(row.PublicKey)
	if err != nil {
		return err
	}
	rules := crypto.JWTRules{
		Issuer: row.ID.Text(ServicePrefix), Audiences: []string{s.issuer, s.issuer + TokenPath},
		Algorithms: algorithms(keys), Lifetime: assertionLife,
	}
	claims, err := rules.Verify(text, keys, at.Time())
	switch {
	case err != nil:
		return noService(err.Error())
	case claims.Text("sub") != rules.Issuer:
		return noService("sub is not the service account")
	case claims.Text("jti") == "" || len(claims.Text("jti")) > 255:
		return noService("jti is missing or too long")
	}
	// The table of used nonces stores 16 bytes of the hash. Only the account itself could find a collision.
	sum := sha256.Sum256([]byte(claims.Text("jti")))
	err = s.store.Credentials.TakeNonce(ctx, row.ID, [16]byte(sum[:]), otp.At(claims.Expires()))
	if errors.Is(err, sql.ErrTaken) {
		return noService("jti was used before")
	}
	return err
}

// Authenticate returns the principal of a service account's access token. It reads the account, so that a revocation
// or a smaller grant takes effect at once. Refusals: MissingCredential for a text that is not a service account's
// access token, ExpiredCredential, UnknownCredential.
func (s *Services) Authenticate(ctx context.Context, accessToken string, from Client) (Principal, error) {
	at := now()
	claims, err := s.keyring.ReadAccessToken(accessToken, s.issuer, audience, crypto.ServiceToken, at.Time())
	switch {
	case errors.Is(err, crypto.ErrAccessTokenExpired):
		return Principal{}, otp.Refuse(otp.ExpiredCredential, "the access token has expired; ask for another at /oauth/token")
	case err != nil:
		return Principal{}, otp.Refuse(otp.MissingCredential,
			"this is no access token of a service account").Because(err.Error())
	}
	row, err := s.row(ctx, claims.Subject)
	if err != nil {
		return Principal{}, err
	}
	if row.ID.IsZero() || row.RevokedAt != 0 {
		return Principal{}, noService("no such service account, or revoked")
	}
	return Principal{
		Kind: ServiceKind, ID: row.ID, Name: row.Name, Grant: serviceGrant(row), From: from,
		AuthenticatedAt: otp.At(claims.IssuedAt),
	}, nil
}
