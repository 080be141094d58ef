package deliver

import (
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/idna"
)

// Each row is one mailbox in all its spellings; the first is its identity. No identity is in two rows.
var mailboxes = [][]string{
	{"victim@github.example", "Victim@GitHub.example", "victim@ＧＩＴＨＵＢ.example", "victim@github。example",
		"victim@github．example",
		"victim@github｡example", "victim@git\u00adhub.example", "victim@ⓖithub.example"},
	// U+0130
	{"victim@xn--github-qyd.example", "victim@gİthub.example", "VICTIM@GİTHUB.EXAMPLE", "victim@gi\u0307thub.example"},
	// U+0131
	{"victim@xn--gthub-n4a.example", "victim@gıthub.example", "victim@XN--GTHUB-N4A.example"},
	{"a@xn--bcher-kva.example", "a@bücher.example", "A@BÜCHER.example", "a@bu\u0308cher.example",
		"a@XN--BCHER-KVA.EXAMPLE"},
	{"a@bucher.example"},
	{"a@xn--strae-oqa.example", "a@straße.example"},
	{"a@strasse.example"},
	{"a@xn--r8jz45g.example", "a@例え.example", "a@例え。example"},
	{"a@xn--mgbh0fb.example", "a@مثال.example"},
	{"a@kelvin.example", "a@\u212aelvin.example", "a@ｋelvin.example"}, // one domain to a resolver
	{"a@xn--pple-43d.example", "a@аpple.example"},                     // a Cyrillic а
	{"a@apple.example"},
	{"user+tag@example.co.in", "User+Tag@Example.CO.IN"},
	{"user@example.co.in"},
	{"o'neil@example.com"}, {"a.b@example.com"}, {"ab@example.com"}, {"!#$%&'*+-/=?^_`{|}~@example.com"},
	{"a@b", "A@B"}, {"a@1.2.3.example"}, {"a@0x1.example"}, {"a@0xg"}, {"a@1a"}, {"a@a--b.example"},
	{strings.Repeat("x", 64) + "@example.com"},
	{"x@" + strings.Repeat("a", 63) + ".example"},
	{"x@" + strings.Repeat(strings.Repeat("a", 49)+".", 5) + "aa"}, // 254 characters
}

func TestMailbox_HasOneIdentityInAllItsSpellings(t *testing.T) {
	whose := make(map[string]string)
	for _, row := range mailboxes {
		for _, spelling := range row {
			mailbox, err := Mailbox(spelling)
			require.NoError(t, err, "%q", spelling)
			require.Equal(t, row[0], mailbox, "%q", spelling)
			require.Equal(t, row[0], Identity(spelling), "%q", spelling)
		}
		other, taken := whose[row[0]]
		require.False(t, taken, "%q and %q are two mailboxes", row[0], other)
		whose[row[0]] = row[0]
	}
}

func TestMailbox_RefusesByNameWhatHasNoIdentity(t *testing.T) {
	for text, complaint := range map[string]string{
		"": "one address", "user": "one address", "@": "a name before", "@example.com": "a name before", "user@": "a " +
			"domain after",
		"é@example.com": "ASCII characters only before", "vİctim@example.com": "ASCII characters only " +
			"before", "\u212a@example.com": "ASCII characters only before",
		"ſ@example.com": "ASCII characters only before", "ａ@example.com": "ASCII characters only " +
			"before", "a\u200b@example.com": "ASCII characters only before",
		"a\u00ad@example.com": "ASCII characters only before", "\xff@example.com": "ASCII characters only " +
			"before", "用户@example.com": "ASCII characters only before",
		`"a"@example.com`: "quotes", `"a b"@example.com`: "quotes", `"a@b"@example.com`: "quotes",
		`a\b@example.com`: "only letters",
		"a@b@example.com": "one @", "a@b, c@d": "one @", "User <user@example.com>": "only " +
			"letters", "<user@example.com>": "only letters",
		"a b@example.com": "only letters", "a\x00@example.com": "only letters", "a(x)@example.com": "only " +
			"letters", "a\r\nBcc: c@d.example": "only letters",
		".a@example.com": "dot", "a.@example.com": "dot", "a..b@example.com": "dot", strings.Repeat("x", 65) +
			"@example.com": "64",
		"a@[127.0.0.1]": "brackets", "a@[IPv6:::1]": "brackets", "a@::1": "brackets",
		"a@example.com.": "end with a dot", "a@example.com。": "end with a dot", "a@.": "end with a " +
			"dot", "a@.example.com": "empty part", "a@example..com": "empty part",
		"a@example.。com": "empty part", "a@\u00ad.example": "empty part",
		"a@127.0.0.1": "IP address", "a@１２７.0.0.1": "IP address", "a@1": "IP address", "a@example.123": "IP " +
			"address", "a@0x7f000001": "IP address", "a@a.0x": "IP address",
		"a@-b.example": "domain", "a@b-.example": "domain", "a@b_c.example": "domain", "a@b " +
			"c.example": "domain", "a@b\x00.example": "domain", "a@b\xff.example": "domain",
		"a@xn--.example": "domain", "a@xn--example-.example": "domain", "a@xn--a.example": "domain",
		"a@xn--bcher-kvA1.example": "domain", "a@xn--99999999.example": "domain",
		"a@xn--strasse-.example": "domain", "a@a\u200db.example": "domain", "a@אa.example": "domain",
		"a@ab--cd.example": "domain", "a@b\r\n.example": "domain",
		"x@" + strings.Repeat("a", 64) + ".example": "63", "x@" + strings.Repeat("ü", 63) + ".example": "63",
		"x@" + strings.Repeat(strings.Repeat("a", 50)+".", 5) + "example": "253", strings.Repeat("x", 64) + "@" +
			strings.Repeat("a.", 100) + "aa": "254",
		"x@" + strings.Repeat("a.", 5000) + "a": "253",
	} {
		mailbox, err := Mailbox(text)
		require.Error(t, err, "%q became %q", text, mailbox)
		require.Contains(t, err.Error(), complaint, "%q", text)
		require.True(t, strings.HasPrefix(err.Error(), "must "), "%q", text)
	}
}

