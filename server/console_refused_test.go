package main

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/people"
)

// What no page of the console sends changes nothing: a list of nothing but separators, which is not the empty list that
// means everything; a field that is given twice; bytes that are no text; two origins of which one is right.
func TestConsole_WhatNoPageSendsIsRefused(t *testing.T) {
	s := boot(t, variables(t)...)
	const account = "10000000000001"
	key := "account=" + account + "&name=x&kind=secret&environment=test"
	hook := "account=" + account + "&url=http%3A%2F%2F127.0.0.1%3A9%2Fhook"
	own := []string{"Origin", s.url, "Sec-Fetch-Site", "same-origin"}
	for _, c := range []struct {
		page, form string
		headers    []string
	}{
		{"keys", key + "&allowed_ips=%2C", own},
		{"keys", key + "&allowed_ips=+%2C+%2C", own},
		{"keys", key + "&allowed_ips=%0D%0A", own},
		{"keys", key + "&allowed_ips=%09", own},
		{"keys", key + "&allowed_ips=+", own},
		{"keys", key + "&allowed_ips=10.0.0.1&allowed_ips=", own},
		{"keys", key + "&allowed_ips=&allowed_ips=10.0.0.1", own},
		{"keys", key + "&account=10000000000002", own},
		{"keys", key + "&name=a%FFb", own},
		{"keys", key, append([]string{"Origin", "https://evil.example"}, own...)},
		{"keys", key, append(own, "Origin", "https://evil.example")},
		{"keys", key, append(own, "Sec-Fetch-Site", "cross-site")},
		{"people/invite", "email=a%40shop.example&role=admin&accounts=%2C%2C", own},
		{"people/invite", "email=a%40shop.example&role=admin&accounts=%0A", own},
		{"people/invite", "email=a%40shop.example&role=admin&accounts=" + account + "&accounts=", own},
		{"people/invite", "email=a%40shop.example&role=auditor&role=admin", own},
		{"webhooks", hook + "&events=", own},
		{"webhooks", hook + "&events=%2C+%2C", own},
		{"webhooks", hook, own},
		{"webhooks", hook + "&events=*&description=%E2%80%AEabc", own},
		{"webhooks", hook + "&events=*&description=%1B%5B2J", own},
		{"webhooks", hook + "&events=*&description=caf%E9", own},
		{"watch/review", "item=csrf&note=%E2%80%AEabc", own},
		{"watch/review", "item=csrf&note=a%00b", own},
	} {
		a := s.do("POST", console.Path+c.page, c.form, append([]string{"Content-Type", formType}, c.headers...)...)
		require.Contains(t, []int{400, 403}, a.status, "%s %s %v", c.page, c.form, c.headers)
	}
	for _, page := range []string{"keys?account=%FF", "keys?account=" + account + "&account=", "audit?action=a%C0%AF",
		"people?done=%ED%A0%80"} {
		require.Equal(t, 400, s.do("GET", console.Path+page, "").status, page)
	}
	require.Contains(t, s.post("keys", "account", account, "name", "x", "kind", "secret", "environment", "test",
		"allowed_ips", ""), "Shown this once")
}

// A form that was cut short gives a person no more than they had.
func TestConsole_AFormWithoutAFieldGivesNothing(t *testing.T) {
	s := boot(t, variables(t)...)
	who := people.Operator()
	made, err := s.people.Staff.Invite(t.Context(), who, "dev@shop.example",
		people.Grant{Role: people.Developer, Accounts: []string{"10000000000001"}})
	require.NoError(t, err)
	token, err := s.people.Register(t.Context(), people.Registration{Email: "dev@shop.example", Name: "Dan",
		Password: ownerPassword, Ticket: made.Token}, people.Client{})
	require.NoError(t, err)
	form := url.Values{"name": {"Dan"}, "role": {"admin"}, "version": {"1"}}
	a := s.do("POST", console.Path+"people/"+token.Person.ID+"/change", form.Encode(), "Content-Type", formType)
	require.Equal(t, 200, a.status, a.body)
	found, err := s.people.Staff.Find(t.Context(), who, token.Person.ID)
	require.NoError(t, err)
	require.Equal(t, people.Admin, found.Role)
	require.Equal(t, []string{"10000000000001"}, found.Accounts)
}

// A form that is sent twice gives a webhook one new secret: a second would end the one that its receiver has.
func TestConsole_AWebhooksSecretIsReplacedOnceAForm(t *testing.T) {
	s := boot(t, variables(t)...)
	const account = "10000000000001"
	s.post("webhooks", "account", account, "url", "http://127.0.0.1:9/hook", "events", "*")
	all, err := s.webhooks.List(t.Context(), "", account)
	require.NoError(t, err)
	page := "webhooks/" + all[0].ID
	form, found := formTo(s.do("GET", console.Path+page, "").body, page+"/rotate")
	require.True(t, found)
	version := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(form)
	require.NotNil(t, version, form)
	require.Contains(t, s.post(page+"/rotate", "version", version[1]), "Signing secret")
	again := s.do("POST", console.Path+page+"/rotate", formOf("version", version[1]), "Content-Type", formType)
	require.Equal(t, 412, again.status, again.body)
	require.NotContains(t, again.body, "Signing secret")
}
