package conform

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Detection is what was found out about a target before the first case.
type Detection struct {
	// Profiles are the profiles to test with.
	Profiles []Profile
	// Found says in sentences what was found, and where it matches neither profile.
	Found []string
	// NoV1 says in a sentence that the target has no /v1; empty if it has.
	NoV1 string
}

// Detect examines the target before the first case. A sandbox states the profiles of its accounts; for other accounts,
// line ends and the text of a wrong code show the profile.
func Detect(ctx context.Context, o Options) (Detection, error) {
	t := o.Target
	if err := t.findSandbox(ctx); err != nil {
		return Detection{}, err
	}
	if err := t.findHouse(ctx); err != nil {
		return Detection{}, err
	}
	noV1, err := t.findV1(ctx)
	if err != nil {
		return Detection{}, err
	}
	found, err := t.detectProfiles(ctx, o)
	found.NoV1 = noV1
	return found, err
}

// findV1 sends a request that any JSON API with keys refuses. The vendor's service has no such API, and then the
// caller's key is never sent there.
func (t *Target) findV1(ctx context.Context) (none string, err error) {
	answer, err := t.Do(ctx, Request{Method: http.MethodPost, Path: "/v1/send", Body: "{}", Type: jsonType})
	if err != nil {
		return "", err
	}
	switch {
	case answer.Status == http.StatusNotFound, answer.Status == http.StatusMethodNotAllowed,
		answer.Status >= 300 && answer.Status < 400, strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html"):
		return "The target has no /v1: POST /v1/send was answered " + statusText(answer.Status) + ".", nil
	}
	return "", nil
}

func (t *Target) detectProfiles(ctx context.Context, o Options) (Detection, error) {
	if o.Profile != Any {
		return Detection{Profiles: []Profile{o.Profile}}, nil
	}
	if o.AccessKey != "" {
		return t.detectGiven(ctx, o)
	}
	if !t.sandbox {
		return Detection{Profiles: []Profile{Documented}}, nil // ready says what is missing
	}
	return t.detectDemo(ctx)
}

// detectDemo probes each demo account of a sandbox.
func (t *Target) detectDemo(ctx context.Context) (Detection, error) {
	found := Detection{Found: []string{"The target is a sandbox; every case gets an account of its own."}}
	for _, a := range t.demo {
		says := a.Profile
		if says == Any {
			says = t.house
		}
		seen, differs, err := t.probe(ctx, a, fmt.Sprintf("917%09d", mathrand.Int64N(1_000_000_000)))
		if err != nil {
			return Detection{}, err
		}
		sentence := fmt.Sprintf("Account %s says that it is %s, and answers so.", a.Address, says)
		if seen != says {
			sentence = fmt.Sprintf("Account %s says that it is %s, but answers more like %s.", a.Address, says, seen)
		}
		found.Found = append(append(found.Found, sentence), differs...)
		if !slices.Contains(found.Profiles, says) {
			found.Profiles = append(found.Profiles, says)
		}
	}
	return found, nil
}

// detectGiven probes the given account. The probe needs a code to guess at, so it sends one message, to the first of
// the numbers.
func (t *Target) detectGiven(ctx context.Context, o Options) (Detection, error) {
	mobile := fmt.Sprintf("917%09d", mathrand.Int64N(1_000_000_000))
	if len(o.Mobiles) > 0 {
		mobile = o.Mobiles[0]
	} else if !t.sandbox {
		return Detection{Profiles: []Profile{Documented}}, nil // ready says what is missing
	}
	a := &account{AccessKey: o.AccessKey, CipherKey: o.CipherKey, CipherIV: o.CipherIV}
	if err := a.prepare(""); err != nil {
		return Detection{}, &Trouble{Tried: "read the keys given", Err: err,
			Remedy: "Look at --cipher-key and --cipher-iv: base64 or hex, or both as one, iv~key, in --cipher-key."}
	}
	seen, differs, err := t.probe(ctx, a, mobile)
	if err != nil {
		return Detection{}, err
	}
	found := "The account answers like the profile " + string(seen) + "."
	if len(differs) > 0 {
		found = "The account answers more like the profile " + string(seen) + " than like the other."
	}
	return Detection{Profiles: []Profile{seen}, Found: append([]string{found}, differs...)}, nil
}

