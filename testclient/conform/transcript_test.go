package conform

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An integration is recorded in front of one server and replayed against a new one.
func TestRecord_ThenReplayWithoutDifference(t *testing.T) {
	for _, profile := range []Profile{Documented, Live} {
		t.Run(string(profile), func(t *testing.T) {
			behind := newTestTarget(t, serve(t, newReference("")))
			var text bytes.Buffer
			recorder := NewRecorder(behind, &text, func(notice string) { t.Error(notice) })
			front := httptest.NewServer(recorder)
			defer front.Close()
			made, err := behind.makeAccount(t.Context(), Settings{"message_profile": string(profile)})
			require.NoError(t, err)

			// The built-in conversation is the integration.
			require.NoError(t, behind.findSandbox(t.Context()))
			side := Side{
				Target: newTestTarget(t, front.URL), AccessKey: made.AccessKey, CipherKey: made.CipherKey, CipherIV: made.CipherIV,
				Codes: sandboxOf{behind, made.Address},
			}
			found, err := Diff(t.Context(), side, Side{Target: behind, Settings: Settings{"message_profile": string(profile)}},
				Conversation())
			require.NoError(t, err)
			require.Empty(t, found, "a recorder changes nothing")
			n, err := recorder.Count()
			require.NoError(t, err)
			require.Equal(t, len(Conversation().Lines)+1, n, "and the one that asks for the line end")

			story, err := side.story(t.Context())
			require.NoError(t, err)
			for _, secret := range []string{made.AccessKey, made.CipherKey, made.CipherIV, story.mobile[:4], "conform.example",
				story.ip[:7]} {
				require.NotContains(t, text.String(), secret)
				require.NotContains(t, text.String(), url.QueryEscape(secret))
			}
			transcript, err := ReadTranscript(bytes.NewReader(text.Bytes()))
			require.NoError(t, err)
			var again bytes.Buffer
			for i, line := range transcript.Lines {
				require.NoError(t, line.write(&again, i+1))
			}
			require.True(t, strings.HasPrefix(text.String(), again.String()), "reading and writing changes nothing")

			fresh := newTestTarget(t, serve(t, newReference("")))
			found, err = Replay(t.Context(), Side{Target: fresh}, transcript)
			require.NoError(t, err)
			require.Empty(t, found)
			other := newTestTarget(t, changed(t, "Verified", "verified"))
			found, err = Replay(t.Context(), Side{Target: other}, transcript)
			require.NoError(t, err)
			require.Len(t, found, 1)
		})
	}
}

func TestRecord_WhatIsNotKnownIsNotWritten(t *testing.T) {
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("your code 482913 for 919876543210"))
	}))
	var text bytes.Buffer
	front := httptest.NewServer(NewRecorder(newTestTarget(t, server), &text, func(string) {}))
	defer front.Close()
	request, err := http.NewRequest("POST",
		front.URL+"/otpauthapi/otpgenservlet;jsessionid=SECRET1?mobile=919876543210&token=SECRET2&SECRET3",
		strings.NewReader("email=SECRET4@example.org&ipaddress=SECRET5&otp=482913"))
	require.NoError(t, err)
	request.Header.Set("Content-Type", formType)
	request.Header.Set("access_key", "SECRET6")
	request.Header.Set("Authorization", "SECRET7")
	request.Header.Set("Cookie", "a=SECRET8")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Contains(t, text.String(), "{access_key}")
	for _, secret := range []string{"SECRET", "482913", "919876543210"} {
		require.NotContains(t, text.String(), secret)
	}
}

// For two accounts that differ in profile and in the plain servlet, exactly these differences are found.
func TestDiff_ShowsTheProfilesAndThePlainServlet(t *testing.T) {
	target := newTestTarget(t, serve(t, newReference("")))
	side := func(settings Settings) Side { return Side{Target: target, Settings: settings} }
	found, err := Diff(t.Context(), side(Settings{"message_profile": "documented"}),
		side(Settings{"message_profile": "live", "plain_validation_enabled": true}), Conversation())
	require.NoError(t, err)
	explained := 0
	for _, d := range found {
		for _, text := range []string{FeatureOff.In(Documented)} {
			if strings.Contains(d.A, text) && strings.Contains(d.B, Verified.In(Live)) {
				require.Equal(t, []int{27}, d.Lines)
				explained++
			}
		}
		for text := Generated; text < NoDepartment; text++ {
			if strings.HasSuffix(d.A, quoted(text.line(Documented))) && strings.HasSuffix(d.B, quoted(text.line(Live))) {
				explained++
			}
		}
		for n := range 3 {
			if strings.HasSuffix(d.A, quoted(wrongPIN(Documented, n))) &&
				strings.HasSuffix(d.B, quoted(wrongPIN(Live, n)+"\r\n")) {
				explained++
			}
		}
	}
	require.Equal(t, len(found), explained, "%+v", found)

	var text bytes.Buffer
	require.NoError(t, WriteDiff(&text, "A", "B", Conversation(), found))
	require.Contains(t, text.String(), "answers differ")
}

func TestReadTranscript_WhatIsNoneIsExplained(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "prose": "hello\n", "no answer": "-- 1 request --\nGET /otpgenservlet\n",
		"bad status": "-- 1 request --\nGET /x\n-- 1 answer --\nOK\n", "bad body": "-- 1 request --\nGET /x\n-- 1 answer " +
			"--\n200\nbare\n",
	} {
		_, err := ReadTranscript(strings.NewReader(text))
		require.Error(t, err, name)
		require.Contains(t, err.Error(), "ranscript", name)
	}
}
