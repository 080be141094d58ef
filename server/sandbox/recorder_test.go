package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/web"
)

// recorded sends r through the recorder to a servlet that answers text, and returns the recorded call.
func recorded(t *testing.T, r *http.Request, text string) Call {
	t.Helper()
	gin.SetMode(gin.TestMode)
	recorder := new(Recorder)
	router := gin.New()
	router.Any("/*any", recorder.Record, func(c *gin.Context) {
		told := web.RequestOf(c)
		told.Account, told.Kind = "10000000000001", "ok"
		_ = c.Request.ParseForm()
		_, _ = io.Copy(io.Discard, c.Request.Body)
		c.String(200, "%s", text)
	})
	router.ServeHTTP(httptest.NewRecorder(), r)
	calls := recorder.latest()
	require.Len(t, calls, 1)
	return calls[0].shown()
}

func TestRecorder_ShowsNoSecret(t *testing.T) {
	const key, number, code, mail = "c2VjcmV0LWFjY2Vzcy1rZXk=", "919551492394", "4827163509", "someone@mail.example"
	secrets := []string{key, number, "9551492394", code, "someone", "Xrgn4bpX", "SESSION77"}
	form := "ipaddress=192.0.2.1&mobile=" + number + "&email=" + mail + "&otp=" + code
	for name, r := range map[string]*http.Request{
		"query": httptest.NewRequest("GET", "/otpauthapi/otpvalidationservlet?"+form, nil),
		"form":  httptest.NewRequest("POST", "/otpauthapi/otpvalidationservlet", strings.NewReader(form)),
		"odd names": httptest.NewRequest("GET",
			"/x?+MOBILE+="+number+"&Otp="+code+"&%20email=someone@mail.example", nil),
		"key in the query":    httptest.NewRequest("GET", "/x?access_key="+key+"&mobile=%2B"+number, nil),
		"values without name": httptest.NewRequest("GET", "/x?"+number+"&"+key+"&"+code+"=", nil),
		"unreadable":          httptest.NewRequest("GET", "/x?mobile="+number+"&otp=%zz"+code, nil),
		"semicolons":          httptest.NewRequest("GET", "/x?mobile="+number+";otp="+code, nil),
		"in the path":         httptest.NewRequest("GET", "/x/"+number+";jsessionid=SESSION77?ipaddress="+number, nil),
		"status by recipient": httptest.NewRequest("GET", "/v1/status?to=%2B"+number+"&ip="+number+"&type="+code, nil),
		"status of a mailbox": httptest.NewRequest("GET", "/v1/status?To="+mail+"&type="+number, nil),
		"status in the path":  httptest.NewRequest("GET", "/v1/status/"+number+"?to="+mail, nil),
		"encrypted":           httptest.NewRequest("GET", "/x?otp=Xrgn4bpX/4iYytICyC1wNg==", nil),
	} {
		t.Run(name, func(t *testing.T) {
			r.Header.Set("access_key", key)
			r.Header.Set("department-id", "sales "+number)
			if name == "form" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
			}
			shown := recorded(t, r, "ERROR")
			all, err := json.Marshal(shown)
			require.NoError(t, err)
			for _, secret := range secrets {
				require.NotContains(t, string(all), secret)
			}
			require.Equal(t, redacted, shown.Headers["access_key"])
			require.Equal(t, "ERROR", shown.Answer)
			require.Equal(t, "10000000000001", shown.Account)
		})
	}
}

func TestRecorder_ShowsWhatHelps(t *testing.T) {
	r := httptest.NewRequest("GET", "http://127.0.0.1:8080/otpauthapi/otpgenservlet?+ipaddress=192.0.2.1"+
		"&mobile=919551492394&email=a@mail.example&colour=red", nil)
	r.Header.Set("access_key", "x")
	shown := recorded(t, r, "OTP Generated Successfully")
	require.Equal(t, []parameter{
		{" ipaddress", "192.0.2.1"}, {"mobile", "••••••••••94"}, {"email", "•••@mail.example"}, {"colour", redacted},
	}, shown.Query)
	require.Equal(t, "OTP Generated Successfully", shown.Answer)
	require.Equal(t, 200, shown.Status)
	require.Equal(t, `curl -sS --get 'http://127.0.0.1:8080/otpauthapi/otpgenservlet' -H "access_key: $ACCESS_KEY"`+
		` --data-urlencode '+ipaddress=192.0.2.1' --data-urlencode 'mobile='"$MOBILE" --data-urlencode 'email='"$EMAIL"`+
		` --data-urlencode 'colour=[redacted]'`, shown.Curl)
}

func TestRecorder_ShowsWhatHelpsOfAStatusByRecipient(t *testing.T) {
	r := httptest.NewRequest("GET", "http://127.0.0.1:8080/v1/status?to=%2B919551492394&ip=192.0.2.1&type=two_factor", nil)
	r.Header.Set("Authorization", "Bearer x")
	shown := recorded(t, r, "{}")
	require.Equal(t, []parameter{{"to", "•••••••••••94"}, {"ip", "192.0.2.1"}, {"type", "two_factor"}}, shown.Query)
	require.Equal(t, `curl -sS --get 'http://127.0.0.1:8080/v1/status' -H "Authorization: Bearer $API_KEY"`+
		` --data-urlencode 'to='"$TO" --data-urlencode 'ip=192.0.2.1' --data-urlencode 'type=two_factor'`, shown.Curl)
}

