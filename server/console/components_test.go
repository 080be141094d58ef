package console

import (
	"bytes"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// notShown are the parts that the page of components cannot show.
var notShown = []string{
	"passkey", // asks the browser for a passkey as soon as it is shown
}

// The page of components has every part that pages share, and something of every class that a page uses.
func TestComponents_HasEveryPart(t *testing.T) {
	parts := regexp.MustCompile(`{{template "([a-z-]+)"`)
	classes := regexp.MustCompile(`class="([^"]*)"`)
	quoted := regexp.MustCompile(`{{[^}]*}}`)
	text := func(name string) string {
		content, err := pageFiles.ReadFile(name)
		require.NoError(t, err)
		return string(content)
	}
	var page bytes.Buffer
	require.NoError(t, templates["components"].ExecuteTemplate(&page, "layout", view{Title: "Components", Body: example(),
		Problem: "a", Notice: "b", wrong: "refused", Prove: true, Sandbox: true, Who: "a@shop.example",
		Nav: []group{{"Try", []entry{{Page: "inbox", Title: "Inbox"}}}}}))
	var shown []string // classes
	for _, found := range classes.FindAllStringSubmatch(page.String(), -1) {
		shown = append(shown, strings.Fields(found[1])...)
	}
	used := map[string]bool{}
	for _, found := range parts.FindAllStringSubmatch(text("pages/components.html"), -1) {
		used[found[1]] = true
	}
	shared := text("pages/parts.html") + text("pages/layout.html")
	for _, found := range regexp.MustCompile(`{{define "([a-z-]+)"`).FindAllStringSubmatch(shared, -1) {
		name := found[1]
		inside := strings.Contains(shared, `{{template "`+name+`"`) // of the layout, or of another part
		require.True(t, used[name] || inside || slices.Contains([]string{"layout", "live"}, name) ||
			slices.Contains(notShown, name), "components.html lacks the part %q", name)
	}
	pages, err := fs.Glob(pageFiles, "pages/*.html")
	require.NoError(t, err)
	require.Greater(t, len(pages), 30)
	for _, name := range pages {
		for _, found := range classes.FindAllStringSubmatch(quoted.ReplaceAllString(text(name), " "), -1) {
			for _, class := range strings.Fields(found[1]) {
				require.Contains(t, shown, class, "components.html lacks something of the class %q of %s", class, name)
			}
		}
	}
}
