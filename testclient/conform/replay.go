package conform

import (
	"context"
	"strings"
)

// Replay plays a recorded conversation against a side and returns where its answers differ from the recorded ones.
func Replay(ctx context.Context, side Side, t *Transcript) ([]Difference, error) {
	if side.AccessKey == "" && side.Address == "" {
		side.Settings = t.settings(side.Settings)
	}
	story, err := side.story(ctx)
	if err != nil {
		return nil, err
	}
	var found []Difference
	err = guarded(func() {
		player := newPlayer(story)
		for i, line := range t.Lines {
			found = note(found, i, line.answer(), player.say(line).answer())
		}
	})
	return found, err
}

// settings returns the settings with which an account is like the recorded one, as far as the answers show. Settings
// in set stay.
func (t *Transcript) settings(set Settings) Settings {
	out := Settings{"message_profile": string(Documented)}
	for _, line := range t.Lines {
		if strings.HasSuffix(line.Answer, "\r\n") {
			out["message_profile"] = string(Live)
		}
		if strings.EqualFold(line.Servlet, plainServlet) && strings.TrimSpace(line.Answer) != FeatureOff.In(Live) {
			out["plain_validation_enabled"] = true
		}
	}
	for name, value := range set {
		out[name] = value
	}
	return out
}
