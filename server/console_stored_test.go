package main

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	markup "golang.org/x/net/html"

	"otpbridge/server/console"
	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// markedUp is what a browser makes of a page: its texts and the values of attributes, and the kinds of its elements,
// each with the names of its attributes.
type markedUp struct {
	texts  string
	shapes map[string]bool
}

// parsed returns what a browser makes of a page. It refuses attributes that run or style something, and addresses of
// other hosts.
func parsed(t *testing.T, page, body string) markedUp {
	t.Helper()
	root, err := markup.Parse(strings.NewReader(body))
	require.NoError(t, err)
	found, texts := markedUp{shapes: map[string]bool{}}, []string{}
	for node := range root.Descendants() {
		switch node.Type {
		case markup.TextNode, markup.CommentNode:
			texts = append(texts, node.Data)
			continue
		case markup.ElementNode:
		default:
			continue
		}
		var names []string
		for _, a := range node.Attr {
			require.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc", "%s: %s", page, a)
			if slices.Contains([]string{"href", "src", "action", "formaction", "data-live"}, a.Key) && node.Data != "a" {
				require.Regexp(t, `^(/[^/]|#|data:image/)`, a.Val, "%s: %s", page, node.Data)
			}
			if node.Data == "a" && a.Key == "href" {
				require.Regexp(t, `^(/[^/]|#|http://www\.ip2location\.com$|http://localhost)`, a.Val, page)
			}
			names, texts = append(names, a.Key), append(texts, a.Val)
		}
		slices.Sort(names)
		found.shapes[node.Data+" "+strings.Join(names, " ")] = true
	}
	found.texts = strings.Join(texts, "\x00")
	return found
}

// filledIn is a field that pages show: how texts come into it, and the pages.
type filledIn struct {
	name  string
	limit int // as many characters of a text are shown; 0: all, -1: what may be a secret is masked
	// put stores texts and returns the pages that show them. It can be called again.
	put func(texts []string) (pages []string)
}

// pages returns a page of a list, and the ones that follow.
func (o *ownedSandbox) pages(first string) (bodies []string) {
	o.t.Helper()
	for at := console.Path + first; len(bodies) < 9; {
		a := o.do("GET", at, "", o.headers...)
		require.Equal(o.t, 200, a.status, "%s: %s", at, a.body)
		bodies = append(bodies, a.body)
		next := nextPart.FindStringSubmatch(a.body)
		if next == nil {
			break
		}
		at = html.UnescapeString(next[1])
	}
	return bodies
}

// planter puts texts into a sandbox's database.
type planter struct {
	*ownedSandbox
	db    *sqlx.DB
	owner []byte // their id
	now   int64
	round int // counts rows
}

func (o *ownedSandbox) planter() *planter {
	p := &planter{ownedSandbox: o, db: sqltest.Connect(o.t, databaseOf(o.t, o.environ)), now: int64(otp.At(time.Now()))}
	require.NoError(o.t, p.db.Get(&p.owner, `SELECT id FROM persons WHERE email = 'owner@shop.example'`))
	return p
}

// rows inserts a row for each text, with an id first, and returns the pages of a list.
func (p *planter) rows(page, statement string, values func(n int, text string) []any) func([]string) []string {
	return func(texts []string) []string {
		for n, text := range texts {
			p.round++
			p.db.MustExec(statement, append([]any{fmt.Appendf(nil, "stored%010d", p.round)}, values(n, text)...)...)
		}
		return p.pages(page)
	}
}

// each shows one text at a time.
func (p *planter) each(do func(text string) string) func([]string) []string {
	return func(texts []string) (bodies []string) {
		for _, text := range texts {
			bodies = append(bodies, do(text))
		}
		return bodies
	}
}

// recorded adds changes with a detail to the audit log.
func (p *planter) recorded(kind otp.ChangeKind, detail string) func([]string) []string {
	return func(texts []string) []string {
		require.NoError(p.t, p.store.Change(p.t.Context(), func(tx *sql.Tx) error {
			for _, text := range texts {
				if err := tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: kind,
					Actor: otp.Actor{Kind: "operator"}, Details: map[string]string{detail: text}}); err != nil {
					return err
				}
			}
			return nil
		}))
		_, err := p.audit.Seal(p.t.Context())
		require.NoError(p.t, err)
		return p.pages("audit?action=" + string(kind))
	}
}

