package main

import (
	"html"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/webhook"
)

// typedForm is a form of the console, filled in so that it is refused.
type typedForm struct {
	page   string   // that shows it
	posted []string // what to post to page first; nil to read it
	path   string   // it posts to
	typed  []string // name, value, for every field that can be seen and is no secret; none for a button alone
}

// byScript are forms that need a passkey: a script sends its answer, and nothing is typed.
var byScript = []string{"login/passkey", "security/passkey/confirm", "security/prove/passkey",
	"security/prove/passkey/begin"}

// neverSentBack are the fields, beside those of passwords and one-time codes, that a page does not repeat.
var neverSentBack = []string{"cipher_key", "cipher_iv", "access_key", "sms_channels", "email_channels", "code"}

// aboutNoField are the forms whose refusal here is about no field alone.
var aboutNoField = []string{"login"}

// typedForms returns every form, by its route.
func typedForms(t *testing.T, o *ownedSandbox) map[string]typedForm {
	t.Helper()
	shop, hook, person := "accounts/"+o.account, "webhooks/"+o.webhook, "people/"+o.person
	locked, told := o.prepared(t)
	subject := []string{"account", o.account, "environment", "test", "id", "+919551492301"}
	recipient := []string{"account", o.account, "environment", "test", "to", locked}
	button := func(page, path string) typedForm { return typedForm{page: page, path: path} }
	all := map[string]typedForm{
		"login":    {page: "login", path: "login", typed: []string{"email", "nobody@shop.example"}},
		"register": {page: "register", path: "register", typed: []string{"email", "new@shop.example", "name", "New One"}},
		"recover":  {page: "recover", path: "recover", typed: []string{"ticket", "otpr_typed"}},
		"try": {page: "try", path: "try", typed: []string{"call", "validate", "account", o.account, "key", "typed-key",
			"mobile", "919551492301", "email", "a@shop.example", "department", "sales", "ipaddress", "203.0.113.9", "code",
			"no code"}},
		"new-account": {page: "new-account", path: "new-account", typed: []string{"esme_address", "x", "name", "Own name"}},
		"accounts/:account/change": {page: shop, path: shop + "/change", typed: o.settings("otp_length", "3",
			"name", "Another", "countries", "Atlantis", "departments", "typed", "enabled", "", "message_profile", "live")},
		"accounts/:account/messages/preview": {page: shop + "/messages", path: shop + "/messages/preview",
			typed: []string{"medium", "email", "text", "typed {nothing", "template", "absent", "department", "sales"}},
		"accounts/:account/messages/test": {page: shop + "/messages", path: shop + "/messages/test",
			typed: []string{"to", "nobody"}},
		"accounts/:account/tests": {page: shop + "/tests", path: shop + "/tests",
			typed: []string{"number", "12", "reason", "typed", "days", "3"}},
		"watch/review": {page: "watch", path: "watch/review", typed: []string{"note", "typed\u202enote"}},
		"privacy/count": {page: "privacy", path: "privacy/count", typed: []string{"account", o.account, "environment", "dev",
			"id", ""}},
		"privacy/verify": {page: "privacy", path: "privacy/verify", typed: []string{"certificate", "typed"}},
		"audit/verify": {page: "audit/verify", posted: []string{}, path: "audit/verify",
			typed: []string{"checkpoints", "typed"}},
		"migration/:account/upstream": {page: "migration/" + o.account, path: "migration/" + o.account + "/upstream",
			typed: []string{"upstream_url", "ftp://typed"}},
		"migration/:account/cut-over": {page: "migration/" + o.account, path: "migration/" + o.account + "/cut-over",
			typed: []string{"to", "shadow", "at", "soon"}},
		"recipients": {page: "recipients", path: "recipients", typed: []string{"account", o.account, "environment", "dev",
			"to", "somebody"}},
		"recipients/unlock": {page: "recipients", posted: recipient, path: "recipients/unlock",
			typed: []string{"reason", "typed\u202ereason"}},
		"keys": {page: "keys", path: "keys", typed: []string{"account", o.account, "name", "typed",
			"kind", string(otp.AccessKey),
			"environment", "dev", "allowed_ips", "here", "expires_at", "2031-05-06"}},
		"people/invite": {page: "people", path: "people/invite", typed: []string{"email", "nobody", "role", "auditor",
			"accounts", o.account}},
		"people/:id/change": {page: person, path: person + "/change", typed: []string{"name", "typed\u202e",
			"role", "auditor", "accounts", o.account, "disabled", "yes"}},
		"webhooks": {page: "webhooks", path: "webhooks", typed: []string{"account", o.account, "url", "ftp://typed", "events",
			"otp.sent", "description", "typed"}},
		"webhooks/:id/change": {page: hook, path: hook + "/change", typed: []string{"url", "ftp://typed", "events",
			"otp.typed", "description", "typed", "enabled", ""}},
		"security/app":     {page: "security", path: "security/app", typed: []string{"name", "typed\u202e"}},
		"security/passkey": {page: "security", path: "security/passkey", typed: []string{"passkey", "typed\u202e"}},
	}
	maps.Copy(all, map[string]typedForm{
		"logout": button("inbox", "logout"), "inbox/empty": button("inbox", "inbox/empty"),
		"login/passkey/begin":            button("login", "login/passkey/begin"),
		"accounts/:account/delete":       button(shop, shop+"/delete"),
		"accounts/:account/guards/lift":  button(shop+"/guards", shop+"/guards/lift"),
		"accounts/:account/tests/remove": button(shop+"/tests", shop+"/tests/remove"),
		"watch/acknowledge":              button("watch", "watch/acknowledge"),
		"privacy/export":                 {page: "privacy/count", posted: subject, path: "privacy/export"},
		"privacy/erase":                  {page: "privacy/count", posted: subject, path: "privacy/erase"},
		"keys/:id/rotate":                button("keys/"+o.keys[0], "keys/"+o.keys[0]+"/rotate"),
		"keys/:id/revoke":                button("keys/"+o.keys[0], "keys/"+o.keys[0]+"/revoke"),
		"keys/:id/compromised":           button("keys/"+o.keys[0], "keys/"+o.keys[0]+"/compromised"),
		"keys/:id/enable":                button("keys/"+o.keys[1], "keys/"+o.keys[1]+"/enable"),
		"people/withdraw":                button("people", "people/withdraw"),
		"people/:id/recover":             button(person, person+"/recover"),
		"people/:id/reset-factors":       button(person, person+"/reset-factors"),
		"people/:id/end-sessions":        button(person, person+"/end-sessions"),
		"people/:id/remove":              button(person, person+"/remove"),
		"webhooks/:id/rotate":            button(hook, hook+"/rotate"),
		"webhooks/:id/test":              button(hook, hook+"/test"),
		"webhooks/:id/replay":            button(o.delivery(t, told), "webhooks/"+told+"/replay"),
		"webhooks/:id/delete":            button(hook, hook+"/delete"),
		"security/password":              button("security", "security/password"),
		"security/remove":                button("security", "security/remove"),
		"security/backup-codes":          button("security", "security/backup-codes"),
		"security/end":                   button("security", "security/end"),
		"security/end-others":            button("security", "security/end-others"),
		"security/prove":                 button("security?done=prove", "security/prove"),
		"security/app/confirm":           {page: "security/app", posted: []string{"name", "x"}, path: "security/app/confirm"},
		"login/code": {page: "login", posted: []string{"email", "owner@shop.example", "password", ownerPassword},
			path: "login/code"},
	})
	return all
}

