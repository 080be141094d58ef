package console

import (
	"cmp"
	"strings"

	"otpbridge/server/otp"
)

// question is what the console asks before it does lasting harm: on a page of its own, which a script shows as a
// dialogue.
type question struct {
	Title string   // of the page
	What  string   // what will be gone or different
	Name  string   // what the reader types to go on; empty if the button is enough
	Do    string   // the text of the button
	Back  string   // the page of whoever changes their mind
	Keep  []string // the fields of the form that are sent again with the answer
}

// Type is the label of the field for the name.
func (q question) Type() string { return "Type “" + q.Name + "” to go on" }

// confirmBody is a question in the form that asks it.
type confirmBody struct {
	question
	Action string
	Fields map[string]string // of Keep
}

// ask returns true until the form has the answer to q, and shows q then. The caller changes nothing before.
func (x *exchange) ask(q question) (asked bool, err error) {
	q.Name = strings.TrimSpace(q.Name)
	answer := strings.TrimSpace(x.form("confirm"))
	if answer == cmp.Or(q.Name, "yes") {
		return false, nil
	}
	body := confirmBody{question: q, Action: x.gin.Request.URL.Path, Fields: map[string]string{}}
	for _, name := range q.Keep {
		body.Fields[name] = x.form(name)
	}
	if answer != "" {
		wrong := otp.RefuseField("confirm", "must be “"+q.Name+"”; nothing was changed")
		return true, x.refuse(wrong, "confirm", q.Title, body)
	}
	return true, x.show("confirm", q.Title, body)
}
