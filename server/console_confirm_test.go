package main

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/people"
	"otpbridge/sql/sqltest"
)

// harmful returns the forms whose change cannot be undone, each with its path, its fields, and the name that has to be
// typed. The order matters: the last one removes what the others are about.
func harmful(o *ownedSandbox) []harm {
	return []harm{
		{"accounts/:account/guards/lift", "accounts/" + o.account + "/guards/lift", []string{"prefix", "+919551"}, "+919551"},
		{"accounts/:account/tests/remove", "accounts/" + o.account + "/tests/remove", []string{"id", o.test}, "review"},
		{"migration/:account/cut-over", "migration/" + o.account + "/cut-over",
			[]string{"to", "forward", "at", ""}, o.account},
		{"keys/:id/revoke", "keys/" + o.keys[0] + "/revoke", nil, "shop 0"},
		{"keys/:id/compromised", "keys/" + o.keys[1] + "/compromised", nil, "shop 1"},
		{"webhooks/:id/delete", "webhooks/" + o.webhook + "/delete", nil, "http://127.0.0.1:9/hook"},
		{"people/withdraw", "people/withdraw", []string{"id", o.invitation}, ""},
		{"people/:id/reset-factors", "people/" + o.person + "/reset-factors", nil, "dev@shop.example"},
		{"people/:id/remove", "people/" + o.person + "/remove", nil, "dev@shop.example"},
		{"security/remove", "security/remove", []string{"id", o.factor}, "phone"},
		{"privacy/erase", "privacy/erase", []string{"account", o.account, "environment", "test", "id", "+919551492301"},
			"+919551492301"},
		{"inbox/empty", "inbox/empty", nil, ""},
		{"accounts/:account/delete", "accounts/" + o.account + "/delete", nil, "Shop"},
	}
}

type harm struct {
	form, page string
	fields     []string
	name       string
}

// comesBack are the forms that end something that its owner gets back with a login.
var comesBack = []string{"security/end", "security/end-others", "people/:id/end-sessions"}

const ownerPassword = "correct-horse-97-battery"

// ownedSandbox is a sandbox with an owner and one object of each kind that can be removed.
type ownedSandbox struct {
	*booted
	environ, headers []string // headers are those of a form that the owner's browser sends
	csrf, app        string   // the secret of the owner's app
	account, webhook string
	test, invitation string
	person, factor   string
	keys             []string
}

func newOwnedSandbox(t *testing.T) *ownedSandbox {
	environ := variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=6", "OTPBRIDGE_ALERT_ACTIONS=key_country")
	o := &ownedSandbox{booted: boot(t, environ...), environ: environ}
	asked := func(path, token, body string) map[string]any {
		a := o.do("POST", path, body, "Content-Type", "application/json", "Authorization", "Bearer "+token)
		require.Contains(t, []int{200, 201}, a.status, "%s: %s", path, a.body)
		return decoded(t, a)
	}
	owner := asked("/api/auth/register", "", `{"email":"owner@shop.example","name":"Ada","password":"`+ownerPassword+`"}`)
	token := owner["access_token"].(string)
	app := asked("/api/auth/mfa/enable", token, `{"name":"phone"}`)
	o.factor = app["id"].(string)
	o.app = app["secret"].(string)
	asked("/api/auth/mfa/confirm", token, `{"id":"`+o.factor+`","code":"`+appCodeOf(t, o.app, 0)+`"}`)

	o.account = o.stopped(t, `"esme_address":"4711","name":"Shop","upstream_url":"http://127.0.0.1:9/otpauthapi"`)
	o.servlet("otpgenservlet", documentedKey, person("919876543210"))
	for i := range 2 {
		made := asked("/api/keys", token, fmt.Sprintf(`{"account":"4711","name":"shop %d"}`, i))
		o.keys = append(o.keys, made["id"].(string))
	}
	o.webhook = asked("/api/webhooks", token, `{"account":"4711","url":"http://127.0.0.1:9/hook",`+
		`"events":["otp.failed"]}`)["id"].(string)
	o.test = asked("/api/accounts/4711/test-recipients", token, `{"number":"+919551492394","code":"246810",`+
		`"reason":"review","expires_at":"`+time.Now().AddDate(0, 0, 9).UTC().Format(time.RFC3339)+`"}`)["id"].(string)
	dev := asked("/api/people", token, `{"email":"dev@shop.example","role":"developer"}`)["invitation"].(string)
	asked("/api/auth/register", "", `{"email":"dev@shop.example","name":"Dan","password":"`+ownerPassword+`",`+
		`"invitation":"`+dev+`"}`)
	o.invitation = asked("/api/people", token, `{"email":"new@shop.example","role":"auditor"}`)["id"].(string)
	found, err := o.people.Staff.List(t.Context(), people.Operator())
	require.NoError(t, err)
	for _, p := range found {
		if p.Email == "dev@shop.example" {
			o.person = p.ID
		}
	}
	var cookie string
	cookie, o.csrf = o.browserSession(token)
	o.headers = []string{"Content-Type", formType, "Origin", o.url, "Cookie", cookie}
	return o
}

