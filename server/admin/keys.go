package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// keyRoutes are the calls that create, show, change and end keys.
var keyRoutes = []route{
	{method: http.MethodPost, path: "/api/keys", who: person, needs: people.WriteKeys, once: true,
		call: (*exchange).createKey},
	{method: http.MethodGet, path: "/api/keys", who: person, needs: people.ReadKeys, parameters: keyParameters,
		call: (*exchange).keys},
	{method: http.MethodGet, path: "/api/keys/:id", who: person, needs: people.ReadKeys, call: (*exchange).key},
	{method: http.MethodPatch, path: "/api/keys/:id", who: person, needs: people.WriteKeys, call: (*exchange).changeKey},
	{method: http.MethodDelete, path: "/api/keys/:id", who: person, needs: people.WriteKeys,
		call: readsNothing((*exchange).revokeKey)},
	{method: http.MethodPost, path: "/api/keys/:id/rotate", who: person, needs: people.WriteKeys,
		once: true, call: (*exchange).rotateKey},
	{method: http.MethodPost, path: "/api/keys/:id/compromised", who: person, needs: people.WriteKeys,
		once: true, call: (*exchange).compromisedKey},
}

var keyParameters = []string{limitParameter, cursorParameter, "account", "environment", "kind", "status"}

// key is a key without its secrets.
type key struct {
	ID          string          `json:"id"`
	Account     string          `json:"account"`
	Kind        otp.KeyKind     `json:"kind"`
	Environment otp.Environment `json:"environment"`
	Prefix      string          `json:"prefix"`    // the key's beginning; empty for an access key
	LastFour    string          `json:"last_four"` // the key's end; empty for a short imported key
	Status      string          `json:"status"`
	keySettings
	CreatedAt time.Time  `json:"created_at"`
	AgeDays   int        `json:"age_days"`
	RevokedAt *time.Time `json:"revoked_at"` // null: not revoked
	Successor *string    `json:"successor"`  // null: not rotated

	UsedAt     *time.Time `json:"last_used_at"` // to about a minute; null: never
	UsedIP     *string    `json:"last_used_ip"`
	Calls      int64      `json:"calls_30d"`
	OldPercent *int       `json:"old_key_percent"` // of a rotated key: its share of today's calls
	Advice     []advice   `json:"advice"`
}

// keySettings are the members of a key that can be changed.
type keySettings struct {
	Name              string      `json:"name"`
	Permissions       []string    `json:"permissions"`     // null: those of the kind
	AllowedIPs        []string    `json:"allowed_ips"`     // null: everywhere
	DeniedIPs         []string    `json:"denied_ips"`      // null: nowhere
	AllowedOrigins    []string    `json:"allowed_origins"` // null: any
	RequestsPerMinute *int        `json:"requests_per_minute"`
	Burst             *int        `json:"burst"`
	ExpiresAt         *time.Time  `json:"expires_at"` // null: never
	Signing           otp.Signing `json:"signing" empty:"refused"`
	Enabled           bool        `json:"enabled"`
}

type advice struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// madeKey is a key with its secrets, which are shown only once.
type madeKey struct {
	key
	Secret        string `json:"key,omitempty"`
	SigningSecret string `json:"signing_secret,omitempty"`
	Predecessor   string `json:"predecessor,omitempty"` // the key that this one replaces
}

func settingsOf(n manage.NewKey) keySettings {
	return keySettings{n.Name, n.Permissions, n.AllowedIPs, n.DeniedIPs, n.AllowedOrigins, n.RequestsPerMinute, n.Burst,
		n.ExpiresAt, n.Signing, !n.Disabled}
}

func (s keySettings) asked() manage.NewKey {
	return manage.NewKey{
		Name: s.Name, Permissions: s.Permissions, AllowedIPs: s.AllowedIPs, DeniedIPs: s.DeniedIPs,
		AllowedOrigins: s.AllowedOrigins, RequestsPerMinute: s.RequestsPerMinute, Burst: s.Burst, ExpiresAt: s.ExpiresAt,
		Signing: s.Signing, Disabled: !s.Enabled,
	}
}

