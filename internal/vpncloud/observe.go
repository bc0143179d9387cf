package vpncloud

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pressenter/pressenter/internal/process"
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
			return redact(strings.TrimPrefix(line, "ERROR - "), netip.Prefix{})
		}
		if strings.Contains(line, "panicked at") {
			return redact(strings.Join(tail[i:min(i+2, len(tail))], " "), netip.Prefix{}) // and not its stack
		}
	}
	return ""
}

// addressy finds whatever could be an address, with or without a port.
var addressy = regexp.MustCompile(`[0-9A-Fa-f.:\[\]%]*[0-9A-Fa-f][.:][0-9A-Fa-f.:\[\]%]*|\[?::[0-9A-Fa-f.:\[\]%]*`)

// redact takes addresses out of a line, but for those of the mesh: the underlay address of a hidden member must not be
// written anywhere.
func redact(line string, mesh netip.Prefix) string {
	return addressy.ReplaceAllStringFunc(line, func(s string) string {
		text := strings.TrimRight(s, ".:") // of the sentence
		for end := len(s); end >= len(text); end-- {
			if a, ok := asAddress(s[:end]); ok {
				if a.IsUnspecified() || mesh.IsValid() && mesh.Contains(a) {
					return s
				}
				return "(address)" + s[end:]
			}
		}
		if strings.Count(text, ".") < 3 && strings.Count(text, ":") < 3 {
			return s // a line of a source file, a time
		}
		return "(address)" // what looks like one
	})
}

func asAddress(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a, true
	}
	a, err := netip.ParseAddrPort(s)
	return a.Addr(), err == nil
}
