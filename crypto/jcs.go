package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// JCS returns the canonical form of one JSON value (RFC 8785): equal data have equal bytes, whoever wrote them. It
// refuses what has no such form: anything but exactly one value, duplicate member names, text that is not Unicode, and
// numbers beyond an IEEE 754 double. By the RFC, numbers are doubles: a number that does not fit is rounded; see
// ExactNumbers.
//
// The error says what is wrong and where, and quotes no value.
func JCS(value []byte) ([]byte, error) {
	if err := checkNumbers(value); err != nil {
		return nil, err
	}
	canonical := jsontext.Value(append([]byte(nil), value...))
	if err := canonical.Canonicalize(); err != nil {
		return nil, plainJSONError(err)
	}
	return canonical, nil
}

// checkNumbers refuses numbers that the canonicalizer would cut to the largest double, which would make different
// numbers equal.
func checkNumbers(value []byte) error {
	return eachNumber(value, func(number string, _ jsontext.Pointer) error {
		if _, err := strconv.ParseFloat(number, 64); err != nil {
			return errors.New("a number is beyond what a double holds")
		}
		return nil
	})
}

// eachNumber visits the numbers of a JSON value with their places, until visit returns an error.
func eachNumber(value []byte, visit func(number string, at jsontext.Pointer) error) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		token, err := decoder.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return plainJSONError(err)
		case token.Kind() == '0':
			if err := visit(token.String(), decoder.StackPointer()); err != nil {
				return err
			}
		}
	}
}

// InexactError says that an IEEE 754 double cannot hold the number at a place in the value (RFC 6901).
type InexactError struct{ Pointer string }

// Error implements error. It quotes no value.
func (e InexactError) Error() string {
	return "has a number that a double does not hold exactly; write it as text, in quotes"
}

// ExactNumbers refuses a JSON value with a number that its canonical form would change: RFC 8785 turns numbers into
// doubles, so 12345678901234567890 and 12345678901234567891 become equal. A whole number must be exactly a double. A
// fraction must be the shortest decimal of its double, such as 0.1, with or without trailing zeros. So different
// accepted numbers never have the same canonical form.
func ExactNumbers(value []byte) error {
	return eachNumber(value, func(number string, at jsontext.Pointer) error {
		if !exact(number) {
			return InexactError{Pointer: string(at)}
		}
		return nil
	})
}

// exact reports whether ExactNumbers accepts a JSON number.
func exact(number string) bool {
	double, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false
	}
	given, ok := decimalOf(number)
	if !ok {
		return false
	}
	if given.exponent < 0 { // a fraction
		shortest, _ := decimalOf(strconv.FormatFloat(double, 'e', -1, 64))
		return given == shortest
	}
	// A double has at most 309 digits, so this is short.
	whole, ok := new(big.Int).SetString(given.digits+strings.Repeat("0", given.exponent), 10)
	held, _ := new(big.Float).SetFloat64(math.Abs(double)).Int(nil)
	return ok && whole.Cmp(held) == 0
}

// decimal is a number's magnitude: digits without leading or trailing zeros, "0" for zero, times a power of ten.
type decimal struct {
	digits   string
	exponent int
}

// decimalOf reads a JSON number. It reports false for an exponent that a double cannot have.
func decimalOf(number string) (decimal, bool) {
	mantissa, power, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(number, "-")), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return decimal{digits: "0"}, true
	}
	exponent := 0
	if power != "" {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent < -1<<20 || exponent > 1<<20 {
			return decimal{}, false
		}
	}
	significant := strings.TrimRight(digits, "0")
	return decimal{significant, exponent - len(fraction) + len(digits) - len(significant)}, true
}

// plainJSONError says what is wrong without quoting the value, which may be a secret.
func plainJSONError(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("a member is named twice")
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("it is not one JSON value in UTF-8, from byte %d on", syntactic.ByteOffset)
	}
	return errors.New("it is not one JSON value in UTF-8")
}