func shownKey(k manage.Key, now otp.Millis) key {
	s := key{
		ID: k.ID.Text("key"), Account: k.Account, Kind: k.Kind, Environment: k.Environment,
		LastFour: k.LastFour, Status: string(k.Status), keySettings: settingsOf(k.Settings()), CreatedAt: k.CreatedAt.Time(),
		AgeDays: int((now - k.CreatedAt) / otp.Day), RevokedAt: moment(k.RevokedAt), UsedAt: moment(k.Use.At),
		Calls: k.Use.Calls, OldPercent: k.Use.OnOld, Advice: []advice{},
	}
	if code := k.Kind.Code(); code != "" {
		s.Prefix = crypto.APIKeyPrefix + string(k.Environment) + "_" + code + "_"
	}
	if !k.Successor.IsZero() {
		s.Successor = new(k.Successor.Text("key"))
	}
	if k.Use.Address != "" {
		s.UsedIP = &k.Use.Address
	}
	for _, a := range k.Advise(now) {
		s.Advice = append(s.Advice, advice(a))
	}
	return s
}

// by returns the caller as manage needs it.
func (x *exchange) by() manage.By {
	return manage.By{Actor: x.who.Actor(), Sees: x.who.MaySee, Holds: x.who.Permissions(),
		Unproved: x.who.ProvedFully(x.door.Sandbox, otp.At(time.Now()))}
}

// keyID returns the id in the path.
func (x *exchange) keyID() otp.ID { return manage.KeyID(x.gin.Param("id")) }

// readKey reads a key's settings. allowed_ips may have one of two other names instead.
func (x *exchange) readKey(target any) error {
	var members map[string]json.RawMessage
	if err := x.read(&members); err != nil {
		return err
	}
	const list = "allowed_ips"
	for _, alias := range []string{"ip_whitelist", "ip_allowlist"} {
		value, given := members[alias]
		if !given {
			continue
		}
		if _, both := members[list]; both {
			return web.Invalid(web.Fault{Pointer: "/" + alias, Detail: "is another name of allowed_ips; send one of them"})
		}
		delete(members, alias)
		members[list] = value
	}
	body, err := json.Marshal(members)
	if err != nil {
		return err
	}
	return web.Decode(body, target)
}

// answerKey answers with a key and its entity tag.
func (x *exchange) answerKey(status int, k manage.Key, secret, signing crypto.Secret) (answer, error) {
	x.gin.Header("ETag", web.ETag(k.Version))
	return answer{status, madeKey{key: shownKey(k, otp.At(time.Now())), Secret: string(secret.Bytes()),
		SigningSecret: string(signing.Bytes())}}, nil
}

func (x *exchange) createKey() (answer, error) {
	var asked struct {
		Account     string          `json:"account" empty:"refused"`
		Kind        otp.KeyKind     `json:"kind" empty:"refused"`
		Environment otp.Environment `json:"environment" empty:"refused"`
		keySettings
	}
	asked.Enabled = true
	if err := x.readKey(&asked); err != nil {
		return answer{}, err
	}
	n := asked.keySettings.asked()
	n.Account, n.Kind, n.Environment = asked.Account, asked.Kind, asked.Environment
	made, secret, signing, err := x.door.Manage.Keys.Create(x.ctx, x.by(), n)
	if err != nil {
		return answer{}, err
	}
	return x.answerKey(http.StatusCreated, made, secret, signing)
}

func (x *exchange) keys() (answer, error) {
	query := web.ReadQuery(x.gin, keyParameters...)
	q := manage.KeyQuery{
		Accounts: x.who.Grant.Accounts, Environment: among(query, "environment", otp.Environments()),
		Kind: among(query, "kind", otp.KeyKinds()), Status: among(query, "status", manage.KeyStatuses()),
		Limit: query.Number(limitParameter, usualPage, 1, 100), After: cursorID(query, "key"),
	}
	q.Environment = x.ownEnvironment(query, q.Environment)
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	if account, given := query.Given("account"); given {
		if err := x.seeAccount(account); err != nil {
			return answer{}, err
		}
		q.Accounts = []string{account}
	}
	q.Limit++ // one more shows whether there is another page
	found, err := x.door.Manage.Keys.Page(x.ctx, q)
	if err != nil {
		return answer{}, err
	}
	now := otp.At(time.Now())
	return answer{http.StatusOK, web.PageOf(x.gin, found, q.Limit-1,
		func(k manage.Key) key { return shownKey(k, now) }, func(k manage.Key) string { return k.ID.Text("key") })}, nil
}

