package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/term"
)

// readSecret asks on the controlling terminal, without echo. There is no other way in: a secret on a command line or
// in the environment is seen by others.
func readSecret(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for a secret: there is no terminal: %w", err)
	}
	defer tty.Close()
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return nil, fmt.Errorf("ask for a secret: %w", err)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	type answer struct {
		secret []byte
		err    error
	}
	typed := make(chan answer, 1)
	fmt.Fprint(tty, prompt)
	defer fmt.Fprintln(tty)
	go func() {
		secret, err := term.ReadPassword(int(tty.Fd()))
		typed <- answer{secret, err}
	}()
	select {
	case a := <-typed:
		return a.secret, a.err
	case <-interrupts: // with echo again, whoever is asked next
		return nil, errors.Join(errors.New("nothing was typed"), term.Restore(int(tty.Fd()), before))
	}
}
