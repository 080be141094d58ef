package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ownVariables returns the variables of OTPBridge in environ, by name without prefix.
//
// Kubernetes puts the addresses of every service of a namespace into the environment of its pods; for a service called
// "otpbridge" these are OTPBRIDGE_SERVICE_HOST, OTPBRIDGE_PORT_8080_TCP and the like. They are hard to switch off, so
// they are left out here.
func ownVariables(environ []string) map[string]string {
	own := make(map[string]string)
	for _, entry := range environ {
		name, text, ok := strings.Cut(entry, "=")
		key, ours := strings.CutPrefix(name, Prefix)
		injected := key == "PORT" || strings.HasPrefix(key, "PORT_") || strings.HasPrefix(key, "SERVICE_")
		if ok && ours && !injected {
			own[key] = text
		}
	}
	return own
}

// modeOf returns the mode that defaults and rules follow, empty for an unknown mode. What depends on the mode is then
// not checked, because rules of the wrong mode would report faults that are none.
func modeOf(given map[string]string) Mode {
	f := fieldNamed("MODE")
	text, _ := f.textIn(given, "")
	if f.check(text) != nil {
		return ""
	}
	return Mode(text)
}

// keyringFaults returns the faults in the combination of the two ways to give a keyring.
func keyringFaults(given map[string]string, mode Mode) Faults {
	text, file := fieldNamed("KEYRING"), fieldNamed("KEYRING_FILE")
	_, textGiven := given[text.key]
	_, fileGiven := given[file.key]
	switch {
	case textGiven && fileGiven:
		return Faults{{
			Name:    text.name(),
			Problem: "is set, and so is " + file.name() + ": which keyring is meant?",
			Remedy:  "keep one of the two and unset the other",
		}}
	case mode == Production && !textGiven && !fileGiven:
		return Faults{{
			Name:    file.name(),
			Problem: "is not set, nor is " + text.name() + ": production has no keyring of its own making",
			Remedy: "write the keys into a file, one 'id base64' a line, and name it, for example " +
				file.assignment() + "; or set " + text.assignment(),
		}}
	}
	return nil
}

// tlsFaults returns a fault if only one half of a certificate is set. A path that is faulty itself counts as not set.
func tlsFaults(accepted map[string]string) Faults {
	cert, key := fieldNamed("TLS_CERT_FILE"), fieldNamed("TLS_KEY_FILE")
	missing, there := cert, key
	switch {
	case (accepted[cert.key] == "") == (accepted[key.key] == ""):
		return nil
	case accepted[cert.key] != "":
		missing, there = key, cert
	}
	return Faults{{
		Name:    missing.name(),
		Problem: "is not set, and " + there.name() + " is: a certificate and its key belong together",
		Remedy:  "set both, for example " + missing.assignment() + ", or neither where a proxy in front does TLS",
	}}
}

// publicURLFaults returns a fault for a production server with a public URL without TLS.
func publicURLFaults(accepted map[string]string, mode Mode) Faults {
	url := fieldNamed("PUBLIC_URL")
	if mode != Production || !strings.HasPrefix(accepted[url.key], "http:") {
		return nil
	}
	return Faults{url.fault("begins with http://, and passwords would travel in clear")}
}

// timeFaults returns a fault for times that contradict each other. Times that are faulty themselves are left out.
func timeFaults(s Settings, accepted map[string]string) Faults {
	write, wait := fieldNamed("WRITE_TIMEOUT"), fieldNamed("DELIVERY_WAIT")
	_, writeRead := accepted[write.key]
	_, waitRead := accepted[wait.key]
	if !writeRead || !waitRead || s.WriteTimeout > s.DeliveryWait {
		return nil
	}
	return Faults{{
		Name: write.name(),
		Problem: fmt.Sprintf("%v is not longer than %s, which is %v: a servlet that waits that long for a delivery is cut "+
			"off before it answers",
			s.WriteTimeout, wait.name(), s.DeliveryWait),
		Remedy: fmt.Sprintf("raise it above, or lower the wait, for example %s=%v and %s=5s",
			write.name(), 30*time.Second, wait.name()),
	}}
}

// nameFaults returns the faults of variables that should not be there: unknown names, and in production everything for
// the sandbox. The latter goes by the name's prefix, so that it covers future settings too.
func nameFaults(given map[string]string, mode Mode) Faults {
	var faults Faults
	for key := range given {
		switch {
		case mode == Production && strings.HasPrefix(key, sandboxKeys):
			faults = append(faults, Fault{
				Name:    readable(Prefix + key),
				Problem: "belongs to the sandbox, and production refuses to start with it",
				Remedy:  "unset it, or set " + fieldNamed("MODE").name() + "=" + string(Sandbox) + " where nothing is guarded",
			})
		case !known(key):
			faults = append(faults, unknownName(key))
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Name, b.Name) })
	return faults
}
