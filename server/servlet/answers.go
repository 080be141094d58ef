package servlet

import (
	"cmp"
	"net/http"
	"slices"

	"otpbridge/server/otp"
)

// Situation is what the servlets answer in the same way.
type Situation struct {
	Kinds  []otp.Kind // of the refusals; empty for success and for faults
	Ok     bool       // nothing was refused
	Status int

	Generate, Validate, Regenerate string // the bytes; {n} stands for the attempts left
}

// Answers returns what the servlets answer to calls of an account, in every situation. o has the settings that apply
// where the account has none, and to calls whose key is refused.
func Answers(a *otp.Account, o Options) []Situation {
	processWide := voice{profile: profiles[cmp.Or(o.Profile, otp.Documented)], strictHTTP: o.StrictHTTP}
	answersOf := func(found row) Situation {
		said := func(s step) (body string, status int) {
			v := voiceFor(found.at(s), a, processWide)
			return v.bytes(found.at(s), "{n}"), v.status(found.status)
		}
		s := Situation{}
		s.Generate, s.Status = said(generate)
		s.Validate, _ = said(validate)
		s.Regenerate, _ = said(regenerate)
		return s
	}
	granted := answersOf(success)
	granted.Ok = true
	all := []Situation{granted}
	for _, kind := range otp.Kinds() {
		found := rows[kind]
		if found == (row{failed, failed, failed, http.StatusInternalServerError}) && kind != otp.BrokenAccount {
			continue // it cannot occur at a servlet
		}
		s := answersOf(found)
		same := slices.IndexFunc(all, func(o Situation) bool { return !o.Ok && o.answers() == s.answers() })
		if same < 0 {
			all = append(all, s)
			same = len(all) - 1
		}
		all[same].Kinds = append(all[same].Kinds, kind)
	}
	return append(all, answersOf(fault))
}

// answers returns what s answers, to compare it.
func (s *Situation) answers() [4]any {
	return [4]any{s.Generate, s.Validate, s.Regenerate, s.Status}
}

// voiceFor returns the voice of a text. What says why a key is refused is the same for all accounts, because it must
// not tell which account a key belongs to.
func voiceFor(t text, a *otp.Account, processWide voice) voice {
	if a == nil || t == unauthorised {
		return processWide
	}
	return voiceOf(a, processWide)
}