// ofPeople returns the fields that people fill in about themselves and others.
func (p *planter) ofPeople() []filledIn {
	return []filledIn{
		{"people's names", 0, p.rows("people?sort=-created", `
			INSERT INTO persons (id, name, email, password_hash, role, version, created_at, updated_at)
			VALUES (?, ?, ?, '', 'auditor', 1, 0, 0)`, func(n int, text string) []any {
			return []any{text, fmt.Sprintf("p%d@shop.example", p.round)}
		})},
		{"people's mailboxes", 0, p.rows("people?sort=-created", `
			INSERT INTO persons (id, email, name, password_hash, role, version, created_at, updated_at)
			VALUES (?, ?, ?, '', 'auditor', 1, 0, 0)`, func(n int, text string) []any { return []any{text, "Name"} })},
		{"one's own name", 0, p.each(func(text string) string {
			p.db.MustExec(`UPDATE persons SET name = ? WHERE id = ?`, text, p.owner)
			return p.pages("security")[0]
		})},
		{"invitations", 0, p.rows("people", `
			INSERT INTO tickets (id, hash, email, purpose, role, created_at, expires_at)
			VALUES (?, ?, ?, 'invitation', 'auditor', 0, ?)`, func(n int, text string) []any {
			return []any{fmt.Appendf(nil, "%032d", p.round), text, p.now + int64(otp.Day)}
		})},
		{"names of apps and passkeys", 0, p.rows("security", `
			INSERT INTO factors (id, name, kind, person_id, last_step, created_at, confirmed_at)
			VALUES (?, ?, ?, ?, 0, 1, 1)`, func(n int, text string) []any {
			return []any{text, []string{"totp", "passkey"}[n%2], p.owner}
		})},
		{"reviews of the checklist", 0, p.each(func(text string) string {
			a := p.sends("watch/review", "item", "csrf", "note", text)
			require.Contains(p.t, []int{200, 303}, a.status, a.body)
			return p.pages("watch")[0]
		})},
		{"reasons of test recipients", 0, p.rows("accounts/4711/tests", `
			INSERT INTO test_recipients (id, reason, esme_address, recipient_hash, number, code, mask, created_at, expires_at)
			VALUES (?, ?, '4711', ?, '', '', '', 1, ?)`, func(n int, text string) []any {
			return []any{text, fmt.Appendf(nil, "%016d", p.round), p.now + int64(otp.Day)}
		})},
		{"reasons of unlocking", 0, p.recorded(otp.RecipientUnlocked, "reason")},
		{"reasons of erasing", 0, p.recorded(otp.PrivacyErased, "reason")},
		{"names of service accounts", 0, p.recorded(otp.ServiceCreated, "name")},
		{"upstream addresses", 0, p.each(func(text string) string {
			p.db.MustExec(`UPDATE otp_auth_config SET upstream_url = ? WHERE esme_address = '4711'`, text)
			return p.pages("migration/4711")[0]
		})},
		{"refused upstream addresses", 0, p.each(func(text string) string {
			a := p.sends("migration/4711/upstream", "upstream_url", text)
			require.Equal(p.t, 400, a.status, a.body)
			return a.body
		})},
	}
}

// ofOthers returns the fields that browsers, callers and other servers fill in.
func (p *planter) ofOthers() []filledIn {
	return []filledIn{
		{"User-Agent", 200, p.rows("security", `
			INSERT INTO sessions (id, agent, person_id, factor, address, network, created_at, authenticated_at, seen_at,
				expires_at)
			VALUES (?, ?, ?, '', '', '', 1, 1, 1, ?)`, func(n int, text string) []any {
			return []any{otp.Cut(text, 200), p.owner, p.now + int64(otp.Day)}
		})},
		{"alerts", 64, p.rows("watch", `
			INSERT INTO alerts (id, subject, says, acknowledged_by, rule, esme_address, state, value, raised_at, seen_at, action)
			VALUES (?, ?, ?, ?, ?, '', 'acknowledged', 1, 1, 1, '')`, func(n int, text string) []any {
			return []any{otp.Cut(text, 64), text, otp.Cut(text, 64), fmt.Sprint("rule ", p.round)}
		})},
		{"names of calls and addresses", 45, p.each(func(text string) string {
			p.db.MustExec(`DELETE FROM calls`)
			p.db.MustExec(`
				INSERT INTO calls (hour, server, esme_address, door, name, credential_id, address, passed, kind, calls, micros,
					bytes, last_at)
				VALUES (?, ?, '4711', 'v1', ?, ?, ?, '', 'ok', 1, 1, 1, 1)`, p.now-p.now%int64(otp.Hour), p.owner,
				otp.Cut(text, 64), p.owner, otp.Cut(text, 45))
			return p.pages("migration/4711")[0]
		})},
		{"what callers send", -1, func(texts []string) (bodies []string) {
			for some := range slices.Chunk(texts, 25) { // two calls each, and the page shows the last fifty
				for _, text := range some {
					p.do("POST", "/v1/send?"+url.Values{text: {text}}.Encode(), `{"to":"`+text+`"}`, "User-Agent", text,
						"Department-Id", text, "X-API-Key", documentedKey)
					p.servlet("otpgenservlet", documentedKey, url.Values{"ipaddress": {text}, text: {text}})
				}
				bodies = append(bodies, p.pages("requests")...)
			}
			return bodies
		}},
		{"webhooks' answers", 0, p.answered(p.t)},
	}
}

