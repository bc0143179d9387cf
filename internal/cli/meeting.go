package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/croc"
	"github.com/pressenter/pressenter/internal/invite"
)

// meeting is where two who share a code meet, by flags.
type meeting struct {
	relay   string
	public  bool
	listen  string
	crocBin string
}

func (m *meeting) flags(c *cobra.Command, serves bool) {
	c.Flags().StringVar(&m.relay, "relay", "", "a relay of croc v10 that both sides reach, HOST:PORT")
	c.Flags().BoolVar(&m.public, "public-relay", false, "meet at croc's public relay, which sees who meets, not what is said")
	c.Flags().StringVar(&m.crocBin, "croc-bin", "", "a croc v10 program to use in place of pressenter-croc; it keeps fewer of our limits")
	if serves {
		c.Flags().StringVar(&m.listen, "listen", "", "serve a relay of our own here for as long as it takes, HOST:PORT")
	}
}

// check says what is wrong with the choice, of which there must be one.
func (m *meeting) check(serves bool) error {
	chosen := 0
	for _, is := range []bool{m.relay != "", m.public, m.listen != ""} {
		if is {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return usageError{errors.New("the two sides meet at one place: give one of --relay, --public-relay and --listen")}
	case chosen == 0 && serves:
		return hint(usageError{errors.New("the two sides have to meet somewhere")},
			"one of: --listen HOST:PORT serves a relay here, at an address of this computer that the other side reaches; --relay HOST:PORT is a relay\n"+
				"of yours, as on a sentry; --public-relay is croc's, which sees who meets, not what is said. On one computer: --listen 127.0.0.1:0")
	case chosen == 0:
		return hint(usageError{errors.New("the two sides have to meet somewhere")}, "the other side says where: --relay HOST:PORT or --public-relay")
	}
	for _, at := range []string{m.relay, m.listen} {
		if at == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(at); err != nil || port == "" {
			return usageError{fmt.Errorf("relay %q is not HOST:PORT", at)}
		}
	}
	return nil
}

// open returns what carries, and serves the relay if that is ours; close ends it.
func (m *meeting) open(ctx context.Context) (carrier croc.Carrier, close func(), err error) {
	carrier = croc.Carrier{Relay: m.relay, CrocBin: m.crocBin}
	if m.public {
		carrier.Relay = croc.PublicRelay
	}
	if m.listen == "" {
		return carrier, func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- carrier.ServeRelay(ctx, m.listen, func(at string) { ready <- at }) }()
	select {
	case carrier.Relay = <-ready:
	case err := <-ended:
		cancel()
		return carrier, nil, err
	}
	return carrier, func() { cancel(); <-ended }, nil
}

// told is the flag with which the other side comes to where we are.
func (m *meeting) told(c croc.Carrier) string {
	if m.public {
		return "--public-relay"
	}
	return "--relay " + reachable(c.Relay)
}

// reachable puts a word in place of an address that means every address of this computer.
func reachable(at string) string {
	ap, err := netip.ParseAddrPort(at)
	if err != nil || !ap.Addr().IsUnspecified() {
		return at
	}
	return fmt.Sprintf("THIS-COMPUTER:%d", ap.Port())
}

// readCode reads the code that the other side told. It is never an argument or a variable: others would see those.
func readCode(c *cobra.Command) (string, error) {
	if isTerminal(c.InOrStdin()) {
		fmt.Fprint(c.ErrOrStderr(), "code: ")
	}
	line, err := askLine(c)
	if err != nil {
		return "", fmt.Errorf("read the code: %w", err)
	}
	code := strings.Join(strings.Fields(line), "-") // read out, it comes in words
	if code == "" {
		return "", hint(usageError{errors.New("no code was given")}, "type the code that the other side tells, or pipe it in: it is read from standard input only")
	}
	return code, nil
}

// nextMeeting is what to do about a transfer or an enrolment that failed, or "".
func nextMeeting(err error) string {
	switch {
	case errors.Is(err, croc.ErrMissing):
		return "" // it says so itself
	case errors.Is(err, croc.ErrVersion):
		return "both sides need croc v10; v11 speaks another protocol. Without croc, 'pressenter peers' takes --paste"
	case errors.Is(err, croc.ErrRelay):
		return "see whether the relay runs and both sides reach it"
	case errors.Is(err, invite.ErrUntold), errors.Is(err, invite.ErrVersion):
		return ""
	case errors.Is(err, invite.ErrRefused):
		return "run 'pressenter invite' again; what was done stays done"
	case errors.Is(err, croc.ErrWrongCode), errors.Is(err, invite.ErrSpent), errors.Is(err, invite.ErrExpired), errors.Is(err, croc.ErrNobody):
		return "a new code is needed, for each allows one guess: 'pressenter invite' or 'pressenter peers send' makes one"
	}
	return ""
}

// again is the hint for a meeting that was interrupted.
func again(ctx context.Context, err error, next string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return hint(err, "%s", next)
}
