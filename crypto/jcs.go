package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// JCS is the canonical form of one JSON value (RFC 8785, JCS): equal data have equal
// bytes, whoever wrote them. It refuses what has no such form: anything but exactly one value,
// duplicate member names, text that is not Unicode, and numbers beyond an IEEE 754 double. As
// the RFC has it, numbers are doubles: what does not fit into one is another's equal.
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

// checkNumbers refuses numbers that the canonicalizer would cut to the largest double, where two
// different ones would come out as one.
func checkNumbers(value []byte) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		token, err := decoder.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return plainJSONError(err)
		case token.Kind() == '0':
			if _, err := strconv.ParseFloat(token.String(), 64); err != nil {
				return errors.New("a number is beyond what a double holds")
			}
		}
	}
}

// plainJSONError says what is wrong without the value that is: it may be somebody's secret.
func plainJSONError(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("a member is named twice")
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("it is not one JSON value in UTF-8, from byte %d on", syntactic.ByteOffset)
	}
	return errors.New("it is not one JSON value in UTF-8")
}
