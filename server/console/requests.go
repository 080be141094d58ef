package console

import (
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/sandbox"
	"otpbridge/server/web"
)

// inspected is one call and how the server read it.
type inspected struct {
	sandbox.Call
	Outcome outcome
	Read    []web.Reading
}

// requests lists the latest calls, and what the door read each part of them as.
func (x *exchange) requests() error {
	account := x.query("account")
	body := struct {
		Account  string
		Accounts []string
		Calls    []inspected
	}{Account: account}
	var err error
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	ciphers := map[string]*crypto.ServletCipher{} // nil for an account that does not exist or is broken
	for _, call := range x.door.Requests.Latest(account, shownRequests) {
		shown := inspected{Call: call, Outcome: outcomeOf(call), Read: call.Readings()}
		if call.Guess() != "" && call.Account != "" && !looked(shown.Read, "otp") {
			cipher, known := ciphers[call.Account]
			if !known {
				cipher, err = x.door.Manage.Sandbox.Cipher(x.ctx, call.Account)
				if kind := otp.KindOf(err); err != nil && kind != otp.NotFound && kind != otp.BrokenAccount {
					return err
				}
				ciphers[call.Account] = cipher
			}
			shown.Read = append(without(shown.Read, "otp"), unlooked(cipher, call))
		}
		shown.Read = append(shown.Read, leftOver(call, shown.Read)...)
		body.Calls = append(body.Calls, shown)
	}
	return x.show("requests", "Requests", body)
}

// looked reports whether the door has looked at a part of a call.
func looked(read []web.Reading, name string) bool {
	for _, r := range read {
		if r.Name == name && r.State != web.NotRead {
			return true
		}
	}
	return false
}

// without returns the readings other than those of a part.
func without(read []web.Reading, name string) (others []web.Reading) {
	for _, r := range read {
		if r.Name != name {
			others = append(others, r)
		}
	}
	return others
}

// unlooked returns what the parameter otp of a call says that the door did not look at. cipher may be nil.
func unlooked(cipher *crypto.ServletCipher, call sandbox.Call) web.Reading {
	r := web.Reading{Name: "otp", State: web.NotRead, Note: "the call was answered before it was looked at"}
	if cipher == nil || strings.Contains(otp.Lower(call.Path), "plain") { // where codes are not encrypted
		return r
	}
	code, readable := cipher.Decrypt(call.Guess())
	if r.Value = code; !readable {
		r.Note += "; it is not encrypted with this account's key, mode and encoding, or was changed on the way"
	}
	return r
}

// leftOver returns the parameters of a call that its door does not know.
func leftOver(call sandbox.Call, read []web.Reading) (all []web.Reading) {
	if len(read) == 0 || strings.HasPrefix(call.Path, "/v1/") {
		return nil // the call was refused before its parameters were read; /v1 refuses what it does not know
	}
	known := map[string]bool{}
	for _, r := range read {
		known[r.Name] = true
	}
	for _, p := range append(call.Query, call.Form...) {
		name := strings.TrimSpace(p.Name)
		if known[name] {
			continue
		}
		known[name] = true
		note := "the call knows no such parameter"
		for _, r := range read {
			if otp.SameName(r.Name, name) {
				note = "names are in lower case: " + r.Name
			}
		}
		all = append(all, web.Reading{Name: name, State: web.NotUsed, Note: note})
	}
	return all
}