// probe makes three calls with known answers. It returns the profile that they match, and what matches neither.
func (t *Target) probe(ctx context.Context, a *account, mobile string) (Profile, []string, error) {
	// An unused ipaddress: there is nothing to validate yet.
	ip := fmt.Sprintf("2001:2::%x:%x", mathrand.Int32N(1<<16), mathrand.Int32N(1<<16))
	who := "ipaddress=" + url.QueryEscape(ip) + "&mobile=" + mobile
	guess := "&otp=" + url.QueryEscape(a.cipher.write(fmt.Sprintf("%06d", mathrand.IntN(1_000_000)), Base64))
	like := map[Profile]int{}
	var differs []string
	for _, call := range []struct {
		what, servlet, query string
		right                func(Profile) string
	}{
		{"A guess where there is nothing to validate", validateServlet, who + guess, ErrorText.line},
		{"Generate", genServlet, who, Generated.line},
		{"A first wrong guess", validateServlet, who + guess, func(p Profile) string { return wrongPIN(p, 2) + lineEnd(p) }},
	} {
		answer, err := t.Do(ctx, Request{Path: call.servlet, Query: call.query,
			Header: http.Header{"access_key": {a.AccessKey}}})
		if err != nil {
			return Any, nil, err
		}
		if answer.Body == Unauthorised.line(t.house) {
			return Any, nil, &Trouble{Tried: "the target refuses the access key: UNAUTHERISED USER",
				Remedy: "Look at --access-key. A proxy in front may drop headers with an underscore (nginx needs " +
					"underscores_in_headers on)."}
		}
		none := true
		for _, p := range []Profile{Documented, Live} {
			right := call.right(p)
			if answer.Body == right {
				like[p] += 2
				none = false
			} else if strings.HasSuffix(answer.Body, "\r\n") == (lineEnd(p) != "") {
				like[p]++
			}
		}
		if none {
			differs = append(differs, fmt.Sprintf("%s is answered %s, as in neither profile: documented has %s, live %s.",
				call.what, visible(answer.Body), visible(call.right(Documented)), visible(call.right(Live))))
		}
	}
	if like[Live] > like[Documented] {
		return Live, differs, nil
	}
	return Documented, differs, nil
}

// findSandbox requests what only a sandbox has. Another server may answer anything.
func (t *Target) findSandbox(ctx context.Context) error {
	var list struct{ Accounts []credentials }
	err := t.ask(ctx, http.MethodGet, "/sandbox/credentials", nil, &list)
	if _, refused := errors.AsType[*refusedCall](err); refused {
		return nil
	}
	if err != nil {
		return err
	}
	t.demo = nil
	for _, c := range list.Accounts {
		a := c.account()
		if err := a.prepare(""); err == nil {
			t.demo = append(t.demo, a)
		}
	}
	t.sandbox = len(t.demo) > 0
	return nil
}

// findHouse learns how the target refuses a key. An unknown key belongs to no account, so this text does not depend on
// an account's profile. If the answer is a web page the run ends: hundreds of failed cases would only hide that the
// address is wrong.
func (t *Target) findHouse(ctx context.Context) error {
	answer, err := t.Do(ctx, Request{Path: genServlet, Query: "ipaddress=198.18.0.1&mobile=917000000001",
		Header: http.Header{"access_key": {"conformance-" + randomHex(16)}}})
	if err != nil {
		return err
	}
	if answer.Status == http.StatusNotFound && t.guessed {
		// No path was given, and there may be none.
		t.Context, t.guessed = "", false
		if t.findHouse(ctx) == nil {
			return nil
		}
		t.Context = DefaultContext
	}
	tried := "GET " + t.Root + t.Context + "/" + genServlet + " was answered "
	page := strings.HasPrefix(strings.TrimSpace(answer.Body), "<") ||
		strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html")
	switch {
	case page:
		return &Trouble{Tried: tried + "with a page of HTML, status " + statusText(answer.Status) +
			", and not with a servlet's line of text",
			Remedy: "Something else stands at this address, or in between. Look at host, port and path in --target; the path " +
				"is what comes before " + genServlet + "."}
	case answer.Status == http.StatusNotFound, answer.Status >= 300 && answer.Status < 400, answer.Status >= 500:
		return &Trouble{Tried: tried + statusText(answer.Status),
			Remedy: "There is no servlet there, or it is out of order. Look at host, port and path in --target; the path is " +
				"what comes before " + genServlet + "."}
	}
	if strings.HasSuffix(answer.Body, "\r\n") {
		t.house = Live
	}
	t.strict = answer.Status == http.StatusUnauthorized
	return nil
}
