package admin

import (
	"net/http"

	"otpbridge/server/manage"
	"otpbridge/server/people"
)

// messageRoutes are the calls that show an account's messages and test its channels.
var messageRoutes = []route{
	{method: http.MethodPost, path: "/api/accounts/:account/templates/preview", who: person, needs: people.ReadAccounts,
		call: reads((*exchange).previewTemplate)},
	{method: http.MethodGet, path: "/api/accounts/:account/channels", who: person, needs: people.ReadAccounts,
		call: (*exchange).channels},
	{method: http.MethodPost, path: "/api/accounts/:account/send-test", who: person, needs: people.WriteAccounts,
		live: true, once: true, call: reads((*exchange).sendTest)},
}

// segments is how a text is split into SMS.
type segments struct {
	Encoding string `json:"encoding"` // GSM-7 or UCS-2
	Units    int    `json:"units"`
	Count    int    `json:"count"`
	Left     int    `json:"left"` // units that still fit into the last segment
}

func (x *exchange) previewTemplate(asked struct {
	Medium     string `json:"medium"`
	Text       string `json:"text"`
	Template   string `json:"template"`
	Type       string `json:"type"`
	Department string `json:"department"`
	Locale     string `json:"locale"`
}) (answer, error) {
	if _, err := oneOf("text", asked.Text, "template", asked.Template); err != nil {
		return answer{}, err
	}
	p, err := x.door.Manage.Messages.Preview(x.ctx, manage.Wording{
		Account: x.gin.Param("account"), Medium: asked.Medium, Text: asked.Text, Template: asked.Template,
		Type: asked.Type, Department: asked.Department, Locale: asked.Locale,
	})
	shown := struct {
		Subject       string    `json:"subject,omitempty"`
		Text          string    `json:"text"`
		Segments      *segments `json:"segments"` // null for e-mail
		DLTEntityID   string    `json:"dlt_entity_id,omitempty"`
		DLTTemplateID string    `json:"dlt_template_id,omitempty"`
		Warnings      []string  `json:"warnings"`
	}{p.Subject, p.Text, nil, p.DLTEntityID, p.DLTTemplateID, append([]string{}, p.Warnings...)}
	if asked.Medium == "sms" {
		s := segments(p.Segments)
		shown.Segments = &s
	}
	return answer{http.StatusOK, shown}, err
}

func (x *exchange) channels() (answer, error) {
	type list struct {
		Own   bool     `json:"own"` // the account's, else the server's
		Names []string `json:"names"`
	}
	sms, email, err := x.door.Manage.Messages.Channels(x.ctx, x.gin.Param("account"))
	return answer{http.StatusOK, map[string]list{"sms": list(sms), "email": list(email)}}, err
}

func (x *exchange) sendTest(asked struct {
	To      string `json:"to" missing:"refused"`
	Channel string `json:"channel" empty:"refused"`
}) (answer, error) {
	tried, err := x.door.Manage.Messages.SendTest(x.ctx, x.who.Actor(), x.gin.Param("account"), asked.To, asked.Channel)
	if err != nil {
		return answer{}, err
	}
	type trial struct {
		Channel   string `json:"channel"`
		Outcome   string `json:"outcome"` // sent, not_sent or unknown
		Took      int64  `json:"took_ms"`
		MessageID string `json:"message_id,omitempty"`
		Reason    string `json:"reason,omitempty"`
	}
	all := make([]trial, len(tried))
	for i, t := range tried {
		all[i] = trial{t.Channel, t.Outcome.String(), t.Took.Milliseconds(), t.MessageID, t.Reason}
	}
	return answer{http.StatusOK, map[string]any{"outcome": all[len(all)-1].Outcome, "tried": all}}, nil
}
