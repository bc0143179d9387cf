package wire

import (
	"crypto/rand"
	"fmt"

	"github.com/schollz/croc/v10/src/crypt"
	"github.com/schollz/pake/v3"
)

// curve is the one over which we agree with the other side, croc's default. The library lets a receiver choose, which
// hands a stranger the choice of the weakest.
const curve = "p256"

// The roles in a PAKE. The one who starts it is the receiver, and the client of a relay.
const (
	starts  = 0
	answers = 1
)

// pakeStep runs f, turning a panic into an error: the library panics on points that a stranger can send.
func pakeStep(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("agree on a key: %v", r)
		}
	}()
	return f()
}

// begin starts a PAKE.
func begin(password []byte, curve string) (p *pake.Pake, hello []byte, err error) {
	err = pakeStep(func() error {
		if p, err = pake.InitCurve(password, starts, curve); err == nil {
			hello = p.Bytes()
		}
		return err
	})
	return p, hello, err
}

// finish ends a PAKE with the answer to begin's hello, and returns what both now know.
func finish(p *pake.Pake, answer []byte) (secret []byte, err error) {
	err = pakeStep(func() error {
		if err := p.Update(answer); err != nil {
			return err
		}
		secret, err = p.SessionKey()
		return err
	})
	return secret, err
}

// answer returns the answer to a hello and what both then know. It tells nothing of the password but whether one guess
// was right.
func answer(password []byte, curve string, hello []byte) (reply, secret []byte, err error) {
	err = pakeStep(func() error {
		p, err := pake.InitCurve(password, answers, curve)
		if err != nil {
			return err
		}
		if err := p.Update(hello); err != nil {
			return err
		}
		reply = p.Bytes()
		secret, err = p.SessionKey()
		return err
	})
	return reply, secret, err
}

// newSalt returns a salt as croc makes them.
func newSalt() []byte {
	salt := make([]byte, 8)
	rand.Read(salt)
	return salt
}

// keyOf returns the key of messages from what a PAKE gave.
func keyOf(secret, salt []byte) ([]byte, error) {
	if len(salt) == 0 || len(salt) > 64 {
		return nil, fmt.Errorf("a salt of %d bytes", len(salt))
	}
	key, _, err := crypt.New(secret, salt)
	return key, err
}
