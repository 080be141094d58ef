package conform

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// redactor shows what happened in a story without its secrets, and as a script that repeats it. A secret is written as
// a shell variable, and the script says how to fill it: the reader of a report can run it, and learns no secret.
//
// Internally a replaced secret is its variable's name between two zero bytes, so that text that looks like a variable
// is never confused with one.
type redactor struct {
	story  *Story
	codes  []string // in the order in which they were read
	ids    []string // of challenges, in the order in which they were revealed
	pieces []piece  // what a parameter may consist of

	// Prepared once, because a long story has a hundred codes in a hundred exchanges.
	keys   *regexp.Regexp    // of all accounts, in any letter case; nil if there are none
	nameOf map[string]string // of each key, in lower case
	exact  *strings.Replacer // parameters made from codes, and numbers of real people
}

// mostSteps is how many steps of a long story a report shows.
const mostSteps = 60

func (s *Story) redactor() redactor {
	r := redactor{story: s, nameOf: map[string]string{}, exact: strings.NewReplacer()}
	if s.log == nil {
		return r
	}
	for _, step := range s.log.steps {
		for _, id := range step.tells() {
			if !slices.Contains(r.ids, id) {
				r.ids = append(r.ids, id)
			}
		}
		for _, code := range append([]string{step.code}, step.listed...) {
			if code != "" && !slices.Contains(r.codes, code) {
				r.codes = append(r.codes, code)
			}
		}
	}
	r.pieces = piecesOf(r.codes)
	var keys, exact []string
	for i, a := range r.accounts() {
		for _, secret := range []struct{ name, value string }{
			{"ACCESS_KEY", a.AccessKey}, {"CIPHER_KEY", a.CipherKey}, {"CIPHER_IV", a.CipherIV},
			{"API_KEY", a.APIKey}, {"SIGNING_SECRET", a.SigningSecret}, {"OTHER_API_KEY", a.OtherAPIKey},
		} {
			for _, value := range []string{secret.value, url.QueryEscape(secret.value)} {
				if len(value) >= 4 {
					keys = append(keys, regexp.QuoteMeta(value))
					r.nameOf[strings.ToLower(value)] = numbered(secret.name, i)
				}
			}
		}
		for _, code := range r.codes {
			for as := Base64; a.cipher != nil && a.cipher.mode != "none" && as <= HexUpper; as++ {
				parameter := a.cipher.write(code, as)
				exact = append(exact, url.QueryEscape(parameter), mark("OTP"), parameter, mark("OTP"))
			}
		}
	}
	for i, id := range r.ids {
		exact = append(exact, id, mark(numbered("ID", i)))
	}
	for _, number := range s.given {
		exact = append(exact, number, mark("MOBILE"))
	}
	for _, secret := range s.log.secrets {
		exact = append(exact, secret.value, mark(secret.name))
	}
	if len(keys) > 0 {
		r.keys = regexp.MustCompile("(?i)" + strings.Join(keys, "|"))
	}
	r.exact = strings.NewReplacer(exact...)
	return r
}

func mark(name string) string { return "\x00" + name + "\x00" }

// shown returns marked text for a reader.
func shown(marked string) string {
	parts := strings.Split(marked, "\x00")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "$" + parts[i]
	}
	return strings.Join(parts, "")
}

var shellSpecial = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", "$", `\$`)

// shell returns marked text as one word of a shell, in double quotes.
func shell(marked string) string {
	parts := strings.Split(marked, "\x00")
	for i := range parts {
		if i%2 == 1 {
			parts[i] = "${" + parts[i] + "}"
		} else {
			parts[i] = shellSpecial.Replace(parts[i])
		}
	}
	return `"` + strings.Join(parts, "") + `"`
}

// numbered returns NAME, NAME_2, NAME_3.
func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "_" + strconv.Itoa(i+1)
}

// accounts returns all accounts of the story.
func (r redactor) accounts() []*account {
	if r.story.account == nil {
		return nil
	}
	list := []*account{r.story.account}
	for _, other := range r.story.others {
		if other.account != nil {
			list = append(list, other.account)
		}
	}
	return list
}

// text returns any text without secrets, for a reader.
func (r redactor) text(text string) string { return shown(r.marked(text)) }

// marked replaces every secret of the story: keys in any letter case, codes that are not part of a longer number,
// parameters made from codes.
func (r redactor) marked(text string) string {
	if r.keys != nil {
		text = r.keys.ReplaceAllStringFunc(text, func(key string) string { return mark(r.nameOf[strings.ToLower(key)]) })
	}
	text = r.exact.Replace(text)
	return loneDigits.ReplaceAllStringFunc(text, func(found string) string {
		digits := onlyDigits(found)
		if i := slices.Index(r.codes, digits); i >= 0 {
			return strings.Replace(found, digits, mark(numbered("CODE", i)), 1)
		}
		return found
	})
}

// exchanges returns the story as a report shows it, its first upTo steps, or all if that is 0. The scripts, in order,
// repeat it.
func (r redactor) exchanges(upTo int) []Exchange {
	if r.story.log == nil {
		return nil
	}
	steps := r.story.log.steps
	if upTo > 0 {
		steps = steps[:upTo]
	}
	var list []Exchange
	if len(steps) > mostSteps {
		if steps[0].made != nil {
			list = append(list, r.exchange(steps[0]))
		}
		steps = steps[len(steps)-mostSteps:]
	}
	listings := map[int]step{} // written last, when it is known which codes the others use
	read := 0
	for _, step := range steps {
		if step.code != "" {
			// Reading a code again changes nothing.
			if slices.Index(r.codes, step.code) < read {
				continue
			}
			read++
		}
		if step.listed != nil {
			listings[len(list)] = step
		}
		list = append(list, r.exchange(step))
	}
	var used strings.Builder
	for _, e := range list {
		used.WriteString(e.Curl)
	}
	for i, step := range listings {
		list[i] = r.listExchange(step, r.suffix(step.story), used.String())
	}
	if len(list) > 0 {
		list[0].Curl = r.prelude(list) + list[0].Curl
	}
	return list
}

