//go:build !linux

package process

import "errors"

// As calls do, if it is about our own rights; other systems have no machines.
func As(u User, do func() error) error {
	if mayBecome(u) {
		return errors.New("act as another user: only Linux can")
	}
	return do()
}
