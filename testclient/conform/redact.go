package conform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// redactor shows what happened in a story without its secrets, and as a script that makes it
// happen again. A secret is written as a shell variable, and the script says how to fill it: the
// reader of a report gets something to run, and nothing to steal.
//
// Inside, a secret that was replaced stands as its variable's name between two zero bytes, so
// that text that merely looks like a variable is never taken for one.
type redactor struct {
	story  *Story
	codes  []string // in the order in which they were read
	pieces []piece  // what a parameter may be made of

	// Prepared once, since a long story has a hundred codes in a hundred exchanges.
	keys   *regexp.Regexp    // of all accounts, in any letter case; nil if there are none
	nameOf map[string]string // of each key, in lower case
	exact  *strings.Replacer // parameters made of codes, and numbers of real people
}

// mostSteps is how much of a long story a report shows.
const mostSteps = 60

func (s *Story) redactor() redactor {
	r := redactor{story: s, nameOf: map[string]string{}, exact: strings.NewReplacer()}
	if s.log == nil {
		return r
	}
	for _, step := range s.log.steps {
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
	for _, number := range s.given {
		exact = append(exact, number, mark("MOBILE"))
	}
	if len(keys) > 0 {
		r.keys = regexp.MustCompile("(?i)" + strings.Join(keys, "|"))
	}
	r.exact = strings.NewReplacer(exact...)
	return r
}

func mark(name string) string { return "\x00" + name + "\x00" }

// shown is marked text for a reader.
func shown(marked string) string {
	parts := strings.Split(marked, "\x00")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "$" + parts[i]
	}
	return strings.Join(parts, "")
}

var shellSpecial = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", "$", `\$`)

// shell is marked text as one word of a shell, in double quotes.
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

// numbered is NAME, NAME_2, NAME_3.
func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "_" + strconv.Itoa(i+1)
}

// accounts are all that take part.
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

// text is any text without secrets, for a reader.
func (r redactor) text(text string) string { return shown(r.marked(text)) }

// marked replaces every secret of the story wherever it stands: keys in any letter case, codes
// where they are not part of a longer number, parameters made of codes.
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

// exchanges is the story as a report shows it, its first upTo steps, or all if that is 0. The
// scripts, one after the other, repeat it.
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

// prelude is what the scripts of a story share. An account that was given has to be given again.
func (r redactor) prelude(list []Exchange) string {
	text := "B=" + r.story.target.Root + "\n"
	if r.story.again == nil {
		text += "# Set first: ACCESS_KEY, CIPHER_KEY and CIPHER_IV (as base64), and MOBILE.\n"
	}
	uses := func(function string) bool {
		return slices.ContainsFunc(list, func(e Exchange) bool { return strings.Contains(e.Curl, function) })
	}
	if uses("$(enc ") {
		text += `hex() { od -An -v -tx1 | tr -d ' \n'; }` + "\n" +
			`enc() { printf "$1" | openssl enc ${4-} ` + r.opensslCipher() + "; }\n"
	}
	if uses("| escaped") {
		text += `escaped() { sed 's/ /%20/g;s/+/%2B/g;s,/,%2F,g;s/=/%3D/g'; }` + "\n"
	}
	return text
}

func (r redactor) exchange(s step) Exchange {
	suffix := r.suffix(s.story)
	switch {
	case s.made != nil:
		return r.madeExchange(s.made, suffix)
	case s.code != "":
		return r.codeExchange(s, suffix)
	case s.listed != nil:
		return Exchange{}
	case s.clock > 0:
		return Exchange{
			Request: "PUT /sandbox/clock: " + s.clock.String() + " ahead", Answer: "200",
			Curl: fmt.Sprintf(`curl -sS -o /dev/null -X PUT "$B/sandbox/clock" -d "{\"account\":\"$ACCOUNT%s\",\"offset\":\"%s\"}"`, suffix, s.clock),
		}
	case s.fault != nil:
		return Exchange{
			Request: fmt.Sprintf("PUT /sandbox/faults: %s of the %s, count %d", s.fault.Kind, s.fault.Target, s.fault.Count), Answer: "200",
			Curl: fmt.Sprintf(`curl -sS -o /dev/null -X PUT "$B/sandbox/faults" -d "{\"faults\":[{\"target\":\"%s\",\"kind\":\"%s\",\"account\":\"$ACCOUNT%s\",\"count\":%d%s}]}"`,
				s.fault.Target, s.fault.Kind, suffix, s.fault.Count, delayField(s.fault.Delay)),
		}
	case s.cleared:
		return Exchange{Request: "DELETE /sandbox/faults", Answer: "204", Curl: `curl -sS -X DELETE "$B/sandbox/faults"`}
	}
	return r.servletExchange(s)
}