// What was typed into a form that is refused is in the form again. A new form, or field, has to be tried here.
func TestConsole_WhatWasTypedStays(t *testing.T) {
	o := newOwnedSandbox(t)
	o.watched(t)
	forms := typedForms(t, o)
	for _, route := range o.router().Routes() {
		name, ours := strings.CutPrefix(route.Path, console.Path)
		if !ours || route.Method != "POST" || slices.Contains(byScript, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			form, known := forms[name]
			require.True(t, known, "no form of this route is tried")
			shown := o.shows(form.page, form.posted)
			inside, found := formTo(shown.body, form.path)
			require.True(t, found, "%s does not show it", form.page)
			typed := map[string]string{}
			for i := 0; i+1 < len(form.typed); i += 2 {
				typed[form.typed[i]] = form.typed[i+1]
			}
			require.ElementsMatch(t, slices.Collect(maps.Keys(typed)), slices.Collect(maps.Keys(fieldsOf(inside))),
				"a field is not tried")
			if len(typed) == 0 {
				return
			}
			posted := append(hiddenOf(inside), form.typed...)
			for i := 1; i < len(posted); i += 2 { // what is not checked is not sent
				if posted[i] == "" && strings.Contains(inside, `type="checkbox" name="`+posted[i-1]+`"`) {
					posted = slices.Delete(posted, i-1, i+1)
				}
			}
			refused := o.shows(form.path, posted)
			require.GreaterOrEqual(t, refused.status, 400)
			again, found := formTo(refused.body, form.path)
			require.True(t, found, "the form is gone")
			require.Equal(t, typed, fieldsOf(again))
			require.True(t, strings.Contains(refused.body, `role="alert"`), "it does not say why")
			if !slices.Contains(aboutNoField, name) {
				require.Contains(t, again, `aria-invalid="true"`, "it does not mark the field that is wrong")
			}
		})
	}
}

