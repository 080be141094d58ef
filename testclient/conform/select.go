package conform

import (
	"path"
	"strings"
)

// Selected returns the cases that patterns, level and profile select, in order. An empty profile selects the cases of
// both; cases without a profile are selected with any.
func Selected(cases []Case, patterns []string, level Level, profile Profile) ([]*Case, error) {
	used := make([]bool, len(patterns))
	var picked []*Case
	for i := range cases {
		c := &cases[i]
		wanted := len(patterns) == 0
		for j, pattern := range patterns {
			if matches(pattern, c.ID) {
				wanted, used[j] = true, true
			}
		}
		if wanted && (level == 0 || c.Level <= level) && (profile == Any || c.Profile == Any || c.Profile == None ||
			c.Profile == profile) {
			picked = append(picked, c)
		}
	}
	for j, hit := range used {
		if !hit {
			return nil, &Trouble{Tried: "no case is called " + quoted(patterns[j]),
				Remedy: "Give the beginning of an id such as servlet/validate, or a glob such as 'servlet/*/1'. The command " +
					"list shows them."}
		}
	}
	return picked, nil
}

// matches compares whole parts of an id only: servlet/validate/1 does not match servlet/validate/12.
func matches(pattern, id string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	if id == pattern || strings.HasPrefix(id, pattern+"/") {
		return true
	}
	if ok, err := path.Match(pattern, id); err == nil && ok {
		return true
	}
	// servlet/val* matches everything below what it matches.
	parts := strings.Split(id, "/")
	if n := strings.Count(pattern, "/") + 1; n < len(parts) {
		ok, err := path.Match(pattern, strings.Join(parts[:n], "/"))
		return err == nil && ok
	}
	return false
}
