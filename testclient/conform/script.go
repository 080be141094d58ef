package conform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The steps of a story as a report shows them, each with the shell lines that repeat it.

// prelude returns what the scripts of a story share. Credentials that were given have to be set by the reader.
func (r redactor) prelude(list []Exchange) string {
	text := "B=" + r.story.target.Root + "\n"
	uses := func(function string) bool {
		return slices.ContainsFunc(list, func(e Exchange) bool { return strings.Contains(e.Curl, function) })
	}
	if r.story.again == nil {
		text += "# Set first: ACCESS_KEY, CIPHER_KEY and CIPHER_IV (as base64), and MOBILE.\n"
		if uses("API_KEY") {
			text += "# And API_KEY.\n"
		}
	}
	for _, secret := range r.story.log.secrets {
		if uses("${" + secret.name + "}") {
			text += "# " + secret.name + " is in the answer of an earlier call; set it there.\n"
		}
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
			Request: fmt.Sprintf("PUT /sandbox/faults: %s of the %s, count %d", s.fault.Kind, s.fault.Target,
				s.fault.Count), Answer: "200",
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

// suffix returns the suffix that distinguishes the accounts of a story.
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
	for _, name := range []string{"API_KEY", "SIGNING_SECRET", "OTHER_API_KEY"} {
		if r.uses(name) {
			lines = append(lines, fmt.Sprintf("%s%s=$(field %s)", name, suffix, strings.ToLower(name)))
		}
	}
	return Exchange{
		Request: "POST /sandbox/accounts\n\n" + r.text(string(body)),
		Answer:  "201 (the account, with its keys)",
		Curl:    strings.Join(lines, "\n"),
	}
}

// uses reports whether the story needs a secret of /v1.
func (r redactor) uses(name string) bool {
	return slices.ContainsFunc(r.story.log.steps, func(s step) bool {
		if s.request == nil || !strings.HasPrefix(s.request.Path, "/v1/") {
			return false
		}
		return name == "API_KEY" || name == "SIGNING_SECRET" && s.request.Header["X-Signature"] != nil ||
			slices.ContainsFunc(r.headers(s.request.Header), func(h headerLine) bool {
				return strings.Contains(h.value,
					mark(name))
			})
	})
}

// opensslCipher returns the account's cipher as arguments of openssl enc; $2 is the key, $3 the IV.
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
	e.Curl = name + `=$(curl -sS "$B/sandbox/messages?` + to +
		`&limit=1" | tr -d '\n' | sed 's/.*"code": *"\([0-9]*\)".*/\1/')`
	return e
}

// listExchange reads all messages. In a script it names only the codes that the rest of the script, used, needs.
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
	if name := numbered("ID", slices.Index(r.ids, s.newest)); s.newest != "" && strings.Contains(used, "${"+name+"}") {
		lines = append(lines, name+`=$(`+list+` | grep -o '"challenge_id": *"[^"]*"' | sed -n 's/.*: *"\(.*\)"/\1/;1p')`)
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
		body, more = r.members(body)
	}
	prepare = append(prepare, more...)
	prepare = append(prepare, r.signature(s, body)...)
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
		Curl:    strings.Join(append(prepare, r.keepingID(s, strings.Join(words, " "))), "\n"),
	}
}

// keepingID makes a script store the id in an answer, because the next run has another id.
func (r redactor) keepingID(s step, call string) string {
	for _, id := range s.tells() {
		name := numbered("ID", slices.Index(r.ids, id))
		return `R=$(` + call + `); printf '%s\n' "$R"` + "\n" +
			name + `=$(printf '%s' "$R" | tr ',' '\n' | sed -n 's/.*"id": *"\(otp_[^"]*\)".*/\1/p')`
	}
	return call
}

// signature returns shell lines that sign a request, with the same time difference as in the case.
func (r redactor) signature(s step, body string) []string {
	if s.request.Header["X-Signature"] == nil {
		return nil
	}
	return []string{
		"# Sign it anew: T=$(date +%s), N=$(openssl rand -hex 16), and",
		"# SIGNATURE=$(printf %s " + shell(s.request.method()+r.marked(s.request.Path)) + `"$T$N"` + shell(body) +
			` | openssl dgst -sha256 -hmac "$SIGNING_SECRET" -r | cut -d' ' -f1)`,
	}
}