// shows reads a page of the console, or posts a form to it, as the owner at localhost, where passkeys work.
func (o *ownedSandbox) shows(page string, posted []string) answer {
	at, err := url.Parse(o.url)
	require.NoError(o.t, err)
	host := "localhost:" + at.Port()
	headers := append(slices.Clone(o.headers), "Host", host)
	headers[slices.Index(headers, "Origin")+1] = "http://" + host
	if posted == nil {
		return o.do("GET", console.Path+page, "", headers...)
	}
	return o.do("POST", console.Path+page, formOf(append(slices.Clone(posted), "csrf", o.csrf)...), headers...)
}

// formTo returns the inside of a page's first form that posts to a path of the console.
func formTo(page, path string) (string, bool) {
	for _, form := range regexp.MustCompile(`(?s)<form method="post" action="([^"]*)"[^>]*>(.*?)</form>`).
		FindAllStringSubmatch(page, -1) {
		if html.UnescapeString(form[1]) == console.Path+path {
			return form[2], true
		}
	}
	return "", false
}

var (
	inputs    = regexp.MustCompile(`<input [^>]*>`)
	textareas = regexp.MustCompile(`(?s)<textarea ([^>]*)>(.*?)</textarea>`)
	selects   = regexp.MustCompile(`(?s)<select ([^>]*)>(.*?)</select>`)
	selected  = regexp.MustCompile(`(?s)<option( value="([^"]*)")? selected[^>]*>(.*?)</option>`)
	attribute = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
)

// attributes returns the attributes of a tag.
func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, found := range attribute.FindAllStringSubmatch(tag, -1) {
		all[found[1]] = html.UnescapeString(found[2])
	}
	return all
}

// hiddenOf returns the hidden fields of a form without the token: name, value, name, value.
func hiddenOf(form string) (fields []string) {
	for _, tag := range inputs.FindAllString(form, -1) {
		if a := attributes(tag); a["type"] == "hidden" && a["name"] != "csrf" {
			fields = append(fields, a["name"], a["value"])
		}
	}
	return fields
}

