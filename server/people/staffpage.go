package people

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// StaffQuery selects a page of people. Empty members match all.
type StaffQuery struct {
	Search string // a part of the name or the address, in any case
	Role   Role
	State  string // one of StaffStates
	Sort   string // one of StaffSorts; empty: the oldest first
	After  string // the cursor of the last person of the page before
	Limit  int
}

// StaffStates returns the states of people.
func StaffStates() []string { return []string{"enabled", "disabled"} }

// StaffSorts returns the orders of people. A minus is for the reverse order.
func StaffSorts() []string {
	return []string{"created", "-created", "name", "-name", "email", "-email"}
}

// Check refuses what no page can be selected by. Refusal: Invalid, which names the field.
func (q *StaffQuery) Check() error {
	switch {
	case q.Sort != "" && !slices.Contains(StaffSorts(), q.Sort):
		return otp.RefuseField("sort", "must be one of "+strings.Join(StaffSorts(), ", "))
	case q.State != "" && !slices.Contains(StaffStates(), q.State):
		return otp.RefuseField("state", "must be one of "+strings.Join(StaffStates(), ", "))
	case q.Role != "" && !slices.Contains(Roles(), q.Role):
		return otp.RefuseField("role", "must be one of the roles")
	}
	return nil
}

// Cursor returns the cursor of a person: their place in the order of q. An id comes after those of older people.
func (q *StaffQuery) Cursor(p Profile) string {
	switch strings.TrimPrefix(q.Sort, "-") {
	case "name":
		return p.ID + " " + strings.ToLower(p.Name)
	case "email":
		return p.ID + " " + p.Email
	}
	return p.ID
}

// compare orders two cursors.
func (q *StaffQuery) compare(a, b string) int {
	idA, textA, _ := strings.Cut(a, " ")
	idB, textB, _ := strings.Cut(b, " ")
	order := cmp.Or(strings.Compare(textA, textB), strings.Compare(idA, idB))
	if strings.HasPrefix(q.Sort, "-") {
		return -order
	}
	return order
}

func (q *StaffQuery) matches(p *Profile) bool {
	search := strings.ToLower(q.Search)
	return (q.Role == "" || p.Role == q.Role) && (q.State == "" || (q.State == "disabled") == (p.DisabledAt != 0)) &&
		(strings.Contains(strings.ToLower(p.Name), search) || strings.Contains(p.Email, search))
}

// place refuses a text that is no cursor in the order of q. Refusal: Invalid.
func (q *StaffQuery) place() error {
	id, _, sorted := strings.Cut(q.After, " ")
	_, ok := otp.ParseID(PersonPrefix, id)
	if q.After == "" || ok && sorted == (q.Cursor(Profile{ID: id}) != id) {
		return nil
	}
	return otp.RefuseField("cursor", "must be the next_cursor of an answer of this list in the same order")
}

// Page returns the people that a query selects, of those whom who may see. It reads everybody: people are few.
// Refusals: Forbidden, those of Check, and Invalid for a text that is no cursor.
func (s *Staff) Page(ctx context.Context, who Principal, q StaffQuery) ([]Profile, error) {
	if err := cmp.Or(q.Check(), q.place()); err != nil {
		return nil, err
	}
	all, err := s.List(ctx, who)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p Profile) bool {
		return !q.matches(&p) || q.After != "" && q.compare(q.Cursor(p), q.After) <= 0
	})
	slices.SortFunc(all, func(a, b Profile) int { return q.compare(q.Cursor(a), q.Cursor(b)) })
	return all[:min(len(all), q.Limit)], nil
}
