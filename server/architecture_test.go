package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests that the page on architecture names, as `TestA`, `TestB` in `package`, exist.
func TestArchitecture_TheTestsThatItNamesExist(t *testing.T) {
	_, changes, found := strings.Cut(page(t, "doc/architecture.md"), "## Where each change is made")
	require.True(t, found)
	held := regexp.MustCompile("(`Test\\w+`(?:, `Test\\w+`)*) in `([a-z0-9/]+)`").FindAllStringSubmatch(changes, -1)
	require.Greater(t, len(held), 15)
	for _, one := range held {
		files, err := filepath.Glob(filepath.Join("..", one[2], "*_test.go"))
		require.NoError(t, err)
		var sources strings.Builder
		for _, file := range files {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			sources.Write(source)
		}
		for name := range strings.SplitSeq(one[1], ", ") {
			there := strings.Contains(sources.String(), "\nfunc "+strings.Trim(name, "`"))
			require.True(t, there, "the page says that %s is in %s", name, one[2])
		}
	}
}
