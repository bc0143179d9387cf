package cli

import (
	"fmt"
	"os"

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
	fmt.Fprint(tty, prompt)
	defer fmt.Fprintln(tty)
	return term.ReadPassword(int(tty.Fd()))
}
