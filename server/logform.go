package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"otpbridge/config"
)

// milliseconds returns a duration as the log writes it: in milliseconds, with the unit in the name. slog would
// write nanoseconds into JSON, without a unit.
func milliseconds(name string, d time.Duration) slog.Attr {
	return slog.Float64(name+"_ms", float64(d.Microseconds())/1000)
}

// withUnits is a handler that writes every duration of a line in milliseconds.
type withUnits struct{ slog.Handler }

// Handle implements slog.Handler.
func (u withUnits) Handle(ctx context.Context, r slog.Record) error {
	durations := false
	r.Attrs(func(a slog.Attr) bool {
		durations = isDuration(a)
		return !durations
	})
	if !durations {
		return u.Handler.Handle(ctx, r)
	}
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		line.AddAttrs(inMilliseconds(a))
		return true
	})
	return u.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (u withUnits) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = slices.Clone(attrs)
	for i := range attrs {
		attrs[i] = inMilliseconds(attrs[i])
	}
	return withUnits{u.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (u withUnits) WithGroup(name string) slog.Handler { return withUnits{u.Handler.WithGroup(name)} }

func isDuration(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindDuration, slog.KindLogValuer:
		return true
	case slog.KindGroup:
		return slices.ContainsFunc(a.Value.Group(), isDuration)
	}
	return false
}

func inMilliseconds(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindDuration:
		return milliseconds(a.Key, value.Duration())
	case slog.KindGroup:
		members := slices.Clone(value.Group())
		for i := range members {
			members[i] = inMilliseconds(members[i])
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(members...)}
	}
	return slog.Attr{Key: a.Key, Value: value}
}

// writesJSON reports whether a server with this environment logs JSON. It does not read Settings, because
// errors of the settings themselves are logged in the same form.
func writesJSON(environ []string) bool {
	value := func(name string) string {
		for _, variable := range slices.Backward(environ) {
			if set, found := strings.CutPrefix(variable, config.Prefix+name+"="); found {
				return set
			}
		}
		return ""
	}
	switch value("LOG_FORMAT") {
	case string(config.JSONFormat):
		return true
	case "":
		return value("MODE") == string(config.Production)
	}
	return false
}
