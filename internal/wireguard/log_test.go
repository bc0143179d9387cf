package wireguard

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRedactedErrorsStillMatch(t *testing.T) {
	err := error(redacted{&net.OpError{Op: "write", Net: "udp", Addr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}, Err: net.ErrClosed}})
	if !errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "192") {
		t.Errorf("got %v", err)
	}
}

func TestDeviceLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := deviceLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
		l.Verbosef("sent to %v", "192.0.2.1:1")
		if out.Len() > 0 {
			t.Errorf("a verbose line at level info: %s", &out)
		}
		for range 3 {
			l.Errorf("%v - cannot send: %v", "peer", errors.New("write udp 192.0.2.1:1->192.0.2.2:2: no route"))
		}
		l.Errorf("something else")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want one of each kind:\n%s", n, &out)
		}
		time.Sleep(quiet)
		l.Errorf("%v - cannot send: %v", "peer", "x")
		if !strings.Contains(out.String(), "unsaid=2") || strings.Contains(out.String(), "192.0.2") {
			t.Errorf("it does not say what it kept back, or tells an address:\n%s", &out)
		}
	})
}
