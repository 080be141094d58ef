package console

import (
	"cmp"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// keyPages list, create, change and end keys.
var keyPages = []route{
	{method: get, path: "keys", who: person, needs: people.ReadKeys, serve: (*exchange).keys},
	{method: post, path: "keys", who: person, needs: people.WriteKeys, serve: (*exchange).newKey},
	{method: get, path: "keys/:id", who: person, needs: people.ReadKeys, serve: (*exchange).key},
	{method: post, path: "keys/:id/rotate", who: person, needs: people.WriteKeys, serve: (*exchange).rotateKey},
	{method: post, path: "keys/:id/enable", who: person, needs: people.WriteKeys, serve: (*exchange).enableKey},
	{method: post, path: "keys/:id/revoke", who: person, needs: people.WriteKeys, serve: (*exchange).revokeKey},
	{method: post, path: "keys/:id/compromised", who: person, needs: people.WriteKeys, serve: (*exchange).compromisedKey},
}

const shownKeys = 50

// by returns the reader as manage.Keys needs it.
func (x *exchange) by() manage.By {
	by := manage.By{Actor: x.who.Actor(), Sees: x.who.MaySee}
	if x.who.Kind == people.OperatorKind {
		return by
	}
	by.Holds = x.who.Permissions()
	by.Unproved = x.who.ProvedFully(x.door.Sandbox, now())
	return by
}

// keyRow is a key with advice.
type keyRow struct {
	manage.Key
	Text    string // its id
	AgeDays int
	Advice  []manage.Advice
}

func rowOf(k *manage.Key) keyRow {
	at := now()
	return keyRow{*k, k.ID.Text("key"), int((at - k.CreatedAt) / otp.Day), k.Advise(at)}
}

// keysBody lists keys, and has the form of a new one.
type keysBody struct {
	list
	Account  string
	Status   manage.KeyStatus
	Accounts []string
	Statuses []manage.KeyStatus
	Kinds    []otp.KeyKind
	Keys     []keyRow
	MayWrite bool
	New      manage.NewKey
	IPs      string
	Until    string   // when the new key ends, as it was typed
	Secrets  []secret // shown only once
}

func (x *exchange) keys() error {
	return x.showKeys(nil, keysBody{Account: x.query("account"), Status: manage.KeyStatus(x.query("status"))})
}

func (x *exchange) showKeys(refused error, body keysBody) (err error) {
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	q := manage.KeyQuery{Accounts: chosen(body.Account, body.Accounts), Status: body.Status, Limit: shownKeys + 1}
	body.list = x.list("keys", []string{"account", "status"})
	q.After, _ = otp.ParseID("key", body.Cursor) // what is no id starts with the oldest
	var found []manage.Key
	if len(q.Accounts) > 0 {
		if found, err = x.door.Manage.Keys.Page(x.ctx, q); err != nil {
			return err
		}
	}
	found = part(&body.list, found, shownKeys, func(k manage.Key) string { return k.ID.Text("key") })
	for i := range found {
		body.Keys = append(body.Keys, rowOf(&found[i]))
	}
	body.MayWrite, body.Statuses = x.who.May(people.WriteKeys) == nil, manage.KeyStatuses()
	body.Kinds = []otp.KeyKind{otp.SecretKey, otp.AccessKey}
	return x.page(refused, "keys", "API keys", body)
}

func (x *exchange) newKey() error {
	n := manage.NewKey{Account: x.form("account"), Name: strings.TrimSpace(x.form("name")),
		Kind: otp.KeyKind(x.form("kind")), Environment: otp.Environment(x.form("environment"))}
	body := keysBody{Account: n.Account, New: n, IPs: x.form("allowed_ips"), Until: x.form("expires_at")}
	n.AllowedIPs = listed(body.IPs)
	if body.Until != "" {
		at, err := time.Parse(time.DateOnly, body.Until)
		if err != nil {
			return x.showKeys(otp.RefuseField("expires_at", "must be a day, as 2027-01-31"), body)
		}
		n.ExpiresAt = &at
	}
	_, key, signing, err := x.door.Manage.Keys.Create(x.ctx, x.by(), n)
	if err != nil {
		return x.showKeys(err, body)
	}
	return x.showKeys(nil, keysBody{Account: n.Account, New: manage.NewKey{Kind: n.Kind},
		Secrets: secretsOf(key, signing)})
}

// secretsOf returns the secrets of a new key, which its owner has to keep.
func secretsOf(key, signing crypto.Secret) []secret {
	all := []secret{{"Key", string(key.Bytes())}}
	if !signing.IsZero() {
		all = append(all, secret{"Signing secret", string(signing.Bytes())})
	}
	return all
}

// keyBody is one key.
type keyBody struct {
	keyRow
	MayWrite bool
	PausedBy *insight.Alert // the alert that switched the key off; nil for none, and for readers who may not see alerts
	Secrets  []secret
}

func (x *exchange) keyID() otp.ID { return manage.KeyID(x.gin.Param("id")) }

func (x *exchange) key() error { return x.showKey(nil, nil) }

func (x *exchange) showKey(refused error, secrets []secret) error {
	found, err := x.door.Manage.Keys.Find(x.ctx, x.by(), x.keyID())
	if err != nil {
		return err
	}
	body := keyBody{keyRow: rowOf(&found), MayWrite: x.who.May(people.WriteKeys) == nil && found.RevokedAt == 0,
		Secrets: secrets}
	if found.Status == manage.KeyDisabled && x.who.May(people.ReadAlerts) == nil {
		if body.PausedBy, err = x.door.Insight.PausedBy(x.ctx, found.Account, found.ID); err != nil {
			return err
		}
	}
	title := "Key " + found.Name
	if found.Name == "" {
		title = "Key …" + found.LastFour
	}
	return x.page(refused, "key", title, body)
}

func (x *exchange) rotateKey() error {
	_, key, signing, err := x.door.Manage.Keys.Rotate(x.ctx, x.by(), x.keyID(), manage.RotationGrace)
	if err != nil {
		return x.showKey(err, nil)
	}
	return x.showKey(nil, secretsOf(key, signing))
}

// enableKey switches a key on that somebody or an alert switched off.
func (x *exchange) enableKey() error {
	seen, err := x.door.Manage.Keys.Find(x.ctx, x.by(), x.keyID())
	if err != nil {
		return err
	}
	settings := seen.Settings()
	settings.Disabled = false
	if _, _, err := x.door.Manage.Keys.Change(x.ctx, x.by(), seen, settings); err != nil {
		return x.showKey(err, nil)
	}
	return x.goTo("keys/" + x.gin.Param("id") + "?done=enabled")
}

// askForKey asks q about a key. The reader types the key's name or its last characters.
func (x *exchange) askForKey(q question) (bool, error) {
	found, err := x.door.Manage.Keys.Find(x.ctx, x.by(), x.keyID())
	if err != nil {
		return true, err
	}
	q.Name, q.Back = cmp.Or(found.Name, found.LastFour), "keys/"+x.gin.Param("id")
	return x.ask(q)
}

func (x *exchange) compromisedKey() error {
	if asked, err := x.askForKey(question{Title: "May somebody else have this key?", Do: "Replace it now",
		What: "This key is refused at once. You get a successor, which you give to the key's user."}); asked {
		return err
	}
	_, _, key, signing, err := x.door.Manage.Keys.Compromised(x.ctx, x.by(), x.keyID(), manage.Narrower{})
	if err != nil {
		return x.showKey(err, nil)
	}
	return x.showKey(nil, secretsOf(key, signing))
}

func (x *exchange) revokeKey() error {
	if asked, err := x.askForKey(question{Title: "Revoke this key?", Do: "Revoke it",
		What: "This key is refused for good within a second. Its user needs another key."}); asked {
		return err
	}
	if err := x.door.Manage.Keys.Revoke(x.ctx, x.by(), x.keyID()); err != nil {
		return x.showKey(err, nil)
	}
	return x.goTo("keys/" + x.gin.Param("id") + "?done=revoked")
}
