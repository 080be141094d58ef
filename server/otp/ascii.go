package otp

// Lower returns s with A to Z in lower case; other bytes do not change. Hosts, ids, schemes and header names are
// compared in this form. Unicode's case folding maps other characters to ASCII letters, such as the Kelvin sign
// (U+212A) to k and, in EqualFold, the long s (U+017F) to s, so two different names could compare equal.
func Lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			lowered := []byte(s)
			for ; i < len(lowered); i++ {
				if 'A' <= lowered[i] && lowered[i] <= 'Z' {
					lowered[i] += 'a' - 'A'
				}
			}
			return string(lowered)
		}
	}
	return s
}

// SameName reports whether a and b differ at most in the case of ASCII letters.
func SameName(a, b string) bool {
	return len(a) == len(b) && (a == b || Lower(a) == Lower(b))
}

// Upper returns s with a to z in upper case; other bytes do not change.
func Upper(s string) string {
	upper := []byte(s)
	for i, b := range upper {
		if 'a' <= b && b <= 'z' {
			upper[i] = b - ('a' - 'A')
		}
	}
	return string(upper)
}
