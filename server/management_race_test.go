package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With two processes on one database, only one of 64 changes that name the same version is made, and a right that was
// taken away in one process ends in the other within a second.
func TestManagement_ThroughTwoProcessesRace(t *testing.T) {
	t.Parallel()
	// Access tokens contain the URL, so both processes need the same.
	const url = "OTPBRIDGE_PUBLIC_URL=http://otp.shop.example"
	for name, make := range map[string]func() []string{
		"SQLite":  func() []string { return variables(t) },
		"MariaDB": func() []string { environ, _ := onMariaDB(t); return environ },
	} {
		t.Run(name, func(t *testing.T) {
			environ := append(make(), url)
			servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
			owner := servers[0].register("owner@shop.example", "")
			l := new(ledger)
			raceVersions(l, servers, owner, times(100, 2))
			stopEverywhere(l, servers, owner)
			l.report(t)
		})
	}
}

// made is the answer of a call that makes a person or an object.
type made struct {
	ID     string `json:"id"`
	Key    string `json:"key"`
	Secret string `json:"client_secret"`
	Ticket string `json:"invitation"`
	Token  string `json:"access_token"`
	User   struct {
		ID string `json:"id"`
	} `json:"user"`
}

// register registers a person with an invitation, or without one an owner of a sandbox.
func (c client) register(email, invitation string) made {
	c.t.Helper()
	return c.makes("/api/auth/register", made{}, fields{"email": email, "invitation": invitation, "name": "Olga",
		"password": "tandem-marzipan-kayak-41"})
}

func (c client) makes(path string, by made, body fields) (got made) {
	c.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(c.t, err)
	headers := []string{"Content-Type", "application/json"}
	if by.Token != "" {
		headers = append(headers, "Authorization", "Bearer "+by.Token)
	}
	r := c.do(http.MethodPost, path, string(text), headers...)
	require.Less(c.t, r.status, 300, r.body)
	require.NoError(c.t, json.Unmarshal([]byte(r.body), &got))
	return got
}

// raceVersions makes 64 concurrent changes of each kind of object with versions.
func raceVersions(l *ledger, servers []client, owner made, rounds int) {
	s := servers[0]
	account := s.account(`{}`).Address
	key := s.makes("/api/keys", owner, fields{"account": account, "name": "shop"})
	hook := s.makes("/api/webhooks", owner, fields{"account": account, "url": "https://hooks.shop.example"})
	for path, change := range map[string]string{
		"/api/accounts/" + account: `"name":"Name %d."`,
		"/api/keys/" + key.ID:      `"name":"Name %d."`,
		"/api/people/" + s.register("other@shop.example", "").User.ID: `"name":"Name %d."`,
		"/api/webhooks/" + hook.ID:                                    `"url":"https://hooks.shop.example/%d."`,
	} {
		for round := range rounds {
			read := servers[round%2].v1(http.MethodGet, path, owner.Token, nil)
			var winner atomic.Int64
			counts := atOnce(64, func(i int) string {
				number := 64*round + i
				r, err := servers[i%2].tryV1(http.MethodPatch, path, owner.Token, "{"+fmt.Sprintf(change, number)+"}",
					"If-Match", read.header.Get("ETag"))
				if err != nil {
					return err.Error()
				}
				if r.status == http.StatusOK {
					winner.Store(int64(number))
				}
				return fmt.Sprint(r.status, " ", r.Code)
			})
			l.inject(1)
			l.acknowledge(64)
			l.equal(map[string]int{"200 ": 1, "412 PRECONDITION_FAILED": 63}, counts, "%s, round %d", path, round)
			for _, s := range servers {
				require.Contains(s.t, s.v1(http.MethodGet, path, owner.Token, nil).body, fmt.Sprintf(change, winner.Load()),
					"the change of who was told so")
			}
		}
	}
}