// fieldsOf returns the values of the fields of a form that are seen and are no secrets.
func fieldsOf(form string) map[string]string {
	all := map[string]string{}
	for _, tag := range inputs.FindAllString(form, -1) {
		a := attributes(tag)
		name, checked := a["name"], strings.Contains(tag, " checked")
		switch {
		case a["type"] == "hidden", a["type"] == "password", a["autocomplete"] == "one-time-code",
			slices.Contains(neverSentBack, name) && !strings.Contains(form, `name="call"`):
		case a["type"] == "radio":
			if checked {
				all[name] = a["value"]
			}
		case a["type"] == "checkbox":
			if all[name] = ""; checked {
				all[name] = a["value"]
			}
		default:
			all[name] = a["value"]
		}
	}
	for _, found := range textareas.FindAllStringSubmatch(form, -1) {
		all[attributes(found[1])["name"]] = html.UnescapeString(found[2])
	}
	for _, found := range selects.FindAllStringSubmatch(form, -1) {
		value := ""
		if one := selected.FindStringSubmatch(found[2]); one != nil {
			if value = html.UnescapeString(one[2]); one[1] == "" {
				value = html.UnescapeString(one[3])
			}
		}
		all[attributes(found[1])["name"]] = value
	}
	return all
}

// settings returns what the account's form has, with other values for some of its fields.
func (o *ownedSandbox) settings(others ...string) (fields []string) {
	form, found := formTo(o.shows("accounts/"+o.account, nil).body, "accounts/"+o.account+"/change")
	require.True(o.t, found)
	values := fieldsOf(form)
	for i := 0; i < len(others); i += 2 {
		require.Contains(o.t, values, others[i])
		values[others[i]] = others[i+1]
	}
	for name, value := range values {
		fields = append(fields, name, value)
	}
	return fields
}

// prepared makes what some of the forms are about: a locked recipient and a webhook with deliveries, which it returns,
// a key that is off and a second session of the owner.
func (o *ownedSandbox) prepared(t *testing.T) (locked, told string) {
	t.Helper()
	receiver := "http://127.0.0.1:9/all"
	hook, err := o.webhooks.Create(t.Context(), webhook.Asker{Account: o.account, Actor: otp.Actor{Kind: "operator"}},
		otp.ID{}, webhook.Wish{URL: &receiver, Events: []string{"*"}})
	require.NoError(t, err)
	const number = "+919876543280"
	_, secret, _, err := o.manage.Keys.Create(t.Context(), manage.Operator(), manage.NewKey{Account: o.account, Name: "v1",
		Kind: otp.SecretKey, Environment: otp.Test})
	require.NoError(t, err)
	call := func(path, body string) {
		o.do("POST", "/v1/"+path, body, "X-API-Key", string(secret.Bytes()), "Content-Type", "application/json")
	}
	for range 9 {
		call("send", `{"to":"`+number+`","method":"sms","type":"verification"}`)
		for range 3 {
			call("verify", `{"to":"`+number+`","code":"000000"}`)
		}
	}
	id, known := otp.ParseID("key", o.keys[1])
	require.True(t, known)
	key, err := o.manage.Keys.Find(t.Context(), manage.Operator(), id)
	require.NoError(t, err)
	off := key.Settings()
	off.Disabled = true
	_, _, err = o.manage.Keys.Change(t.Context(), manage.Operator(), key, off)
	require.NoError(t, err)
	a := o.do("POST", "/api/auth/login", `{"email":"owner@shop.example","password":"`+ownerPassword+`","mfa_code":"`+
		appCodeOf(t, o.app, 30*time.Second)+`"}`, "Content-Type", "application/json")
	require.Equal(t, 200, a.status, a.body)
	return number, hook.ID
}

// delivery returns the page of a delivery of a webhook.
func (o *ownedSandbox) delivery(t *testing.T, hook string) (page string) {
	t.Helper()
	by := webhook.Asker{Account: o.account, Actor: otp.Actor{Kind: "operator"}}
	eventually(t, "a delivery", func() bool {
		found, err := o.webhooks.Deliveries(t.Context(), by, hook, webhook.DeliveryQuery{Limit: 1})
		require.NoError(t, err)
		if len(found) > 0 {
			page = "webhooks/" + hook + "/deliveries/" + found[0].ID
		}
		return page != ""
	})
	return page
}
