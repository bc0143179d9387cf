package vpncloud

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/underlay"
)

// maxLine is how much of a line is taken; maxTail how many lines are kept.
const (
	maxLine = 8 << 10
	maxTail = 20
)

// readLines calls each for every line until r ends, for good or by its deadline. What is longer than a line may be is cut.
func readLines(r io.Reader, each func(line string)) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if text != "" {
			each(text)
		}
		if err != nil {
			return
		}
	}
}

// logReader reads a child's output and keeps its last lines.
type logReader struct {
	done  chan struct{} // closed at the end of the output
	mu    sync.Mutex
	lines []string
}

func newLogReader(f *os.File, each func(line string)) *logReader {
	l := &logReader{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer func() { _ = f.Close() }()
		readLines(f, func(line string) {
			l.mu.Lock()
			if l.lines = append(l.lines, line); len(l.lines) > maxTail {
				l.lines = slices.Delete(l.lines, 0, 1)
			}
			l.mu.Unlock()
			each(line)
		})
	}()
	return l
}

func (l *logReader) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// logPeer reads the address at the end of a line of the log such as "INFO - Added peer 192.0.2.1:3210".
func logPeer(line, words string) (netip.AddrPort, bool) {
	rest, ok := strings.CutPrefix(line, "INFO - "+words)
	if !ok {
		return netip.AddrPort{}, false
	}
	address, _, _ := strings.Cut(rest, " ")
	a, err := netip.ParseAddrPort(address)
	return unmapped(a), err == nil
}

// event is what a hook told.
type event struct {
	name   string
	peer   netip.AddrPort
	claims []netip.Prefix
}

func readEvents(f *os.File, each func(event)) {
	defer func() { _ = f.Close() }()
	readLines(f, func(line string) {
		if e, ok := parseEvent(line); ok {
			each(e)
		}
	})
}

// parseEvent reads a line that tell wrote. A claim that is no prefix is left out.
func parseEvent(line string) (event, bool) {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return event{}, false
	}
	e := event{name: fields[0]}
	if fields[1] != "" {
		peer, err := netip.ParseAddrPort(fields[1])
		if err != nil {
			return event{}, false
		}
		e.peer = unmapped(peer)
	}
	for claim := range strings.FieldsSeq(fields[2]) {
		if p, err := netip.ParsePrefix(claim); err == nil {
			e.claims = append(e.claims, p)
		}
	}
	return e, true
}

// Exit codes of vpncloud.
const (
	codeUsage = 1
	codePanic = 101
	codeFatal = 255
)

// explain says in words why the program ended though nobody asked it to. tail is the end of its output.
func explain(exit process.Exit, tail []string) string {
	said := complaint(tail)
	with := func(why string) string {
		if said != "" {
			return fmt.Sprintf("%s; it said: %s", why, said)
		}
		return why
	}
	switch {
	case exit.Signal != "":
		return with("vpncloud was ended by a signal: " + exit.Signal)
	case exit.Code == 0:
		// It also ends so when its configuration holds no key.
		return with("vpncloud ended by itself, without an error code")
	case exit.Code == codePanic && strings.Contains(said, "NetworkUnreachable"):
		return noDefaultRoute
	case exit.Code == codePanic:
		return with("vpncloud panicked")
	case exit.Code == codeFatal:
		return with("vpncloud gave up")
	case exit.Code == codeUsage:
		return with("vpncloud did not understand how it was called: is it version 2?")
	}
	return with("vpncloud ended: " + exit.String())
}

// complaint finds the last error in the program's output, without addresses.
func complaint(tail []string) string {
	for i, line := range slices.Backward(tail) {
		if strings.HasPrefix(line, "ERROR - ") {
			return underlay.Redact(strings.TrimPrefix(line, "ERROR - "), netip.Prefix{})
		}
		if strings.Contains(line, "panicked at") {
			return underlay.Redact(strings.Join(tail[i:min(i+2, len(tail))], " "), netip.Prefix{}) // and not its stack
		}
	}
	return ""
}