// stopEverywhere ends or narrows each credential in one process, and uses it in the other.
func stopEverywhere(l *ledger, servers []client, owner made) {
	here, there := servers[0], servers[1]
	account := here.account(unlimited).Address
	key := func() made { return here.makes("/api/keys", owner, fields{"account": account, "name": "shop"}) }
	person := func(email string) made {
		return here.register(email, here.makes("/api/people", owner, fields{"email": email, "role": "developer"}).Ticket)
	}
	service := here.makes("/api/service-accounts", owner, fields{"name": "bot", "role": "auditor",
		"token_endpoint_auth_method": "client_secret_post"})
	revoked, disabled, narrowed, moved, lost := key(), key(), key(), key(), key()
	demoted, off, removed := person("a@shop.example"), person("b@shop.example"), person("c@shop.example")
	token := here.makes("/oauth/token", made{}, fields{"grant_type": "client_credentials", "client_id": service.ID,
		"client_secret": service.Secret}).Token

	sends := func(credential string) reply {
		return there.v1(http.MethodPost, "/v1/send", credential, sending("+919551492394"))
	}
	readsKeys := func(credential string) reply { return there.v1(http.MethodGet, "/api/keys", credential, nil) }
	reads := func(credential string) reply { return there.v1(http.MethodGet, "/api/accounts", credential, nil) }
	all := []struct {
		what, method, path, body string
		credential               string
		asks                     func(credential string) reply
		before                   int
		after                    string
	}{
		{"key revoked", "DELETE", "/api/keys/" + revoked.ID, "", revoked.Key, sends, 201, "401 AUTH_004"},
		{"key disabled", "PATCH", "/api/keys/" + disabled.ID, `{"enabled":false}`, disabled.Key, sends, 201, "401 AUTH_004"},
		{"key narrowed", "PATCH", "/api/keys/" + narrowed.ID, `{"permissions":["verify:otp"]}`, narrowed.Key, sends, 201,
			"403 PERMISSION_DENIED"},
		{"key bound", "PATCH", "/api/keys/" + moved.ID, `{"allowed_ips":["203.0.113.9"]}`, moved.Key, sends, 201,
			"403 AUTH_005"},
		{"key compromised", "POST", "/api/keys/" + lost.ID + "/compromised", "{}", lost.Key, sends, 201, "401 AUTH_004"},
		{"role changed", "PATCH", "/api/people/" + demoted.User.ID, `{"role":"support"}`, demoted.Token, readsKeys, 200,
			"403 PERMISSION_DENIED"},
		{"person disabled", "PATCH", "/api/people/" + off.User.ID, `{"disabled":true}`, off.Token, reads, 200,
			"401 AUTH_002"},
		{"person removed", "DELETE", "/api/people/" + removed.User.ID, "", removed.Token, reads, 200, "401 AUTH_002"},
		{"service account revoked", "DELETE", "/api/service-accounts/" + service.ID, "", token, reads, 200, "401 AUTH_004"},
	}
	// Change nothing in the other process: a process that changes keys clears its cache.
	for _, each := range all {
		l.equal(each.before, each.asks(each.credential).status, "%s: before", each.what)
	}
	for _, each := range all {
		l.inject(1)
		ended := here.do(each.method, each.path, each.body, "Authorization", "Bearer "+owner.Token, "If-Match", "*",
			"Content-Type", "application/json")
		require.Less(here.t, ended.status, 300, ended.body)
	}
	time.Sleep(time.Second) // which is the promise
	for _, each := range all {
		got := each.asks(each.credential)
		l.equal(each.after, fmt.Sprint(got.status, " ", got.Code), "%s: after", each.what)
	}
	got := there.do(http.MethodPost, "/oauth/token", "grant_type=client_credentials&client_id="+service.ID+
		"&client_secret="+service.Secret, "Content-Type", "application/x-www-form-urlencoded")
	l.equal(http.StatusUnauthorized, got.status, "a revoked service account gets no token")
	l.acknowledge(2*len(all) + 1)
}