// answered returns a put for the answers of a webhook's receiver.
func (o *ownedSandbox) answered(t *testing.T) func([]string) []string {
	var answers sync.Map // by path, a channel
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queue, _ := answers.Load(r.URL.Path)
		select {
		case text := <-queue.(chan string):
			_, _ = w.Write([]byte(text))
		default: // of an earlier put
		}
	}))
	t.Cleanup(receiver.Close)
	deliveries := regexp.MustCompile(`href="` + console.Path + `(webhooks/\w+/deliveries/\w+)"`)
	return func(list []string) (bodies []string) {
		path, queue := fmt.Sprint("/", len(list)), make(chan string, len(list))
		answers.Store(path, queue)
		for _, text := range list {
			queue <- text
		}
		made := o.sends("webhooks", "account", "4711", "url", receiver.URL+path, "events", "key.created")
		require.Equal(t, 200, made.status, made.body)
		for n := range list {
			require.Equal(t, 200, o.sends("keys", "account", "4711", "name", fmt.Sprint("key ", n), "kind", "secret",
				"environment", "test").status)
		}
		listed := regexp.MustCompile(`href="` + console.Path + `(webhooks/\w+)">` + regexp.QuoteMeta(receiver.URL+path))
		page := listed.FindStringSubmatch(o.pages("webhooks?account=4711&sort=-created")[0])[1]
		eventually(t, "the deliveries", func() bool {
			return strings.Count(strings.Join(o.pages(page+"?state=delivered"), ""), "deliveries/") == len(list)
		})
		for _, body := range o.pages(page) {
			for _, found := range deliveries.FindAllStringSubmatch(body, -1) {
				bodies = append(bodies, o.pages(found[1])[0])
			}
		}
		return bodies
	}
}

// What people write about themselves and about others, what browsers and callers say of themselves, and what other
// servers answer, is shown as text: the page has no element and no attribute that it does not have for a plain text,
// and a browser reads the same text.
func TestConsole_WhatOthersWriteStaysText(t *testing.T) {
	o := newOwnedSandbox(t)
	o.watched(t) // or the page Security shows more after ten seconds
	p := o.planter()
	texts := slices.DeleteFunc(slices.Clone(storedTexts), func(text string) bool { return otp.CheckText(text) != nil })
	require.Len(t, texts, len(storedTexts), "a payload is refused everywhere")
	for _, field := range append(p.ofPeople(), p.ofOthers()...) {
		plain := map[string]bool{}
		var words []string
		for n := range 10 {
			words = append(words, fmt.Sprintf("word%d", n))
		}
		for _, body := range field.put(words) {
			maps.Copy(plain, parsed(t, field.name, body).shapes)
		}
		read := ""
		for _, body := range field.put(texts) {
			found := parsed(t, field.name, body)
			for shape := range found.shapes {
				require.True(t, plain[shape], "%s makes <%s>", field.name, shape)
			}
			read += found.texts
		}
		for _, text := range texts {
			switch {
			case field.limit > 0:
				text = otp.Cut(text, field.limit)
			case field.limit < 0:
				continue
			}
			require.True(t, strings.Contains(read, strings.TrimSpace(text)), "%s: no page shows %q", field.name, text)
		}
	}
	o.runsNothing(t)
}

// runsNothing opens the pages in Chromium, with the owner's session.
func (o *ownedSandbox) runsNothing(t *testing.T) {
	b := newBrowser(t, o.URL())
	b.open(console.Path + "login")
	address, err := url.Parse(o.URL())
	require.NoError(t, err)
	cookie := o.headers[slices.Index(o.headers, "Cookie")+1]
	name, value, _ := strings.Cut(cookie, "=")
	_, err = chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value,
		Domain: address.Hostname(), Path: "/"})
	require.NoError(t, err)
	b.look(360, "light")
	for _, page := range []string{"people", "security", "watch", "accounts/4711/tests", "migration/4711", "requests",
		"audit?action=recipient.unlocked"} {
		b.open(console.Path + page)
		require.Zero(t, eval[int](b, `window.hit || 0`), page)
		fits(b, page)
		require.Zero(t, eval[int](b,
			`document.querySelectorAll("main :is(iframe, object, embed, base, meta, script, style)").length`), page)
	}
}
