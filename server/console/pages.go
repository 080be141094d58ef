package console

import (
	"net/http"
	"slices"
	"strings"

	"otpbridge/server/people"
)

const get, post = http.MethodGet, http.MethodPost

// pages returns all pages and their actions.
func pages() []route {
	return slices.Concat([]route{
		{method: get, path: "", who: person, serve: (*exchange).home},
	}, loginPages, sandboxPages, accountPages, messagePages, recipientPages, keyPages, webhookPages, auditPages,
		watchPages, peoplePages, privacyPages, migrationPages, securityPages, passkeyPages, systemPages)
}

// entry is one page in the navigation.
type entry struct {
	Page, Title, needs string
	who                asked
	Current            string // "page" for the current page, "true" for its parent, else empty
}

// group is a part of the navigation.
type group struct {
	Title   string
	Entries []entry
}

// navigation returns the groups with the pages that this reader may open.
func (x *exchange) navigation() []group {
	if !x.loggedIn && !x.open() {
		return nil
	}
	all := []group{
		{"Try", []entry{
			{Page: "inbox", Title: "Inbox", who: tester},
			{Page: "try", Title: "Try it", who: tester},
			{Page: "requests", Title: "Requests", who: tester},
		}},
		{"Manage", []entry{
			{Page: "accounts", Title: "Accounts", needs: people.ReadAccounts},
			{Page: "recipients", Title: "Why no message?", needs: people.ReadRecipients},
			{Page: "keys", Title: "API keys", needs: people.ReadKeys},
			{Page: "webhooks", Title: "Webhooks", needs: people.ReadWebhooks},
			{Page: "people", Title: "People", needs: people.ReadPeople},
		}},
		{"Watch", []entry{
			{Page: "watch", Title: "Security", needs: people.ReadStatistics},
			{Page: "audit", Title: "Audit", needs: people.ReadAudit},
			{Page: "migration", Title: "Migration", needs: people.ReadStatistics},
			{Page: "privacy", Title: "Privacy", needs: people.ReadPrivacy},
		}},
		{"Yours", []entry{
			{Page: "security", Title: "My security"},
			{Page: "system", Title: "System"},
		}},
	}
	if x.door.Sandbox {
		all[3].Entries = append(all[3].Entries, entry{Page: "components", Title: "Components"})
	}
	var shown []group
	for _, g := range all {
		g.Entries = slices.DeleteFunc(g.Entries, func(e entry) bool {
			return e.who == tester && !x.door.Sandbox || e.needs != "" && x.who.May(e.needs) != nil ||
				e.Page == "security" && !x.loggedIn
		})
		for i := range g.Entries {
			switch shown := strings.TrimPrefix(x.gin.Request.URL.Path, Path); {
			case shown == g.Entries[i].Page:
				g.Entries[i].Current = "page"
			case strings.HasPrefix(shown, g.Entries[i].Page+"/"), shown == "new-account" && g.Entries[i].Page == "accounts":
				g.Entries[i].Current = "true"
			}
		}
		if len(g.Entries) > 0 {
			shown = append(shown, g)
		}
	}
	return shown
}

// home redirects to the first page: the inbox in a sandbox, else the accounts.
func (x *exchange) home() error {
	if x.door.Sandbox {
		return x.goTo("inbox")
	}
	return x.goTo("accounts")
}

// notices are the texts that a page shows after a change, by the parameter done.
var notices = map[string]string{
	"acknowledged": "Acknowledged. The alert closes when its cause is gone.",
	"reviewed":     "Your review was noted. The next is due in three months.",
	"emptied":      "The inbox is empty. Codes that were sent stay valid.",
	"password":     "Your password was changed, and your other sessions were ended.",
	"session":      "The session was ended.",
	"sessions":     "All your other sessions were ended.",
	"removed":      "The factor was removed.",
	"passkey":      "The passkey was added.",
	"recovered":    "You have a new password. Log in with it.",
	"enabled":      "The key is on again; every server accepts it within a second.",
	"revoked":      "The key was revoked; every server refuses it within a second.",
	"webhook":      "The webhook was changed.",
	"replayed":     "It is being sent again, with the same id.",
	"webhook-gone": "The webhook is gone.",
	"withdrawn":    "The invitation was withdrawn; its link no longer works.",
	"account":      "The account was changed; all servers apply it within five seconds.",
	"cut-over":     "It is set. This page shows who answers, and since when.",
	"same":         "You changed nothing.",
	"deleted":      "The account is gone, with its keys.",
	"changed":      "It was changed.",
	"factors":      "Their second factors are gone. They log in with the password and can add new ones.",
	"ended":        "Their sessions were ended.",
	"gone":         "They were removed. What they did stays in the history.",
	"registered":   "You have a login. Add a second factor before you change anything that is live.",
	"unlocked":     "The recipient is unlocked. The history has recorded it with your reason.",
	"lifted":       "Codes go to these numbers again; counting starts over.",
	"added-test":   "The test recipient was added.",
	"removed-test": "The test recipient is gone.",
	"logout":       "You are logged out.",
	"prove":        "Add a second factor or prove your identity here. Then go back and send the form again.",
	"proved":       "You proved your identity; for ten minutes you are not asked again.",
}