func TestIdentity_OfWhatIsNoMailboxIsItsOwn(t *testing.T) {
	for given, expected := range map[string]string{
		"+919551492394": "+919551492394", "": "", "Nobody": "Nobody", "É@example.com": "É@example.com",
		"VİCTIM@example.com": "vİctim@example.com",
	} {
		require.Equal(t, expected, Identity(given), "%q", given)
	}
}

// Equal identity means that the same mailbox receives it: mail is sent to the identity, which is ASCII and its own
// identity. Two spellings differ only in the case of ASCII letters before the @, and in spellings of one domain.
func FuzzMailbox(f *testing.F) {
	for i, row := range mailboxes {
		for _, spelling := range row {
			f.Add(spelling, mailboxes[(i+1)%len(mailboxes)][0])
			f.Add(spelling, row[0])
		}
	}
	f.Add("İ@example.com", "i@example.com")
	f.Add("a@xn--example-.example", "a@example.example")
	f.Fuzz(func(t *testing.T, one, other string) {
		identity, err := Mailbox(one)
		if err != nil {
			return
		}
		again, err := Mailbox(identity)
		require.NoError(t, err, "%q", identity)
		require.Equal(t, identity, again)
		require.Equal(t, identity, Identity(one))
		require.Regexp(t, "^[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z0-9.-]{1,253}$", identity)
		parsed, err := netmail.ParseAddress(identity)
		require.NoError(t, err)
		require.Equal(t, identity, parsed.Address)
		domain := domainOf(identity)
		shown, err := idna.Lookup.ToUnicode(domain)
		require.NoError(t, err)
		same, err := Mailbox(strings.TrimSuffix(identity, domain) + shown)
		require.NoError(t, err)
		require.Equal(t, identity, same, "its domain in its own script is the same domain")

		if Identity(other) != identity {
			return
		}
		looked := func(address string) string {
			domain, err := idna.Lookup.ToASCII(domainOf(address))
			require.NoError(t, err)
			return domain
		}
		require.Equal(t, looked(one), looked(other))
		require.Equal(t, asciiUpper(one[:strings.LastIndexByte(one, '@')]),
			asciiUpper(other[:strings.LastIndexByte(other, '@')]))
	})
}

// asciiUpper is independent of the code under test.
func asciiUpper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 32
		}
		return r
	}, s)
}

// A mail server without SMTPUTF8 only gets what it can accept.
func TestMailer_WritesAddressesInASCII(t *testing.T) {
	mailer := one(t, "smtp://mail.example?from="+"codes@b%C3%BCcher.example", Options{Medium: "email"})
	inner := mailer.(*Mailer)
	for to, envelope := range map[string]string{
		"Erika@bücher.example": "<erika@xn--bcher-kva.example>", "a@ＧＩＴＨＵＢ。example": "<a@github.example>",
	} {
		built, id, err := inner.compose(Message{ID: "otp_1", To: to}, Content{Subject: "x", Text: "y"})
		require.NoError(t, err)
		recipients, err := built.GetRecipients()
		require.NoError(t, err)
		require.Equal(t, []string{envelope}, recipients)
		sender, err := built.GetSender(false)
		require.NoError(t, err)
		require.Equal(t, "<codes@xn--bcher-kva.example>", sender)
		require.True(t, strings.HasSuffix(id, "@xn--bcher-kva.example"), id)
	}
	_, _, err := inner.compose(Message{ID: "otp_1", To: "é@example.com"}, Content{})
	require.ErrorContains(t, err, "ASCII characters only before its @")
}
