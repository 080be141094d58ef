package conform

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Detection is what a target turned out to be before the first case.
type Detection struct {
	// Profiles are what it is tested for.
	Profiles []Profile
	// Found says in sentences what was seen and where it differs from both profiles.
	Found []string
}

// Detect looks at the target: a sandbox says what it is, of any other a few harmless calls tell.
func Detect(ctx context.Context, o Options) (Detection, error) {
	t := o.Target
	if err := t.findSandbox(ctx); err != nil {
		return Detection{}, err
	}
	if err := t.findHouse(ctx); err != nil {
		return Detection{}, err
	}
	if o.Profile != Any {
		return Detection{Profiles: []Profile{o.Profile}}, nil
	}
	return Detection{Profiles: []Profile{Documented, Live}}, nil
}

// findSandbox asks for what only a sandbox has. A server that is none may answer anything.
func (t *Target) findSandbox(ctx context.Context) error {
	var list struct{ Accounts []credentials }
	err := t.ask(ctx, http.MethodGet, "/sandbox/credentials", nil, &list)
	if err != nil {
		trouble, ok := errors.AsType[*Trouble](err)
		if ok && trouble.Err != nil && !strings.Contains(trouble.Tried, "no JSON") {
			return err
		}
		return nil
	}
	t.sandbox = len(list.Accounts) > 0
	for _, c := range list.Accounts {
		a := c.account()
		if err := a.prepare(""); err == nil {
			t.demo = append(t.demo, a)
		}
	}
	return nil
}

// findHouse learns how the target refuses a key. A key that does not exist belongs to no account,
// so this text cannot follow an account's profile.
func (t *Target) findHouse(ctx context.Context) error {
	answer, err := t.Do(ctx, Request{Path: genServlet, Query: "ipaddress=198.18.0.1&mobile=917000000001",
		Header: http.Header{"access_key": {"conformance-" + randomHex(16)}}})
	if err != nil {
		return err
	}
	if strings.HasSuffix(answer.Body, "\r\n") {
		t.house = Live
	}
	t.strict = answer.Status == http.StatusUnauthorized
	return nil
}