// among returns a parameter that must be one of words, empty if it is missing.
func among[T ~string](query *web.Query, name string, words []T) T {
	word, given := query.Given(name)
	if given && !slices.Contains(words, T(word)) {
		query.Fault(name, "must be one of "+otp.Joined(words))
	}
	return T(word)
}

func (x *exchange) key() (answer, error) {
	found, err := x.door.Manage.Keys.Find(x.ctx, x.by(), x.keyID())
	if err == nil && x.apiKey != nil && found.Environment != x.apiKey.Environment {
		err = otp.Refuse(otp.NotFound, "there is no key "+found.ID.Text("key"))
	}
	if err != nil {
		return answer{}, err
	}
	return x.answerKey(http.StatusOK, found, crypto.Secret{}, crypto.Secret{})
}

func (x *exchange) changeKey() (answer, error) {
	seen, err := x.door.Manage.Keys.Find(x.ctx, x.by(), x.keyID())
	if err == nil {
		err = web.IfMatch(x.gin.Request.Header, seen.Version)
	}
	if err != nil {
		return answer{}, err
	}
	settings := settingsOf(seen.Settings())
	if err := x.readKey(&settings); err != nil {
		return answer{}, err
	}
	changed, signing, err := x.door.Manage.Keys.Change(x.ctx, x.by(), seen, settings.asked())
	if err != nil {
		return answer{}, err
	}
	changed.Use = seen.Use
	return x.answerKey(http.StatusOK, changed, crypto.Secret{}, signing)
}

func (x *exchange) revokeKey() (answer, error) {
	return done, x.door.Manage.Keys.Revoke(x.ctx, x.by(), x.keyID())
}

func (x *exchange) rotateKey() (answer, error) {
	asked := struct {
		Grace string `json:"grace"`
	}{manage.RotationGrace.String()}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	grace, err := time.ParseDuration(asked.Grace)
	if err != nil {
		return answer{}, web.Invalid(web.Fault{Pointer: "/grace", Detail: "must be a duration up to 2160h, such as 24h"})
	}
	made, secret, signing, err := x.door.Manage.Keys.Rotate(x.ctx, x.by(), x.keyID(), grace)
	if err != nil {
		return answer{}, err
	}
	result, err := x.answerKey(http.StatusCreated, made, secret, signing)
	shown := result.body.(madeKey)
	shown.Predecessor = x.keyID().Text("key")
	return answer{result.status, shown}, err
}

// compromisedKey answers with the successor and the key that was ended. The successor has its secrets if it was made
// now.
func (x *exchange) compromisedKey() (answer, error) {
	var asked struct {
		Permissions []string `json:"permissions"`
		AllowedIPs  []string `json:"allowed_ips"`
	}
	if err := x.readKey(&asked); err != nil {
		return answer{}, err
	}
	ended, successor, secret, signing, err := x.door.Manage.Keys.Compromised(x.ctx, x.by(), x.keyID(),
		manage.Narrower{Permissions: asked.Permissions, AllowedIPs: asked.AllowedIPs})
	if err == nil && successor.ID.IsZero() {
		successor, err = x.door.Manage.Keys.Find(x.ctx, x.by(), ended.Successor)
	}
	if err != nil {
		return answer{}, err
	}
	result, err := x.answerKey(http.StatusCreated, successor, secret, signing)
	shown := result.body.(madeKey)
	shown.Predecessor = ended.ID.Text("key")
	return answer{result.status, struct {
		madeKey
		Compromised key    `json:"compromised"`
		LookAt      string `json:"look_at"` // the calls that were made with it
	}{shown, shownKey(ended, otp.At(time.Now())), manage.LookAt(&ended)}}, err
}
