package conform

import (
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The parameters that the reference server reads in a request.

type refParameters struct {
	ip, mobile, email, otp string
	validation             bool
}

// parameters reads the query, then a form. It returns false for what a server must not guess about.
func (f *reference) parameters(r *http.Request, body string) (p refParameters, ok bool) {
	sources := []string{r.URL.RawQuery}
	if r.Header.Get("Content-Type") == formType && !f.has("request: a form is ignored") ||
		f.has("request: any body is a form") {
		sources = append(sources, body)
	}
	if r.Method == "POST" && f.has("request: POST reads no query") {
		sources = sources[1:]
	}
	if r.Method == "POST" && r.URL.RawQuery != "" && f.has("request: beside a query the form is ignored") {
		sources = sources[:1]
	}
	values := map[string]*string{"ipaddress": &p.ip, "mobile": &p.mobile, "email": &p.email, "otp": &p.otp}
	seen := map[string]bool{}
	for from, source := range sources {
		if f.has("request: a semicolon separates") {
			source = strings.ReplaceAll(source, ";", "&")
		}
		if strings.Contains(source, ";") && !f.has("request: a semicolon is a letter") {
			return p, false
		}
		for i, pair := range strings.Split(source, "&") {
			name, value, _ := strings.Cut(pair, "=")
			name, badName := url.QueryUnescape(name)
			value, badValue := url.QueryUnescape(value)
			if badName != nil || badValue != nil {
				if f.has("request: a bad escape is passed over") {
					continue
				}
				return p, false
			}
			if !f.has("request: names of parameters are not trimmed") {
				name = strings.Trim(name, " ")
			}
			if f.has("request: names of parameters count in any case") {
				name = strings.ToLower(name)
			}
			target, known := values[name]
			if !known {
				if i >= 2 && name != "" && f.has("request: an unknown parameter is refused") {
					return p, false
				}
				continue
			}
			if i == 0 && name == "mobile" && f.has("request: the order of parameters matters") {
				return p, false
			}
			repeated := seen[name] && !f.has("request: the last of two parameters counts")
			if from == 1 && f.has("request: the body overrides the query") {
				repeated = false
			}
			if repeated && f.has("request: the first of two parameters counts") {
				continue
			}
			if repeated {
				return p, false
			}
			seen[name] = true
			if name != "otp" && !f.has("request: values of parameters are not trimmed") {
				value = strings.Trim(value, " ")
			}
			*target = value
		}
	}
	return p, true
}

func (f *reference) departmentMissing(a *refAccount, r *http.Request, validation bool) bool {
	switch {
	case a.DepartmentMode == "ignore" && !f.has("accounts: every account requires a department"), f.has("accounts: " +
		"departments are ignored"):
		return false
	case a.DepartmentMode == "require_on_validation" && !validation &&
		!f.has("accounts: generate requires a department too"):
		return false
	case a.DepartmentMode == "require" && !validation && f.has("accounts: only validation requires a department"):
		return false
	}
	given := f.header(r, "department-id")
	if len(given) == 1 && f.has("accounts: an empty department is one") {
		return false
	}
	if len(given) != 1 || given[0] == "" {
		return true
	}
	if len(a.Departments) == 0 {
		return f.has("accounts: an empty list of departments takes none")
	}
	if f.has("accounts: any department is on the list") {
		return false
	}
	return !slices.ContainsFunc(a.Departments, func(d string) bool {
		return d == given[0] || strings.EqualFold(d, given[0]) && f.has("accounts: departments count in any case")
	})
}

// number returns the normal form of a mobile, and whether it may be sent to.
func (f *reference) number(a *refAccount, mobile string) (string, bool) {
	digits := mobile
	if !f.has("request: a plus in front is refused") {
		digits = strings.TrimPrefix(digits, "+")
	}
	if !f.has("request: blanks and dashes within are refused") {
		digits = strings.NewReplacer(" ", "", "-", "").Replace(digits)
	}
	if !f.has("request: 00 in front is refused") {
		digits = strings.TrimPrefix(digits, "00")
	}
	if len(digits) == 10 && f.has("request: a number without country is Indian") {
		digits = "91" + digits
	}
	if f.has("request: letters in a number are skipped") {
		digits = strings.Trim(digits, "abcdefghijklmnopqrstuvwxyz")
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	country := ""
	switch {
	case strings.HasPrefix(digits, "911800") && !f.has("request: a toll-free number is served"):
	case strings.HasPrefix(digits, "91") && (len(digits) == 12 || f.has("request: a number may have any length")):
		country = "IN"
	case strings.HasPrefix(digits, "971") && len(digits) == 12:
		country = "AE"
		if f.has("request: Emirati numbers are read as Indian") {
			return "+91" + digits, true
		}
	case digits[0] == '1' && len(digits) == 11:
		country = "US"
	}
	return "+" + digits, slices.Contains(a.Countries, country) || country != "" &&
		f.has("request: every country is served")
}

// subject returns the normal form of an ipaddress that is an address.
func (f *reference) subject(ip string) (string, bool) {
	if ip == "" && f.has("request: ipaddress is optional") {
		return "none", true
	}
	if ip == "" || len(ip) > 64 && !f.has("request: an ipaddress may have any length") {
		return "", false
	}
	for _, c := range []byte(ip) {
		if (c < ' ' || c > '~') && !f.has("request: an ipaddress may hold any byte") {
			return "", false
		}
	}
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ip, !f.has("request: an ipaddress must be an address")
	}
	if f.has("request: an address counts as it is spelt") {
		return ip, true
	}
	return address.Unmap().String(), true
}

func (f *reference) emailOK(a *refAccount, servlet string, p refParameters) bool {
	if p.validation && !f.has("request: validation checks an email") {
		return true
	}
	if p.email == "" {
		return a.SMS || servlet == "otpregenservlet" || f.has("accounts: e-mail only, without email, is generated")
	}
	if !a.Email && f.has("request: a malformed email passes where none is sent") {
		return true
	}
	address, err := mail.ParseAddress(p.email)
	return err == nil && (address.Address == p.email || f.has("request: an email may have a name beside it"))
}