type headerLine struct{ name, value string }

// headers returns the headers in a stable order. A key that shares a piece with a real one is redacted too.
func (r redactor) headers(header http.Header) []headerLine {
	var lines []headerLine
	for name, values := range header {
		for _, value := range values {
			marked := r.marked(value)
			carrier := strings.EqualFold(name, "access_key") || strings.EqualFold(name, "Authorization") ||
				strings.EqualFold(name, "X-API-Key")
			if carrier && !strings.Contains(marked, "\x00") && r.resemblesKey(value) && !r.stated(value) {
				marked = mark("ALTERED_ACCESS_KEY")
			}
			if strings.EqualFold(name, "X-Signature") {
				marked = mark("SIGNATURE")
			}
			lines = append(lines, headerLine{name, marked})
		}
	}
	slices.SortStableFunc(lines, func(a, b headerLine) int { return strings.Compare(a.name, b.name) })
	return lines
}

// stated reports whether the case itself requested this key with its throwaway account.
func (r redactor) stated(value string) bool {
	key := strings.TrimPrefix(value, "Bearer ")
	return slices.ContainsFunc(r.story.log.steps, func(s step) bool {
		asked, err := json.Marshal(s.made["access_keys"])
		return err == nil && strings.Contains(string(asked), `"`+key+`"`)
	})
}

func (r redactor) resemblesKey(value string) bool {
	const piece = 8
	value = strings.ToLower(value)
	for _, a := range r.accounts() {
		for _, secret := range []string{a.AccessKey, a.APIKey, a.OtherAPIKey} {
			key := strings.ToLower(secret)
			key = key[strings.LastIndexByte(key, '_')+1:] // what is before is the same in every key
			for i := 0; i+piece <= len(key); i++ {
				if strings.Contains(value, key[i:i+piece]) {
					return true
				}
			}
		}
	}
	return false
}

func (r redactor) answer(s step) string {
	if s.err != nil {
		return r.text(s.err.Error())
	}
	lines := []string{statusText(s.answer.Status)}
	for _, header := range r.headers(s.answer.Header) {
		if header.name != "Date" {
			lines = append(lines, header.name+": "+header.value)
		}
	}
	return shown(strings.Join(lines, "\n")) + "\n\n" + r.foreign(visible(s.answer.Body))
}

// foreign returns text from a server without possible codes that the server revealed and the story never read: any
// number of that length that was not sent.
func (r redactor) foreign(text string) string {
	var b strings.Builder
	from := 0
	for _, at := range append(clockTime.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		b.WriteString(r.withoutDigits(text[from:at[0]]) + text[at[0]:at[1]])
		from = at[1]
	}
	return b.String()
}

// clockTime matches a time in JSON, which has digits but no code.
var clockTime = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z`)

func (r redactor) withoutDigits(text string) string {
	return shown(loneDigits.ReplaceAllStringFunc(r.marked(text), func(found string) string {
		digits := onlyDigits(found)
		if !isCode(digits) {
			return found
		}
		for _, step := range r.story.log.steps {
			if step.request != nil && strings.Contains(step.request.Query+step.request.Body, digits) {
				if _, from := r.derived(digits); !from {
					return found // as it was sent, and no code can be told from it
				}
			}
		}
		return strings.Replace(found, digits, "{digits}", 1)
	}))
}

var loneDigits = regexp.MustCompile(`(^|[^0-9])[0-9]+`)

var codeMember = regexp.MustCompile(`("code": *")([^"\\]*)"`)

// members marks a JSON body, and returns shell lines that make the guess in it.
func (r redactor) members(body string) (string, []string) {
	var prepare []string
	body = codeMember.ReplaceAllStringFunc(body, func(found string) string {
		parts := codeMember.FindStringSubmatch(found)
		derived, from := r.derived(parts[2])
		if !from {
			return found
		}
		prepare = append(prepare, `GUESS="$(printf "`+derived+`")"`)
		return parts[1] + mark("GUESS") + `"`
	})
	parts := strings.Split(body, "\x00")
	for i := range parts {
		if i%2 == 0 {
			parts[i] = r.marked(parts[i])
		} else {
			parts[i] = mark(parts[i])
		}
	}
	return strings.Join(parts, ""), prepare
}

var otpParameter = regexp.MustCompile(`(?i)(otp=)([^&]*)`)

// parameters marks a query or form, and returns shell lines that fill in what is marked.
func (r redactor) parameters(text string) (string, []string) {
	var prepare []string
	n := 0
	text = otpParameter.ReplaceAllStringFunc(text, func(found string) string {
		name, value := found[:4], found[4:]
		marked, line := r.guess(value, numbered("OTP", n))
		if line != "" {
			prepare = append(prepare, line)
			n++
		}
		return name + marked
	})
	// What is marked already has no secret; the rest may.
	parts := strings.Split(text, "\x00")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = r.marked(parts[i])
	}
	for i := 1; i < len(parts); i += 2 {
		parts[i] = mark(parts[i])
	}
	return strings.Join(parts, ""), prepare
}
