package conform

// redactor shows what happened in a story without its secrets.
type redactor struct{ story *Story }

func (s *Story) redactor() redactor { return redactor{s} }

func (r redactor) text(text string) string { return text }

func (r redactor) exchanges() []Exchange { return nil }