func delayField(delay string) string {
	if delay == "" {
		return ""
	}
	return `,\"delay\":\"` + delay + `\"`
}

// suffix tells the accounts of a story apart.
func (r redactor) suffix(s *Story) string {
	for i, a := range r.accounts() {
		if i > 0 && s.account == a {
			return "_" + strconv.Itoa(i+1)
		}
	}
	return ""
}

func (r redactor) madeExchange(settings Settings, suffix string) Exchange {
	body, err := json.Marshal(settings)
	if err != nil {
		body = []byte("{}")
	}
	lines := []string{
		`A=$(curl -sS "$B/sandbox/accounts" -d '` + strings.ReplaceAll(string(body), "'", `'\''`) + `')`,
		`field() { printf %s "$A" | tr -d '\n' | sed 's/.*"'"$1"'": *"\([^"]*\)".*/\1/'; }`,
		fmt.Sprintf(`ACCOUNT%[1]s=$(field esme_address) ACCESS_KEY%[1]s=$(field access_key) CIPHER_KEY%[1]s=$(field cipher_key) CIPHER_IV%[1]s=$(field cipher_iv)`, suffix),
	}
	return Exchange{
		Request: "POST /sandbox/accounts\n\n" + r.text(string(body)),
		Answer:  "201 (the account, with its keys)",
		Curl:    strings.Join(lines, "\n"),
	}
}

// opensslCipher is the account's cipher as arguments of openssl enc; $2 is the key, $3 the IV.
func (r redactor) opensslCipher() string {
	bits := 256
	if key, err := keyText(r.story.account.CipherKey, 16, 24, 32); err == nil {
		bits = 8 * len(key)
	}
	if r.story.settings.text("otp_cipher") == "aes-ecb" {
		return fmt.Sprintf(`-aes-%d-ecb -K "$(printf %%s "$2" | base64 -d | hex)"`, bits)
	}
	return fmt.Sprintf(`-aes-%d-cbc -K "$(printf %%s "$2" | base64 -d | hex)" -iv "$(printf %%s "$3" | base64 -d | hex)"`, bits)
}

func (r redactor) codeExchange(s step, suffix string) Exchange {
	name := numbered("CODE", slices.Index(r.codes, s.code))
	e := Exchange{Request: "read the code sent to " + r.text(s.wanted.Mobile), Answer: "$" + name}
	if !r.story.target.sandbox {
		e.Curl = `printf 'The code that came: '; read -r ` + name
		return e
	}
	to := "account=$ACCOUNT" + suffix
	if len(r.story.given) > 0 {
		to = "to=$MOBILE"
	} else if s.wanted.Mobile != r.story.mobile {
		to += "&to=" + url.QueryEscape(s.wanted.Mobile)
	}
	e.Curl = name + `=$(curl -sS "$B/sandbox/messages?` + to + `&limit=1" | tr -d '\n' | sed 's/.*"code": *"\([0-9]*\)".*/\1/')`
	return e
}

// listExchange reads all messages. In a script it names only the codes that the rest of the script
// uses, which is told by used.
func (r redactor) listExchange(s step, suffix string, used string) Exchange {
	list := `curl -sS "$B/sandbox/messages?account=$ACCOUNT` + suffix + `&limit=500"`
	lines := []string{`M=$(` + list + ` | grep -o '"code": *"[0-9]*"' | tr -dc '0-9\n')`}
	named := map[string]bool{}
	for i, code := range s.listed {
		name := numbered("CODE", slices.Index(r.codes, code))
		uses := strings.Contains(used, "${"+name+"}") || strings.Contains(used, "$"+name+" ")
		if code != "" && !named[code] && uses {
			named[code] = true
			lines = append(lines, fmt.Sprintf(`%s=$(printf '%%s\n' "$M" | sed -n %dp)`, name, i+1))
		}
	}
	if len(named) == 0 {
		lines = []string{list}
	}
	return Exchange{
		Request: "GET /sandbox/messages of the account", Answer: fmt.Sprintf("200 (%d messages)", len(s.listed)),
		Curl: strings.Join(lines, "\n"),
	}
}

