package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostileField is one place in a request that can contain a text.
type hostileField struct {
	name string
	json bool // the text is written as JSON, and escapes fit too
	send func(b *besieged, text string) answer
	// named is a text that a refusal must contain; empty if the answer is one of a fixed set.
	named string
	// back compares the accepted text with what can be read back.
	back func(b *besieged, text string, a answer)
}

// stored reports whether the text reaches the database in any form.
func (f hostileField) stored() bool {
	return !strings.Contains(f.name, "unescaped") && (!strings.Contains(f.name, "header") || strings.HasSuffix(f.name,
		"send header Idempotency-Key"))
}

const formType = "application/x-www-form-urlencoded"

// servletFields returns the parameters and headers of the four servlets.
func servletFields() (fields []hostileField) {
	for _, servlet := range []string{"otpgenservlet", "OtpRegenServlet", "otpvalidationservlet",
		"plainotpvalidationservlet"} {
		for _, parameter := range []string{"ipaddress", "mobile", "email", "otp", "strange"} {
			values := person("919551492394", "otp", "1234")
			values.Del(parameter)
			send := func(b *besieged, value string) answer {
				return b.send("POST", "/otpauthapi/"+servlet, values.Encode()+"&"+parameter+"="+value, "access_key", b.access,
					"Content-Type", formType)
			}
			fields = append(fields, hostileField{name: servlet + " " + parameter, send: func(b *besieged,
				text string) answer {
				return send(b, url.QueryEscape(text))
			}})
			if servlet == "otpgenservlet" {
				fields = append(fields, hostileField{name: servlet + " " + parameter + " unescaped", send: send})
			}
		}
	}
	for _, header := range []string{"access_key", "department-id", "X-Request-Id", "X-Forwarded-For", "User-Agent",
		"Content-Type", "Accept", "Cookie", "Origin"} {
		fields = append(fields, hostileField{name: "servlet header " + header, send: func(b *besieged, text string) answer {
			return b.send("GET", "/otpauthapi/otpgenservlet?ipaddress=203.0.113.7&mobile=1", "", "access_key", b.access,
				header, text)
		}})
	}
	return fields
}

// v1Bodies are valid bodies of the calls; tests replace one member at a time. ID in paths and bodies stands for the
// live challenge.
var v1Bodies = map[string]string{
	"/v1/send": `{"to":"+919551492001","method":"sms","type":"verification","template":"login","locale":"en",
		"email":"a@shop.example","metadata":{},"binding":{},"ip":"203.0.113.7",
		"fallback":["email"],"length":6,"ttl":300}`,
	"/v1/verify": `{"to":"+919551492002","ip":"203.0.113.7","code":"123456","type":"verification","binding":{}}`,
	"/v1/resend": `{"id":"ID","method":"sms"}`,
	"/v1/cancel": `{"id":"otp_06d13s0c5n7hp8v3k2a9e4q1tc"}`,
}

