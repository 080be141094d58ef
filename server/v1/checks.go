package v1

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// checks collects what is wrong with a request, so that all of it is reported at once.
type checks struct {
	faults []web.Fault
}

func (k *checks) that(holds bool, pointer, detail string) {
	if !holds {
		k.faults = append(k.faults, web.Fault{Pointer: pointer, Detail: detail})
	}
}

func (k *checks) err() error {
	if len(k.faults) == 0 {
		return nil
	}
	return web.Invalid(k.faults...)
}

// idAt reads a challenge's id at pointer.
func (k *checks) idAt(pointer, text string) otp.ID {
	id, ok := challengeID(text)
	k.that(ok, pointer, "must be the id of a challenge, such as otp_06bq3c7k5sqn2e8v4g1t9hp0mc")
	return id
}

// challengeID reads a challenge's id. The id of zeros is well-formed and no challenge has it. Because zero means "no
// id" to the engine, it is replaced by another id that no challenge has.
func challengeID(text string) (id otp.ID, ok bool) {
	id, _ = otp.ParseID(idPrefix, text)
	ok = text == id.Text(idPrefix)
	if id.IsZero() {
		id[len(id)-1] = 1
	}
	return id, ok
}

// text checks a member that is required, printable and at most so many characters long.
func (k *checks) text(pointer, value string, most int, detail string) {
	k.that(value != "" && utf8.RuneCountInString(value) <= most && !strings.ContainsFunc(value, control), pointer, detail)
}

// control reports whether a character can forge lines in a message or a log.
func control(r rune) bool { return r < 0x20 || r == 0x7f || r == '\u2028' || r == '\u2029' }

func (k *checks) choice(pointer, value string, allowed []string) {
	k.that(slices.Contains(allowed, value), pointer, "must be one of "+strings.Join(allowed, ", "))
}

func (k *checks) subject(pointer string, ip *string) {
	if ip != nil {
		k.that(web.Printable(*ip) && len(*ip) <= maxSubject, pointer, "must be 1 to 64 printable ASCII characters")
	}
}

func (k *checks) metadata(given json.RawMessage) {
	if given == nil {
		return
	}
	var compact bytes.Buffer // as it is stored: clients write blanks or not
	k.that(json.Compact(&compact, given) == nil && given[0] == '{', "/metadata", "must be an object")
	k.that(compact.Len() <= maxMetadata, "/metadata", "must be at most 1 KiB")
}
