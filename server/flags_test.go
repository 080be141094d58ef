package main

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// An empty value never means "no restriction": every flag of every command, also future ones, refuses it and names the
// flag.
func TestFlags_AnEmptyValueIsRefusedByEveryFlag(t *testing.T) {
	t.Parallel()
	var out output
	parser := newParser(process{stdout: &out, stderr: &out})
	tried := 0
	for _, leaf := range parser.Model.Leaves(true) {
		words := commandWords(leaf)
		for _, argument := range leaf.Positional {
			if argument.Required {
				words = append(words, "x")
			}
		}
		required := func(except *kong.Flag) (given []string) {
			for _, flag := range leaf.Flags {
				if flag.Required && flag != except {
					value, _, _ := strings.Cut(cmp.Or(flag.Enum, "x"), ",")
					given = append(given, "--"+flag.Name+"="+value)
				}
			}
			return given
		}
		for _, flags := range leaf.AllFlags(true) {
			for _, flag := range flags {
				if flag.IsBool() || flag.Target.Kind() == reflect.Func {
					continue
				}
				values := []string{"", " ", "\t"}
				if flag.Target.Kind() == reflect.Slice {
					values = append(values, ",", "a,", ",a", "a,,b", "a, ,b")
				}
				for _, value := range values {
					code, printed, problems := command(slices.Concat(words, required(flag),
						[]string{"--" + flag.Name + "=" + value})...)
					require.Equal(t, exitUnusable, code, "%v --%s=%q: %s%s", words, flag.Name, value, printed, problems)
					require.Contains(t, problems, "--"+flag.Name, "%v %q", words, value)
					require.Empty(t, printed)
					tried++
				}
			}
		}
	}
	t.Logf("%d empty values were refused", tried)
	require.Greater(t, tried, 60)
}

// commandWords returns the names from the root to a command.
func commandWords(node *kong.Node) (words []string) {
	for ; node != nil && node.Type == kong.CommandNode; node = node.Parent {
		words = append([]string{node.Name}, words...)
	}
	return words
}