// v1Fields returns the members, headers and path parameters of the JSON API.
func v1Fields(t *testing.T) (fields []hostileField) {
	for path, body := range v1Bodies {
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &members))
		post := func(b *besieged, member, value string, headers ...string) answer {
			var parts []string
			for name, right := range members {
				if name != member {
					parts = append(parts, `"`+name+`":`+string(right))
				}
			}
			if value != "" {
				parts = append(parts, value)
			}
			body := strings.ReplaceAll("{"+strings.Join(parts, ",")+"}", `"ID"`, `"`+b.id+`"`)
			for _, header := range [][]string{{"Content-Type", "application/json"}, {"Authorization", "Bearer " + b.key}} {
				if !slices.Contains(headers, header[0]) {
					headers = append(headers, header...)
				}
			}
			return b.send("POST", path, body, headers...)
		}
		for member := range members {
			fields = append(fields, hostileField{name: path + " " + member, json: true, named: member,
				send: func(b *besieged, text string) answer {
					return post(b, member, `"`+member+`":`+text)
				}})
		}
		fields = append(fields, hostileField{name: path + " a member's name", send: func(b *besieged, text string) answer {
			return post(b, "", jsonText(text)+":1")
		}})
		for _, inside := range []string{"metadata", "binding", "fallback"} {
			if _, has := members[inside]; !has {
				continue
			}
			fields = append(fields, hostileField{name: path + " within " + inside, json: true, named: inside,
				send: func(b *besieged, text string) answer {
					if inside == "fallback" {
						return post(b, inside, `"fallback":[`+text+`]`)
					}
					return post(b, inside, `"`+inside+`":{"user_id":`+text+`}`)
				}, back: func(b *besieged, text string, a answer) {
					if inside == "metadata" {
						sameJSON(b.t, `{"user_id":`+text+`}`, fieldOfJSON(b.t, a.body, inside))
						status := b.send("GET", a.header.Get("Location"), "", "Authorization", "Bearer "+b.key)
						sameJSON(b.t, `{"user_id":`+text+`}`, fieldOfJSON(b.t, status.body, inside))
					}
				}})
		}
		for _, header := range []string{"Authorization", "X-API-Key", "Idempotency-Key", "X-Request-Id", "Origin",
			"X-Debug-Auth", "X-Timestamp", "X-Nonce", "X-Signature", "Content-Type"} {
			if path != "/v1/cancel" && header != "Idempotency-Key" {
				continue // one call shows how headers are read, and the fewer codes are sent the better
			}
			fields = append(fields, hostileField{name: path + " header " + header, send: func(b *besieged, text string) answer {
				return post(b, "", "", header, text)
			}})
		}
	}
	for _, path := range []string{"/v1/status/", "/v1/status?to=", "/v1/status?ip=1&to=", "/v1/", "/.well-known/",
		"/docs/", "/openapi.json?x="} {
		fields = append(fields, hostileField{name: "GET " + path, send: func(b *besieged, text string) answer {
			return b.send("GET", path+url.PathEscape(text), "", "Authorization", "Bearer "+b.key)
		}}, hostileField{name: "GET unescaped " + path, send: func(b *besieged, text string) answer {
			return b.send("GET", path+text, "", "Authorization", "Bearer "+b.key)
		}})
	}
	return fields
}

// sandboxFields returns the members and parameters of the sandbox's calls and of the callbacks.
func sandboxFields() (fields []hostileField) {
	members := map[string]string{"/sandbox/clock": "account offset advance", "/sandbox/faults": "faults",
		"/sandbox/reset": "account accounts", "/sandbox/messages/x/relay": "to"}
	for path, names := range members {
		method := "POST"
		if path == "/sandbox/clock" || path == "/sandbox/faults" {
			method = "PUT"
		}
		for member := range strings.FieldsSeq(names) {
			fields = append(fields, hostileField{name: path + " " + member, json: true, send: func(b *besieged,
				text string) answer {
				return b.send(method, path, `{"`+member+`":`+text+`}`)
			}})
		}
	}
	for _, member := range []string{"target", "kind", "account", "delay", "probability"} {
		fields = append(fields, hostileField{name: "/sandbox/faults " + member, json: true, named: "faults",
			send: func(b *besieged, text string) answer {
				return b.send("PUT", "/sandbox/faults", `{"faults":[{"`+member+`":`+text+`}]}`)
			}})
	}
	for _, target := range []string{"/sandbox/messages?account=", "/sandbox/messages?to=", "/sandbox/messages?after=",
		"/sandbox/messages?limit=", "/sandbox/clock?account=",
		"/sandbox/requests?account=", "/sandbox/messages?", "/callbacks/", "/callbacks/g/", "/callbacks/g?secret=",
		"/callbacks/g?secret=0123456789abcdef&ref="} {
		fields = append(fields, hostileField{name: "GET " + target, send: func(b *besieged, text string) answer {
			return b.send("GET", target+url.QueryEscape(text), "")
		}})
	}
	for _, contentType := range []string{"application/json", formType, "text/plain", "application/xml"} {
		fields = append(fields, hostileField{name: "callback in " + contentType, send: func(b *besieged,
			text string) answer {
			return b.send("POST", "/callbacks/g?secret=0123456789abcdef", text, "Content-Type", contentType)
		}})
	}
	for _, member := range []string{"ref", "state", "error"} {
		fields = append(fields, hostileField{name: "callback member " + member, json: true, send: func(b *besieged,
			text string) answer {
			return b.send("POST", "/callbacks/g?secret=0123456789abcdef",
				`{"ref":"x","state":"DELIVERED","error":"1","`+member+`":`+text+`}`, "Content-Type", "application/json")
		}})
	}
	return fields
}
