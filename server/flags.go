package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// refuseEmpty refuses a flag or argument of any command that has an empty value, or a list with an empty
// element. Usually a script's variable is not set, and most flags restrict something:
// --allowed-ips "$OFFICE" without OFFICE must not make a key that is valid from everywhere.
// To get the default, leave the flag out.
func refuseEmpty(command *kong.Context) error {
	for _, part := range command.Path {
		var value *kong.Value
		switch {
		case part.Flag != nil:
			value = part.Flag.Value
		case part.Positional != nil:
			value = part.Positional
		default:
			continue
		}
		if name := value.ShortSummary(); emptied(value.Target) {
			return fmt.Errorf("%s is given without a value, or with an empty one; leave it out for the default", name)
		}
	}
	return nil
}

// emptied reports whether a given value is empty or a list with an empty element.
func emptied(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.String:
		return strings.TrimSpace(value.String()) == ""
	case reflect.Slice:
		for i := range value.Len() {
			if emptied(value.Index(i)) {
				return true
			}
		}
		return value.Len() == 0
	}
	return false // kong itself refuses empty numbers and times
}

// list decodes a flag that is a list of texts as kong does, but keeps empty elements at the end, which
// kong drops, so that refuseEmpty sees those of "10.0.0.1,,".
func list(ctx *kong.DecodeContext, target reflect.Value) error {
	var elements []string
	if ctx.Value.Flag == nil {
		for _, token := range ctx.Scan.PopWhile(kong.Token.IsValue) {
			elements = append(elements, fmt.Sprint(token.Value))
		}
		target.Set(reflect.AppendSlice(target, reflect.ValueOf(elements)))
		return nil
	}
	var text string
	if err := ctx.Scan.PopValueInto("text", &text); err != nil {
		return err
	}
	if separator := ctx.Value.Tag.Sep; separator != -1 {
		elements = strings.Split(text, string(separator))
	} else {
		elements = []string{text}
	}
	target.Set(reflect.AppendSlice(target, reflect.ValueOf(elements)))
	return nil
}
