package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The names of a body's members are recorded, and nothing that a client may have put in their place.
func TestCalls_NameTheMembersOfABody(t *testing.T) {
	many := ""
	for i := range 100 {
		many += `,"` + strings.Repeat("a", i%24+1) + strings.Repeat("_", i/24) + `":1`
	}
	for body, named := range map[string]string{
		``:                                 "",
		`{}`:                               "",
		`{"to":"+919551492394"}`:           "to",
		"{ \"id\"\n:\t\"x\" , \"code\":1}": "id code",
		`{"metadata":{"user_id":"u-17","to":[{"x":1}]},"binding":[{"iban":"DE"}],"ip":"::1"}`: "metadata binding ip",
		`{"a":"\",\"b\":","c":"\\","d":"}{"}`:                                                 "a c d",
		`{"to":1,"to":2,"TO":3}`:                                                              "to TO",
		`{"919551492394":1,"alice@shop.example":2,"to":3}`:                                    "other to",
		`{"a b":1,"\u0070assword":2,"":3,"ключ":4,"x\n":5}`:                                   "other",
		"{\"a\x00\x1b[31m\":1,\"b\x80\":2,\"to\":3}":                                          "other to",
		`{"` + strings.Repeat("a", 25) + `":1}`:                                               "other",
		`{"` + strings.Repeat("a", 60000) + `":1}`:                                            "other",
		`{"unfinished":"`:          "unfinished",
		`{"to":1,"half`:            "to",
		`{"ends with a backslash\`: "",
		`{"a":1}}}}{"b":2}`:        "a",
		`{{{{{"a":1}`:              "",
		`{"value" "another"}`:      "",
	} {
		var n names
		n.addMembers([]byte(body))
		require.Equal(t, named, string(n), body)
	}
	var n names
	n.addMembers([]byte("{" + many[1:] + "}"))
	require.Len(t, strings.Fields(string(n)), maxNames)
	require.Less(t, len(n), maxNames*(maxName+1), "fits recordCall's array")

	n = nil
	n.addForm("limit=1&limit=2&919551492394=x&=&&cursor")
	require.Equal(t, "limit other cursor", string(n))
}
