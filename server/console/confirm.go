package console

import (
	"cmp"
	"strings"

	"otpbridge/server/otp"
)

// question is what the console asks before a change that cannot be undone. It is a separate page, which a script shows
// as a dialogue.
type question struct {
	Title string   // of the page
	What  string   // what the change does
	Name  string   // what the reader has to type; empty if the button is enough
	Do    string   // the text of the button
	Back  string   // the page to cancel to
	Keep  []string // the fields of the form to send again with the answer
}

// Type returns the label of the field for the name.
func (q question) Type() string { return "Type “" + q.Name + "” to go on" }

// confirmBody is a question and its form.
type confirmBody struct {
	question
	Action string
	Fields map[string]string // of Keep
	Answer string            // that was wrong
}

// ask shows q and returns true until the form has the answer. The caller must not change anything while it returns
// true.
func (x *exchange) ask(q question) (asked bool, err error) {
	q.Name = strings.TrimSpace(q.Name)
	answer := strings.TrimSpace(x.form("confirm"))
	if answer == cmp.Or(q.Name, "yes") {
		return false, nil
	}
	body := confirmBody{question: q, Action: x.gin.Request.URL.Path, Fields: map[string]string{}, Answer: answer}
	for _, name := range q.Keep {
		body.Fields[name] = x.form(name)
	}
	if answer != "" {
		wrong := otp.Refuse(otp.Invalid, "Nothing was changed: that is not “"+q.Name+"”")
		wrong.Field = "confirm"
		return true, x.refuse(wrong, "confirm", q.Title, body)
	}
	return true, x.show("confirm", q.Title, body)
}
