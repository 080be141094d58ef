package deliver

import (
	"fmt"
	"time"
)

// Render words the message that carries a code which is valid for lifetime. The code is in the
// text only: subjects show on locked screens and in lists.
func Render(isMail bool, code string, lifetime time.Duration) Content {
	content := Content{Text: fmt.Sprintf("%s is your verification code. It is valid for %s. Do not share it with anyone.", code, spoken(lifetime))}
	if isMail {
		content.Subject = "Your verification code"
	}
	return content
}

// spoken says a duration in whole minutes where it is some, else in seconds.
func spoken(d time.Duration) string {
	switch {
	case d == time.Minute:
		return "1 minute"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
