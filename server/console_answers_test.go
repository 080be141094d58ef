package main

import (
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// answerRows are the rows of the table of what the servlets answer: situation, generate, validate, regenerate, status.
var answerRows = regexp.MustCompile(`(?s)<tr><td data-label="Situation">(.*?)</td>` +
	`<td data-label="Generate">(.*?)</td><td data-label="Validate">(.*?)</td>` +
	`<td data-label="Regenerate">(.*?)</td><td class="num" data-label="Status">(\d+)</td>`)

// shownAnswers returns what an account's page shows that the servlets answer in a situation: by the servlet, and the
// status.
func (b *booted) shownAnswers(situation string) func(account, servlet string) (text, status string) {
	return func(account, servlet string) (text, status string) {
		b.t.Helper()
		page := b.do("GET", console.Path+"accounts/"+account, "").body
		for _, row := range answerRows.FindAllStringSubmatch(page, -1) {
			what, _, _ := strings.Cut(row[1], "<br>")
			for _, one := range strings.Split(what, ", ") {
				if !strings.EqualFold(one, situation) {
					continue
				}
				column := map[string]int{"otpgenservlet": 2, "otpregenservlet": 4}[servlet]
				if column == 0 {
					column = 3 // of every validation
				}
				code, isText := strings.CutPrefix(row[column], "<code>")
				if !isText {
					return "", row[5]
				}
				return html.UnescapeString(strings.TrimSuffix(code, "</code>")), row[5]
			}
		}
		require.Failf(b.t, "the page lacks the situation", "%q", situation)
		return "", ""
	}
}

// The account's page shows byte for byte what the servlets answer under its profile, with its own texts, and the
// status.
func TestConsole_AnAccountShowsWhatItsServletsAnswer(t *testing.T) {
	dead := newGateway(t, http.StatusBadRequest)
	s := boot(t, variables(t)...)
	for name, columns := range map[string]string{
		"documented": `"message_profile":"documented"`,
		"live":       `"message_profile":"live"`,
		"own texts, strict": `"message_profile":"live","strict_http":true,"message_overrides":{` +
			`"generated":"Sent <b>it</b> & more","wrong":"No. {n} more","error":"Oh","unauthorised":"never said",` +
			`"undelivered":"Lost","invalid":"What?"}`,
	} {
		t.Run(name, func(t *testing.T) {
			shop := s.account(`{` + columns + `,"max_attempts":2,"max_regenerations":1,"sends_per_minute":3}`)
			off := s.account(`{` + columns + `,"otp_enabled":false}`)
			strict := s.account(`{` + columns + `,"department_mode":"require","departments":["sales"]}`)
			mute := s.account(`{` + columns + `,"sms_channels":"` + dead.url("first") + `"}`)
			is := func(situation, account, key, servlet, to, left string, more ...string) {
				t.Helper()
				a := s.do("GET", "/otpauthapi/"+servlet+"?"+person(to, more...).Encode(), "", "access_key", key)
				text, status := s.shownAnswers(situation)(account, servlet)
				require.Equal(t, a.body, strings.ReplaceAll(text, "{n}", left), "%s at %s", situation, servlet)
				require.Equal(t, status, strconv.Itoa(a.status), "%s at %s", situation, servlet)
			}
			guess := func(code string) []string { return []string{"otp", encrypted(t, shop.CipherKey, shop.CipherIV, code)} }
			right := func() []string { return guess(s.messages("limit=1")[0].Code) }
			const to, other, third = "919551492394", "919551492395", "919551492396"
			const gen, val, regen = "otpgenservlet", "otpvalidationservlet", "otpregenservlet"
			for _, servlet := range []string{gen, val, regen} {
				is("unknown credential", shop.Address, "nobody-has-this-key", servlet, to, "", guess("1234")...)
				is("invalid", shop.Address, shop.AccessKey, servlet, "12", "", guess("1234")...)
				is("feature off", off.Address, off.AccessKey, servlet, to, "", guess("1234")...)
				is("missing department", strict.Address, strict.AccessKey, servlet, to, "", guess("1234")...)
			}
			is("not found", shop.Address, shop.AccessKey, val, to, "", guess("123456")...)
			is("not found", shop.Address, shop.AccessKey, regen, to, "")
			is("Granted", shop.Address, shop.AccessKey, gen, to, "")
			is("Granted", shop.Address, shop.AccessKey, regen, to, "")
			is("regenerations exhausted", shop.Address, shop.AccessKey, regen, to, "")
			is("wrong code", shop.Address, shop.AccessKey, val, to, "1", guess("000000")...)
			is("wrong code", shop.Address, shop.AccessKey, val, to, "0", guess("000000")...)
			is("attempts exhausted", shop.Address, shop.AccessKey, val, to, "", guess("000000")...)
			is("Granted", shop.Address, shop.AccessKey, gen, other, "")
			last := right()
			is("Granted", shop.Address, shop.AccessKey, val, other, "", last...)
			is("used", shop.Address, shop.AccessKey, val, other, "", last...)
			for range 3 {
				is("Granted", shop.Address, shop.AccessKey, gen, third, "")
			}
			is("over limit", shop.Address, shop.AccessKey, gen, third, "")
			is("undelivered", mute.Address, mute.AccessKey, gen, to, "")
			for _, servlet := range []string{gen, val, regen} {
				s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"servlet","kind":"error","count":1}]}`, "Content-Type",
					"application/json")
				is("Something failed on the server", shop.Address, shop.AccessKey, servlet, to, "", guess("1234")...)
			}
		})
	}
	page := s.do("GET", console.Path+"accounts/10000000000001", "").body
	require.Contains(t, page, "nothing, zero bytes")
	require.NotContains(t, page, "a carriage return")
}