// sends posts a form of the console as the owner's browser, and does not follow redirects.
func (o *ownedSandbox) sends(page string, fields ...string) answer {
	return o.do("POST", console.Path+page, formOf(append(fields, "csrf", o.csrf)...), o.headers...)
}

// A form whose change cannot be undone changes nothing until its question is answered with the object's name. All
// forms whose call deletes something are such forms.
func TestConsole_LastingHarmIsAskedFirst(t *testing.T) {
	o := newOwnedSandbox(t)
	o.agent.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	asks := map[string]bool{}
	for _, c := range harmful(o) {
		asks[c.form] = true
		before := o.dump(t)
		page := o.sends(c.page, c.fields...)
		require.Equal(t, 200, page.status, "%s: %s", c.form, page.body)
		require.Contains(t, page.body, `action="`+console.Path+c.page+`"`, c.form)
		name := regexp.MustCompile(`data-name="([^"]*)"`).FindStringSubmatch(page.body)
		require.NotNil(t, name, c.form)
		require.Equal(t, c.name, html.UnescapeString(name[1]), c.form)
		for _, wrong := range []string{c.name + "x", "", "Yes", "-"} {
			again := o.sends(c.page, append(c.fields, "confirm", wrong)...)
			require.Contains(t, []int{200, 400}, again.status, c.form)
			require.Contains(t, again.body, `name="confirm"`, c.form)
			if again.status == 400 && c.name != "" {
				require.Contains(t, html.UnescapeString(again.body), `value="`+wrong+`"`, "%s: what was typed is gone", c.form)
			}
		}
		require.Equal(t, before, o.dump(t), "%s: changed something before it was confirmed", c.form)

		answer := c.name
		if answer == "" {
			answer = "yes"
		}
		did := o.sends(c.page, append(filled(page.body[strings.Index(page.body, "<main"):]), "confirm", answer)...)
		require.Contains(t, []int{200, 303}, did.status, "%s: %s", c.form, did.body)
		require.NotEqual(t, before, o.dump(t), "%s: changed nothing", c.form)
	}
	for _, form := range comesBack {
		asks[form] = false
	}
	for form, call := range byAPI {
		asked, known := asks[form]
		switch {
		case strings.HasPrefix(call, "DELETE"):
			require.True(t, known, "%s deletes something; have it ask first", form)
		case regexp.MustCompile(`/(erase|cut-over|compromised|revoke)$`).MatchString(call):
			require.True(t, asked, "%s does lasting harm; have it ask first", form)
		}
	}
}

// byItself are the tables that the server itself writes to: the sealed log, its own times, counts.
var byItself = []string{"audit_pages", "audit_terms", "audit_tree", "audit_tiles", "server_marks", "webhook_events",
	"statistics", "key_days", "calls"}

// dump returns every row of the database except those of byItself. For the log it returns only the ids, because
// entries are sealed later.
func (o *ownedSandbox) dump(t *testing.T) map[string][]string {
	t.Helper()
	db := sqltest.Connect(t, strings.TrimPrefix(o.environ[1], "OTPBRIDGE_DATABASE_URL="))
	var tables []string
	require.NoError(t, db.Select(&tables, `SELECT name FROM sqlite_master WHERE type = 'table'`))
	all := map[string][]string{}
	for _, table := range tables {
		if slices.Contains(byItself, table) {
			continue
		}
		columns := "*"
		if table == "changes" {
			columns = "id"
		}
		rows, err := db.Queryx(`SELECT ` + columns + ` FROM "` + table + `"`)
		require.NoError(t, err)
		for rows.Next() {
			row, err := rows.SliceScan()
			require.NoError(t, err)
			all[table] = append(all[table], fmt.Sprint(row...))
		}
		require.NoError(t, rows.Err())
	}
	require.NotEmpty(t, all["challenges"])
	return all
}