func (r redactor) servletExchange(s step) Exchange {
	target := r.story.target
	query, prepare := r.parameters(s.request.Query)
	body, more := s.request.Body, []string(nil)
	if s.request.Type == formType {
		body, more = r.parameters(body)
	} else {
		body = r.marked(body)
	}
	prepare = append(prepare, more...)
	path := r.marked(target.path(*s.request))
	if query != "" {
		path += "?" + query
	}

	request := []string{s.request.method() + " " + path}
	words := []string{"curl -sS -g --path-as-is"}
	switch method := s.request.method(); method {
	case http.MethodGet:
		words = append(words, "-i")
		if body != "" {
			words = append(words, "-X GET")
		}
	case http.MethodHead:
		words = append(words, "-I")
	default:
		words = append(words, "-i", "-X "+shell(method))
	}
	for _, header := range r.headers(s.request.Header) {
		request = append(request, header.name+": "+header.value)
		if header.value == "" {
			words = append(words, "-H "+shell(header.name+";"))
		} else {
			words = append(words, "-H "+shell(header.name+": "+header.value))
		}
	}
	if body != "" {
		request = append(request, "Content-Type: "+s.request.Type, "", body)
		words = append(words, "-H "+shell("Content-Type: "+s.request.Type), "--data-binary "+shell(body))
	}
	words = append(words, `"$B`+shell(path)[1:])
	return Exchange{
		Request: shown(strings.Join(request, "\n")),
		Answer:  r.answer(s),
		Curl:    strings.Join(append(prepare, strings.Join(words, " ")), "\n"),
	}
}

type headerLine struct{ name, value string }

// headers in an order that does not change from run to run. A key that shares a piece with a
// real one is as good as that one.
func (r redactor) headers(header http.Header) []headerLine {
	var lines []headerLine
	for name, values := range header {
		for _, value := range values {
			marked := r.marked(value)
			if strings.EqualFold(name, "access_key") && !strings.Contains(marked, "\x00") && r.resemblesKey(value) {
				marked = mark("ALTERED_ACCESS_KEY")
			}
			lines = append(lines, headerLine{name, marked})
		}
	}
	slices.SortStableFunc(lines, func(a, b headerLine) int { return strings.Compare(a.name, b.name) })
	return lines
}

func (r redactor) resemblesKey(value string) bool {
	const piece = 8
	value = strings.ToLower(value)
	for _, a := range r.accounts() {
		key := strings.ToLower(a.AccessKey)
		for i := 0; i+piece <= len(key); i++ {
			if strings.Contains(value, key[i:i+piece]) {
				return true
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

// foreign is text that a server made, without what could be a code that it gave away and that the
// story never read: any number of that length which nobody sent.
func (r redactor) foreign(text string) string {
	return shown(loneDigits.ReplaceAllStringFunc(r.marked(text), func(found string) string {
		digits := onlyDigits(found)
		if !isCode(digits) {
			return found
		}
		for _, step := range r.story.log.steps {
			if step.request != nil && strings.Contains(step.request.Query+step.request.Body, digits) {
				return found
			}
		}
		return strings.Replace(found, digits, "{digits}", 1)
	}))
}

var loneDigits = regexp.MustCompile(`(^|[^0-9])[0-9]+`)

var otpParameter = regexp.MustCompile(`(?i)(otp=)([^&]*)`)

// parameters marks a query or form, and says in shell how to fill what it marked.
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
	// What is marked already holds no secret; the rest may.
	parts := strings.Split(text, "\x00")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = r.marked(parts[i])
	}
	for i := 1; i < len(parts); i += 2 {
		parts[i] = mark(parts[i])
	}
	return strings.Join(parts, ""), prepare
}