// The curl command makes the same request again: the test runs it and compares the requests.
func TestRecorder_CurlMakesTheCallAgain(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not on PATH")
		}
		t.Skip("curl is not on PATH")
	}
	type arrival struct{ method, path, query, form, key, department string }
	arrived := make(chan arrival, 1)
	gin.SetMode(gin.TestMode)
	recorder := new(Recorder)
	router := gin.New()
	router.Any("/*any", recorder.Record, func(c *gin.Context) {
		_ = c.Request.ParseForm()
		arrived <- arrival{c.Request.Method, c.Request.URL.Path, c.Request.URL.Query().Encode(), c.Request.PostForm.Encode(),
			c.GetHeader("access_key"), c.GetHeader("department-id")}
		c.String(200, "ok")
	})
	server := httptest.NewServer(router)
	defer server.Close()

	const values = "mobile=%2B919551492394&otp=Xrgn4bpX%2F4iYytICyC1wNg%3D%3D&email=a%2Bb%40mail.example"
	for _, tt := range []struct{ name, method, query, form, department string }{
		{"GET", "GET", "ipaddress=192.0.2.1&" + values, "", ""},
		{"GET without anything", "GET", "", "", ""},
		{"POST with everything in the query", "POST", "ipaddress=2001:db8::1&" + values, "", "sales"},
		{"POST with a form", "POST", "", "ipaddress=192.0.2.1&" + values, "it's"},
		{"blank in a name", "GET", "+ipaddress=192.0.2.1&" + values, "", ""},
		{"twice", "GET", "mobile=%2B919551492394&mobile=%2B919551492394", "", ""},
		{"PUT", "PUT", values, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, server.URL+"/otpauthapi/otpgenservlet?"+tt.query, strings.NewReader(tt.form))
			require.NoError(t, err)
			r.Header.Set("access_key", "key-1")
			if tt.form != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if tt.department != "" {
				r.Header.Set("department-id", tt.department)
			}
			answer, err := server.Client().Do(r)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			first := <-arrived

			command := exec.Command("sh", "-c", recorder.latest()[0].shown().Curl)
			command.Env = append(command.Environ(), "ACCESS_KEY=key-1", "MOBILE=+919551492394", "OTP=Xrgn4bpX/4iYytICyC1wNg==",
				"EMAIL=a+b@mail.example")
			out, err := command.CombinedOutput()
			require.NoError(t, err, "%s", out)
			if tt.department == "it's" {
				first.department = redacted // no harmless text, so it is not shown
			}
			require.Equal(t, first, <-arrived)
		})
	}
}

func TestRecorder_KeepsTheLatest(t *testing.T) {
	recorder := new(Recorder)
	for i := range keptRequests + 7 {
		recorder.add(call{status: i}, fmt.Append(nil, "answer ", i), nil)
	}
	calls := recorder.latest()
	require.Len(t, calls, keptRequests)
	require.Equal(t, keptRequests+6, calls[0].status)
	require.Equal(t, "answer 206", calls[0].answer)
	require.Equal(t, 7, calls[keptRequests-1].status)
	require.Equal(t, "answer 7", calls[keptRequests-1].answer)
	recorder.add(call{}, []byte("another"), nil)
	require.Equal(t, "answer 206", calls[0].answer, "what was looked at stays as it was")
	require.Equal(t, "answer 8", recorder.latest()[keptRequests-1].answer)
	recorder.Clear()
	require.Empty(t, recorder.latest())
}

func TestRecorder_BodiesAreBounded(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	r := httptest.NewRequest("POST", "/x?q="+large[:100_000], strings.NewReader("a="+large))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	gin.SetMode(gin.TestMode)
	recorder := new(Recorder)
	router := gin.New()
	read := 0
	router.POST("/x", recorder.Record, func(c *gin.Context) {
		body, _ := io.ReadAll(c.Request.Body)
		read = len(body)
		c.String(200, large)
	})
	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, r)
	require.Equal(t, len(large)+2, read, "the handler sees all of it")
	require.Equal(t, len(large), answer.Body.Len())
	kept := recorder.latest()[0]
	require.LessOrEqual(t, len(kept.query), maxQuery+len("…"))
	require.LessOrEqual(t, len(kept.form), maxQuery)
	require.LessOrEqual(t, len(kept.answer), maxAnswer)
	require.Empty(t, kept.shown().Curl, "half a call would be another call")
}

func TestRecorder_Race(t *testing.T) {
	recorder := new(Recorder)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				recorder.add(call{requestID: fmt.Sprint(i)}, nil, nil)
				_ = recorder.latest()
			}
		})
	}
	all.Wait()
	require.Len(t, recorder.latest(), keptRequests)
}
