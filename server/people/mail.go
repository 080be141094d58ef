package people

import (
	"cmp"
	"fmt"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Mail is an e-mail to a person. It never contains a code. An invitation contains its link, which the inviter also
// sees.
type Mail struct {
	To      string
	Subject string
	Text    string
}

// send passes a mail on, after its change was committed. The mail is lost if the server stops first: nothing depends
// on it.
func (p *People) send(m Mail) {
	if p.Mail != nil {
		p.Mail(m)
	}
}

func (p *People) mailInvitation(who Principal, made Issued, role Role) {
	p.send(Mail{To: made.Email, Subject: "Your invitation to OTPBridge", Text: fmt.Sprintf(
		"%s invites you to %s as %s. Make your login with this link, which is good once, until %s:\n\n%s\n\n"+
			"If you do not know what this is about, ignore it.\n",
		nameOf(who), p.Issuer, role, shownTime(made.ExpiresAt), Link(p.Issuer, "register", "invitation", made.Token))})
}

// mailRecovery tells a person that somebody has a link to choose a new password for them. The mail does not contain
// the link: whoever reads a person's mail must not get their login.
func (p *People) mailRecovery(who Principal, made Issued) {
	p.send(Mail{To: made.Email, Subject: "A new password for your OTPBridge login", Text: fmt.Sprintf(
		"%s made a link with which a new password can be chosen for your login at %s, until %s, and will give it to you.\n\n"+
			"If you did not ask for one, tell another admin at once.\n",
		nameOf(who), p.Issuer, shownTime(made.ExpiresAt))})
}

// mailLock mails a person if the guess was wrong and led to a lock.
func (p *People) mailLock(person sql.Person, guess *attempt, from Client) {
	if guess == nil || guess.blocked[0] == 0 {
		return
	}
	p.send(Mail{To: person.Email, Subject: "Your OTPBridge login is locked", Text: fmt.Sprintf(
		"Somebody who has your password gave too many wrong codes at %s, the last one from %s. No code is accepted until "+
			"%s.\n\nIf it was you, wait, or log in with a passkey. If it was not, change your password where you are still "+
			"logged in, or ask another admin for help.\n",
		p.Issuer, shownAddress(from.Address), shownTime(guess.blocked[0]))})
}

func nameOf(who Principal) string { return cmp.Or(who.Name, who.Email, "An operator") }

func shownTime(at otp.Millis) string { return at.Time().UTC().Format(time.DateTime) + " UTC" }
