package conform

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// turned returns another id of the same form, with one character changed. Not the last one, which in some encodings
// carries fewer bits.
func turned(id string) string {
	at := max(0, len(id)-5)
	put := "2"
	if id[at] == '2' {
		put = "3"
	}
	return id[:at] + put + id[at+1:]
}

// atOnce sends n requests that start together.
func (s *Story) atOnce(n int, send func() Reply) []Reply {
	replies := make([]Reply, n)
	s.Concurrently(n, func(i int) Answer {
		replies[i] = send()
		return replies[i].Answer
	})
	return replies
}

// expectVerdicts requires that many of each verdict.
func (s *Story) expectVerdicts(replies []Reply, want map[string]int) {
	got := map[string]int{}
	for _, r := range replies {
		verdict := r.text("reason")
		switch {
		case r.Status != http.StatusOK:
			verdict = statusText(r.Status)
		case r.document["valid"] == true:
			verdict = "valid"
		case r.has("attempts_remaining"):
			verdict += " " + strconv.Itoa(r.number("attempts_remaining"))
		}
		got[verdict]++
	}
	s.Require(reflect.DeepEqual(got, want), tallied(want), tallied(got))
}

func tallied(counts map[string]int) string {
	var list []string
	for verdict, n := range counts {
		list = append(list, strconv.Itoa(n)+" times "+verdict)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// receiptPayload returns a receipt's payload if a key of the set has signed it, else the reason why it is not valid.
func receiptPayload(receipt string, set map[string]any) (payload, why string) {
	parts := strings.Split(receipt, ".")
	if len(parts) != 3 {
		return "", "the receipt is no compact JWS"
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return "", "a part of the receipt is no base64url"
		}
	}
	var head struct{ Alg, Kid string }
	if json.Unmarshal(raw[0], &head) != nil || head.Alg != "EdDSA" && head.Alg != "Ed25519" {
		return "", "the algorithm of the receipt is not EdDSA"
	}
	keys, _ := set["keys"].([]any)
	for _, one := range keys {
		key, _ := one.(map[string]any)
		text, _ := key["x"].(string)
		public, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(public) != ed25519.PublicKeySize || key["kty"] != "OKP" || head.Kid != "" &&
			key["kid"] != head.Kid {
			continue
		}
		if ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), raw[2]) {
			return string(raw[1]), ""
		}
	}
	return "", "no key of the set has signed the receipt"
}
